"""The audit trail: a line of JSON for every order, and for whoever was refused, whichever door it came by.

One thread writes, and only while there is something to write: a disk that is full or hangs delays no order. What waits
has a bound. When it is reached the newest lines are lost, counted, and told of in the trail itself, at the place where
they are missing, as soon as it can be written again.

Lines have names of watchers and of options, and never a value.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from circus import clock
from circus.engine import files

log = logging.getLogger("circus.control")

NAME = "audit.jsonl"

#: In place of a path: there is none.
OFF = "off"

#: Lines that wait for the disk; with MAX_LINE 4 MB at most, and as a rule 300 KB.
MAX_WAITING = 1000
#: A line names at most so many watchers, or options; of more it says how many.
MAX_NAMED = 100
#: Of a line; what names it might have had is left out then.
MAX_LINE = 4096
#: A disk that failed is tried again after so long, while lines wait.
RETRY_S = 5.0
#: At the end circusd waits so long for the disk.
CLOSE_S = 2.0


class Trail:
    """``path`` empty: there is none. All of it may be called from the loop, and nothing waits but ``close``."""

    def __init__(self, path: str = "", *, max_bytes: int = 0, backup_count: int = 0) -> None:
        self.path = path
        self.written = 0
        self.dropped = 0
        self.trouble = ""  # a sentence, while it cannot be written
        self._max_bytes = max_bytes
        self._backup_count = backup_count
        self._waiting: deque[bytes] = deque()
        self._missing = 0  # lines that were lost and are not told of yet
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._writer: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def note(self, fields: Mapping[str, Any]) -> None:
        if not self.path:
            return
        line = _line(fields)
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                self._missing += 1
                return
            self._waiting.append(line)
            if self._writer is None and not self._is_ending.is_set():
                self._writer = threading.Thread(target=self._write_all, name="circus-audit", daemon=True)
                self._writer.start()

    def close(self) -> None:
        """Within CLOSE_S what waits is written, or told of in the log as lost."""
        with self._lock:
            writer = self._writer
            self._is_ending.set()
        if writer is not None:
            writer.join(CLOSE_S)
        if lost := len(self._waiting) + self._missing:
            log.error("the audit trail has lost %d lines: %s", lost, self.trouble or "the disk has not answered")

    # The thread -----------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._lock:
                lines = list(self._waiting)
                if not lines:
                    self._writer = None
                    return
            try:
                self._append(b"".join(lines))
            except OSError as error:
                if self._has_failed(error):
                    return
                continue
            with self._lock:
                for _ in lines:
                    self._waiting.popleft()
                self.written += len(lines)
                if self._missing:
                    # Behind those that came before, and before those that come from now on.
                    self._waiting.append(_line({"at": clock.wall(), "missing": self._missing}))
                    log.error("the audit trail lacks %d lines: %s", self._missing, self.trouble)
                    self._missing = 0
                if self.trouble:
                    log.info("the audit trail is written again path=%s", self.path)
                    self.trouble = ""

    def _has_failed(self, error: OSError) -> bool:
        """Wait for another attempt; True when there is none any more."""
        if not self.trouble:
            self.trouble = f"the audit trail {self.path} cannot be written: {error.strerror or error}"
            log.error("%s", self.trouble)
        return self._is_ending.wait(RETRY_S)

    def _append(self, data: bytes) -> None:
        """All of it, or nothing. Raises: OSError."""
        with contextlib.ExitStack() as stack:
            fd = self._open(stack)
            size = os.fstat(fd).st_size
            if size and self._max_bytes and size + len(data) > self._max_bytes:
                self._rotate()
                fd = self._open(stack)
                size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # a crash has left half a line
            files.write_whole(fd, data, size)

    def _open(self, stack: contextlib.ExitStack) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            fd = os.open(self.path, flags, 0o600)
        stack.callback(os.close, fd)
        return fd

    def _rotate(self) -> None:
        """The oldest one goes. Raises: OSError."""
        if not self._backup_count:
            os.truncate(self.path, 0)
            return
        last = 1
        while last < self._backup_count and os.path.exists(f"{self.path}.{last}"):
            last += 1
        for number in range(last, 0, -1):
            source = f"{self.path}.{number - 1}" if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                os.replace(source, f"{self.path}.{number}")


def _line(fields: Mapping[str, Any]) -> bytes:
    line = _rendered(fields)
    if len(line) > MAX_LINE:
        line = _rendered({**fields, **_counts(fields)})
    return line


def _rendered(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=True, default=str).encode("ascii") + b"\n"


def _counts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Instead of texts that make a line too long, as only somebody who tries to makes them."""
    shown: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, list):
            shown[key] = [f"{len(value)} that are too long to be named"]
        elif isinstance(value, str):
            shown[key] = value[:100]
    return shown


def named(names: list[str]) -> list[str]:
    """As many of them as a line has room for."""
    if len(names) <= MAX_NAMED:
        return names
    return [*names[: MAX_NAMED - 1], f"and {len(names) - MAX_NAMED + 1} more"]


def read(path: str) -> list[dict[str, Any]]:
    """What is there of it, oldest first, with what was rotated. Damaged lines are left out.

    Raises: OSError.
    """
    found: list[dict[str, Any]] = []
    paths, number = [path], 1
    while os.path.exists(older := f"{path}.{number}"):
        paths.append(older)
        number += 1
    for each in reversed(paths):
        with contextlib.suppress(FileNotFoundError), open(each, "rb") as file:
            files.take_lines(file.read(), found.append, 0)
    if not found and not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found
