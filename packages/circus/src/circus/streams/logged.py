"""The sink of plugins that name no file: their lines become lines of circusd's own log.

What comes faster than people can read is left out and counted, so that a plugin that floods fills no disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from circus.streams.filling import Batch
from circus.streams.sinks import Written
from circus.streams.store import NOBODY, Place, SourceKey
from circus.streams.tap import View

#: Classes of streams, and the level at which circusd's log takes their lines.
LEVELS = {"LogStream": logging.INFO, "WarningLogStream": logging.WARNING}

#: Lines of one stream within ``WINDOW_S``; a traceback has some dozens.
MAX_LINES = 1000
WINDOW_S = 10.0

#: A longer line is cut into several.
MAX_LINE = 8192


class LogSink:
    """``name`` is whose output it is."""

    keeps_intents = False
    worker_key = "log"

    def __init__(self, name: str, level: int) -> None:
        self.path = f"<log {logging.getLevelName(level)}: {name}>"
        self._name = name
        self._level = level
        self._log = logging.getLogger("circus.plugins")
        self._rest = b""
        self._last = NOBODY
        self._window_ends = 0.0
        self._room = 0
        self._left_out = 0

    def look(self) -> Place:
        return Place(0, 0, 0, "", not self._rest, self._last)

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        del views  # everything is in the payload
        *lines, self._rest = (self._rest + (batch.payload or b"")).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._rest) > MAX_LINE:
            self._say(self._rest)
            self._rest = b""
        self._last = batch.segments[-1].source
        return Written(batch.ends)

    def close(self) -> None:
        if self._rest:
            self._say(self._rest)
            self._rest = b""
        self._tell_left_out()

    def _say(self, line: bytes) -> None:
        now = time.monotonic()
        if now >= self._window_ends:
            self._tell_left_out()
            self._window_ends, self._room = now + WINDOW_S, MAX_LINES
        for start in range(0, max(1, len(line)), MAX_LINE):
            if self._room <= 0:
                self._left_out += 1
                return
            self._room -= 1
            text = line[start : start + MAX_LINE].decode("utf-8", "backslashreplace").rstrip("\r")
            self._log.log(self._level, "%s: %s", self._name, text)

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._log.warning(
                "%s: %d lines were left out here: more than %d in %g s", self._name, self._left_out, MAX_LINES, WINDOW_S
            )
            self._left_out = 0
