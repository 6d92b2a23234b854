"""What is added to a log file while it is watched, also when it is rotated meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

from circus.drill.texts import Unclear

#: Of one log, with its backups.
MAX_BYTES = 256 << 20


class LogFile:
    """One file from this moment on; a descriptor keeps it at hand when it gets another name."""

    def __init__(self, path: str) -> None:
        """Raises: OSError when it cannot be read; one that is not there yet may come."""
        self.path = path
        self._known = {each.inode() for each in self._named()}
        self._fd, self._start, self._is_line_start = -1, 0, True
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        self._start = os.fstat(self._fd).st_size
        if self._start:
            self._is_line_start = os.pread(self._fd, 1, self._start - 1) == b"\n"

    def added(self) -> list[bytes]:
        """The whole lines that were added, without newlines.

        Raises: Unclear; OSError.
        """
        lines: list[bytes] = []
        left = MAX_BYTES
        for data in self._parts():
            left -= len(data)
            if left < 0:
                raise Unclear(f"more than {MAX_BYTES >> 20} MB were added")
            lines += data.split(b"\n")[:-1]
        return lines

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _parts(self) -> Iterator[bytes]:
        if self._fd >= 0:
            found = os.fstat(self._fd)
            if found.st_size < self._start:
                raise Unclear("somebody else cut it")
            data = _read(self._fd, self._start, found.st_size)
            yield data if self._is_line_start else data[data.find(b"\n") + 1 :] if b"\n" in data else b""
        fresh = [each for each in self._named() if each.inode() not in self._known]
        if any(each.name.endswith(".gz") for each in fresh):
            raise Unclear("backups were compressed meanwhile")
        for each in fresh:
            fd = os.open(each.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield _read(fd, 0, os.fstat(fd).st_size)
            finally:
                os.close(fd)

    def _named(self) -> list[os.DirEntry[str]]:
        """It and its backups."""
        folder, name = os.path.split(self.path)
        try:
            with os.scandir(folder) as entries:
                return [each for each in entries if each.name == name or each.name.startswith(f"{name}.")]
        except FileNotFoundError:
            return []


def _read(fd: int, start: int, end: int) -> bytes:
    if end - start > MAX_BYTES:
        raise Unclear(f"more than {MAX_BYTES >> 20} MB were added")
    parts = []
    while start < end and (data := os.pread(fd, end - start, start)):
        parts.append(data)
        start += len(data)
    return b"".join(parts)
