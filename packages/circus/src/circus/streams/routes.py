"""Which source runs into which channel, now and after a change of the configuration.

The idea: a channel is known by its real path, and to find that path may hang as long as its disk does. So binding is
a task of its own, and nobody but the sources of that path waits for it. Sources that an earlier circusd's intent
names go to that intent's file first, wherever they are to go later: only there can be found out how far they got.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from circus.config.model import StreamConfig
from circus.errors import CircusError
from circus.streams import called, sinks, store
from circus.streams.channel import Channel, Owner
from circus.streams.commits import Commits, Step
from circus.streams.earlier import Earlier
from circus.streams.health import Health
from circus.streams.store import Intent, SourceKey
from circus.streams.tap import Source
from circus.streams.workers import Workers

#: A fault of ours is seldom over at once.
FAULT_PAUSE_S = 30.0

#: A hung disk is left to its thread after this.
CLOSE_LIMIT_S = 1.0

T = TypeVar("T")

#: What a configuration names, as written: equal names are one sink.
File = tuple[str, str | None] | None

Begin = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Routes:
    """``begin`` starts a task and looks after it; ``on_refused`` hears of streams that no sink can be made for.

    ``on_sought`` hears (sources, path, kind, fields) of a path whose disk does not answer while it is looked for.
    """

    def __init__(
        self,
        commits: Commits,
        owner: Owner,
        *,
        prefix: str,
        begin: Begin,
        on_refused: Callable[[list[Source], CircusError], None],
        on_sought: Callable[[list[Source], str, str, dict[str, object]], None],
        on_failing: Callable[[], None],
    ) -> None:
        self._commits = commits
        self._owner = owner
        self._prefix = prefix
        self._begin = begin
        self._on_refused = on_refused
        self._on_sought = on_sought
        self._on_failing = on_failing
        self._sought: dict[Source, tuple[str, Health]] = {}
        self._earlier: Earlier | None = None
        self._workers = Workers()
        self._configs: dict[str, dict[str, StreamConfig | None]] = {}
        self._writers: Counter[File] = Counter()  # how many streams of processes are configured to go there
        self._counts: dict[str, Counter[File]] = {}  # the same for each watcher
        #: By watcher and stream: where an earlier circusd wrote what comes from those that are not configured any more.
        self._former: dict[tuple[str, str], StreamConfig] = {}
        self._channels: dict[str, Channel] = {}  # by real path
        self._channel_of: dict[Source, Channel] = {}
        self._left: dict[str, Intent] = {}  # by path: what an earlier circusd left, until its channel is opened
        self._resuming: dict[str, asyncio.Event] = {}
        self._reserved: set[Source] = set()
        self._bindings: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def channel_of(self, source: Source) -> Channel | None:
        return self._channel_of.get(source)

    def failure_of(self, source: Source) -> OSError | None:
        """Why waiting for it is no use."""
        if channel := self._channel_of.get(source):
            return channel.failure
        return self._sought[source][1].failure if source in self._sought else None

    def unanswered(self) -> dict[str, list[Source]]:
        """The paths that are looked for on disks that do not answer, and whose output waits for them."""
        found: dict[str, list[Source]] = {}
        for source, (path, health) in self._sought.items():
            if health.failure is not None:
                found.setdefault(path, []).append(source)
        return found

    async def look_for_earlier(self) -> None:
        """Before anything is written: who may still be writing."""
        self._earlier = await self._workers.run_alone(Earlier)

    # Configuration ------------------------------------------------------------------------------------------

    def configure(self, watcher: str, streams: Mapping[str, StreamConfig | None], processes: int) -> bool:
        """Whether this is news for the sources that there are."""
        is_news = self._configs.get(watcher) != streams
        self.forget_watcher(watcher)
        self._configs[watcher] = dict(streams)
        self._counts[watcher] = Counter([_file_of(config) for config in streams.values()] * processes)
        self._writers.update(self._counts[watcher])
        return is_news

    def forget_watcher(self, watcher: str) -> None:
        self._configs.pop(watcher, None)
        self._writers.subtract(self._counts.pop(watcher, Counter()))

    def is_shared(self, source: Source) -> bool:
        """Whether others are configured to write to its file as well, though they may not have come yet."""
        return self._writers[_file_of(source.config)] > 1

    def streams_of(self, watcher: str) -> Mapping[str, StreamConfig | None]:
        return self._configs.get(watcher, {})

    def config_of(self, watcher: str, stream: str) -> StreamConfig | None:
        """None is circusd's own standard output."""
        if watcher in self._configs:
            return self._configs[watcher].get(stream)
        return self._former.get((watcher, stream))

    def reconfigure(self, source: Source) -> None:
        """What was taken until now still goes to the old place, the rest to where it is configured to go now."""
        config = self.config_of(source.watcher, source.key.stream)
        channel = self._channel_of.get(source)
        if channel is not None:
            if source.limit is None and config != source.config:
                source.limit = max(source.written, source.tap.files.head(source.key.stream))
                channel.heat(source)
                channel.yield_now()
        elif source not in self._reserved:
            source.config = config
            self.bind([source])

    def part(self, source: Source) -> None:
        """Nothing more is taken of it; it is gone when what was taken is committed."""
        channel = self._channel_of.get(source)
        if channel is None:
            source.is_gone = True
            return
        source.limit, source.is_parting = source.written, True
        channel.heat(source)
        channel.yield_now()

    # Binding ------------------------------------------------------------------------------------------------

    def bind(self, sources: Iterable[Source]) -> None:
        """Those that name the same file are bound together, so that none of them takes itself for the only one."""
        groups: dict[File, list[Source]] = {}
        for source in sources:
            if source not in self._reserved and not source.is_finished:
                groups.setdefault(_file_of(source.config), []).append(source)
        for group in groups.values():
            self._begin_binding(self._bind_later(group, group[0].config))

    def _begin_binding(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._begin(work)
        self._bindings.add(task)
        task.add_done_callback(self._bindings.discard)

    async def _bind_later(self, sources: list[Source], config: StreamConfig | None) -> None:
        try:
            if config is None:
                sink = sinks.open_sink(None)
            else:
                sink = await self._seek(sources, config.filename or "", lambda: sinks.open_sink(config))
        except CircusError as error:
            self._on_refused(sources, error)
            return
        if sink.path in self._resuming:
            await self._resuming[sink.path].wait()
        file = _file_of(config)
        for source in sources:
            # It may have ended, or gone elsewhere, while the file was looked for.
            if not source.is_finished and source not in self._channel_of and _file_of(source.config) == file:
                self._join(source, self._channels.get(sink.path) or self._open(sink))

    async def _seek(self, sources: list[Source], path: str, find: Callable[[], T]) -> T:
        """What ``find`` finds, however long that takes; after a while it is said."""
        health = Health(lambda kind, fields: self._on_sought(sources, path, kind, fields), self._on_failing)
        self._sought.update((source, (path, health)) for source in sources)
        try:
            found = await self._workers.run_alone(find, health.hangs)
        finally:
            for source in sources:
                if source in self._sought and self._sought[source][1] is health:
                    del self._sought[source]
        health.works()
        return found

    def _join(self, source: Source, channel: Channel) -> None:
        self._channel_of[source] = channel
        channel.attach(source)

    def _open(self, sink: sinks.Sink) -> Channel:
        worker = self._workers.take(sink.worker_key)
        if self._earlier is not None and isinstance(sink, sinks.FileSink):
            sink.guard = functools.partial(self._earlier.check, sink.worker_key)
        previous = self._left.pop(sink.path, None)
        channel = Channel(sink, worker, self._commits, self._owner, prefix=self._prefix, previous=previous)
        self._channels[sink.path] = channel
        self._look_after(channel, channel.run())
        return channel

    def _look_after(self, channel: Channel, life: Coroutine[Any, Any, None]) -> None:
        def on_done(task: asyncio.Task[None]) -> None:
            if channel.on_done(task):
                self._look_after(channel, self._begin_anew(channel))

        self._begin(life).add_done_callback(on_done)

    async def _begin_anew(self, channel: Channel) -> None:
        await asyncio.sleep(FAULT_PAUSE_S)
        await channel.begin_anew()

    def leave(self, source: Source) -> None:
        """The source is finished, gone, or to be bound anew."""
        if channel := self._channel_of.pop(source, None):
            channel.detach(source)

    def move(self, source: Source) -> None:
        """Nothing of it is left where it is: it goes where it is configured to go."""
        config = self.config_of(source.watcher, source.key.stream)
        is_same_file = source.config is not None and _file_of(config) == _file_of(source.config)
        source.limit, source.config = None, config
        if is_same_file:
            self._channel_of[source].heat(source)
        else:
            self.leave(source)
            self.bind([source])

    # What an earlier circusd left ---------------------------------------------------------------------------

    def resume(self, intents: Iterable[Intent], sources: Iterable[Source]) -> None:
        """Bind all sources, those first that the intents name; forget the intents that concern nobody."""
        sources = list(sources)
        by_key = {source.key: source for source in sources}
        intents = list(intents)
        self._keep_former(intents, by_key)
        for intent in intents:
            self._left[intent.path] = intent
            for key, offset in intent.overtaken:
                if source := by_key.get(key):
                    source.written, source.is_overtaken = max(source.written, offset), True
            keys = dict.fromkeys(segment.source for segment in intent.segments)
            named = [by_key[key] for key in keys if key in by_key and by_key[key] not in self._reserved]
            if named:
                self._reserved.update(named)
                self._resuming[intent.path] = asyncio.Event()
                self._begin_binding(self._resume_later(intent, named))
        self.bind(sources)
        self._begin(self._forget_unused(list(self._bindings)))

    def _keep_former(self, intents: list[Intent], by_key: Mapping[SourceKey, Source]) -> None:
        """Processes that are still there go on in the file in which their watcher's lines stand, and as these look."""
        for intent in intents:
            for key, look in intent.looks().items():
                source = by_key.get(key)
                if source is not None and source.watcher not in self._configs:
                    config = StreamConfig(
                        class_name="FileStream",
                        filename=intent.path,
                        time_format=look.time_format or None,
                        color=look.color or None,
                        format=look.form,
                    )
                    self._former.setdefault((source.watcher, key.stream), config)
        for source in by_key.values():
            if source.watcher not in self._configs:
                source.config = self.config_of(source.watcher, source.key.stream)

    async def _resume_later(self, intent: Intent, sources: list[Source]) -> None:
        configs = [source.config for source in sources]

        def find() -> tuple[sinks.Sink, list[str]]:
            return sinks.open_file(intent.path), [sinks.path_of(config) for config in configs]

        sink, paths = await self._seek(sources, intent.path, find)
        channel = self._open(sink)
        for source, config, path in zip(sources, configs, paths, strict=True):
            self._reserved.discard(source)
            if source.is_finished:
                continue  # it ended while the file was looked for: its files are closed, and all of it is written
            if path != intent.path or config != self.config_of(source.watcher, source.key.stream):
                # Not its file any more: it leaves as soon as the intent is settled.
                source.limit, source.config = source.written, None
            self._join(source, channel)
        self._resuming.pop(intent.path).set()

    async def _forget_unused(self, bindings: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*bindings, return_exceptions=True)
        left, self._left = self._left, {}
        if left:
            values: dict[str, str | None] = {store.value_name(self._prefix, path): None for path in left}
            await self._commits.commit(Step(values=values))

    # The end ------------------------------------------------------------------------------------------------

    def on_closed(self, channel: Channel) -> None:
        if self._channels.get(channel.sink.path) is channel:
            del self._channels[channel.sink.path]
            self._workers.give_back(channel.sink.worker_key)

    async def close(self) -> None:
        """Close the files, each by its own thread."""
        if closing := [channel.close() for channel in self]:
            await asyncio.wait(closing, timeout=CLOSE_LIMIT_S)
        self._workers.close()
        self._channel_of.clear()


def _file_of(config: StreamConfig | None) -> File:
    if config is None:
        return None
    return config.class_name, called.name_of(config) if config.owner else config.filename
