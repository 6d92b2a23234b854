"""The ancestors' stream classes, for classes of users that are built on them. circusd writes its own files by itself.

An object is called as ``stream({"data": bytes, "pid": int, "timestamp": float, ...})``. All keys come as text.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, TextIO

from circus.config import values
from circus.config.options import FANCY_TIME
from circus.streams import backups, render, rotate
from circus.streams.intervals import Schedule

Data = Mapping[str, Any]


class FileStream:
    """Appends to a file; rotates it by size if there are backups."""

    def __init__(
        self,
        filename: str | None = None,
        max_bytes: int | str = 0,
        backup_count: int | str = 0,
        time_format: str | None = None,
        **_others: object,
    ) -> None:
        if filename is None:
            fd, filename = tempfile.mkstemp()
            os.close(fd)
        self._filename = filename
        self._max_bytes = int(max_bytes)
        self._backup_count = int(backup_count)
        self._time_format = time_format
        self._file = self._open()

    def _open(self) -> Any:
        return open(self._filename, "ab", buffering=0)

    def open(self) -> None:
        if self._file.closed:
            self._file = self._open()

    def close(self) -> None:
        self._file.close()

    def __call__(self, data: Data) -> None:
        self.write_data(data)

    def write_data(self, data: Data) -> None:
        text = _with_time(data, self._time_format)
        if rotate.rotates(self._max_bytes, self._backup_count) and self._is_full(len(text)):
            self._rotate()
        self._file.write(text)

    def _is_full(self, coming: int) -> bool:
        return os.fstat(self._file.fileno()).st_size + coming >= self._max_bytes

    def _rotate(self) -> None:
        self._file.close()
        names = {number: f"{self._filename}.{number}" for number in range(1, self._backup_count + 1)}
        names[0] = self._filename
        existing = {number for number, name in names.items() if os.path.exists(name)}
        for old, new in rotate.plan_shift(existing, self._backup_count):
            os.replace(names[old], names[new])
        self._file = self._open()


class WatchedFileStream(FileStream):
    """Appends to a file that somebody else moves away, and opens it anew then."""

    def __init__(self, filename: str | None = None, time_format: str | None = None, **_others: object) -> None:
        super().__init__(filename, time_format=time_format)

    def write_data(self, data: Data) -> None:
        ours = os.fstat(self._file.fileno())
        try:
            named = os.stat(self._filename)
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            self._file.close()
            self._file = self._open()
        super().write_data(data)


class TimedRotatingFileStream(FileStream):
    """Appends to a file; sets it aside under the name of its interval when the next one has begun."""

    def __init__(
        self,
        filename: str | None = None,
        backup_count: int | str = 0,
        time_format: str | None = None,
        rotate_when: str = "",
        rotate_interval: int | str = 1,
        utc: bool | str = False,
        **_others: object,
    ) -> None:
        is_utc = utc if isinstance(utc, bool) else values.parse_flag(utc)
        self._schedule = Schedule(values.parse_rotation(rotate_when), int(rotate_interval), is_utc)
        super().__init__(filename, backup_count=backup_count, time_format=time_format)
        found = os.fstat(self._file.fileno())
        self._interval = self._schedule.start(int(found.st_mtime)) if found.st_size else None

    def write_data(self, data: Data) -> None:
        interval = self._schedule.start(int(data.get("timestamp", time.time())))
        if self._interval is None:
            self._interval = interval
        elif interval > self._interval:
            self._file.close()
            backups.set_aside(
                os.path.abspath(self._filename), "", self._schedule.name(self._interval), self._backup_count
            )
            self._file, self._interval = self._open(), interval
        super().write_data(data)


class StdoutStream:
    """Writes to circusd's standard output."""

    def __init__(self, **_others: object) -> None:
        self.out: TextIO = sys.stdout

    def __call__(self, data: Data) -> None:
        self.out.write(data["data"].decode(errors="backslashreplace"))
        self.out.flush()

    def close(self) -> None:
        """The output is circusd's own."""


class FancyStdoutStream(StdoutStream):
    """Writes coloured lines with time and pid to circusd's standard output."""

    def __init__(self, color: str = "white", time_format: str = FANCY_TIME, **_others: object) -> None:
        super().__init__()
        self._time_format, self._color = time_format, color.lower()

    def __call__(self, data: Data) -> None:
        super().__call__({"data": _with_time(data, self._time_format, self._color)})


class QueueStream(queue.Queue[Data]):
    """Keeps what it is called with, for who takes it."""

    def __init__(self, **_others: object) -> None:
        super().__init__()

    def __call__(self, data: Data) -> None:
        self.put(data)

    def close(self) -> None:
        """What it keeps is still there."""


def _with_time(data: Data, time_format: str | None, color: str = "") -> bytes:
    text: bytes = data["data"]
    if time_format is None:
        return text
    at_ns = int(data.get("timestamp", time.time()) * 1e9)
    times = [(0, at_ns)]
    return render.with_prefixes(
        text, 0, times, pid=data["pid"], time_format=time_format, color=color, at_line_start=True
    )
