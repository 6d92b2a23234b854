"""The index as circusd keeps it: one directory for each log, one index file for each of its files.

The idea: an index file is named after the device and inode of the log file that it is about, so that a rename of the
log file, which is what a rotation is, needs nothing here. A file that begins anew (its first byte is written) begins a
new index. Runs in a thread of its own; whatever fails is an OSError for the caller, and does no harm to what was
written before: places are absolute.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from circus.logbook import entries
from circus.logbook.entries import Header, Index, Run, Skimmed, Source

#: Of one index file; about 250 000 times, so one for each 256 bytes of a log of 64 MB. Beyond it older times become
#: coarser.
MAX_INDEX_BYTES = 4 << 20

#: Sources that are known at once, of each log and some 250 bytes each: every process of a watcher that keeps failing is
#: one more. Who is forgotten and writes again is named once more in the index, in some 100 bytes.
MAX_SOURCES = 500

#: Logs whose index is kept; those to which nothing was written for longest go first.
MAX_LOGS = 1024

#: An index that was named anew within this time belongs to a file that was perhaps not there yet for who looked.
FRESH_S = 60.0

#: So many first bytes of a file tell it from another one that got its inode.
HEAD_BYTES = 256

SUFFIX = ".idx"

#: The first block of an index, with the longest path that there is, in JSON, ends within this.
HEADER_BYTES = 32 << 10

#: Of the name of a log's directory.
ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Laid:
    """What was written to a log file: ``runs``, one behind the other from ``base`` on.

    ``head``: its first HEAD_BYTES bytes. ``alive``: the inodes of the log's directory, where somebody has looked.
    """

    path: str
    dev: int
    ino: int
    base: int
    head: bytes
    runs: tuple[Run, ...]
    alive: frozenset[int] = field(default=frozenset())
    is_again: bool = False


def directory_of(logs: str, path: str) -> str:
    """Where the index of the log at the real path ``path`` is; ``logs`` is below the state directory."""
    return os.path.join(logs, log_id(path))


def log_id(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:ID_LENGTH]


def index_name(dev: int, ino: int) -> str:
    return f"{dev:x}-{ino:x}{SUFFIX}"


def is_about(index: Index | Skimmed, head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be the one that this index is about."""
    length, digest = index.head
    return len(head) >= length and _digest(head[:length]) == digest


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


class Book:
    """The index of one log."""

    def __init__(self, directory: str, path: str) -> None:
        self._directory = directory
        self._path = path
        self._file: tuple[int, int] | None = None
        self._fd = -1
        self._size = 0
        self._begins_at = 0
        self._end = 0
        self._head_bytes = -1
        self._numbers: dict[Source, int] = {}

    def lay(self, laid: Laid) -> None:
        """Note it. One write(2); raises: OSError."""
        try:
            self._lay(laid)
        except OSError:
            self.close()
            raise

    def _lay(self, laid: Laid) -> None:
        if (laid.dev, laid.ino) != self._file or (laid.base == 0 and not laid.is_again):
            self._turn_to(laid)
        out: list[bytes] = []
        if self._head_bytes < HEAD_BYTES:
            self._head_bytes = len(laid.head)
            out.append(entries.pack_head(len(laid.head), _digest(laid.head)))
        runs = []
        if len(self._numbers) > MAX_SOURCES:
            self._numbers = {}  # numbers may be given anew
        for run in laid.runs:
            number = self._numbers.get(run.source)
            if number is None:
                number = self._numbers[run.source] = len(self._numbers)
                out.append(entries.pack_source(number, run.source))
            runs.append((run.length, number, run.at_ns))
        out.append(entries.pack_runs(laid.base, runs))
        self._append(b"".join(out))
        self._end = laid.base + sum(run.length for run in laid.runs)
        if self._size > MAX_INDEX_BYTES:
            self._thin()

    def _append(self, data: bytes) -> None:
        if self._fd < 0 and self._file is not None:
            path = os.path.join(self._directory, index_name(*self._file))
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        count = os.write(self._fd, data)
        self._size += count
        if count < len(data):  # the disk is full: what follows must not stand behind half a block
            os.ftruncate(self._fd, self._size - count)
            raise OSError(28, os.strerror(28), self._directory)

    def _turn_to(self, laid: Laid) -> None:
        """Open the index of another file, or begin it."""
        begins_at = self._begins_at + self._end if self._file is not None else None
        self.close()
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = os.path.join(self._directory, index_name(laid.dev, laid.ino))
        known = skim(path) if laid.base or laid.is_again else None
        if known is not None and known.header is not None and is_about(known, laid.head):
            self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_APPEND)
            os.ftruncate(self._fd, known.taken)
            self._size, self._begins_at = known.taken, known.header.begins_at
            self._head_bytes = known.head[0]
        else:
            self._begins_at = self._begins_next() if begins_at is None else begins_at
            header = Header(laid.path, self._begins_at, time.time_ns())
            self._replace(path, entries.MAGIC + entries.pack_header(header))
            self._head_bytes = -1
            if laid.alive:
                self._forget_gone(laid.alive)
        self._numbers = {}
        self._file = (laid.dev, laid.ino)

    def _begins_next(self) -> int:
        """Behind all that is indexed of this log, from the files of an earlier circusd."""
        return begins_next(self._directory)

    def _replace(self, path: str, data: bytes) -> None:
        """A new file under this name: who reads the old one, or has it under another name, keeps it."""
        draft = f"{path}.new"
        self._fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._append(data)
        os.rename(draft, path)

    def _thin(self) -> None:
        if self._file is None:
            return
        path = os.path.join(self._directory, index_name(*self._file))
        index = entries.parse(_read(path))
        self.rest()
        self._replace(path, entries.thinned(index, MAX_INDEX_BYTES * 3 // 4))
        self._numbers = {}

    def _forget_gone(self, alive: frozenset[int]) -> None:
        """The index of a file that is not there any more goes."""
        for name in _names(self._directory):
            path = os.path.join(self._directory, name)
            ino = int(name.removesuffix(SUFFIX).partition("-")[2], 16)
            if ino not in alive and time.time() - os.stat(path).st_ctime > FRESH_S:
                os.unlink(path)

    def rest(self) -> None:
        """Give back its descriptor. What comes next for the same file needs no look at what is there."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        self.rest()
        self._file = None


def begins_next(directory: str) -> int:
    """Where in its log a file begins that is yet to come: behind all that is indexed of it."""
    paths = [os.path.join(directory, name) for name in _names(directory)]
    newest = max(paths, key=_begins_at, default=None)
    known = skim(newest) if newest is not None else None
    return known.header.begins_at + known.end if known is not None and known.header is not None else 0


def follow(directory: str, old: tuple[int, int], new: tuple[int, int]) -> None:
    """The file ``old`` (device, inode) is about to be replaced by another one with the same bytes in it.

    Raises: OSError.
    """
    source, target = (os.path.join(directory, index_name(*each)) for each in (old, new))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    with contextlib.suppress(FileNotFoundError):
        os.link(source, target)


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []


def _read(path: str, most_bytes: int = 2 * MAX_INDEX_BYTES + entries.MAX_BLOCK) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError:
        return b""


def skim(path: str) -> Skimmed:
    """What the index at ``path`` says, as far as it can be read; nothing where there is none."""
    return entries.skim(_read(path))


def _begins_at(path: str) -> int:
    header = entries.skim(_read(path, HEADER_BYTES)).header
    return header.begins_at if header is not None else -1


def forget_oldest(logs: str, kept: Iterable[str]) -> None:
    """Keep MAX_LOGS logs; ``kept`` are the paths of those that are in use. Raises: OSError."""
    folders = [each for each in os.scandir(logs) if each.is_dir(follow_symlinks=False) and len(each.name) == ID_LENGTH]
    if len(folders) <= MAX_LOGS:
        return
    found = [(entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in folders]
    in_use = set(map(log_id, kept))
    for _, name in sorted(found)[: len(found) - MAX_LOGS]:
        if name not in in_use:
            for each in os.listdir(os.path.join(logs, name)):
                os.unlink(os.path.join(logs, name, each))
            os.rmdir(os.path.join(logs, name))
