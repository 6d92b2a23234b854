"""The output of one process: what is held, what must wait and what must go.

Each stream is an append-only file whose offsets are absolute. Four numbers say all about it: ``head``
(taken from the pipe), ``low`` (below it the bytes are given back), ``acked`` (the owner has it),
``dropped`` (given back without being acknowledged). ``low <= head`` and ``acked <= head`` always; ``low``
and ``acked`` never go back. An index file (``papa.core.index``) dates the bytes; its bytes count into the
bound.

The cycle of one read, as the kernel's pipe room performs it:

1. ``next_step(now)`` says READ, DROP or PAUSE. READ: go on. DROP: ``drop`` (it reads the index to find the
   oldest bytes of both streams), then ask again. PAUSE: stop polling the pipes until ``until`` or until an
   acknowledgement, then ask again.
2. ``note_arrival`` may give a record to write into the index *before* the bytes are taken.
3. Splice at most ``step_bytes``, and ``add`` what came; after a last byte ``close``.

Whenever ``low`` or the index's ``first`` has moved (``drop``, or ``ack`` followed by ``trim``): first write
``header()``, then punch ``take_holes()``; so a reader that finds NULs also finds why.

*When the bound is reached*: without a reader, or with overflow ``drop-oldest``, the oldest bytes go and are
counted. With a reader the process is slowed down, for at most ``stall_s`` without an acknowledgement; then
the reader counts as none until it acknowledges again, or another owner comes. So a burst loses nothing, and
a stopped manager freezes no service.

Time is an argument: ``now`` monotonic seconds; the wall and boot clocks of records in nanoseconds.
"""

from __future__ import annotations

from papa import model
from papa.core import index
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    #: ``read(offset, size)`` yields the index file's bytes from there, fewer at its end.
    ReadIndex = Callable[[int, int], bytes]

READ = "read"
DROP = "drop"
PAUSE = "pause"

#: The most that one splice takes, and the least that one drop frees of a large buffer: what a large pipe holds.
STEP = 256 * 1024
#: A splice of less than a page costs as much as one of a page.
MIN_STEP = 4096
#: Bytes of one stream taken within this time share a record: a busy stream costs 32 KB of index a second at
#: most.
SHARE_NS = 1_000_000
#: How much of the index is read at a time to find the oldest bytes.
_WINDOW = 128 * index.RECORD_SIZE


class Verdict:
    """What to do next with a process's pipes. ``until`` is set for PAUSE."""

    __slots__ = ("kind", "until")

    def __init__(self, kind: str, until: float = 0.0) -> None:
        self.kind = kind
        self.until = until

    def __repr__(self) -> str:
        return f"<{self.kind} until {self.until}>" if self.kind == PAUSE else f"<{self.kind}>"


_READ = Verdict(READ)
_DROP = Verdict(DROP)


class Bounds:
    """How much may be held, and what happens then."""

    __slots__ = ("bound", "overflow", "stall_s")

    def __init__(
        self,
        bound: int = model.DEFAULT_BOUND,
        overflow: str = model.BLOCK,
        stall_s: float = model.DEFAULT_STALL_S,
    ) -> None:
        self.bound = bound
        self.overflow = overflow
        self.stall_s = stall_s


class Stream:
    """The four numbers of one stream, and whether its pipe still has a writer."""

    __slots__ = (
        "_punched", "_stamp_head", "_stamp_ns", "_stamp_place", "acked", "dropped", "head", "is_open", "low",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head = 0
        self.low = 0
        self.acked = 0
        self.dropped = 0
        self.is_open = True
        self._punched = 0
        #: Its last index record: place in the file (None: the next bytes need a new one), offset and time.
        self._stamp_place: int | None = None
        self._stamp_head = 0
        self._stamp_ns = 0

    def _give_back(self, low: int) -> None:
        """Bytes below *low* go; those that nobody acknowledged count as dropped."""
        if low > self.low:
            self.dropped += max(0, low - max(self.low, self.acked))
            self.low = low


class Output:
    """All captured output of one process."""

    __slots__ = (
        "_full_since",
        "_page",
        "_punched",
        "_stalled",
        "_wanted",
        "bounds",
        "end",
        "first",
        "streams",
    )

    def __init__(self, captured: Iterable[str], bounds: Bounds | None = None, *, page: int = 4096) -> None:
        self.bounds = bounds or Bounds()
        self.streams = {name: Stream() for name in captured}
        #: The index file: its first record that still counts, and where the next is written.
        self.first = index.HEADER_SIZE
        self.end = index.HEADER_SIZE
        self._page = page
        self._punched = 0
        #: A reader is there; it has not acknowledged for so long that it counts as none; the wait's begin.
        self._wanted = False
        self._stalled = False
        self._full_since: float | None = None

    @classmethod
    def recover(
        cls,
        heads: dict[str, int],
        index_size: int,
        header: bytes,
        acked: dict[str, int],
        bounds: Bounds | None = None,
        *,
        page: int = 4096,
    ) -> Output:
        """As files and journal have it: sizes of the stream files, size and first bytes of the index file."""
        self = cls(heads, bounds, page=page)
        known = index.unpack_header(header)
        self.end = index.round_down(index_size)
        if known is not None:
            self.first = min(known.first, self.end)
        for name, stream in self.streams.items():
            stream.head = heads[name]
            stream.acked = min(acked.get(name, 0), stream.head)
            if known is not None:
                stream.low = min(known.low[name], stream.head)
                # What was dropped lay below; more is damage, and would grow out of the header's 64 bits.
                stream.dropped = min(known.dropped[name], stream.low)
            # The crash may have come between the commit and the header.
            stream.low = max(stream.low, stream.acked)
        return self

    # What is held

    @property
    def index_bytes(self) -> int:
        return self.end - self.first

    @property
    def held(self) -> int:
        return self.index_bytes + sum(stream.head - stream.low for stream in self.streams.values())

    @property
    def heads(self) -> dict[str, int]:
        return {name: stream.head for name, stream in self.streams.items()}

    @property
    def dropped(self) -> int:
        return sum(stream.dropped for stream in self.streams.values())

    @property
    def step_bytes(self) -> int:
        """The most that one splice may take: ``held`` passes the bound by at most this and one record."""
        return max(MIN_STEP, min(STEP, self.bounds.bound // 8))

    @property
    def is_settled(self) -> bool:
        """Every stream is at its end and nothing of it is held: nothing will ever be asked for."""
        return all(not s.is_open and s.low == s.head for s in self.streams.values())

    # Reading from the pipes

    def next_step(self, now: float) -> Verdict:
        """READ, DROP, or PAUSE until a moment."""
        if self.held < self.bounds.bound:
            self._full_since = None
            return _READ
        if not self._wanted or self._stalled or self.bounds.overflow == model.DROP_OLDEST:
            return _DROP
        if self._full_since is None:
            self._full_since = now
        until = self._full_since + self.bounds.stall_s
        if now < until:
            return Verdict(PAUSE, until)
        self._stalled = True
        return _DROP

    def note_arrival(self, stream: str, wall_ns: int, boot_ns: int) -> tuple[int, bytes] | None:
        """The record to write before bytes are taken, with its place in the index; None: the last one serves.

        A record that dated nothing after all (the pipe was empty) and is the last in the file is written
        over.
        """
        it = self.streams[stream]
        place = self.end
        if it._stamp_place is not None:
            if 0 <= boot_ns - it._stamp_ns < SHARE_NS:
                return None
            if it._stamp_head == it.head and it._stamp_place == self.end - index.RECORD_SIZE:
                place = it._stamp_place
        it._stamp_place = place
        it._stamp_head = it.head
        it._stamp_ns = boot_ns
        self.end = place + index.RECORD_SIZE
        return place, index.pack_record(stream, it.head, wall_ns, boot_ns)

    def add(self, stream: str, size: int) -> None:
        """*size* bytes were taken from the pipe into the stream's file."""
        self.streams[stream].head += size

    def close(self, stream: str) -> None:
        """The pipe's last writer is gone, and everything was taken."""
        self.streams[stream].is_open = False

    # Giving bytes back

    def drop(self, read: ReadIndex, size: int | None = None) -> int:
        """Let the oldest bytes of both streams go, in the order in which they arrived; how many that were.

        Without *size*: enough to be below the bound by one step. With *size*: at least so many bytes of
        output and index together, as far as there are any (for a bound that several processes share, or a
        full disk).
        """
        if size is None:
            size = self.held - self.bounds.bound + self.step_bytes
        before = self.dropped
        goal = max(0, self.held - size)
        for place, record in self._records(read):
            if record is not None and record.stream in self.streams:
                stream = self.streams[record.stream]
                end = self._end_of(read, place, record)
                self._shorten(stream, end, goal)
                if stream.low < end:
                    break
            self._pass(place)
        else:
            # Bytes that no record dates are younger than all that one does, or the index is damaged.
            self._pass_all()
            for stream in self.streams.values():
                self._shorten(stream, stream.head, goal)
        return self.dropped - before

    def check_ack(self, stream: str, offset: int) -> None:
        """Raise PapaError when this cannot be acknowledged: ``overtaken`` below low, else ``bad-request``."""
        it = self.streams.get(stream)
        if it is None:
            raise PapaError(f"the stream {stream!r} is not captured", code="bad-request")
        if offset > it.head:
            raise PapaError(f"offset {offset} lies behind the head {it.head} of {stream}", code="bad-request")
        if offset < it.low:
            raise PapaError(
                f"offset {offset} of {stream} lies below the low-water mark {it.low}",
                code="overtaken",
                hint="the bytes between were dropped or acknowledged before",
                details={"stream": stream, "low": it.low},
            )

    def ack(self, stream: str, offset: int) -> None:
        """The owner has everything below *offset*, which ``check_ack`` let pass. Call ``trim`` afterwards.

        Cannot fail: when bytes were dropped between the check and this (to make room for the journal's record of
        it), the offset counts all the same.
        """
        it = self.streams[stream]
        if offset > it.acked:
            # To repeat what is known is no progress: who only does that may not hold a process up for ever.
            self._stalled = False
            self._full_since = None
        it.acked = max(offset, it.acked)
        it._give_back(offset)

    def trim(self, read: ReadIndex) -> None:
        """Move ``first`` over the index records that date nothing any more."""
        if all(stream.low == stream.head for stream in self.streams.values()):
            self._pass_all()
            return
        for place, record in self._records(read):
            if record is not None and record.stream in self.streams:
                stream = self.streams[record.stream]
                dates_something = record.offset < stream.head and stream.low < stream.head
                if dates_something and (record.offset >= stream.low or self._end_of(read, place, record) > stream.low):
                    return
            self._pass(place)

    def reader_is(self, is_live: bool) -> None:
        """The owner came (or another one took over), or went."""
        self._wanted = is_live
        self._stalled = False
        self._full_since = None

    def header(self) -> bytes:
        """The index header as it must stand in the file before the holes are punched."""
        return index.pack_header(
            {name: stream.low for name, stream in self.streams.items()},
            {name: stream.dropped for name, stream in self.streams.items()},
            self.first,
        )

    def take_holes(self) -> list[tuple[str, int, int]]:
        """What can be punched now and was not yet: (``out``, ``err`` or ``index``, start, end), whole pages.

        Part of a page gives no memory back, so it waits for the rest. The page of the index header stays.
        """
        holes = []
        for name, stream in self.streams.items():
            end = stream.low - stream.low % self._page
            if end > stream._punched:
                holes.append((name, stream._punched, end))
                stream._punched = end
        end = self.first - self.first % self._page
        start = max(self._punched, self._page)
        if end > start:
            holes.append(("index", start, end))
            self._punched = end
        return holes

    def keep_hole(self, name: str, start: int) -> None:
        """What was taken as a hole from there on could not be punched, and is due again."""
        if name in self.streams:
            self.streams[name]._punched = start
        else:
            self._punched = start

    def row(self) -> dict[str, dict[str, object]]:
        """The streams as a process row shows them."""
        return {
            name: {
                "head": stream.head,
                "low": stream.low,
                "acked": stream.acked,
                "dropped": stream.dropped,
                "open": stream.is_open,
            }
            for name, stream in self.streams.items()
        }

    def _records(self, read: ReadIndex, place: int | None = None) -> Iterator[tuple[int, index.Record | None]]:
        """Place and record of each, from ``first`` on, reading a window of the file at a time."""
        place = self.first if place is None else place
        while place < self.end:
            window = read(place, min(_WINDOW, self.end - place))
            whole = len(window) - len(window) % index.RECORD_SIZE
            if not whole:
                return
            for at in range(0, whole, index.RECORD_SIZE):
                yield place + at, index.unpack_record(window, at)
            place += whole

    def _end_of(self, read: ReadIndex, place: int, record: index.Record) -> int:
        """Where the bytes that a record dates end: at the next record of its stream, or at the head."""
        for _, later in self._records(read, place + index.RECORD_SIZE):
            if later is not None and later.stream == record.stream:
                return min(later.offset, self.streams[record.stream].head)
        return self.streams[record.stream].head

    def _shorten(self, stream: Stream, end: int, goal: int) -> None:
        """Give back a stream's oldest bytes, at most up to *end*, until no more than *goal* is held."""
        stream._give_back(min(end, stream.low + max(0, self.held - goal)))

    def _pass(self, place: int) -> None:
        self.first = place + index.RECORD_SIZE
        for stream in self.streams.values():
            if stream._stamp_place == place:
                stream._stamp_place = None

    def _pass_all(self) -> None:
        self.first = self.end
        for stream in self.streams.values():
            stream._stamp_place = None
