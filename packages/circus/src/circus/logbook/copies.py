"""The store: copies of output that goes into no file, so that `logs` can show it, too.

The idea: a copy is a log like any other, in files that circusd names and rotates itself, with the same index beside
them. One for each output of a watcher; old parts go by size and by age. Runs in the thread of the index.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from circus.logbook import entries, writing
from circus.logbook.entries import Run, Source
from circus.logbook.writing import Book, Laid

#: Below the directory of the logs.
FOLDER = "copies"

#: Files of a copy: the oldest of them is what is dropped at once.
PARTS = 4

#: Both outputs of a watcher.
STREAMS = 2

#: Old parts are looked for so often while something is written.
AGE_LOOK_S = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes of one process that were given to a sink: ``runs`` are (length, ns) and as long as ``data``."""

    source: Source
    data: bytes
    runs: tuple[tuple[int, int], ...]


@functools.lru_cache(maxsize=1024)  # both outputs of some hundred watchers
def path_of(logs: str, watcher: str, stream: str) -> str:
    """The file of a copy; ``logs`` is below the state directory."""
    return os.path.join(os.path.realpath(logs), FOLDER, writing.log_id(watcher), stream)


class Copy:
    """The copy of one output of a watcher: ``size_bytes`` for both of its outputs together."""

    def __init__(self, logs: str, path: str, *, size_bytes: int, age_s: float) -> None:
        self._path = path
        self._part_bytes = max(1, size_bytes // STREAMS // PARTS)
        self._age_s = age_s
        self._book = Book(writing.directory_of(logs, path), path)
        self._fd = -1
        self._last: tuple[int, int] | None = None  # wid and pid of who wrote the end, if that is no whole line
        self._aged_at = float("-inf")
        self._size = 0
        self._data: list[bytes] = []
        self._runs: list[Run] = []
        self._laid: list[Laid] = []

    def keep(self, kept: Sequence[Kept]) -> list[Laid]:
        """Append it; where it stands. Raises: OSError; what could not be written is not kept."""
        self._laid = []
        try:
            self._keep(kept)
        except OSError:
            self.close()
            raise
        return self._laid

    def _keep(self, kept: Sequence[Kept]) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        if time.monotonic() - self._aged_at > AGE_LOOK_S:
            self._aged_at = time.monotonic()
            drop_old(os.path.dirname(self._path), self._age_s)
        self._size = self._open()
        for each in kept:
            whose = each.source.wid, each.source.pid
            if self._last is not None and (self._last != whose or each.source.look == entries.MARK):
                self._take(each.source, b"\n", each.runs[0][1])
            at = 0
            for length, at_ns in each.runs:
                self._take(each.source, each.data[at : at + length], at_ns)
                at += length
            self._last = None if each.data.endswith(b"\n") else whose
        self._flush()

    def _take(self, source: Source, data: bytes, at_ns: int) -> None:
        """As much as fits into this part, in whole lines if there are any; the rest into the next ones."""
        while data:
            room = self._part_bytes - self._size
            piece = data[:room] if room > 0 else b""
            if len(piece) < len(data):
                piece = piece[: piece.rfind(b"\n") + 1] or (piece if self._size == 0 else b"")
            if piece:
                self._data.append(piece)
                self._runs.append(Run(source, len(piece), at_ns))
                self._size += len(piece)
                data = data[len(piece) :]
            if data:
                self._flush()
                self._rotate()
                self._size = self._open()

    def _flush(self) -> None:
        """One write, and one of the index."""
        data, runs = b"".join(self._data), self._runs
        self._data, self._runs = [], []
        if not data:
            return
        base = self._size - len(data)
        count = os.write(self._fd, data)
        if count < len(data):
            os.ftruncate(self._fd, base)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        found = os.fstat(self._fd)
        head = os.pread(self._fd, writing.HEAD_BYTES, 0)
        alive = frozenset() if base else frozenset(each.inode() for each in os.scandir(os.path.dirname(self._path)))
        laid = Laid(self._path, found.st_dev, found.st_ino, base, head, tuple(entries.joined(runs)), alive)
        self._book.lay(laid)
        self._laid.append(laid)

    def _open(self) -> int:
        """Its size. One that was removed is begun anew."""
        if self._fd >= 0 and not os.fstat(self._fd).st_nlink:
            self._shut()
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            size = os.fstat(self._fd).st_size
            if self._last is None and size and os.pread(self._fd, 1, size - 1) != b"\n":
                self._last = (0, 0)  # somebody before us
        return os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        for number in range(PARTS - 1, 0, -1):
            source = f"{self._path}.{number - 1}" if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                os.replace(source, f"{self._path}.{number}")
        self._shut()

    def _shut(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._last = -1, None
        self._data, self._runs = [], []

    def rest(self) -> None:
        """Give back its descriptors."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._book.rest()

    def close(self) -> None:
        self._shut()
        self._book.close()


def drop_old(folder: str, age_s: float) -> None:
    """Remove the parts of copies that were written last before so long. Raises: OSError."""
    for each in os.scandir(folder):
        if each.is_file(follow_symlinks=False) and time.time() - each.stat().st_mtime > age_s:
            os.unlink(each.path)


def forget(logs: str, known: Iterable[str], age_s: float) -> None:
    """Remove what is too old, and copies of watchers that nobody knows any more. Raises: OSError."""
    folders = {os.path.dirname(path) for path in known}
    try:
        found = list(os.scandir(os.path.join(os.path.realpath(logs), FOLDER)))
    except FileNotFoundError:
        return
    for each in found:
        drop_old(each.path, age_s if each.path in folders else -1.0)
        if not os.listdir(each.path):
            os.rmdir(each.path)
