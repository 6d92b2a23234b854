from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.config.model import StreamConfig
from circus.errors import CircusError
from circus.streams import sinks, store
from circus.streams.channel import Channel
from circus.streams.commits import Commits, Seen
from circus.streams.render import Look
from circus.streams.routes import Routes
from circus.streams.store import GAP, OPEN, Intent, Place, Segment, SourceKey
from circus.streams.tap import Source, Tap
from papa.client.output import StreamFiles
from papa.testing import FakePapa

BOUND_S = 30.0


class Depot:
    """Routes on a fake kernel; it is the channels' owner and only lets sources move."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.papa = FakePapa()
        self.refused: list[tuple[list[Source], CircusError]] = []
        self.sought: list[tuple[str, str]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.taps: list[Tap] = []
        self.commits = Commits(self.papa)
        self.routes = Routes(
            self.commits,
            self,
            prefix="circus.",
            begin=self.begin,
            on_refused=lambda sources, error: self.refused.append((sources, error)),
            on_sought=lambda sources, path, kind, fields: self.sought.append((path, kind)),
            on_failing=lambda: None,
        )

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def file(self, name: str, **options: Any) -> StreamConfig:
        return StreamConfig(class_name="FileStream", filename=str(self.directory / name), **options)

    async def source(self, name: str, config: StreamConfig | None) -> Source:
        spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
        reply = await self.papa.spawn(**spec, owner="test", fds=True)
        self.taps.append(Tap(StreamFiles(reply.fds)))
        key = SourceKey(reply.ok["id"], "out")
        return Source(key, self.taps[-1], name, 1, 7, written=0, committed=0, config=config)

    async def until_bound(self, *sources: Source) -> None:
        async with asyncio.timeout(BOUND_S):
            while any(self.routes.channel_of(source) is None for source in sources):
                await asyncio.sleep(0.001)

    async def until_at(self, source: Source, path: str) -> None:
        """On its way from one file to another it is at none."""
        async with asyncio.timeout(BOUND_S):
            while (channel := self.routes.channel_of(source)) is None or channel.sink.path != path:
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.commits.close()
        await self.routes.close()
        for tap in self.taps:
            tap.retire()
        await self.papa.close()

    # As the channels' owner:

    def seen_of(self, kernel_id: int) -> Seen:
        return kernel_id, None, None

    def is_shared(self, source: Source) -> bool:
        return False

    def is_divided(self, kernel_id: int) -> bool:
        return False

    def on_written(self, source: Source, byte_count: int, gap_bytes: int, path: str) -> None: ...
    def on_dropped(self, channel: Channel, source: Source, byte_count: int) -> None: ...
    def on_committed(self, sources: Iterable[Source]) -> None: ...
    def on_rested(self, channel: Channel) -> None: ...
    def on_unknown(self, kernel_ids: Iterable[int]) -> None: ...
    def on_attached(self, channel: object, source: object) -> None:
        pass

    def keeps_copies(self, sink: object) -> bool:
        return False

    async def lay(self, laid: object, kept: object) -> None:
        pass

    def on_trouble(self, channel: Channel, kind: str, fields: dict[str, object]) -> None: ...

    def on_movable(self, source: Source) -> None:
        self.routes.move(source)

    def on_closed(self, channel: Channel) -> None:
        self.routes.on_closed(channel)

    async def known_ids(self) -> set[int]:
        return set()


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Depot]:
    depot = Depot(tmp_path)
    yield depot
    depot.papa.kernel.close()


def play(depot: Depot, story: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        try:
            await story
        finally:
            await depot.close()

    asyncio.run(main())


def test_names_of_one_file_lead_to_one_channel(depot: Depot) -> None:
    async def story() -> None:
        (depot.directory / "link").symlink_to("log")
        one, two = await depot.source("one", depot.file("log")), await depot.source("two", depot.file("link"))
        other = await depot.source("other", depot.file("other"))
        depot.routes.bind([one, two, other])
        await depot.until_bound(one, two, other)
        assert depot.routes.channel_of(one) is depot.routes.channel_of(two)
        assert depot.routes.channel_of(one) is not depot.routes.channel_of(other)
        assert len(list(depot.routes)) == 2

    play(depot, story())


def test_a_hung_disk_holds_only_its_own_sources(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, open_sink = threading.Event(), sinks.open_sink

    def hang(config: StreamConfig | None) -> sinks.Sink:
        if config is not None and str(config.filename).endswith("hung"):
            gate.wait(BOUND_S)
        return open_sink(config)

    monkeypatch.setattr(sinks, "open_sink", hang)

    async def story() -> None:
        hung, well = await depot.source("hung", depot.file("hung")), await depot.source("well", depot.file("well"))
        depot.routes.bind([hung, well])
        await depot.until_bound(well)
        assert depot.routes.channel_of(hung) is None
        gate.set()
        await depot.until_bound(hung)

    play(depot, story())


def test_a_stream_that_no_sink_can_be_made_for_is_refused(depot: Depot) -> None:
    async def story() -> None:
        source = await depot.source("one", StreamConfig(class_name="my.own.Stream"))
        depot.routes.bind([source])
        async with asyncio.timeout(BOUND_S):
            while not depot.refused:
                await asyncio.sleep(0.001)
        assert depot.refused[0][0] == [source]
        assert depot.refused[0][1].code == "config-invalid"

    play(depot, story())


def test_a_source_that_is_gone_before_it_is_bound_opens_nothing(depot: Depot) -> None:
    async def story() -> None:
        source = await depot.source("one", depot.file("log"))
        depot.routes.bind([source])
        source.is_gone = True
        await asyncio.gather(*depot.tasks)
        assert list(depot.routes) == []
        assert not (depot.directory / "log").exists()

    play(depot, story())


def test_the_last_configuration_before_binding_counts(depot: Depot) -> None:
    async def story() -> None:
        assert depot.routes.configure("one", {"out": depot.file("a")}, 1)
        assert not depot.routes.configure("one", {"out": depot.file("a")}, 1)
        source = await depot.source("one", depot.file("a"))
        depot.routes.bind([source])
        assert depot.routes.configure("one", {"out": depot.file("b")}, 1)
        depot.routes.reconfigure(source)
        await depot.until_bound(source)
        await asyncio.gather(*[task for task in depot.tasks if task.get_coro().__name__ == "_bind_later"])  # type: ignore[union-attr]
        assert [channel.sink.path for channel in depot.routes] == [str(depot.directory / "b")]
        depot.routes.forget_watcher("one")
        assert depot.routes.config_of("one", "out") is None

    play(depot, story())


def test_an_intent_reserves_its_sources_until_its_file_is_open(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for, mine, open_file, open_sink = threading.Event(), threading.local(), sinks.open_file, sinks.open_sink

    def open_late(path: str) -> sinks.FileSink:
        if not hasattr(mine, "is_looking"):
            looked_for.wait(BOUND_S)
        return open_file(path)

    def look(config: StreamConfig | None) -> sinks.Sink:
        mine.is_looking = True
        sink = open_sink(config)
        looked_for.set()
        return sink

    async def story() -> None:
        files = {"one": "new", "stays": "old", "two": "old"}
        for name, file in files.items():
            depot.routes.configure(name, {"out": depot.file(file)}, 1)
        one, stays, two = [await depot.source(name, depot.file(file)) for name, file in files.items()]
        path = str(depot.directory / "old")
        intent = Intent(path, Place(1, 2, 3, "x"), (Segment(one.key, 0, 0), Segment(stays.key, 0, OPEN)))
        monkeypatch.setattr(sinks, "open_file", open_late)
        monkeypatch.setattr(sinks, "open_sink", look)
        depot.routes.resume([intent], [one, stays, two])
        depot.routes.reconfigure(one)  # changes nothing yet
        async with asyncio.timeout(BOUND_S):
            while (first := depot.routes.channel_of(one)) is None:
                await asyncio.sleep(0)
        assert first.sink.path == path
        assert one.limit == 0
        await depot.until_bound(stays, two)
        assert depot.routes.channel_of(stays) is first
        assert depot.routes.channel_of(two) is first
        async with asyncio.timeout(BOUND_S):
            while (now := depot.routes.channel_of(one)) is None or now is first:
                await asyncio.sleep(0.001)
        assert now.sink.path == str(depot.directory / "new")

    play(depot, story())


def test_processes_of_a_watcher_that_is_not_configured_any_more_keep_its_file(depot: Depot) -> None:
    async def story() -> None:
        depot.routes.configure("known", {"out": None}, 1)
        names = ("former", "beside", "known", "never")
        named, beside, known, unknown = [await depot.source(name, None) for name in names]
        beside.watcher = "former"
        path = str(depot.directory / "old")
        look = Look(time_format="%H:%M", color="green")
        segments = (Segment(named.key, 0, 0, look=look), Segment(named.key, 0, 0, kind=GAP), Segment(known.key, 0, 0))
        depot.routes.resume([Intent(path, Place(1, 2, 3, "x"), segments)], [named, beside, known, unknown])
        await depot.until_bound(named, beside, unknown)
        assert [depot.routes.channel_of(each).sink.path for each in (named, beside)] == [path, path]
        assert (named.limit, named.look, beside.look) == (None, look, look)
        assert isinstance(depot.routes.channel_of(unknown).sink, sinks.StdoutSink)
        await depot.until_at(known, sinks.STDOUT_PATH)
        assert depot.routes.configure("former", {"out": depot.file("new")}, 1)
        depot.routes.reconfigure(beside)
        await depot.until_at(beside, str(depot.directory / "new"))

    play(depot, story())


def test_intents_that_concern_nobody_are_forgotten(depot: Depot) -> None:
    async def story() -> None:
        name = store.value_name("circus.", "/gone")
        intent = Intent("/gone", Place(1, 2, 3, "x"), (Segment(SourceKey(999, "out"), 0, 5),))
        await depot.papa.set(name, store.encode(intent))
        depot.routes.resume([intent], [])
        async with asyncio.timeout(BOUND_S):
            while await depot.papa.get(name) is not None:
                await asyncio.sleep(0.001)

    play(depot, story())
