"""The ancestors' stream classes, to be built on."""

from __future__ import annotations

from circus.legacy.stream import (
    FancyStdoutStream,
    FileStream,
    QueueStream,
    StdoutStream,
    TimedRotatingFileStream,
    WatchedFileStream,
)

__all__ = [
    "FancyStdoutStream",
    "FileStream",
    "QueueStream",
    "StdoutStream",
    "TimedRotatingFileStream",
    "WatchedFileStream",
]
