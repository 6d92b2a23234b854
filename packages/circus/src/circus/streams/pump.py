"""The output of all processes on its way into their log files: the door of the streams for the engine.

The idea: the engine says which processes there are and where their streams go; everything else happens here and never
enters the engine's mailbox. Each real path has one `Channel`, however many streams share it. Notices of the kernel
only wake a channel; what is new is read off the kernel's files.

Nothing here waits without a bound: `drained`, `flush` and `close` end after theirs, and a sink that fails lets those
go who wait for it. What was not acknowledged stays in the kernel for the next circusd.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from circus.config.model import StreamConfig
from circus.errors import CircusError
from circus.logbook.copies import Kept
from circus.logbook.writing import Laid
from circus.streams import lag, pressure, store
from circus.streams.bulletin import Bulletin, unwritten
from circus.streams.channel import Channel
from circus.streams.commits import Commits, Kernel, Seen, Step
from circus.streams.health import unanswered
from circus.streams.held import Held
from circus.streams.ledger import Ledger, LogsPlace
from circus.streams.logged import LogSink
from circus.streams.press import Presses
from circus.streams.render import STREAMS
from circus.streams.routes import Routes
from circus.streams.sinks import Sink
from circus.streams.store import Intent
from circus.streams.tally import Tally
from circus.streams.tap import ENDED, Attached, Process, Source, Tap
from circus.streams.waiters import Waiters
from circus.streams.workers import Workers
from papa.errors import PapaError

__all__ = ["Attached", "Pump"]

log = logging.getLogger("circus.streams")

#: An exit waits at most so long for its output to be written: its slot is wanted again.
DRAIN_LIMIT_S = 5.0

#: The end of circusd does not wait longer for the last commit.
CLOSE_LIMIT_S = 1.0

#: News of processes that were not added yet (a program that ends before its spawn was answered).
MAX_EARLY = 4096


class Pump:
    """``kernel`` is an AsyncPapa; ``prefix`` the names' prefix of this circusd; ``on_event`` gets (kind, fields).

    ``place`` is for the index of log files and the store of what goes elsewhere.

    Events: output_dropped, output_held, output_freed, sink_failed, sink_recovered, output_doubt, commit_failed,
    compress_failed, compress_recovered, file_changed.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        prefix: str,
        on_event: Callable[[str, dict[str, Any]], None],
        place: LogsPlace | None = None,
    ) -> None:
        self._kernel = kernel
        self._prefix = prefix
        self._on_event = on_event
        self._commits = Commits(kernel)
        self._ledger = Ledger(place)
        self._waiters = Waiters()
        self._routes = Routes(
            self._commits,
            self,
            prefix=prefix,
            begin=self._begin,
            on_refused=self._on_refused,
            on_sought=self._on_trouble,
            on_failing=self._waiters.tell,
        )
        self._processes: dict[int, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bulletin = Bulletin(on_event)
        self._held = Held(on_event, self._sources, lambda source: self._routes.failure_of(source))
        self._early: dict[int, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self.presses = Presses(Workers(), self._begin, on_event)
        self.presses.on_pressed = self._ledger.on_pressed
        self._is_started = False

    def know_with(self, values_of: Callable[[set[int]], Mapping[str, str | None]]) -> None:
        """``values_of`` is asked before output of processes (by kernel id) is acknowledged; they go with it."""
        self._commits.known_with = values_of

    # What the engine says -----------------------------------------------------------------------------------

    def configure(self, watcher: str, streams: Mapping[str, StreamConfig | None], processes: int = 1) -> None:
        """Where ``out`` and ``err`` of the watcher's ``processes`` go; None is circusd's own standard output.

        Again for a known watcher: what was taken until now still goes to the old place.
        """
        if not self._routes.configure(watcher, streams, processes):
            return
        for process in self._processes.values():
            if process.watcher == watcher:
                self._tell_bounds(process)
            for source in process.sources.values() if process.watcher == watcher else ():
                if self._is_started:
                    self._routes.reconfigure(source)
                else:
                    source.config = self._routes.config_of(watcher, source.key.stream)

    def forget_watcher(self, watcher: str) -> None:
        """It is not configured any more; processes of it that are still there keep their files."""
        self._routes.forget_watcher(watcher)
        self._bulletin.tally.forget(watcher)

    async def add(self, process: Attached) -> None:
        """Take this process's output from the offsets that it has acknowledged; before `start` nothing is written."""
        early = self._early.pop(process.kernel_id, [])
        self.forget(process.kernel_id)
        tap = Tap(process.files)
        known = Process(process.kernel_id, process.watcher, tap, bounds=process.bounds)
        self._tell_bounds(known)
        for stream in process.files.streams:
            acked = process.acked.get(stream, 0)
            source = Source(
                store.SourceKey(process.kernel_id, stream),
                tap,
                process.watcher,
                process.wid,
                process.pid,
                written=acked,
                committed=acked,
                config=self._routes.config_of(process.watcher, stream),
            )
            if not self._is_started and process.lost.get(stream):
                self._bulletin.tally.of(source).dropped += process.lost[stream]
            known.sources[stream] = source
        self._processes[process.kernel_id] = known
        self._note_ended(known, process.ended)
        for tell, args in early:
            tell(process.kernel_id, *args)
        if self._is_started:
            self._routes.bind(known.sources.values())
        self._drop_if_finished(known)

    async def start(self) -> None:
        """Settle what an earlier circusd left half written, and let the output flow; once, however often it is asked.

        Raises: PapaError when the kernel cannot be asked.
        """
        if self._is_started:
            return  # a start that lost the kernel later on is made again
        rows = await self._kernel.list("values", f"{self._prefix}sink.*")
        await self._routes.look_for_earlier()
        self._is_started = True
        intents = []
        for row in rows:
            try:
                intents.append(store.decode(row["value"]))
            except ValueError as error:
                self._on_event("output_doubt", {"path": row["name"], "reason": str(error), "bytes": 0})
                self._begin(self._commits.commit(Step(values={row["name"]: None})))
        sources = [source for process in self._processes.values() for source in process.sources.values()]
        self._routes.resume(intents, sources)

    async def reattach(self, process: Attached) -> None:
        """The kernel was lost and is back: go on with the new descriptors where the old ones stopped."""
        known = self._processes.get(process.kernel_id)
        if known is None:
            await self.add(process)
            return
        known.bounds = process.bounds
        self._tell_bounds(known)
        old, known.tap = known.tap, Tap(process.files)
        for source in known.sources.values():
            source.tap = known.tap
        old.retire()
        self._note_ended(known, process.ended)
        for source in known.sources.values():
            if channel := self._routes.channel_of(source):
                channel.kernel_is_back()
                channel.heat(source)

    def forget(self, kernel_id: int) -> None:
        """The kernel does not know this process any more, or somebody else takes its output."""
        process = self._processes.pop(kernel_id, None)
        self._early.pop(kernel_id, None)
        if process is None:
            return
        for source in process.sources.values():
            source.is_gone = True
            self._held.forget(source)
            self._routes.leave(source)
        process.tap.retire()
        self._waiters.tell()

    async def let_go(self, kernel_ids: Iterable[int], timeout_s: float) -> None:
        """Take nothing more of these processes. What was taken is written and committed first, so that whoever takes
        their output next goes on where it ends; what cannot be committed within ``timeout_s`` may come twice."""
        processes = [process for each in kernel_ids if (process := self._processes.get(each)) is not None]
        sources = [source for process in processes for source in process.sources.values()]
        for source in sources:
            self._routes.part(source)
        await self._waiters.wait_until(lambda: all(source.is_finished for source in sources), timeout_s)
        for process in processes:
            self.forget(process.kernel_id)

    # What the kernel says -----------------------------------------------------------------------------------

    def on_output(self, items: Iterable[tuple[int, int | None, int | None]]) -> None:
        """The kernel's event ``output``: (kernel id, head of out, head of err)."""
        for kernel_id, out, err in items:
            process = self._processes.get(kernel_id)
            if process is None:
                continue  # it is looked at when it is added
            is_heard = False
            for stream, head in (("out", out), ("err", err)):
                source = process.sources.get(stream)
                if source is None or head is None or head <= source.noticed:
                    continue
                source.noticed = head
                if channel := self._routes.channel_of(source):
                    channel.heat(source)
                    is_heard = is_heard or channel.failure is None
            if not is_heard and len(process.sources) > 1:
                self._commits.tell_seen([self.seen_of(kernel_id)])

    def on_eof(self, kernel_id: int, stream: str, head: int) -> None:
        """The kernel's event ``eof``: the stream ended at ``head``."""
        process = self._processes.get(kernel_id)
        if process is None:
            self._keep_early(kernel_id, self.on_eof, (stream, head))
            return
        if source := process.sources.get(stream):
            source.end = head
            self._release(source, ENDED)
            self._drop_if_finished(process)

    def on_exit(self, kernel_id: int, heads: Mapping[str, int | None]) -> None:
        """The kernel's event ``exit``: everything that the process itself wrote lies below ``heads``."""
        process = self._processes.get(kernel_id)
        if process is None:
            self._keep_early(kernel_id, self.on_exit, (heads,))
            return
        process.exit_heads = {stream: head for stream, head in heads.items() if head is not None}
        for stream, head in process.exit_heads.items():
            if source := process.sources.get(stream):
                self._release(source, head)
        self._waiters.tell()

    # Waiting ------------------------------------------------------------------------------------------------

    async def drained(self, kernel_id: int) -> None:
        """All output up to the exit is committed, or its sink fails, or DRAIN_LIMIT_S have passed."""
        await self._waiters.wait_until(lambda: self._is_drained(kernel_id), DRAIN_LIMIT_S)

    async def flush(self, timeout_s: float) -> None:
        """Everything taken so far is written and committed, where the sinks work; at most ``timeout_s``."""
        for channel in self._routes:
            channel.heat_all()
        await self._waiters.wait_until(
            lambda: all(channel.is_resting or channel.failure is not None for channel in self._routes), timeout_s
        )

    async def close(self) -> None:
        """Let go of everything; what is not committed stays with the kernel."""
        self._held.close()
        await self.presses.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Only now: a channel that still ran could write under the intent that is taken back here.
        steps = [step for channel in self._routes if (step := channel.closed_intent()) is not None]
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await asyncio.gather(*map(self._commits.commit, steps))
        except (TimeoutError, PapaError) as error:
            log.warning("last commit not made reason=%s", error or "no answer")
        await self._commits.close()
        await self._routes.close()
        self._ledger.close()
        for process in self._processes.values():
            process.tap.retire()
        self._processes.clear()
        self._waiters.tell()

    def hear(self, hear: Callable[[Laid], None] | None) -> None:
        """From now on it is told what is written, whosever and wherever; None: nobody is."""
        self._ledger.hear = hear

    def counters(self) -> dict[str, dict[str, dict[str, float]]]:
        """watcher -> stdout, stderr -> bytes, gaps, dropped, sink_errors, held, lag_s."""
        return self._bulletin.counters(self._sources())

    def tallied(self) -> dict[str, dict[str, dict[str, float]]]:
        """watcher -> stdout, stderr -> bytes, gaps, dropped, sink_errors."""
        counted = self._bulletin.tally.by_watcher()
        return {name: {STREAMS[each]: told for each, told in streams.items()} for name, streams in counted.items()}

    @property
    def tally(self) -> Tally:
        return self._bulletin.tally

    def positions(self) -> lag.Positions:
        """Where the sinks stand; see there."""
        return lag.positions(self._sources(), lambda source: self._routes.failure_of(source) is not None)

    def troubles(self) -> list[str]:
        """What is wrong with the output, for people: a sentence for each file and each watcher concerned."""
        told = [
            unwritten(channel.sources.values(), channel.sink.path, channel.failure)
            for channel in self._routes
            if channel.failure is not None
        ]
        told += [unwritten(sources, path, unanswered()) for path, sources in self._routes.unanswered().items()]
        told += self.presses.troubles()
        told += self._bulletin.tally.losses()
        if self._ledger.trouble:
            told.append(self._ledger.trouble)
        return told

    # What the channels say ----------------------------------------------------------------------------------

    def seen_of(self, kernel_id: int) -> Seen:
        sources = self._processes[kernel_id].sources if kernel_id in self._processes else {}
        out, err = sources.get("out"), sources.get("err")
        return kernel_id, out.noticed if out else None, err.noticed if err else None

    def is_shared(self, source: Source) -> bool:
        return self._routes.is_shared(source)

    def is_divided(self, kernel_id: int) -> bool:
        """Whether its streams go to different sinks."""
        process = self._processes.get(kernel_id)
        if process is None or len(process.sources) < 2:
            return False
        return len({self._routes.channel_of(source) for source in process.sources.values()}) > 1

    def keeps_copies(self, sink: Sink) -> bool:
        # What goes into circusd's own log is there for people to see.
        return self._ledger.keeps_copies and not sink.keeps_intents and not isinstance(sink, LogSink)

    async def lay(self, laid: Laid | None, kept: list[Kept]) -> None:
        await self._ledger.lay(laid, kept)

    def on_attached(self, channel: Channel, source: Source) -> None:
        stream = STREAMS[source.key.stream]
        if channel.sink.keeps_intents:
            self._ledger.attached(channel.sink.path, source.watcher, stream)
        elif self.keeps_copies(channel.sink):
            self._ledger.attached(None, source.watcher, stream)

    def on_written(self, source: Source, byte_count: int, gap_bytes: int, path: str) -> None:
        self._bulletin.written(source, byte_count, gap_bytes, path)

    def on_dropped(self, channel: Channel, source: Source, byte_count: int) -> None:
        self._bulletin.tally.of(source).dropped += byte_count
        self.on_trouble(channel, "output_dropped", {"stream": source.key.stream, "bytes": byte_count})

    def on_committed(self, sources: Iterable[Source]) -> None:
        sources = list(sources)
        self._held.look(sources)
        for source in sources:
            if (process := self._processes.get(source.key.kernel_id)) is not None:
                self._drop_if_finished(process)
        self._waiters.tell()

    def on_intent(self, channel: Channel, intent: Intent | None) -> None:
        self.presses.on_intent(channel.sink.path, intent, channel.packed_backups)

    def on_rested(self, channel: Channel) -> None:
        del channel
        self._waiters.tell()

    def on_movable(self, source: Source) -> None:
        if source.is_parting:
            source.is_gone = True
            self._routes.leave(source)
            self._waiters.tell()
        else:
            self._routes.move(source)

    def on_closed(self, channel: Channel) -> None:
        self._routes.on_closed(channel)
        self.presses.on_closed(channel.sink.path)

    def on_unknown(self, kernel_ids: Iterable[int]) -> None:
        for kernel_id in kernel_ids:
            self.forget(kernel_id)

    def on_trouble(self, channel: Channel, kind: str, fields: dict[str, object]) -> None:
        self._on_trouble(list(channel.sources.values()), channel.sink.path, kind, fields)

    def _on_trouble(self, sources: list[Source], path: str, kind: str, fields: Mapping[str, object]) -> None:
        self._bulletin.trouble(sources, path, kind, fields)
        if kind == "sink_failed":
            self._held.look_later()

    def _on_refused(self, sources: list[Source], error: CircusError) -> None:
        self._bulletin.trouble(sources, "", "sink_failed", {"reason": str(error), "retry_in_s": None})

    def _sources(self) -> Iterator[Source]:
        return (source for process in self._processes.values() for source in process.sources.values())

    async def known_ids(self) -> set[int]:
        return {row["id"] for row in await self._kernel.list("processes")}

    # Small things -------------------------------------------------------------------------------------------

    def _tell_bounds(self, process: Process) -> None:
        """A process that is already there obeys options that are new, or that it had from another circusd."""
        streams = self._routes.streams_of(process.watcher)
        if streams and (bounds := pressure.news(streams, process.bounds)) is not None:
            with contextlib.suppress(PapaError):  # it is told when the kernel is back
                self._kernel.post("bounds", id=process.kernel_id, bounds=bounds)
                process.bounds = bounds

    def _release(self, source: Source, offset: int) -> None:
        """Below ``offset`` nothing waits for the end of its line."""
        source.release_to = max(source.release_to, offset)
        if channel := self._routes.channel_of(source):
            channel.heat(source)

    def _note_ended(self, process: Process, streams: Iterable[str]) -> None:
        for stream in streams:
            if source := process.sources.get(stream):
                source.end = source.tap.files.head(stream)
                self._release(source, ENDED)

    def _drop_if_finished(self, process: Process) -> None:
        """Streams that are written to their end leave their files; with the last one the process is done with."""
        for source in process.sources.values():
            if source.is_finished:
                self._routes.leave(source)
        if process.is_finished and self._processes.get(process.kernel_id) is process:
            del self._processes[process.kernel_id]
            process.tap.retire()

    def _keep_early(self, kernel_id: int, tell: Callable[..., None], args: tuple[Any, ...]) -> None:
        if kernel_id not in self._early and len(self._early) >= MAX_EARLY:
            del self._early[next(iter(self._early))]
        self._early.setdefault(kernel_id, []).append((tell, args))

    def _is_drained(self, kernel_id: int) -> bool:
        process = self._processes.get(kernel_id)
        if process is None:
            return True
        if process.exit_heads is None:
            return False
        return all(
            source.is_finished
            or source.committed >= process.exit_heads.get(stream, 0)
            or self._routes.failure_of(source) is not None
            for stream, source in process.sources.items()
        )

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the streams failed", exc_info=error)
