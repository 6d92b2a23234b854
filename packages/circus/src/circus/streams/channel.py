"""One sink and the sources that run into it: the wheel of look, commit, write, commit.

The idea: one trip of the worker's thread writes the batch that was committed as an intent and decides the next one;
one commit acknowledges the first and announces the second. So a busy file costs one trip and one round trip per batch,
and a quiet one nothing. What the kernel does not know yet is always ``written`` minus ``committed``: a commit that
failed is simply made again from the state, and making it twice does no harm.

A sink that fails holds its own sources only: it is tried again after 1 s, doubling to 30 s, and whoever waits for it
is told so instead of kept waiting. One whose disk hangs is waited for, because only its thread can say what was
written; a source that is to go elsewhere does not wait: if its bytes were just being written, that is said as a doubt.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from circus import clock
from circus.config import options
from circus.config.model import StreamConfig
from circus.logbook.copies import Kept
from circus.logbook.writing import Laid
from circus.streams import compare, filling, plan, store
from circus.streams.backups import Backups
from circus.streams.changes import Change, Telling
from circus.streams.commits import Commits, Seen, Step
from circus.streams.health import Health
from circus.streams.intervals import Schedule
from circus.streams.sinks import FileSink, Sink
from circus.streams.store import DATA, DOUBT, GAP, OPEN, Intent, Place, Segment, SourceKey
from circus.streams.tap import Source, View
from circus.streams.trip import Permit, Trip, settle, travel
from circus.streams.workers import Worker
from papa.errors import PapaError

T = TypeVar("T")

#: A lost kernel is asked again after this, doubling to the last; `Channel.kernel_is_back` shortens it.
LOST_FIRST_S = 0.05
LOST_LAST_S = 2.0


class Owner(Protocol):
    """What a channel tells the pump."""

    def seen_of(self, kernel_id: int) -> Seen: ...
    def is_divided(self, kernel_id: int) -> bool: ...
    def is_shared(self, source: Source) -> bool: ...
    def on_written(self, source: Source, byte_count: int, gap_bytes: int, path: str) -> None: ...
    def on_dropped(self, channel: Channel, source: Source, byte_count: int) -> None: ...
    def on_committed(self, sources: Iterable[Source]) -> None: ...
    def on_attached(self, channel: Channel, source: Source) -> None: ...
    def on_rested(self, channel: Channel) -> None: ...
    def on_intent(self, channel: Channel, intent: Intent | None) -> None: ...
    def on_movable(self, source: Source) -> None: ...
    def on_unknown(self, kernel_ids: Iterable[int]) -> None: ...
    def on_closed(self, channel: Channel) -> None: ...
    def keeps_copies(self, sink: Sink) -> bool: ...
    async def lay(self, laid: Laid | None, kept: list[Kept]) -> None: ...
    def on_trouble(self, channel: Channel, kind: str, fields: dict[str, object]) -> None: ...
    async def known_ids(self) -> set[int]: ...


class Channel:
    """``previous``: the intent that an earlier circusd left for this file. ``run`` is its task's whole life."""

    def __init__(
        self, sink: Sink, worker: Worker, commits: Commits, owner: Owner, *, prefix: str, previous: Intent | None = None
    ) -> None:
        self.sink = sink
        self.sources: dict[SourceKey, Source] = {}
        self.is_resting = True
        self._worker = worker
        self._commits = commits
        self._owner = owner
        self._value = store.value_name(prefix, sink.path)
        self._previous = previous
        self._intent = previous
        self._place: Place | None = None
        self._hot: dict[SourceKey, None] = {}
        self._wake = asyncio.Event()
        self._health = Health(lambda kind, fields: owner.on_trouble(self, kind, fields), lambda: owner.on_rested(self))
        #: Of the trip that the thread is on, or that waits for it; and whether the thread hangs.
        self._permit = Permit()
        self._is_hung = False
        self._limited: set[SourceKey] = set()
        self._doubt_bytes = 0
        self._telling = Telling()
        self.packed_backups: Backups | None = None  # if they are to be compressed

    @property
    def failure(self) -> OSError | None:
        return self._health.failure

    # What the pump does -------------------------------------------------------------------------------------

    def attach(self, source: Source) -> None:
        self.sources[source.key] = source
        self._doubt_bytes += source.doubt_bytes
        source.doubt_bytes = 0
        self._owner.on_attached(self, source)
        self.heat(source)

    def detach(self, source: Source) -> None:
        """The source is gone or goes elsewhere."""
        self.sources.pop(source.key, None)
        self._hot.pop(source.key, None)
        self.is_resting = False
        self._wake.set()
        if not self.sources:
            self._health.poke()

    def heat(self, source: Source) -> None:
        """There may be something new of this source. Its process is not heard of while it is busy: nor is its twin."""
        self._hot[source.key] = None
        twin = SourceKey(source.key.kernel_id, "err" if source.key.stream == "out" else "out")
        if twin in self.sources:
            self._hot[twin] = None
        self.is_resting = False
        self._wake.set()

    def heat_all(self) -> None:
        for source in self.sources.values():
            self.heat(source)

    def yield_now(self) -> None:
        """A failing sink lets go of the sources that are to move."""
        self._health.poke()
        if self._is_hung:
            self._let_go_of_movers()

    def kernel_is_back(self) -> None:
        self._health.poke()

    def closed_intent(self) -> Step | None:
        """For the end of circusd: no more bytes are to come, so whatever is found behind is somebody else's."""
        if not self.sink.keeps_intents or self._intent is None or not self._intent.segments:
            return None
        if self._intent.open_segment is None or not self.is_resting or self._place is None:
            return None
        intent = Intent(self.sink.path, self._place, dated_s=self._place.dated_s, overtaken=self._overtaken())
        return Step(values={self._value: store.encode(intent)})

    def _overtaken(self, also: Container[SourceKey] = ()) -> tuple[tuple[SourceKey, int], ...]:
        """What the next circusd cannot know from the kernel: what was written, or told by a mark, up to there."""
        return tuple(
            (key, source.written) for key, source in self.sources.items() if source.is_overtaken or key in also
        )

    # Its life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        if self._previous is not None and self.sources:
            await self._settle_previous(self._previous)
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_what_is_ready()
            if not self.sources and await self._let_go():
                return
            if not self._hot and not self._wake.is_set():
                self.is_resting = True
                self._owner.on_rested(self)

    async def _let_go(self) -> bool:
        """No source is left: forget the file. False when one came meanwhile."""
        if self._intent is not None:
            await self._commit(None, [])
        if self.sources:
            return False
        self.close()
        return True

    def on_done(self, task: asyncio.Task[None]) -> bool:
        """Whether a fault of ours ended its task: its sources are held, and others go on; see `begin_anew`."""
        if task.cancelled() or (error := task.exception()) is None:
            return False
        self._health.fails(OSError(f"{type(error).__name__}: {error}"))
        return True

    async def begin_anew(self) -> None:
        """After a fault, as the next circusd would: by comparing, so that nothing is written twice."""
        await self._worker.run(self.sink.close)
        self._previous, self._place = self._intent, None
        self.heat_all()
        await self.run()

    def close(self) -> asyncio.Future[None]:
        """The worker closes the file when it has done what it is doing; then the future is done."""
        closing = self._worker.run(self.sink.close)
        self._owner.on_closed(self)
        return closing

    async def _settle_previous(self, intent: Intent) -> None:
        views = {key: source.view() for key, source in self.sources.items()}
        finding = None
        while finding is None:
            try:
                self._permit = Permit(filling.Batch(intent.segments))
                call = functools.partial(settle, self.sink, intent, views, self._permit)
                finding = await self._send(call, views.values())
            except OSError as error:
                if any(source.limit is not None for source in self.sources.values()):
                    finding = compare.Finding(doubt=error.strerror or str(error))  # they are to leave it anyway
                else:
                    await self._health.back_off(error)
        await self._owner.lay(finding.laid, [])
        self._tell_of([finding.change] if finding.change is not None else [])
        for key, offset in finding.done.items():
            if key in self.sources:
                source = self.sources[key]
                source.written = max(source.written, offset)
        if finding.doubt:
            self._doubt_bytes = max(1, sum(map(self._length, intent.segments)))
            self._owner.on_trouble(self, "output_doubt", {"reason": finding.doubt, "bytes": self._doubt_bytes})
        elif not finding.done and intent.segments and intent.segments[0].kind == DOUBT:
            self._doubt_bytes = intent.segments[0].end  # it was about to be said
        for source in self.sources.values():
            self.heat(source)

    def _tell_of(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if (fields := self._telling.tell(change, clock.monotonic())) is not None:
                self._owner.on_trouble(self, "file_changed", fields)

    def _length(self, segment: Segment) -> int:
        if segment.kind != DATA:
            return 0
        if segment.end != OPEN:
            return segment.end - segment.start
        source = self.sources.get(segment.source)
        return source.tap.files.head(segment.source.stream) - segment.start if source is not None else 0

    # One turn -----------------------------------------------------------------------------------------------

    async def _write_what_is_ready(self) -> None:
        batch: filling.Batch | None = None
        while self.sources:
            at_ns = int(clock.wall() * 1e9)
            taken, self._hot = self._hot, {}
            trip = await self._travel(batch, taken, at_ns)
            await self._owner.lay(trip.laid, trip.kept)  # before it is acknowledged
            self._apply(trip)
            if isinstance(self.sink, FileSink):
                self._tell_of(self.sink.take_changes())
            batch = self._still_wanted(trip.survey.batch if trip.survey is not None else None)
            await self._commit_turn(batch, trip, at_ns)
            if batch is not None or trip.survey is None or not trip.survey.is_quiet:
                self._keep_hot(taken, batch)
            self._let_move(batch, trip)
            if trip.error is not None and self.sources:
                await self._health.back_off(trip.error)
            elif trip.error is None:
                self._health.works()
            if batch is None and not self._hot:
                return

    async def _travel(self, batch: filling.Batch | None, taken: dict[SourceKey, None], at_ns: int) -> Trip:
        views = [self.sources[key].view() for key in taken if key in self.sources]
        self._limited = {view.key for view in views if view.limit is not None}
        # One that is to move leaves a begun line to its new file, as a whole; whoever is yet to come must not find one.
        is_alone = len(self.sources) == 1 and not self._limited and not self._owner.is_shared(*self.sources.values())
        sink, intent, limits, doubt_bytes = self.sink, self._intent, self._limits(), self._doubt_bytes

        def survey(views: list[View], place: Place, has_written: bool) -> plan.Survey:
            doubt = 0 if has_written else doubt_bytes
            return plan.survey(views, place, limits, is_alone=is_alone, doubt_bytes=doubt, at_ns=at_ns)

        def is_announced(place: Place, batch: filling.Batch) -> bool:
            return intent is not None and intent.allows(batch.intent(sink.path, place, at_ns))

        wanted = self._still_wanted(batch)  # a source may have left during the commit
        permit = self._permit = Permit()
        keeps = self._owner.keeps_copies(sink)
        call = functools.partial(travel, sink, wanted, views, survey, is_announced, permit, keeps_copies=keeps)
        return await self._send(call, views)

    async def _send(self, call: Callable[[], T], views: Iterable[View]) -> T:
        """Let the worker do it; the files stay open until it has, whatever happens to us meanwhile."""
        taps = [view.tap for view in views]
        for tap in taps:
            tap.acquire()

        def release() -> None:
            for tap in taps:
                tap.release()

        try:
            return await self._worker.run(call, release, self._on_hang)
        finally:
            self._is_hung = False

    def _on_hang(self) -> None:
        self._is_hung = True
        self._health.hangs()
        self._let_go_of_movers()

    def _let_go_of_movers(self) -> None:
        """The thread does not say how far the sources got that are to go elsewhere: they go all the same."""
        for source in [source for source in self.sources.values() if source.limit is not None]:
            begun = self._permit.withdraw()
            segments = begun.segments if begun is not None else ()
            if count := sum(self._length(segment) for segment in segments if segment.source == source.key):
                source.doubt_bytes += count
                reason = "its disk did not answer while they were being written: they may stand in both files"
                self._owner.on_trouble(self, "output_doubt", {"reason": reason, "bytes": count})
            self._owner.on_movable(source)

    def _limits(self) -> filling.Limits:
        """Streams that share a file share its limits: the largest, so that nothing is rotated away too early."""
        configs = [source.config for source in self.sources.values() if source.config is not None]
        limits = filling.Limits(
            max_bytes=max((config.max_bytes for config in configs), default=0),
            backup_count=max((config.backup_count for config in configs), default=0),
            schedule=next(filter(None, map(_schedule, configs)), None) if self.sink.keeps_intents else None,
            needs_payload=not self.sink.keeps_intents,
            needs_lines=any(config.class_name in options.SENDING_CLASSES for config in configs),
        )
        is_packed = self.sink.keeps_intents and any(config.compress for config in configs)
        digits = len(limits.schedule.name(0)) if limits.schedule is not None else 0
        self.packed_backups = (
            Backups(self.sink.path, self.sink.worker_key, limits.backup_count, digits) if is_packed else None
        )
        return limits

    def _apply(self, trip: Trip) -> None:
        """Take over what the thread found out about the sources."""
        if trip.place is not None:
            self._place = trip.place
        if trip.survey is not None:
            for key, offset in trip.survey.scanned.items():
                if key in self.sources:
                    self.sources[key].scanned = offset
            for key, head in trip.survey.heads.items():
                if key in self.sources:
                    self.sources[key].noticed = max(self.sources[key].noticed, head)
        if trip.written is None or trip.batch is None:
            return
        if trip.written.done:
            self._doubt_bytes = 0
        for segment in trip.batch.segments:
            source, done = self.sources.get(segment.source), trip.written.done.get(segment.source)
            if source is None or done is None:
                continue
            source.written = max(source.written, done)
            count = max(0, min(done, segment.end) - segment.start)
            is_gap = segment.kind == GAP
            self._owner.on_written(source, 0 if is_gap else count, count if is_gap else 0, self.sink.path)
            if trip.written.dropped_bytes:
                # Which of them wrote the bytes that were not taken is not known: the first stands for all.
                self._owner.on_dropped(self, source, trip.written.dropped_bytes)
                trip.written.dropped_bytes = 0

    def _still_wanted(self, batch: filling.Batch | None) -> filling.Batch | None:
        """A source may have been told to move while the thread was deciding."""
        for key, end in batch.ends.items() if batch is not None else ():
            source = self.sources.get(key)
            if source is None or (source.limit is not None and end > source.limit):
                return None
        return batch

    def _keep_hot(self, taken: Iterable[SourceKey], batch: filling.Batch | None) -> None:
        """They are looked at again; those that had their turn come last."""
        served = set(batch.ends) if batch is not None else set()
        fresh, self._hot = self._hot, {}
        order = [*(key for key in taken if key not in served), *fresh, *(key for key in taken if key in served)]
        self._hot.update((key, None) for key in order if key in self.sources)

    def _let_move(self, batch: filling.Batch | None, trip: Trip) -> None:
        """Sources that are to go elsewhere go when nothing of theirs is left here, or when this sink fails."""
        busy = set(batch.ends) if batch is not None else set()
        for key, source in list(self.sources.items()):
            # A thread that was sent off before the limit was set has said nothing about it.
            is_empty = trip.survey is None or (key in trip.survey.heads and key in self._limited)
            if source.limit is not None and is_empty and key not in busy:
                self._owner.on_movable(source)

    # Commits ------------------------------------------------------------------------------------------------

    async def _commit_turn(self, batch: filling.Batch | None, trip: Trip, at_ns: int) -> None:
        looked_at = dict.fromkeys(key.kernel_id for key in (trip.survey.heads if trip.survey is not None else ()))
        # A process whose other stream goes elsewhere must be heard of also while this one is busy.
        heard = [each for each in looked_at if batch is None or self._owner.is_divided(each)]
        seen = [self._owner.seen_of(each) for each in heard]
        intent = self._next_intent(batch, at_ns)
        is_announced = batch is None or intent is None or (self._intent is not None and self._intent.allows(intent))
        if not is_announced or any(source.written > source.committed for source in self.sources.values()):
            await self._commit(intent, seen)
        elif batch is None:
            self._commits.tell_seen(seen)

    def _next_intent(self, batch: filling.Batch | None, at_ns: int) -> Intent | None:
        if not self.sink.keeps_intents or self._place is None:
            return None
        if batch is not None:
            return batch.intent(self.sink.path, self._place, at_ns)
        live = [source for source in self.sources.values() if source.end is None or source.written < source.end]
        if not live:
            return None
        segments: tuple[Segment, ...] = ()
        if len(live) == 1 and live[0].look is None and live[0].limit is None and not self._doubt_bytes:
            segments = (Segment(live[0].key, live[0].written, OPEN),)
        return Intent(self.sink.path, self._place, segments, dated_s=self._place.dated_s)

    async def _commit(self, intent: Intent | None, seen: list[Seen]) -> None:
        """Acknowledge what is written and announce the intent, however often that takes; None forgets the file."""
        values: dict[str, str | None] = {}
        if intent is None and self._intent is not None and (self._place is not None or not self.sources):
            values = {self._value: None}
        overtaken: set[SourceKey] = set()
        pause_s, reported = LOST_FIRST_S, ""
        while True:
            if intent is not None:
                values = {self._value: store.encode(replace(intent, overtaken=self._overtaken(overtaken)))}
            acked = [
                (source, source.written)
                for source in self.sources.values()
                if source.written > source.committed and source.key not in overtaken
            ]
            try:
                await self._commits.commit(Step({source.key: offset for source, offset in acked}, values, seen))
                break
            except PapaError as error:
                if await self._understand(error, acked, overtaken):
                    continue
                if error.code not in ("lost", "timeout", reported):
                    reported = error.code
                    self._owner.on_trouble(self, "commit_failed", {"reason": str(error)})
                await self._health.pause(pause_s)
                pause_s = min(pause_s * 2, LOST_LAST_S)
        for source, offset in acked:
            source.committed, source.is_overtaken = offset, False
        for key in overtaken & self.sources.keys():
            # The kernel dropped them and went on by itself; the gap is found by the next look.
            source = self.sources[key]
            source.committed, source.is_overtaken = source.written, True
            self.heat(source)
        if values:
            self._intent = intent
            self._owner.on_intent(self, intent)
        self._owner.on_committed(source for source, _ in acked)

    async def _understand(self, error: PapaError, acked: list[tuple[Source, int]], overtaken: set[SourceKey]) -> bool:
        """Whether the commit can be made again at once, without what the kernel refused."""
        if error.code == "overtaken":
            late = {source.key for source, offset in acked if source.tap.files.low(source.key.stream) > offset}
            overtaken |= late
            return bool(late)
        if error.code == "not-found":
            try:
                gone = {source.key.kernel_id for source, _ in acked} - await self._owner.known_ids()
            except PapaError:
                return False
            self._owner.on_unknown(gone)
            return bool(gone)
        return False


def _schedule(config: StreamConfig) -> Schedule | None:
    if config.rotate_when is None:
        return None
    return Schedule(config.rotate_when, config.rotate_interval, config.utc)
