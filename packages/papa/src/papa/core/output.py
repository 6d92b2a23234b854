"""The output of one process: what is held, what must wait and what must go.

Each stream is an append-only file whose offsets are absolute. Four numbers say all about it: ``head``
(taken from the pipe), ``low`` (below it the bytes are given back), ``acked`` (the owner has it),
``dropped`` (given back without being acknowledged). ``low <= head`` and ``acked <= head`` always; ``low``
and ``acked`` never go back. An index file (``papa.core.index``) dates the bytes; its bytes count into the
bound.

The cycle of one read, as the kernel's pipe room performs it:

1. ``next_step(now, stream)`` says READ, DROP or PAUSE. READ: go on. DROP: ``drop`` (it reads the index to find the
   oldest bytes of both streams), then ask again. PAUSE: stop polling the pipes until ``until`` or until an
   acknowledgement, then ask again.
2. ``note_arrival`` may give a record to write into the index *before* the bytes are taken.
3. Splice at most ``step_bytes``, and ``add`` what came; after a last byte ``close``.

Whenever ``low`` or the index's ``first`` has moved (``drop``, or ``ack`` followed by ``trim``): first write
``header()``, then punch ``take_holes()``; so a reader that finds NULs also finds why.

*When the bound is reached*: without a reader, or with overflow ``drop-oldest``, the oldest bytes go and are
counted. With a reader the process is slowed down, for at most ``stall_s`` without an acknowledgement; then
the reader counts as none until it acknowledges again, or another owner comes. So a burst loses nothing, and
a stopped manager freezes no service. With overflow ``hold`` nothing is ever dropped for the bound: the process
waits, reader or not, until bytes are acknowledged.

*A flood is lent more*: a bound that is enough for a burst makes a writer wait for its reader again and again, and the
reader take little at a time. So where a full stream has been acknowledged since it was full last, the ceiling of what
may be held is raised above its bound, twice as high each time, as far as the instance has something to ``spare``. What
is held when the reader goes, or stalls, or the kernel is killed, stays held; nothing more is lent to nobody.

*Both streams share one bound*, which their index counts into, and wait or lose together; or each has its own
(``Bounds.by_stream``). Then a full one stops its own pipe only, and loses its own oldest bytes. The index lies
between them and can be given back only from its begin on, so what is young in one stream may have to stay for
what is old in the other: it does not count then, but its stamps get coarser the longer it gets, by which it ends at
about the greater bound.

Time is an argument: ``now`` monotonic seconds; the wall and boot clocks of records in nanoseconds.
"""

from __future__ import annotations

from papa import model
from papa.core import index
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    #: ``read(offset, size)`` yields the index file's bytes from there, fewer at its end.
    ReadIndex = Callable[[int, int], bytes]

READ = "read"
DROP = "drop"
PAUSE = "pause"
#: Of a pause that only an acknowledgement ends.
FOREVER = float("inf")

#: The most that one splice takes, and the least that one drop frees of a large buffer: what a large pipe holds.
STEP = 256 * 1024
#: A splice of less than a page costs as much as one of a page.
MIN_STEP = 4096
#: Bytes of one stream taken within this time share a record: a busy stream costs 32 KB of index a second at
#: most.
SHARE_NS = 1_000_000
#: What may be held while a reader keeps up, in bounds.
LENT_BOUNDS = 8
#: An index that no bound counts is as fine as any for a fourth of the greater bound; then each 32nd part of that makes
#: its records date twice as long a time, at most until they date all that ever comes.
_INDEX_PARTS = 32
_FINE_PARTS = 8
_MAX_SHARE = 40
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
_HELD = Verdict(PAUSE, FOREVER)


class Bounds:
    """How much may be held, and what happens then; ``by_stream``: the bounds of each stream, instead."""

    __slots__ = ("bound", "by_stream", "overflow", "stall_s")

    def __init__(
        self,
        bound: int = model.DEFAULT_BOUND,
        overflow: str = model.BLOCK,
        stall_s: float = model.DEFAULT_STALL_S,
        by_stream: dict[str, Bounds] | None = None,
    ) -> None:
        self.bound = bound
        self.overflow = overflow
        self.stall_s = stall_s
        self.by_stream = by_stream

    @classmethod
    def of_spec(cls, spec: model.ProcessSpec) -> Bounds:
        return cls(spec.bound, spec.overflow, spec.stall_s).with_streams(spec.bounds)

    def with_streams(self, by_stream: Mapping[str, Sequence[Any]] | None) -> Bounds:
        """The same, with bounds of each stream that were checked already."""
        each = None if by_stream is None else {name: Bounds(*fields) for name, fields in by_stream.items()}
        return Bounds(self.bound, self.overflow, self.stall_s, each)

    def pack(self) -> list[Any]:
        return [self.bound, self.overflow, self.stall_s]

    def row(self) -> dict[str, dict[str, Any]]:
        """Those of each stream, as a request says them."""
        each = self.pack_streams() or {}
        return {name: dict(zip(model.BOUNDS_FIELDS, fields, strict=True)) for name, fields in each.items()}

    def pack_streams(self) -> dict[str, list[Any]] | None:
        return None if self.by_stream is None else {name: each.pack() for name, each in self.by_stream.items()}


class _Pool:
    """One bound, the streams that share it, and how their reader keeps up."""

    __slots__ = ("bounds", "ceiling", "full_since", "is_read", "is_stalled", "streams")

    def __init__(self, bounds: Bounds, streams: list[Stream]) -> None:
        self.bounds = bounds
        self.streams = streams
        #: The bound, or more while a reader keeps up.
        self.ceiling = bounds.bound
        #: Something was acknowledged since the ceiling was raised last, or a reader came.
        self.is_read = False
        #: The reader has not acknowledged for so long that it counts as none; the wait's begin.
        self.is_stalled = False
        self.full_since: float | None = None

    def forgive(self) -> None:
        self.is_stalled = False
        self.full_since = None

    def raise_ceiling(self, held: int, spare: int) -> bool:
        """Whether more than ``held`` may be held now."""
        if self.is_read:
            most = min(2 * self.ceiling, LENT_BOUNDS * self.bounds.bound, held + spare)
            self.is_read = most <= self.ceiling
            self.ceiling = max(self.ceiling, most)
        return spare > 0 and held < self.ceiling

    def lower_ceiling(self, held: int) -> None:
        """Nobody keeps up any more: what is held may stay, and no more comes to it."""
        self.is_read = False
        self.ceiling = min(self.ceiling, max(self.bounds.bound, held))


class Stream:
    """The four numbers of one stream, and whether its pipe still has a writer."""

    __slots__ = (
        "_punched", "_stamp_head", "_stamp_ns", "_stamp_place", "acked", "dropped", "head", "is_open", "low", "tried",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head = 0
        self.low = 0
        self.acked = 0
        self.dropped = 0
        self.is_open = True
        self._punched = 0
        #: The highest offset whose acknowledgement came too late.
        self.tried = 0
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
        "_page",
        "_pools",
        "_punched",
        "_wanted",
        "bounds",
        "end",
        "first",
        "streams",
    )

    def __init__(self, captured: Iterable[str], bounds: Bounds | None = None, *, page: int = 4096) -> None:
        self.streams = {name: Stream() for name in captured}
        self.set_bounds(bounds or Bounds())
        #: The index file: its first record that still counts, and where the next is written.
        self.first = index.HEADER_SIZE
        self.end = index.HEADER_SIZE
        self._page = page
        self._punched = 0
        #: A reader is there.
        self._wanted = False

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
        for name, pool in self._pools.items():
            # It was no lower than what is held without the last step.
            least = self._held_in(pool) - self.step_of(name) - index.RECORD_SIZE
            pool.ceiling = max(pool.bounds.bound, min(LENT_BOUNDS * pool.bounds.bound, least))
        return self

    def set_bounds(self, bounds: Bounds) -> None:
        """From here on these hold; may be called at any time."""
        self.bounds = bounds
        if bounds.by_stream is None:
            self._pools = dict.fromkeys(self.streams, _Pool(bounds, list(self.streams.values())))
        else:
            each = bounds.by_stream
            self._pools = {name: _Pool(each.get(name, bounds), [it]) for name, it in self.streams.items()}

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
        return min((self.step_of(stream) for stream in self.streams), default=STEP)

    def step_of(self, stream: str) -> int:
        return max(MIN_STEP, min(STEP, self._pools[stream].bounds.bound // 8))

    def held_of(self, stream: str) -> int:
        """What counts into the bound of a stream."""
        return self._held_in(self._pools[stream])

    def _held_in(self, pool: _Pool) -> int:
        index_bytes = self.index_bytes if self.bounds.by_stream is None else 0
        return index_bytes + sum(it.head - it.low for it in pool.streams)

    @property
    def lent(self) -> int:
        """How much is held above the bounds."""
        if self.bounds.by_stream is None:
            return max(0, self.held - self.bounds.bound)
        return sum(max(0, self._held_in(pool) - pool.bounds.bound) for pool in self._pools.values())

    @property
    def is_settled(self) -> bool:
        """Every stream is at its end and nothing of it is held: nothing will ever be asked for."""
        return all(not s.is_open and s.low == s.head for s in self.streams.values())

    # Reading from the pipes

    def next_step(self, now: float, stream: str = "", spare: int = 0) -> Verdict:
        """READ, DROP, or PAUSE until a moment; of the first stream when none is named.

        ``spare``: bytes that may be held above all bounds.
        """
        stream = stream or next(iter(self.streams))
        pool = self._pools[stream]
        held = self._held_in(pool)
        if held < pool.bounds.bound:
            pool.full_since = None
            return _READ
        if pool.bounds.overflow == model.HOLD:
            return _HELD
        if not self._wanted or pool.is_stalled or pool.bounds.overflow == model.DROP_OLDEST:
            return _DROP if held >= pool.ceiling else _READ
        if pool.raise_ceiling(held, spare):
            pool.full_since = None
            return _READ
        if pool.full_since is None:
            pool.full_since = now
        until = pool.full_since + pool.bounds.stall_s
        if now < until:
            return Verdict(PAUSE, until)
        pool.is_stalled = True
        pool.lower_ceiling(held)
        return _DROP

    def note_arrival(self, stream: str, wall_ns: int, boot_ns: int) -> tuple[int, bytes] | None:
        """The record to write before bytes are taken, with its place in the index; None: the last one serves.

        A record that dated nothing after all (the pipe was empty) and is the last in the file is written
        over.
        """
        it = self.streams[stream]
        place = self.end
        if it._stamp_place is not None:
            if 0 <= boot_ns - it._stamp_ns < self._share_ns():
                return None
            if it._stamp_head == it.head and it._stamp_place == self.end - index.RECORD_SIZE:
                place = it._stamp_place
        it._stamp_place = place
        it._stamp_head = it.head
        it._stamp_ns = boot_ns
        self.end = place + index.RECORD_SIZE
        return place, index.pack_record(stream, it.head, wall_ns, boot_ns)

    def _share_ns(self) -> int:
        """Twice as long for each part of an index that has outgrown what a bound counts."""
        if self.bounds.by_stream is None:
            return SHARE_NS
        part = max(pool.bounds.bound for pool in self._pools.values()) // _INDEX_PARTS + index.RECORD_SIZE
        return SHARE_NS << min(_MAX_SHARE, max(0, self.index_bytes // part - _FINE_PARTS))

    def add(self, stream: str, size: int) -> None:
        """*size* bytes were taken from the pipe into the stream's file."""
        self.streams[stream].head += size

    def close(self, stream: str) -> None:
        """The pipe's last writer is gone, and everything was taken."""
        self.streams[stream].is_open = False

    # Giving bytes back

    def drop(self, read: ReadIndex, size: int | None = None, stream: str = "") -> int:
        """Let the oldest bytes of both streams go, in the order in which they arrived; how many that were.

        Without *size*: enough to be below the bound by one step; of *stream* alone where it has a bound of its own.
        With *size*: at least so many bytes of output and index together, as far as there are any (for a bound that
        several processes share, or a full disk).
        """
        before = self.dropped
        if size is None and self.bounds.by_stream is not None:
            full = stream or next(iter(self.streams))
            it = self.streams[full]
            size = self.held_of(full) - self._pools[full].ceiling + self.step_of(full)
            it._give_back(min(it.head, it.low + max(0, size)))
            self.trim(read)
            return self.dropped - before
        if size is None:
            ceiling = max((pool.ceiling for pool in self._pools.values()), default=self.bounds.bound)
            size = self.held - ceiling + self.step_bytes
        goal = max(0, self.held - size)
        for place, record in self._records(read):
            if record is not None and record.stream in self.streams:
                it = self.streams[record.stream]
                end = self._end_of(read, place, record)
                self._shorten(it, end, goal)
                if it.low < end:
                    break
            self._pass(place)
        else:
            # Bytes that no record dates are younger than all that one does, or the index is damaged.
            self._pass_all()
            for it in self.streams.values():
                self._shorten(it, it.head, goal)
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

    def refuse_ack(self, stream: str, offset: int) -> None:
        """What ``check_ack`` found overtaken is a sign of life: the process shall wait for this reader again."""
        it = self.streams[stream]
        if offset > it.tried:
            it.tried = offset
            self._pools[stream].forgive()

    def ack(self, stream: str, offset: int) -> None:
        """The owner has everything below *offset*, which ``check_ack`` let pass. Call ``trim`` afterwards.

        Cannot fail: when bytes were dropped between the check and this (to make room for the journal's record of
        it), the offset counts all the same.
        """
        it = self.streams[stream]
        if offset > it.acked:
            # To repeat what is known is no progress: who only does that may not hold a process up for ever.
            self._pools[stream].forgive()
            self._pools[stream].is_read = True
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
        for pool in self._pools.values():
            pool.forgive()
            pool.lower_ceiling(self._held_in(pool))

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
