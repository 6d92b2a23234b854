"""Lines of logs with who wrote them and when: forwards, backwards, and those that are still to come.

The idea: within one log lines stay in the order in which they stand; logs are merged by the times of writing. Where
one is in a log is a number of bytes over all of its files, and so holds when files are rotated and compressed.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from circus.logbook import files, matching
from circus.logbook.catalogue import Entry
from circus.logbook.entries import JSON, MARK, PLAIN, PREFIXED, Source
from circus.logbook.files import LogFile
from circus.logbook.matching import Literal, Pattern
from circus.logbook.writing import directory_of

#: How much later than its neighbours a line of another process may stand in a file.
LATE_NS = 60_000_000_000

#: The index of what was just written follows within this time, or not at all.
INDEX_S = 1.0
INDEX_STEP_S = 0.01

#: Who follows waits so long for a circusd that was killed: the next one says whose the last lines were.
NEXT_CIRCUSD_S = 10.0

#: Going backwards, lines are cut out of so many bytes at a time.
PIECE = 64 << 10

_RESET = b"\033[0m"


class Line(NamedTuple):
    """``data`` as the process wrote it, without its newline. ``at_ns``: 0 where nobody knows.

    It stands from ``start`` to ``end`` of the log with this id.
    """

    key_ns: int
    at_ns: int
    source: Source | None
    data: bytes
    log: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Query:
    """Which lines are wanted. ``is_strict``: none of which nobody knows whose it is."""

    watchers: frozenset[str]
    stream: str | None = None
    wid: int | None = None
    since_ns: int = 0
    until_ns: int = 2**63
    pattern: Pattern | Literal | None = None
    is_strict: bool = False


@dataclass(slots=True)
class LogReader:
    """One log. ``position``: up to where it was read. ``missing``: bytes that were gone before they could be read."""

    entry: Entry
    logs: str
    query: Query
    position: int = 0
    missing: int = 0
    may_read: Callable[[int], bool] | None = None  # so many bytes; it stops when not
    _files: list[LogFile] = field(default_factory=list)
    _lone: Source | None = None
    _waiting: tuple[int, float] = (-1, 0.0)  # how far the index had come when the waiting began, and when that was
    _given_up_at: int = -1  # the end of an index that did not come further

    def open(self) -> None:
        """Raises: OSError."""
        self.close()
        self._files = files.open_log(self.entry.path, directory_of(self.logs, self.entry.path))
        pairs = [(name, stream) for name, streams in self.entry.watchers.items() for stream in streams]
        if len(pairs) == 1:
            self._lone = Source(pairs[0][0], 0, 0, pairs[0][1])

    def close(self) -> None:
        while self._files:
            self._files.pop().close()

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def begin(self) -> int:
        return self._files[0].begins_at if self._files else 0

    @property
    def end(self) -> int:
        return self._files[-1].begins_at + self._files[-1].size if self._files else 0

    @property
    def whole_end(self) -> int:
        """The same, without a line that has no end yet."""
        return self._whole(self.begin, self.end) if self._files else 0

    @property
    def settled_end(self) -> int:
        """The same, without what is so new that its index is yet to come."""
        if not self._files:
            return 0
        last, stop = self._files[-1], self.end
        if last.is_indexed and last.indexed_to < last.size and abs(time.time() - last.mtime_ns / 1e9) < INDEX_S:
            stop = last.begins_at + last.indexed_to
        return self._whole(self.begin, stop)

    def await_index(self) -> None:
        """What was written just now is indexed a moment later."""
        if not self._files:
            return
        last = self._files[-1]
        deadline = time.monotonic() + INDEX_S
        is_recent = abs(time.time() - last.mtime_ns / 1e9) < INDEX_S
        size = last.size
        while is_recent and last.is_indexed and last.indexed_to < size and time.monotonic() < deadline:
            time.sleep(INDEX_STEP_S)
            last.look_again()
        last.size = size

    def first_since(self, at_ns: int) -> int:
        """Where to begin so that nothing is missed that was written at ``at_ns`` or later."""
        for file in self._files:
            if not file.is_indexed:
                if file.mtime_ns >= at_ns:
                    return file.begins_at
            elif file.known.last_ns >= at_ns and (offset := file.index.first_since(at_ns)) is not None:
                is_first = offset == file.index.span(0).start
                return file.begins_at + (0 if is_first else file.line_behind(offset))
            elif file.indexed_to < file.size and file.mtime_ns >= at_ns:
                return file.begins_at + file.indexed_to
        return self.end

    # Lines --------------------------------------------------------------------------------------------------

    def forward(self, position: int, end: int | None = None) -> Iterator[Line]:
        """From ``position`` up to the end as it is known now. Follows `position` of the reader as it goes."""
        self.position = max(position, self.begin)
        self.missing += max(0, self.begin - position)
        stop = self.end if end is None else end
        for file in list(self._files):
            start, limit = max(0, position - file.begins_at), min(file.size, stop - file.begins_at)
            if start >= limit:
                continue
            for offset, chunk in file.chunks(start, limit):
                if self.may_read is not None and not self.may_read(len(chunk)):
                    return
                for line in self._lines(file, offset, chunk):
                    if line.key_ns > self.query.until_ns + LATE_NS:
                        return
                    self.position = line.end
                    yield line
                self.position = file.begins_at + offset + len(chunk)
            if file is not self._files[-1]:
                file.rest()

    def last(self, count: int, end: int) -> list[Line]:
        """The last ``count`` lines that are wanted of those before ``end``."""
        return list(itertools.islice(self.backward(end), count))[::-1]

    def backward(self, end: int, begin: int = 0) -> Iterator[Line]:
        """From ``end`` back to ``begin``. Follows `position` of the reader as it goes."""
        self.position = end
        late_ns = self.query.until_ns + LATE_NS
        for file in reversed(self._files):
            limit = min(file.size, end - file.begins_at)
            if limit > 0 and late_ns < 2**62 and (offset := file.index.first_since(late_ns)) is not None:
                limit = min(limit, file.line_behind(offset))
            for offset, chunk in _pieces(file.chunks_backwards(limit)) if limit > 0 else ():
                if file.begins_at + offset + len(chunk) <= begin:
                    self.position = min(self.position, max(begin, self.begin))
                    return
                if self.may_read is not None and not self.may_read(len(chunk)):
                    return
                for line in reversed(list(self._lines(file, offset, chunk))):
                    if line.start >= begin:
                        self.position = line.start
                        yield line
                self.position = file.begins_at + offset
            if file is not self._files[-1]:
                file.rest()

    def _lines(self, file: LogFile, offset: int, chunk: bytes) -> Iterator[Line]:
        """The wanted lines of a chunk that begins at ``offset`` of the file."""
        query, index, pattern = self.query, file.index, self.query.pattern
        looks = index.looks
        is_raw = looks <= {PLAIN, MARK}
        places = (
            matching.all_lines(chunk)
            if pattern is None
            else pattern.lines_of(chunk, is_raw=is_raw, is_json=JSON in looks)
        )
        for start, end in places:
            number = index.find(offset + start)
            span = index.span(number) if number >= 0 else None
            source, at_ns = self._lone, 0
            if span is not None and offset + start < span.end:
                source, at_ns = span.source, span.at_ns
            data = chunk[start:end]
            if source is not None and source.look not in (PLAIN, MARK):
                data, source, at_ns = as_written(data, source, at_ns)
                if pattern is not None and not pattern.finds(data):
                    continue
            elif pattern is not None and not is_raw and not pattern.finds(data):
                continue
            key_ns = index.key(number) if len(index) else file.mtime_ns
            if _is_wanted(query, source, at_ns or key_ns):
                is_ended = end < len(chunk)
                yield Line(
                    max(file.floor_ns, key_ns),
                    at_ns,
                    source,
                    data,
                    self.id,
                    file.begins_at + offset + start,
                    file.begins_at + offset + end + is_ended,
                )

    # What comes ---------------------------------------------------------------------------------------------

    def more(self) -> list[Line]:
        """The whole lines behind `position` whose index is there, or does not come."""
        self._look_again()
        if not self._files:
            return []
        stop = self.end
        last = self._files[-1]
        indexed = last.begins_at + last.index.end
        if last.is_indexed and indexed < stop and indexed != self._given_up_at:
            now = time.monotonic()
            if self._waiting[0] != indexed:
                self._waiting = indexed, now
            if now - self._waiting[1] < NEXT_CIRCUSD_S:
                stop = max(indexed, self.position)
            else:
                self._given_up_at = indexed
        if stop <= self.position:
            return []
        return list(self.forward(self.position, self._whole(self.position, stop)))

    def _whole(self, position: int, stop: int) -> int:
        """Up to the last newline before ``stop`` in the last file; what is older is whole."""
        last = self._files[-1]
        at, begin = stop - last.begins_at, max(0, position - last.begins_at)
        while at > begin:
            start = max(begin, at - files.CHUNK)
            if newline := os.pread(last.fd, at - start, start).rfind(b"\n") + 1:
                return last.begins_at + start + newline
            at = start
        return last.begins_at + begin if position >= last.begins_at else last.begins_at

    def _look_again(self) -> None:
        """Take in what was written; find the files anew where they were rotated, replaced or cut."""
        last = self._files[-1] if self._files else None
        try:
            named = os.stat(self.entry.path)
        except FileNotFoundError:
            return
        if last is not None:
            size = last.size
            last.look_again()
            is_same = (named.st_dev, named.st_ino) == (last.dev, last.ino) and last.size >= size
            if is_same and not last.has_another_index:
                return
        before = (last.dev, last.ino, last.begins_at) if last is not None else None
        indexed_to = last.begins_at + last.index.end if last is not None and last.is_indexed else None
        self.open()
        if before is not None:
            # Without an index the places of files are known from the newest on: they move with each rotation.
            for file in self._files:
                if (file.dev, file.ino) == before[:2] and not file.is_indexed:
                    if indexed_to is not None:
                        file.begins_at = indexed_to  # it was cut; its index is yet to come, and begins there
                        continue
                    self.position += file.begins_at - before[2]


def _pieces(chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Chunks of whole lines, cut into smaller ones, the last one of each first."""
    for offset, chunk in chunks:
        end = len(chunk)
        while end > 0:
            begin = max(0, end - PIECE)
            if begin:
                newline = chunk.find(b"\n", begin - 1, end - 1)
                begin = (newline if newline >= 0 else chunk.rfind(b"\n", 0, begin)) + 1
            yield offset + begin, chunk[begin:end]
            end = begin


def _is_wanted(query: Query, source: Source | None, at_ns: int) -> bool:
    if not query.since_ns <= at_ns <= query.until_ns:
        return False
    if source is None or not source.watcher:
        return query.stream is None and query.wid is None and not query.is_strict
    return (
        source.watcher in query.watchers
        and query.stream in (None, source.stream)
        and (query.wid is None or source.wid == query.wid)
    )


def as_written(data: bytes, source: Source, at_ns: int) -> tuple[bytes, Source, int]:
    """Without what circusd put around it."""
    if source.look == PREFIXED:
        before, separator, line = data.partition(b" [%d] | " % source.pid)
        if separator:
            return line.removesuffix(_RESET) if before.startswith(b"\033") else line, source, at_ns
    elif source.look == JSON:
        try:
            fields = json.loads(data)
            line = b64decode(fields["raw"]) if "raw" in fields else fields["line"].encode("utf-8", "surrogatepass")
            whose = Source(fields["watcher"], fields["wid"], fields["pid"], fields["stream"], JSON)
        except (ValueError, KeyError, TypeError, AttributeError):
            return data, source, at_ns
        return line, whose, at_ns
    return data, source, at_ns


def merged(parts: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """Lines of several logs in the order of writing; those of one log stay in theirs."""
    return heapq.merge(*parts, key=_key)


def _key(line: Line) -> int:
    return line.key_ns
