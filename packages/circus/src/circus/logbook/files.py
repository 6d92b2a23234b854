"""The files of one log, the oldest first: the log itself and what was rotated away from it, compressed or not.

The idea: names move while one looks (X.1 becomes X.2, X.1 becomes X.1.gz), so all files are opened first and then
known by their descriptors; if the names have moved meanwhile, it is done once more. Where a file begins in the log as a
whole is said by its index; one without an index stands before the next younger one.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from circus.logbook import entries, writing
from circus.logbook.entries import Index, Skimmed

#: What is read at a time, and what of a compressed file. Less than what circusd's allocator counts as large: pages of
#: such a block are new each time.
CHUNK = 1 << 20
PACKED_CHUNK = 256 << 10

#: For zlib: expect the head and the end of gzip.
_GZIP = 31

#: A longer line is given out in pieces: no line of a log is longer, but what is in the file may be no lines at all.
MAX_LINE = 16 << 20

#: Names that keep moving are looked at so often.
MAX_LOOKS = 20

#: What a rotation appends: a number or a time, perhaps one more number, perhaps `.gz`.
_SUFFIX = re.compile(r"\.(\d+)(?:\.(\d+))?(\.gz)?")

#: A number of backups has fewer digits, a time more.
_TIME_DIGITS = 6

NOT_INDEXED = Skimmed(None, (0, ""), 0, 0)

#: Chunks of a compressed file that are held at a time while it is read from its end.
HELD_CHUNKS = 16


@dataclass(slots=True)
class LogFile:
    """One file of a log, open. ``begins_at``: where its first byte stands in the log as a whole."""

    path: str
    fd: int
    dev: int
    ino: int
    size: int
    mtime_ns: int
    is_compressed: bool
    known: Skimmed = NOT_INDEXED  # of its index, when it was opened
    begins_at: int = 0
    floor_ns: int = 0  # no line of it counts as older: those of the files before it are not younger
    _index_fd: int = -1
    _index_path: str = ""
    _index: Index | None = None

    @property
    def is_indexed(self) -> bool:
        return self.known.header is not None

    @property
    def index(self) -> Index:
        """Read when it is needed for the first time: a log may have hundreds of files."""
        if self._index is None:
            self._index = Index()
            if self._index_fd >= 0:
                self._index.feed(_read_from(self._index_fd, 0))
        return self._index

    @property
    def indexed_to(self) -> int:
        return self.known.end if self._index is None else self._index.end

    def rest(self) -> None:
        """Nobody reads in it for now: its index is let go of."""
        self._index = None

    def open_index(self, directory: str) -> None:
        """Find what the index says of it, if it is about this file."""
        self._index_path = os.path.join(directory, writing.index_name(self.dev, self.ino))
        try:
            fd = os.open(self._index_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        known = entries.skim(_read_from(fd, 0))
        if known.header is not None and writing.is_about(known, self._head()):
            self.known, self._index_fd = known, fd
        else:
            os.close(fd)

    def look_again(self) -> None:
        """What was added to the file and to its index."""
        found = os.fstat(self.fd)
        self.size, self.mtime_ns = found.st_size if not self.is_compressed else self.size, found.st_mtime_ns
        if self._index_fd >= 0 and (more := _read_from(self._index_fd, self.index.taken)):
            self.index.feed(more)

    @property
    def has_another_index(self) -> bool:
        """Its index was begun, or made anew, since it was opened."""
        try:
            named = os.stat(self._index_path).st_ino
        except FileNotFoundError:
            return False
        return self._index_fd < 0 or named != os.fstat(self._index_fd).st_ino

    def _head(self) -> bytes:
        if not self.is_compressed:
            return os.pread(self.fd, writing.HEAD_BYTES, 0)
        return b"".join(self._unpacked(writing.HEAD_BYTES))[: writing.HEAD_BYTES]

    def _unpacked(self, most_bytes: int = 1 << 62) -> Iterator[bytes]:
        """What is in it (RFC 1952), at least the first ``most_bytes``. One that is cut or damaged: what can be had."""
        unpacker, at, packed, count = zlib.decompressobj(_GZIP), 0, b"", 0
        while count < most_bytes:
            if not packed:
                packed = os.pread(self.fd, PACKED_CHUNK, at)
                at += len(packed)
            if not packed:
                return
            try:
                data = unpacker.decompress(packed, CHUNK)
            except zlib.error:
                return
            packed = unpacker.unconsumed_tail
            if unpacker.eof:
                packed, unpacker = unpacker.unused_data, zlib.decompressobj(_GZIP)
            if data:
                count += len(data)
                yield data

    def measure(self) -> None:
        """How large it is, uncompressed: only reading it says so where no index does."""
        if self.is_compressed:
            self.size = self.known.end if self.is_indexed else sum(map(len, self._unpacked()))

    # Lines --------------------------------------------------------------------------------------------------

    def chunks(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Whole lines from ``start`` on, in chunks: (offset, bytes); the last one may lack its newline."""
        end = self.size if end is None else end
        yield from (self._unpacked_chunks if self.is_compressed else self._plain_chunks)(start, end)

    def _plain_chunks(self, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        size = CHUNK
        while at < end and (data := os.pread(self.fd, min(size, end - at), at)):
            cut = data.rfind(b"\n") + 1
            if cut == 0 and at + len(data) < end and size < MAX_LINE:
                size *= 2
                continue
            if cut == 0 or at + len(data) >= end:
                cut = len(data)
            yield at, data[:cut]  # what is behind it is read once more: cheaper than to put it together
            at, size = at + cut, CHUNK

    def _unpacked_chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        rest, at, begin = b"", start, 0
        for data in self._unpacked():
            offset, begin = begin, begin + len(data)
            data = data[max(0, start - offset) : max(0, end - offset)]
            cut = data.rfind(b"\n") + 1
            if cut == 0 and len(rest) + len(data) <= MAX_LINE:
                rest += data
                continue
            cut = cut or len(data)
            yield at, rest + data[:cut]
            at, rest = at + len(rest) + cut, data[cut:]
        if rest:
            yield at, rest

    def chunks_backwards(self, end: int) -> Iterator[tuple[int, bytes]]:
        """The same from ``end`` to the begin, the last chunk first. Of a compressed file the last chunks are had by
        reading all that is before them, again and again."""
        while self.is_compressed and end > 0:
            held = deque(self.chunks(0, end), HELD_CHUNKS)
            yield from reversed(held)
            if not held:
                return
            end = held[0][0]
        if self.is_compressed:
            return
        tail = b""
        at = end
        while at > 0:
            begin = max(0, at - CHUNK)
            data = os.pread(self.fd, at - begin, begin)
            at = begin
            cut = data.find(b"\n") + 1 if begin else 0
            if begin and (cut == 0 or (cut == len(data) and not tail)) and len(tail) < MAX_LINE:
                tail = data + tail  # one line, or the end of one
                continue
            whole = data[cut:] + tail
            if whole:
                yield begin + cut, whole
            tail = data[:cut]

    def line_behind(self, offset: int) -> int:
        """Where the first line begins from ``offset`` on."""
        for at, chunk in self.chunks(offset - 1) if offset else ():
            return at + (chunk.find(b"\n") + 1 or len(chunk))
        return offset

    def close(self) -> None:
        os.close(self.fd)
        if self._index_fd >= 0:
            os.close(self._index_fd)


def _read_from(fd: int, offset: int) -> bytes:
    parts = []
    # Room for what is there and no more: an index of a few KB shall not cost a block of megabytes each time.
    while data := os.pread(fd, min(CHUNK, max(0, os.fstat(fd).st_size - offset)), offset):
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


# The files of a log -----------------------------------------------------------------------------------------


def open_log(path: str, directory: str) -> list[LogFile]:
    """All files of the log at ``path``, the oldest first; ``directory`` has their index.

    Raises: OSError, when the directory of the log cannot be read.
    """
    for _ in range(MAX_LOOKS):
        names = _names(path)
        opened: list[LogFile] = []
        for name in names:
            file = _open(name)
            if file is not None:
                opened.append(file)
        if _names(path) == names and len(opened) == len(names):
            break
        _close(opened)
    opened = _without_twins(opened)
    for file in opened:
        file.open_index(directory)
        file.measure()
    _place(opened)
    return opened


def names(path: str) -> list[str]:
    """The files that there are, the oldest first."""
    return list(_names(path))


def _names(path: str) -> dict[str, int]:
    """The files that there are, by name, the oldest first, with their inodes."""
    folder, base = os.path.split(path)
    numbered: list[tuple[tuple[int, ...], str, int]] = []
    timed: list[tuple[tuple[int, ...], str, int]] = []
    newest: dict[str, int] = {}
    try:
        found = list(os.scandir(folder))
    except FileNotFoundError:
        return {}
    for each in found:
        if not each.name.startswith(base) or not each.is_file():
            continue
        if each.name == base:
            newest[path] = each.inode()
        elif (suffix := _SUFFIX.fullmatch(each.name, len(base))) is not None:
            first, second, packed = suffix[1], int(suffix[2] or 0), suffix[3]
            if len(first) < _TIME_DIGITS:
                numbered.append(((-int(first), 0 if packed else 1), each.path, each.inode()))
            else:
                timed.append(((int(first.ljust(14, "0")), second, 0 if packed else 1), each.path, each.inode()))
    return {name: ino for _, name, ino in [*sorted(timed), *sorted(numbered)]} | newest


def _open(path: str) -> LogFile | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    found = os.fstat(fd)
    is_compressed = path.endswith(".gz") and os.pread(fd, 2, 0) == b"\x1f\x8b"
    return LogFile(path, fd, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, is_compressed)


def _without_twins(opened: list[LogFile]) -> list[LogFile]:
    """While a file is compressed both are there for a moment: the same bytes twice. The plain one will do."""
    plain = {file.path: file for file in opened if not file.is_compressed}
    kept, inodes = [], set()
    for file in opened:
        twin = plain.get(file.path.removesuffix(".gz")) if file.is_compressed else None
        if (twin is not None and _size_inside(file) == twin.size % 2**32) or (file.dev, file.ino) in inodes:
            file.close()
            continue
        inodes.add((file.dev, file.ino))
        kept.append(file)
    return kept


def _size_inside(file: LogFile) -> int:
    """What the end of a compressed file says (RFC 1952)."""
    return int.from_bytes(os.pread(file.fd, 4, max(0, file.size - 4)), "little")


def _close(opened: list[LogFile]) -> None:
    while opened:
        opened.pop().close()


def _place(opened: list[LogFile]) -> None:
    """Where each begins; one without an index ends where the next one begins."""
    if not opened:
        return
    if all(file.is_indexed for file in opened):
        opened.sort(key=lambda file: file.known.header.begins_at if file.known.header is not None else 0)
    begins_at = 0
    for number in range(len(opened) - 1, -1, -1):
        file = opened[number]
        if file.known.header is not None:
            file.begins_at = file.known.header.begins_at
        elif number < len(opened) - 1:
            file.begins_at = begins_at - file.size
        else:
            older = next((each for each in reversed(opened[:-1]) if each.known.header is not None), None)
            if older is not None and older.known.header is not None:
                file.begins_at = older.known.header.begins_at + max(older.size, older.known.end)
        begins_at = file.begins_at
    floor = 0
    for file in opened:
        file.floor_ns = floor
        floor = max(floor, file.known.last_ns if file.is_indexed else file.mtime_ns)
