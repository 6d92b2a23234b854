from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.config.model import StreamConfig
from circus.streams import compare, health, plan, sinks, store
from circus.streams.channel import Channel
from circus.streams.commits import Commits, Seen
from circus.streams.store import DOUBT, NOBODY, OPEN, Intent, Segment, SourceKey
from circus.streams.tap import Source, Tap
from circus.streams.workers import Workers
from papa.client.output import StreamFiles
from papa.testing import FakePapa

BOUND_S = 30.0


class Owner:
    """Writes down what a channel says, and does nothing about it."""

    def __init__(self, papa: FakePapa) -> None:
        self.papa = papa
        self.said: list[tuple[Any, ...]] = []

    def seen_of(self, kernel_id: int) -> Seen:
        return kernel_id, None, None

    def is_shared(self, source: Source) -> bool:
        return False

    def is_divided(self, kernel_id: int) -> bool:
        return False

    def on_written(self, source: Source, byte_count: int, gap_bytes: int, path: str) -> None:
        self.said.append(("written", byte_count, gap_bytes))

    def on_dropped(self, channel: Channel, source: Source, byte_count: int) -> None:
        self.said.append(("dropped", byte_count))

    def on_committed(self, sources: Iterable[Source]) -> None:
        self.said += [("committed", source.committed) for source in sources]

    def on_intent(self, channel: Channel, intent: Intent | None) -> None:
        """Of the compression of backups."""

    def on_rested(self, channel: Channel) -> None:
        self.said.append(("rested",))

    def on_movable(self, source: Source) -> None:
        self.said.append(("movable", source.committed))

    def on_unknown(self, kernel_ids: Iterable[int]) -> None:
        self.said.append(("unknown", *kernel_ids))

    def on_closed(self, channel: Channel) -> None:
        self.said.append(("closed",))

    def on_attached(self, channel: Channel, source: Source) -> None:
        pass

    def keeps_copies(self, sink: object) -> bool:
        return False

    async def lay(self, laid: object, kept: object) -> None:
        pass

    def on_trouble(self, channel: Channel, kind: str, fields: dict[str, object]) -> None:
        self.said.append((kind, fields))

    async def known_ids(self) -> set[int]:
        return {row["id"] for row in await self.papa.list("processes")}


class Bench:
    """One channel on a fake kernel, and the sources that run into it."""

    def __init__(self, directory: Path) -> None:
        self.papa = FakePapa()
        self.owner = Owner(self.papa)
        self.commits = Commits(self.papa)
        self.workers = Workers()
        self.log = directory / "log"
        self.sources: list[Source] = []
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, previous: Intent | None = None, path: Path | None = None) -> Channel:
        sink = sinks.open_file(str(path or self.log))
        worker = self.workers.take(sink.worker_key)
        return Channel(sink, worker, self.commits, self.owner, prefix="circus.", previous=previous)

    def run(self, opened: Channel) -> None:
        task = asyncio.create_task(opened.run())
        task.add_done_callback(opened.on_done)
        self._tasks.append(task)

    async def source(self, name: str = "a", data: bytes = b"", **fields: Any) -> Source:
        spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
        reply = await self.papa.spawn(**spec, owner="test", fds=True)
        self.papa.write(name, "out", data)
        key = SourceKey(reply.ok["id"], "out")
        source = Source(key, Tap(StreamFiles(reply.fds)), "web", 1, 7, written=0, committed=0, **fields)
        self.sources.append(source)
        return source

    def intent(self) -> Intent | None:
        value = self.papa.kernel._ledger.values.get(store.value_name("circus.", str(self.log)))
        return store.decode(value) if value is not None else None

    async def until(self, is_met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(BOUND_S):
                while not is_met():
                    await asyncio.sleep(0.001)
        except TimeoutError:
            pytest.fail(f"did not come: {self.owner.said}")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.commits.close()
        for source in self.sources:
            source.tap.retire()
        await self.papa.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.papa.kernel.close()


def play(bench: Bench, story: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        try:
            await story
        finally:
            await bench.close()

    asyncio.run(main())


def test_an_intent_is_committed_before_the_first_byte_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write = sinks.FileSink.write
    intents: list[Intent | None] = []

    def remember(self: sinks.FileSink, batch: Any, views: Any) -> Any:
        intents.append(bench.intent())
        return write(self, batch, views)

    monkeypatch.setattr(sinks.FileSink, "write", remember)

    async def story() -> None:
        source = await bench.source(data=b"one\n")
        opened = bench.open()
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: source.committed == 4)
        (intent,) = intents
        assert intent is not None
        assert intent.segments == (Segment(source.key, 0, 4),)
        assert intent.place.size == 0
        after = bench.intent()
        assert after is not None
        assert after.segments == (Segment(source.key, 4, OPEN),)
        assert after.place.size == 4

    play(bench, story())


def test_a_shared_quiet_file_has_no_open_intent(bench: Bench) -> None:
    async def story() -> None:
        one, two = await bench.source("one", b"one\n"), await bench.source("two")
        opened = bench.open()
        opened.attach(one)
        opened.attach(two)
        bench.run(opened)
        await bench.until(lambda: one.committed == 4)
        intent = bench.intent()
        assert intent is not None
        assert intent.segments == ()
        assert intent.place.last == one.key

    play(bench, story())


def test_a_channel_without_sources_forgets_its_file(bench: Bench) -> None:
    async def story() -> None:
        source = await bench.source(data=b"one\n")
        opened = bench.open()
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: source.committed == 4)
        opened.detach(source)
        await bench.until(lambda: ("closed",) in bench.owner.said)
        assert bench.intent() is None

    play(bench, story())


def test_a_source_that_comes_while_the_file_is_forgotten_keeps_it_open(bench: Bench) -> None:
    async def story() -> None:
        one, two = await bench.source("one", b"one\n"), await bench.source("two", b"two\n")
        opened = bench.open()
        opened.attach(one)
        bench.run(opened)
        await bench.until(lambda: one.committed == 4)
        commit = bench.commits.commit

        async def attach_meanwhile(step: Any) -> None:
            bench.commits.commit = commit  # type: ignore[method-assign]
            opened.attach(two)
            await commit(step)

        bench.commits.commit = attach_meanwhile  # type: ignore[method-assign]
        opened.detach(one)
        await bench.until(lambda: two.committed == 4)
        assert ("closed",) not in bench.owner.said
        assert bench.log.read_bytes() == b"one\ntwo\n"

    play(bench, story())


def test_a_source_that_leaves_between_intent_and_write_takes_nothing_with_it(bench: Bench) -> None:
    async def story() -> None:
        one, two = await bench.source("one", b"one\n"), await bench.source("two", b"two\n")
        opened = bench.open()
        opened.attach(one)
        opened.attach(two)
        commit = bench.commits.commit

        async def leave_meanwhile(step: Any) -> None:
            bench.commits.commit = commit  # type: ignore[method-assign]
            await commit(step)
            opened.detach(one)

        bench.commits.commit = leave_meanwhile  # type: ignore[method-assign]
        bench.run(opened)
        await bench.until(lambda: two.committed == 4)
        assert bench.log.read_bytes() == b"two\n"
        assert one.committed == 0

    play(bench, story())


def test_a_source_moves_when_nothing_of_it_is_left(bench: Bench) -> None:
    async def story() -> None:
        source = await bench.source(data=b"one\ntwo\n", limit=4)
        opened = bench.open()
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: ("movable", 4) in bench.owner.said)
        assert bench.log.read_bytes() == b"one\n"

    play(bench, story())


def test_a_source_does_not_move_before_a_thread_has_looked_within_its_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, looked, survey = threading.Event(), threading.Event(), plan.survey

    def look_and_wait(*args: Any, **named: Any) -> plan.Survey:
        found = survey(*args, **named)
        looked.set()
        gate.wait(BOUND_S)
        return found

    monkeypatch.setattr(plan, "survey", look_and_wait)

    async def story() -> None:
        source = await bench.source()
        opened = bench.open()
        opened.attach(source)
        bench.run(opened)
        await bench.until(looked.is_set)
        source.limit = bench.papa.write("a", "out", b"one\n")
        opened.heat(source)
        gate.set()
        await bench.until(lambda: ("movable", 4) in bench.owner.said)
        assert ("movable", 0) not in bench.owner.said
        assert bench.log.read_bytes() == b"one\n"

    play(bench, story())


def test_a_failure_is_told_once_for_each_reason(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(health, "RETRY_LAST_S", 0.002)

    async def story() -> None:
        source = await bench.source(data=b"one\n")
        opened = bench.open(path=tmp_path / "no" / "log")
        opened.attach(source)
        bench.run(opened)

        def failures() -> list[Any]:
            return [each[1]["reason"] for each in bench.owner.said if each[0] == "sink_failed"]

        await bench.until(lambda: bench.owner.said.count(("rested",)) > 5)
        assert failures() == ["No such file or directory"]
        (tmp_path / "no").write_bytes(b"a file, no directory")
        await bench.until(lambda: len(failures()) == 2)
        assert failures()[1] == "Not a directory"

    play(bench, story())


def test_a_file_that_cannot_be_compared_yet_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RETRY_FIRST_S", 0.001)
    real, calls = compare.compare, 0

    def fail_at_first(intent: Any, views: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise OSError(5, "Input/output error")
        return real(intent, views)

    monkeypatch.setattr(compare, "compare", fail_at_first)

    async def story() -> None:
        source = await bench.source(data=b"one\ntwo\n")
        sink = sinks.open_file(str(bench.log))
        intent = Intent(sink.path, sink.look(), (Segment(source.key, 0, 8),))
        sink.close()
        bench.log.write_bytes(b"one")
        opened = bench.open(previous=intent)
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: source.committed == 8)
        assert bench.log.read_bytes() == b"one\ntwo\n"
        assert calls == 3

    play(bench, story())


def test_sources_that_leave_anyway_do_not_wait_for_a_file_that_cannot_be_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(intent: Any, views: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(compare, "compare", fail)

    async def story() -> None:
        source = await bench.source(data=b"one\n", limit=0)
        sink = sinks.open_file(str(bench.log))
        opened = bench.open(previous=Intent(sink.path, sink.look(), (Segment(source.key, 0, OPEN),)))
        sink.close()
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: ("movable", 0) in bench.owner.said)
        kind, fields = bench.owner.said[0]
        assert (kind, fields["reason"], fields["bytes"]) == ("output_doubt", "Input/output error", 4)

    play(bench, story())


def test_a_doubt_that_was_about_to_be_said_is_said(bench: Bench) -> None:
    async def story() -> None:
        source = await bench.source(data=b"one\n")
        sink = sinks.open_file(str(bench.log))
        segments = (Segment(NOBODY, 0, 9, DOUBT), Segment(source.key, 0, 4))
        opened = bench.open(previous=Intent(sink.path, sink.look(), segments))
        sink.close()
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: source.committed == 4)
        assert bench.log.read_bytes().startswith(b"[papa: this file changed")
        assert bench.log.read_bytes().count(b"[papa:") == 1

    play(bench, story())


def test_the_intent_is_closed_only_while_the_channel_rests(bench: Bench) -> None:
    async def story() -> None:
        source = await bench.source(data=b"one\n")
        opened = bench.open()
        assert opened.closed_intent() is None
        opened.attach(source)
        bench.run(opened)
        await bench.until(lambda: opened.is_resting)
        step = opened.closed_intent()
        assert step is not None
        ((_, value),) = step.values.items()
        assert value is not None
        assert store.decode(value).segments == ()
        opened.heat(source)
        assert opened.closed_intent() is None

    play(bench, story())


def test_the_largest_limits_of_all_streams_count(bench: Bench) -> None:
    async def story() -> None:
        opened = bench.open()
        for number, (size, backups) in enumerate(((10, 7), (1000, 2))):
            config = StreamConfig(class_name="FileStream", filename="x", max_bytes=size, backup_count=backups)
            opened.attach(await bench.source(str(number), config=config))
        limits = opened._limits()
        assert (limits.max_bytes, limits.backup_count) == (1000, 7)

    play(bench, story())
