"""The index of one log file, as bytes: pure encoding and decoding. The page is docs/reference/log-store.md.

MAGIC, then blocks: length and crc32 of what follows (4 bytes each, little endian), a byte that says the kind, the
content. A block that is cut or damaged ends the index: what was written behind it counts as not written. Of two blocks
about the same place of the file the later one counts, with all that it was followed by: so a batch that is written
twice, because circusd was killed between index and acknowledgement, does no harm.
"""

from __future__ import annotations

import json
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, NamedTuple

MAGIC = b"circlog1"

_FRAME = Struct("<IIB")
_BASE = Struct("<Q")
_RUN = Struct("<IIQ")

#: Kinds of blocks.
HEADER, HEAD, SOURCE, RUNS = 1, 2, 3, 4

#: The length of a run has 32 bits; a longer one is several.
MAX_RUN = 1 << 31

#: No block is longer: a batch has some hundred segments, and a segment of 8 MB some hundred times.
MAX_BLOCK = 16 << 20

#: Runs in one block of an index that is written anew: who reads it has them as objects, one block at a time.
BLOCK_RUNS = 4096

#: No file is so long, and no time so late: what says so is damaged.
_MAX_PLACE = 1 << 63

#: How a stretch stands in the file: as the process wrote it, with ``TIME [PID] | `` before each line, as one JSON
#: object a line; a mark is circusd's own line about output that is missing.
PLAIN, PREFIXED, JSON, MARK = "plain", "prefixed", "json", "mark"

#: Neighbours of one source that are as near share a time: nobody tells apart what was written within 10 ms in a few
#: lines, and an index of single lines would be as large as the log.
SAME_NS = 10_000_000
SAME_BYTES = 256


class Source(NamedTuple):
    """Who wrote a stretch, and how it stands in the file."""

    watcher: str
    wid: int
    pid: int
    stream: str  # stdout or stderr
    look: str = PLAIN


class Run(NamedTuple):
    """So many bytes of a file, by one source at one time (wall clock, ns)."""

    source: Source
    length: int
    at_ns: int


class Span(NamedTuple):
    """A run where it stands."""

    start: int
    end: int
    source: Source
    at_ns: int


@dataclass(frozen=True, slots=True)
class Header:
    """``begins_at``: how many bytes of this log lie in the files before this one, since it is indexed."""

    path: str
    begins_at: int = 0
    made_ns: int = 0


# Writing ----------------------------------------------------------------------------------------------------


def joined(runs: Iterable[Run]) -> list[Run]:
    """The runs, with neighbours joined that may share a time."""
    out: list[Run] = []
    for run in runs:
        if out and out[-1].source == run.source:
            last = out[-1]
            is_near = 0 <= run.at_ns - last.at_ns < SAME_NS and last.length + run.length <= SAME_BYTES
            if (is_near or run.at_ns == last.at_ns) and last.length + run.length < MAX_RUN:
                out[-1] = Run(run.source, last.length + run.length, last.at_ns)
                continue
        if run.length:
            out.append(run)
    return out


def pack_header(header: Header) -> bytes:
    return _block(HEADER, _json({"path": header.path, "begins_at": header.begins_at, "made_ns": header.made_ns}))


def pack_head(length: int, digest: str) -> bytes:
    """The first ``length`` bytes of the file have this hash."""
    return _block(HEAD, _json({"bytes": length, "sha256": digest}))


def pack_source(number: int, source: Source) -> bytes:
    return _block(SOURCE, _json({"n": number, **source._asdict()}))


def pack_runs(base: int, runs: Iterable[tuple[int, int, int]]) -> bytes:
    """``runs`` are (length, number of the source, ns); the first begins at ``base`` of the file."""
    return _block(RUNS, _BASE.pack(base) + b"".join(_RUN.pack(*run) for run in runs))


def _block(kind: int, content: bytes) -> bytes:
    return _FRAME.pack(len(content), zlib.crc32(content, kind), kind) + content


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


# Reading ----------------------------------------------------------------------------------------------------


def blocks(data: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """(kind, content, where the next one begins) of each whole block from ``at`` on."""
    while at + _FRAME.size <= len(data):
        length, crc, kind = _FRAME.unpack_from(data, at)
        begin = at + _FRAME.size
        if length > MAX_BLOCK or begin + length > len(data):
            return
        content = data[begin : begin + length]
        if zlib.crc32(content, kind) != crc:
            return
        at = begin + length
        yield kind, content, at


@dataclass(slots=True)
class Index:
    """What the blocks say. `feed` takes more of them; ``taken`` is how far the index file was understood."""

    header: Header | None = None
    head: tuple[int, str] = (0, "")
    taken: int = 0
    _sources: dict[int, Source] = field(default_factory=dict)
    # Of a quarter of a million spans, side by side: an object for each would be ten times as large.
    _starts: array[int] = field(default_factory=lambda: array("Q"))
    _ends: array[int] = field(default_factory=lambda: array("Q"))
    _times: array[int] = field(default_factory=lambda: array("Q"))
    _keys: array[int] = field(default_factory=lambda: array("Q"))  # the latest time up to there
    _whose: array[int] = field(default_factory=lambda: array("I"))  # numbers in _known
    _known: dict[Source, int] = field(default_factory=dict)
    _table: list[Source] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        """``data`` is the index file from ``taken`` on. What is no index at all is understood as an empty one."""
        at = 0
        if self.taken == 0:
            if data[: len(MAGIC)] != MAGIC:
                return
            at = len(MAGIC)
        base = self.taken
        self.taken += at
        for kind, content, end in blocks(data, at):
            if not self._take(kind, content):
                break
            self.taken = base + end

    def _take(self, kind: int, content: bytes) -> bool:
        try:
            if kind == RUNS:
                self._take_runs(content)
            elif kind == SOURCE:
                fields = json.loads(content)
                self._sources[fields["n"]] = Source(
                    str(fields["watcher"]),
                    int(fields["wid"]),
                    int(fields["pid"]),
                    str(fields["stream"]),
                    str(fields["look"]),
                )
            elif kind == HEAD:
                fields = json.loads(content)
                self.head = (int(fields["bytes"]), str(fields["sha256"]))
            elif kind == HEADER:
                fields = json.loads(content)
                self.header = Header(str(fields["path"]), int(fields["begins_at"]), int(fields["made_ns"]))
        except (ValueError, KeyError, TypeError):
            return False
        return True  # a kind that a later circus adds is passed over

    def _take_runs(self, content: bytes) -> None:
        (at,) = _BASE.unpack_from(content)
        sources = self._sources
        runs = [(length, sources[number], at_ns) for length, number, at_ns in _RUN.iter_unpack(content[_BASE.size :])]
        if at + sum(length for length, _, _ in runs) >= _MAX_PLACE:
            raise ValueError("no file is so long")
        keep = bisect_left(self._starts, at)
        if keep < len(self._starts):
            for column in (self._starts, self._ends, self._times, self._keys, self._whose):
                del column[keep:]
        if self._ends and self._ends[-1] > at:
            self._ends[-1] = at
        latest = self._keys[-1] if self._keys else 0
        for length, source, at_ns in runs:
            latest = max(latest, at_ns)
            self._starts.append(at)
            at += length
            self._ends.append(at)
            self._times.append(at_ns)
            self._keys.append(latest)
            self._whose.append(self._number(source))

    def _number(self, source: Source) -> int:
        number = self._known.setdefault(source, len(self._table))
        if number == len(self._table):
            self._table.append(source)
        return number

    def __len__(self) -> int:
        return len(self._starts)

    def span(self, number: int) -> Span:
        return Span(self._starts[number], self._ends[number], self._table[self._whose[number]], self._times[number])

    def start(self, number: int) -> int:
        return self._starts[number]

    def end_of(self, number: int) -> int:
        return self._ends[number]

    def source(self, number: int) -> Source:
        return self._table[self._whose[number]]

    def time(self, number: int) -> int:
        return self._times[number]

    def is_like_last(self, number: int) -> bool:
        """Whether it is of the same source as the span before it."""
        return self._whose[number] == self._whose[number - 1]

    @property
    def spans(self) -> list[Span]:
        """All of them, each as an object."""
        return [self.span(number) for number in range(len(self))]

    @property
    def end(self) -> int:
        """How far the file is indexed."""
        return self._ends[-1] if self._ends else 0

    def find(self, offset: int) -> int:
        """The number of the span that holds this byte, or else of the last one before it; -1: there is none."""
        return bisect_right(self._starts, offset) - 1

    def key(self, number: int) -> int:
        """The time by which the span is sorted among other logs: the latest up to there; 0 before the first."""
        if number < 0:
            return self._keys[0] if self._keys else 0
        return self._keys[number]

    def first_since(self, at_ns: int) -> int | None:
        """Where the first byte stands that was written at ``at_ns`` or later; None: there is none."""
        number = bisect_left(self._keys, at_ns)
        return self._starts[number] if number < len(self._starts) else None

    @property
    def looks(self) -> frozenset[str]:
        """How what stands in the file was written, all of it."""
        return frozenset(source.look for source in self._sources.values())

    @property
    def last_ns(self) -> int:
        return self._keys[-1] if self._keys else 0


def parse(data: bytes) -> Index:
    index = Index()
    index.feed(data)
    return index


class Skimmed(NamedTuple):
    """What who goes on writing must know of an index: how far it is whole, and how far the file is indexed."""

    header: Header | None
    head: tuple[int, str]
    taken: int
    end: int
    last_ns: int = 0


def skim(data: bytes) -> Skimmed:
    """As `parse` would say, without looking at the runs: there may be a quarter of a million."""
    index, last, last_ns = Index(), b"", 0
    if data[: len(MAGIC)] == MAGIC:
        index.taken = len(MAGIC)
    for kind, content, at in blocks(data, index.taken) if index.taken else ():
        if kind == RUNS:
            last = content
            if (len(content) - _BASE.size) % _RUN.size == 0:
                last_ns = max(last_ns, *(at_ns for _, _, at_ns in _RUN.iter_unpack(content[_BASE.size :])), 0)
        elif not index._take(kind, content):
            break
        index.taken = at
    end = 0
    if last:
        end = _BASE.unpack_from(last)[0] + sum(length for length, _, _ in _RUN.iter_unpack(last[_BASE.size :]))
    return Skimmed(index.header, index.head, index.taken, end, last_ns)


# Keeping it small -------------------------------------------------------------------------------------------


def thinned(index: Index, most_bytes: int) -> bytes:
    """The index once more: of the older half every second time is left out, and what still is too much of the
    oldest, so that it has at most ``most_bytes``."""
    kept, ends = array("I"), array("Q")  # of spans, their numbers; and where each ends by now
    for number in range(len(index)):
        if number < len(index) // 2 and number % 2 and ends[-1] == index.start(number) and index.is_like_last(number):
            ends[-1] = index.end_of(number)
        else:
            kept.append(number)
            ends.append(index.end_of(number))
    lead = MAGIC + (pack_header(index.header) if index.header else b"") + pack_head(*index.head)
    while True:
        body = lead + _packed(index, kept, ends)
        if len(body) <= most_bytes or not kept:
            return body
        del ends[: len(kept) // 4 + 1], kept[: len(kept) // 4 + 1]


def _packed(index: Index, kept: array[int], ends: array[int]) -> bytes:
    """Spans as blocks, a new one where there is a hole."""
    numbers: dict[Source, int] = {}
    for number in kept:
        numbers.setdefault(index.source(number), len(numbers))
    out = [pack_source(number, source) for source, number in numbers.items()]
    runs: list[tuple[int, int, int]] = []
    base = at = 0
    for number, end in zip(kept, ends, strict=True):
        start = index.start(number)
        if runs and (start != at or len(runs) == BLOCK_RUNS):
            out.append(pack_runs(base, runs))
            runs = []
        if not runs:
            base = start
        runs.append((end - start, numbers[index.source(number)], index.time(number)))
        at = end
    if runs:
        out.append(pack_runs(base, runs))
    return b"".join(out)
