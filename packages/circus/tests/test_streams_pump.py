from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus import importing
from circus.config.model import StreamConfig
from circus.engine import lives
from circus.streams import channel, health, pump, routes, sinks, store, workers
from circus.streams import channel as trip_module
from circus.streams.pump import Attached, Pump
from papa.client.output import StreamFiles
from papa.errors import PapaError
from papa.testing import FakePapa

BOUND_S = 30.0


class World:
    """A fake kernel, a circusd's pump on it, and log files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.papa = FakePapa()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pump = self.new_pump()

    def new_pump(self) -> Pump:
        self.pump = Pump(self.papa, prefix="circus.", on_event=lambda kind, fields: self.events.append((kind, fields)))
        self.papa.on_event = self.tell
        return self.pump

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "output":
            self.pump.on_output(fields["items"])
        elif kind == "eof":
            self.pump.on_eof(fields["id"], fields["stream"], fields["head"])
        elif kind == "exit":
            self.pump.on_exit(fields["id"], fields["heads"])

    def path(self, name: str) -> Path:
        return self.directory / name

    def file(self, name: str, **options: Any) -> StreamConfig:
        return StreamConfig(class_name="FileStream", filename=str(self.path(name)), **options)

    def text(self, name: str) -> bytes:
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return b""

    async def spawn(self, name: str = "web.1", *, add: bool = True, **spec: Any) -> int:
        given = {"argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "capture", **spec}
        reply = await self.papa.spawn(name=f"circus.{name}", owner="circus", fds=True, **given)
        if add:
            await self.pump.add(self.attached(reply))
        else:
            reply.close_fds()
        return int(reply.ok["id"])

    def attached(self, reply: Any) -> Attached:
        row = reply.ok
        watcher, _, wid = row["name"].removeprefix("circus.").rpartition(".")
        return Attached(
            row["id"],
            watcher,
            int(wid),
            row["pid"],
            StreamFiles(reply.fds),
            {stream: facts["acked"] for stream, facts in row["streams"].items()},
            frozenset(stream for stream, facts in row["streams"].items() if not facts["open"]),
            {name: lives.lost(facts) for name, facts in row["streams"].items()},
            row.get("bounds"),
        )

    async def attach_all(self, call: str = "add") -> None:
        for row in await self.papa.list("processes"):
            if row["name"]:
                reply = await self.papa.attach(row["id"], owner="circus", fds=True)
                await getattr(self.pump, call)(self.attached(reply))

    async def next_circusd(self, **streams: StreamConfig | None) -> None:
        """The old one is gone without a word; the next one adopts what is there."""
        old = self.pump
        self.papa = self.papa.restart_client()
        self.new_pump()
        await kill(old)
        self.pump.configure("web", streams)
        await self.attach_all()
        await self.pump.start()

    async def until(self, is_met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(BOUND_S):
                while not is_met():
                    await asyncio.sleep(0.001)
        except TimeoutError:
            files = {path.name: path.read_bytes()[-200:] for path in self.directory.iterdir() if path.is_file()}
            pytest.fail(f"did not come: files={files} events={self.events} rows={self.papa.rows()}")

    def acked(self, kernel_id: int, stream: str = "out") -> int:
        return int(self.papa.row(kernel_id)["streams"][stream]["acked"])

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]


async def kill(old: Pump) -> None:
    """As kill -9 would: nothing more is written, committed or said; only what this test process holds is given back."""
    for task in old._tasks:
        task.cancel()
    await asyncio.gather(*old._tasks, return_exceptions=True)
    await old._commits.close()
    await asyncio.gather(*(each.close() for each in old._routes))  # a thread would die in the middle, not write on
    for process in old._processes.values():
        process.tap.retire()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    yield world
    world.papa.kernel.close()
    deadline = time.monotonic() + BOUND_S
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        time.sleep(0.001)  # a worker closes its files a moment later
    assert len(os.listdir("/proc/self/fd")) <= before, "descriptors were left open"


def run(world: World, story: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        try:
            await story
        finally:
            await world.pump.close()
            await world.papa.close()

    asyncio.run(main())


# The way of the bytes ---------------------------------------------------------------------------------------


def test_output_goes_into_its_files_and_is_acknowledged(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"hello\nand")
        world.papa.write(one, "err", b"oops\n")
        await world.until(lambda: (world.acked(one), world.acked(one, "err")) == (9, 5))
        assert (world.text("out"), world.text("err")) == (b"hello\nand", b"oops\n")
        assert world.pump.counters()["web"]["stdout"]["bytes"] == 9

    run(world, story())


def test_nothing_is_written_before_the_start(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": None})
        one = await world.spawn()
        world.papa.write(one, "out", b"hello\n")
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not world.path("out").exists()
        await world.pump.start()
        await world.until(lambda: world.text("out") == b"hello\n")

    run(world, story())


def test_a_process_that_comes_later_is_pumped_at_once(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": world.file("out")})
        await world.pump.start()
        one = await world.spawn()
        world.papa.write(one, "out", b"one\n")
        await world.until(lambda: world.text("out") == b"one\n")
        two = await world.spawn("web.2")
        world.papa.write(two, "err", b"two\n")
        await world.until(lambda: world.text("out") == b"one\ntwo\n")

    run(world, story())


def test_a_file_is_made_before_the_first_output(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": None})
        await world.spawn()
        await world.pump.start()
        await world.until(lambda: world.path("out").exists())

    run(world, story())


def test_a_quiet_line_costs_one_commit(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        for number in range(5):
            before = len(world.papa.commits)
            head = world.papa.write(one, "out", b"line\n")
            await world.until(lambda head=head: world.acked(one) == head)
            await world.pump.flush(BOUND_S)
            assert len(world.papa.commits) - before == (2 if number == 0 else 1)

    run(world, story())


def test_while_nothing_happens_nothing_is_done(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("out"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"line\nand a tail")
        await world.until(lambda: world.acked(one) > 0)
        await world.pump.flush(BOUND_S)
        loop: Any = asyncio.get_running_loop()
        async with asyncio.timeout(BOUND_S) as bound:
            # One timer is the bound's; what was cancelled is no timer.
            while sum(not timer.cancelled() for timer in loop._scheduled) > 1 or loop._ready:
                await asyncio.sleep(0)
        assert not bound.expired(), "timers wait, or something is done"

    run(world, story())


@pytest.mark.parametrize("files", [("out", "err"), ("log", "log")])
def test_both_streams_of_a_process_are_heard_while_one_is_busy(files: tuple[str, str], world: World) -> None:
    out, err = files

    async def story() -> None:
        world.pump.configure("web", {"out": world.file(out), "err": world.file(err)})
        one = await world.spawn()
        await world.pump.start()

        head = world.papa.write(one, "out", b"busy\n")
        await world.until(lambda: world.text(out) != b"")

        async def be_busy() -> None:
            nonlocal head
            while b"heard\n" not in world.text(err):
                if head - world.path(out).stat().st_size < 500_000:  # there is always something more
                    head = world.papa.write(one, "out", b"busy\n" * 20_000)
                await asyncio.sleep(0)

        busy = asyncio.create_task(be_busy())
        await world.until(lambda: len(world.text(out)) > 100)
        world.papa.write(one, "err", b"heard\n")
        await world.until(lambda: b"heard\n" in world.text(err))
        await busy

    run(world, story())


def test_a_shared_file_has_whole_lines_in_the_order_of_arrival(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one, two = await world.spawn(), await world.spawn("web.2")
        expected = b""
        for number in range(50):
            for kernel_id, stream in ((one, "out"), (two, "err"), (two, "out")):
                line = b"%d %s %d\n" % (kernel_id, stream.encode(), number)
                expected += line
                world.papa.write(kernel_id, stream, line[:4])
                world.papa.clock.advance(0.002)
                world.papa.write(kernel_id, stream, line[4:])
                world.papa.clock.advance(0.002)  # what comes within a millisecond has no order
        await world.pump.start()
        await world.until(lambda: len(world.text("log")) == len(expected))
        assert world.text("log") == expected

    run(world, story())


@pytest.mark.parametrize("others", ["of its watcher", "of another watcher", "its other stream"])
def test_where_others_are_yet_to_come_nobody_begins_a_line(others: str, world: World) -> None:
    async def story() -> None:
        log = world.file("log")
        world.pump.configure("web", {"out": log, "err": log if others == "its other stream" else None}, 1)
        if others == "of its watcher":
            world.pump.configure("web", {"out": log, "err": None}, 2)
        if others == "of another watcher":
            world.pump.configure("db", {"out": None, "err": log}, 1)
        one = await world.spawn("web.1", stderr="null")
        await world.pump.start()
        world.papa.write(one, "out", b"whole\nbeg")
        await world.until(lambda: world.text("log") != b"")
        await world.pump.flush(BOUND_S)
        assert world.text("log") == b"whole\n"
        # Nobody is expected any more.
        world.pump.forget_watcher("db")
        world.pump.configure("web", {"out": log, "err": None}, 1)
        world.papa.write(one, "out", b"un")
        await world.until(lambda: world.text("log") == b"whole\nbegun")

    run(world, story())


def test_the_rest_of_a_line_that_waits_is_heard_of(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one = await world.spawn()
        await world.pump.start()
        for part in (b"in ", b"many ", b"parts"):
            head = world.papa.write(one, "out", part)
            await world.until(lambda head=head: world.pump._processes[one].sources["out"].noticed == head)
            await world.pump.flush(BOUND_S)
        world.papa.write(one, "out", b"\n")
        await world.until(lambda: world.text("log") == b"in many parts\n")

    run(world, story())


def test_a_time_format_says_when_a_line_was_written(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log", time_format="%s"), "err": None})
        one = await world.spawn()
        pid = world.papa.row(one)["pid"]
        await world.pump.start()
        first = int(world.papa.clock.wall())
        world.papa.write(one, "out", b"part")
        world.papa.clock.advance(100)
        world.papa.write(one, "out", b"ial\nnext\n")
        await world.until(lambda: world.acked(one) == 13)
        assert world.text("log").decode() == f"{first} [{pid}] | partial\n{first + 100} [{pid}] | next\n"

    run(world, story())


def test_a_log_is_rotated_and_no_byte_is_lost(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log", max_bytes=100, backup_count=50), "err": None})
        one = await world.spawn()
        await world.pump.start()
        expected = b""
        for number in range(100):
            line = b"this is line %d\n" % number
            expected += line
            world.papa.write(one, "out", line)
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        await world.until(lambda: world.acked(one) == len(expected))
        backups = sorted(world.directory.glob("log.*"), key=lambda path: -int(path.suffix[1:]))
        texts = [path.read_bytes() for path in [*backups, world.path("log")]]
        assert b"".join(texts) == expected
        assert len(backups) > 10
        assert all(text.endswith(b"\n") and len(text) < 100 for text in texts)

    run(world, story())


def test_streams_that_share_a_file_are_rotated_by_the_larger_limit(world: World) -> None:
    async def story() -> None:
        small, large = (world.file("log", max_bytes=size, backup_count=2) for size in (10, 1000))
        world.pump.configure("web", {"out": small, "err": large})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"a line\n" * 20)
        await world.until(lambda: world.acked(one) == 140)
        assert len(world.text("log")) == 140

    run(world, story())


def test_a_gap_is_marked_counted_and_told(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        world.papa.write(one, "out", b"lost\nkept\n")
        world.papa.drop_oldest(one, "out", 5)
        low = world.papa.row(one)["streams"]["out"]["low"]
        await world.pump.start()
        await world.until(lambda: world.acked(one) == 10)
        assert world.text("log") == b"[papa: %d bytes of output were dropped here]\n" % low + b"lost\nkept\n"[low:]
        assert world.pump.counters()["web"]["stdout"]["gaps"] == 1
        kind, fields = world.events[-1]
        assert (kind, fields["watcher"], fields["bytes"], fields["wid"]) == ("output_dropped", "web", low, 1)
        assert world.pump.troubles() == [f"web: {low} bytes of its output were dropped before they could be written"]
        world.pump.forget_watcher("web")
        assert world.pump.troubles() == []

    run(world, story())


# Exits ------------------------------------------------------------------------------------------------------


def test_an_exit_is_drained_when_its_output_is_committed(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        await world.pump.start()
        one = await world.spawn()
        world.papa.write(one, "out", b"last words")
        world.papa.end(one, 3)
        await world.pump.drained(one)
        assert world.text("log") == b"last words"
        await world.papa.commit(exits=[one])
        await world.until(lambda: not world.papa.rows())
        assert [row["name"] for row in await world.papa.list("values")] == []

    run(world, story())


def test_what_a_grandchild_writes_after_an_exit_is_pumped_on(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("err")})
        await world.pump.start()
        one = await world.spawn()
        world.papa.write(one, "out", b"child\n")
        world.papa.end(one, keep_open=True)
        await world.pump.drained(one)
        await world.papa.commit(exits=[one])
        world.papa.write(one, "out", b"grandchild\n")
        await world.until(lambda: world.text("log") == b"child\ngrandchild\n")
        world.papa.eof(one)
        await world.until(lambda: not world.papa.rows())

    run(world, story())


def test_a_process_that_ends_before_it_was_added_is_not_forgotten(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        await world.pump.start()
        one = await world.spawn(add=False)
        world.papa.write(one, "out", b"short\nlife")
        world.papa.end(one)
        await asyncio.sleep(0.01)
        reply = await world.papa.attach(one, fds=True)
        given = world.attached(reply)
        await world.pump.add(Attached(given.kernel_id, "web", 1, given.pid, given.files, given.acked))
        await world.pump.drained(one)
        assert world.text("log") == b"short\nlife"
        await world.papa.commit(exits=[one])
        await world.until(lambda: not world.papa.rows())

    run(world, story())


def test_news_of_processes_that_never_come_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MAX_EARLY", 3)

    async def story() -> None:
        for number in range(10):
            world.pump.on_eof(number, "out", 0)
            world.pump.on_exit(number, {"out": 0})
        assert list(world.pump._early) == [7, 8, 9]

    run(world, story())


def test_an_unknown_process_is_drained(world: World) -> None:
    async def story() -> None:
        async with asyncio.timeout(BOUND_S):
            await world.pump.drained(12345)

    run(world, story())


def test_draining_has_its_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "DRAIN_LIMIT_S", 0.02)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        await world.pump.start()
        one = await world.spawn()
        async with asyncio.timeout(BOUND_S):
            await world.pump.drained(one)  # it has not even ended

    run(world, story())


def test_a_finished_process_leaves_nothing_behind(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("err")})
        await world.pump.start()
        for _ in range(3):
            one = await world.spawn()
            world.papa.write(one, "out", b"line\n")
            world.papa.end(one)
            await world.pump.drained(one)
            await world.papa.commit(exits=[one])
        await world.until(lambda: not world.pump._routes._channels and not world.pump._processes)
        assert world.text("log") == b"line\n" * 3
        assert not world.pump._routes._channel_of
        assert not world.pump._routes._workers._workers
        await world.until(lambda: not world.pump._tasks)

    run(world, story())


# Failing sinks ----------------------------------------------------------------------------------------------


def test_a_failing_sink_holds_its_own_sources_only_and_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RETRY_FIRST_S", 0.3)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("no/log"), "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"held\n")
        world.papa.write(one, "err", b"flows\n")
        await world.until(lambda: world.text("err") == b"flows\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        await world.pump.flush(BOUND_S)
        noticed = world.pump._processes[one].sources["out"]
        head = world.papa.write(one, "out", b"more\n")
        await world.until(lambda: noticed.noticed == head)
        world.papa.write(one, "err", b"on\n")
        await world.until(lambda: world.text("err") == b"flows\non\n")
        assert world.kinds().count("sink_failed") == 1
        assert world.events[0][1]["path"] == str(world.path("no/log"))
        assert world.events[0][1]["watchers"] == ["web"]
        assert world.pump.counters()["web"]["stdout"]["sink_errors"] == 1
        (trouble,) = world.pump.troubles()
        assert trouble.startswith(f"web: {world.path('no/log')} cannot be written: No such file or directory")
        world.path("no").mkdir()
        await world.until(lambda: world.text("no/log") == b"held\nmore\n")
        assert world.kinds()[-1] == "sink_recovered"
        assert world.pump.troubles() == []

    run(world, story())


def test_nobody_waits_for_a_failing_sink(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("no/log"), "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"held\n")
        world.papa.write(one, "err", b"flows\n")
        world.papa.end(one)
        async with asyncio.timeout(BOUND_S):
            await world.pump.drained(one)
            await world.pump.flush(2 * BOUND_S)
        assert world.text("err") == b"flows\n"
        assert world.acked(one) == 0, "the kernel keeps it for better days"

    run(world, story())


def test_a_failed_write_is_made_again_without_doubling(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RETRY_FIRST_S", 0.001)
    copy_to, calls = StreamFiles.copy_to, 0

    def fail_at_first(self: StreamFiles, stream: str, start: int, end: int, out_fd: int) -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise OSError(28, "No space left on device")
        return copy_to(self, stream, start, min(end, start + 3), out_fd)

    monkeypatch.setattr(StreamFiles, "copy_to", fail_at_first)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"one\ntwo\nthree\n")
        await world.until(lambda: world.acked(one) == 14)
        assert world.text("log") == b"one\ntwo\nthree\n"

    run(world, story())


def test_a_fault_of_ours_is_told_and_holds_its_own_file_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    look = sinks.FileSink.look

    def fail(self: sinks.FileSink) -> Any:
        if self.path.endswith("bad"):
            raise RuntimeError("a fault")
        return look(self)

    monkeypatch.setattr(sinks.FileSink, "look", fail)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("bad"), "err": world.file("good")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "err", b"flows\n")
        await world.until(lambda: world.text("good") == b"flows\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        await world.pump.flush(BOUND_S)

    run(world, story())


@pytest.mark.parametrize("when", ["before it is written", "when it is written"])
def test_after_a_fault_of_ours_a_file_is_begun_anew_by_comparing(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(routes, "FAULT_PAUSE_S", 0.001)
    write = sinks.FileSink.write
    faults = 3

    def fail(self: sinks.FileSink, *args: Any) -> Any:
        nonlocal faults
        written = write(self, *args) if faults == 0 or when == "when it is written" else None
        if faults:
            faults -= 1
            raise RuntimeError("a fault")
        return written

    monkeypatch.setattr(sinks.FileSink, "write", fail)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn(stderr="null")
        await world.pump.start()
        for number in range(5):
            world.papa.write(one, "out", b"line %d\n" % number)
            await world.until(lambda: world.acked(one) == 7 * (number + 1))  # noqa: B023
        assert world.text("log") == b"".join(b"line %d\n" % number for number in range(5))
        assert world.kinds() == ["sink_failed", "sink_recovered"] * (len(world.events) // 2)
        assert faults == 0

    run(world, story())


def test_a_class_that_no_sink_can_be_made_for_is_told(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": StreamConfig(class_name="my.own.Stream"), "err": world.file("err")})
        await world.spawn()
        await world.pump.start()
        await world.until(lambda: world.kinds() == ["sink_failed"])
        assert world.events[0][1]["watchers"] == ["web"]
        assert world.pump.counters()["web"]["stdout"]["sink_errors"] == 1

    run(world, story())


# Changes of the configuration -------------------------------------------------------------------------------


def test_another_file_gets_what_comes_after_the_change(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("old"), "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        await world.until(world.path("old").exists)
        world.papa.write(one, "out", b"before\n")
        await world.pump.flush(BOUND_S)
        world.pump.configure("web", {"out": world.file("new"), "err": world.file("err")})
        world.papa.write(one, "out", b"after\n")
        await world.until(lambda: world.acked(one) == 13)
        assert (world.text("old"), world.text("new")) == (b"before\n", b"after\n")
        await world.until(lambda: str(world.path("old")) not in world.pump._routes._channels)

    run(world, story())


def test_a_begun_line_of_a_shared_file_goes_with_its_end(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("old"), "err": world.file("old")})
        one = await world.spawn()
        await world.pump.start()
        await world.until(world.path("old").exists)
        world.papa.write(one, "out", b"before\nbeg")
        await world.pump.flush(BOUND_S)
        world.pump.configure("web", {"out": world.file("new"), "err": world.file("new")})
        world.papa.write(one, "out", b"un\n")
        await world.until(lambda: world.acked(one) == 13)
        assert (world.text("old"), world.text("new")) == (b"before\n", b"begun\n")

    run(world, story())


def test_a_failing_sink_lets_go_at_once(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("no/log"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"held\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        began = time.monotonic()
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        await world.until(lambda: world.text("log") == b"held\n")
        assert time.monotonic() - began < health.RETRY_FIRST_S

    run(world, story())


def test_new_options_of_the_same_file_keep_its_line(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"beg")
        await world.until(lambda: world.acked(one) == 3)
        world.pump.configure("web", {"out": world.file("log", max_bytes=10, backup_count=1), "err": None})
        await world.pump.flush(BOUND_S)
        world.papa.write(one, "out", b"un\nand another\n")
        await world.until(lambda: world.acked(one) == 18)
        assert (world.text("log.1"), world.text("log")) == (b"begun\n", b"and another\n")

    run(world, story())


def test_a_change_before_the_start_or_back_again_is_the_last_word(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("a"), "err": None})
        one = await world.spawn()
        world.pump.configure("web", {"out": world.file("b"), "err": None})
        await world.pump.start()
        world.pump.configure("web", {"out": world.file("c"), "err": None})
        world.pump.configure("web", {"out": world.file("b"), "err": None})
        world.papa.write(one, "out", b"one\n")
        await world.until(lambda: world.text("b") == b"one\n")
        world.pump.configure("web", {"out": world.file("c"), "err": None})
        world.pump.configure("web", {"out": world.file("b"), "err": None})
        await world.pump.flush(BOUND_S)
        world.papa.write(one, "out", b"two\n")
        await world.until(lambda: world.text("b") == b"one\ntwo\n")
        assert not world.path("a").exists()

    run(world, story())


def test_a_process_that_is_forgotten_keeps_its_output(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"ours\n")
        await world.until(lambda: world.acked(one) == 5)
        world.pump.forget(one)
        world.papa.write(one, "out", b"theirs\n")
        await world.until(lambda: not world.pump._routes._channels)
        assert world.text("log") == b"ours\n"
        assert world.acked(one) == 5
        assert await world.papa.list("values") == []
        world.pump.forget_watcher("web")

    run(world, story())


# The kernel lost and back -----------------------------------------------------------------------------------


def test_pumping_goes_on_where_it_was_when_the_kernel_is_back(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one = await world.spawn()
        await world.pump.start()
        expected = b""
        for number in range(30):
            line = b"line %d\n" % number
            expected += line
            world.papa.write(one, "out", line)
            await asyncio.sleep(0.0005 * (number % 4))
            if number % 5 == 4:
                world.papa.lose()
                await asyncio.sleep(0.0005 * (number % 3))
                world.papa.write(one, "out", b"meanwhile\n")
                expected += b"meanwhile\n"
                world.papa.come_back()
                await world.attach_all("reattach")
        await world.until(lambda: world.acked(one) == len(expected))
        assert world.text("log") == expected

    run(world, story())


def test_a_process_that_nobody_knew_is_added_by_reattach(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        await world.pump.start()
        one = await world.spawn(add=False)
        world.papa.write(one, "out", b"one\n")
        await world.attach_all("reattach")
        await world.until(lambda: world.acked(one) == 4)

    run(world, story())


def test_closing_while_the_kernel_is_lost_does_not_hang(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"one\n")
        await world.until(lambda: world.acked(one) == 4)
        await world.pump.flush(BOUND_S)
        world.papa.lose()
        world.papa.write(one, "out", b"two\n")
        async with asyncio.timeout(BOUND_S):
            await world.pump.flush(0.01)
            await world.pump.close()

    run(world, story())


def test_an_end_that_was_missed_is_learned_at_reattach(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"tail")
        await world.pump.flush(BOUND_S)
        world.papa.lose()
        world.papa.end(one)
        world.papa.come_back()
        await world.attach_all("reattach")
        await world.until(lambda: world.text("log") == b"tail")
        await world.pump.drained(one)

    run(world, story())


def test_a_process_that_the_kernel_lost_does_not_hold_the_others(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one, two = await world.spawn(), await world.spawn("web.2")
        await world.pump.start()
        await world.pump.flush(BOUND_S)
        world.papa.write(one, "out", b"one\n")
        world.papa.write(two, "out", b"two\n")
        world.papa.end(one)
        await world.papa.remove("processes", ids=[one])
        await world.until(lambda: world.acked(two) == 4)
        assert b"two\n" in world.text("log")
        world.papa.write(two, "out", b"more\n")
        await world.until(lambda: world.text("log").endswith(b"more\n"))

    run(world, story())


def test_an_acknowledgement_that_was_overtaken_is_left_out(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        one, two = await world.spawn(), await world.spawn("web.2")
        world.papa.write(one, "out", b"one\n")
        world.papa.write(two, "out", b"two\n")
        commit, calls = world.papa.commit, 0

        async def overtake(**args: Any) -> None:
            nonlocal calls
            if args.get("acks") and not calls:
                calls += 1
                world.papa.write(one, "out", b"and on\n")
                world.papa.drop_oldest(one, "out", 6)
            await commit(**args)

        world.papa.commit = overtake  # type: ignore[method-assign, assignment]
        await world.pump.start()
        await world.until(lambda: (world.acked(one), world.acked(two)) == (11, 4))
        text = world.text("log")
        assert text.startswith(b"one\ntwo\n[papa: ")
        assert calls == 1

    run(world, story())


@pytest.mark.parametrize("count", [1, 2], ids=["sole", "shared"])
def test_what_was_written_and_could_not_be_acknowledged_is_not_told_as_dropped_by_the_next_circusd(
    world: World, count: int
) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": None}
        world.pump.configure("web", streams)
        ids = [await world.spawn(f"web.{number}") for number in range(count)]
        world.papa.write(ids[0], "out", b"one\n")
        commit = world.papa.commit
        refused = is_known = False

        async def overtake(**args: Any) -> None:
            nonlocal refused, is_known
            if args.get("acks") and not refused:
                refused = True
                world.papa.write(ids[0], "out", b"and on\n")
                world.papa.drop_oldest(ids[0], "out", 6)
            elif refused and is_known:
                await asyncio.Event().wait()  # it is killed before it can say more
            elif refused:
                await commit(**args)
                is_known = True
                return
            await commit(**args)

        world.papa.commit = overtake  # type: ignore[method-assign, assignment]
        await world.pump.start()
        await world.until(lambda: is_known)
        assert world.acked(ids[0]) == 0
        for _ in range(3):  # and once more, until what is written can be acknowledged
            await world.next_circusd(**streams)
        await world.until(lambda: world.acked(ids[0]) == 11)
        assert world.text("log") == b"one\n[papa: 2 bytes of output were dropped here]\nd on\n"

    run(world, story())


def test_a_commit_that_is_refused_is_told_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LOST_FIRST_S", 0.001)

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one = await world.spawn()
        commit, calls = world.papa.commit, 0

        async def refuse(**args: Any) -> None:
            nonlocal calls
            calls += 1
            if calls in (2, 3):
                raise PapaError("somebody else owns it", code="owned")
            await commit(**args)

        world.papa.commit = refuse  # type: ignore[method-assign, assignment]
        await world.pump.start()
        world.papa.write(one, "out", b"one\n")
        await world.until(lambda: world.acked(one) == 4)
        assert world.kinds() == ["commit_failed"]
        assert world.text("log") == b"one\n"

    run(world, story())


# The next circusd -------------------------------------------------------------------------------------------


def test_the_next_circusd_goes_on_where_this_one_was_killed(world: World) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": world.file("log")}
        world.pump.configure("web", streams)
        one, two = await world.spawn(), await world.spawn("web.2")
        await world.pump.start()
        expected = {one: b"", two: b""}
        for number in range(40):
            for kernel_id in (one, two):
                line = b"%d line %d\n" % (kernel_id, number)
                expected[kernel_id] += line
                world.papa.write(kernel_id, "out", line)
            await asyncio.sleep(0.0003 * (number % 5))
            if number % 4 == 3:
                await world.next_circusd(**streams)
        await world.until(lambda: all(world.acked(each) == len(expected[each]) for each in (one, two)))
        lines = world.text("log").splitlines(keepends=True)
        for kernel_id in (one, two):
            assert b"".join(line for line in lines if line.startswith(b"%d " % kernel_id)) == expected[kernel_id]
        assert len(world.text("log")) == sum(map(len, expected.values()))
        assert world.events == []

    run(world, story())


def test_an_overtaken_source_is_known_though_the_intent_has_nothing_of_it(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        one, two = await world.spawn(), await world.spawn("web.2")
        world.papa.write(one, "out", b"one\n")
        world.papa.write(two, "out", b"lost\nkept\n")
        world.papa.drop_oldest(two, "out", 5)
        low = int(world.papa.row(two)["streams"]["out"]["low"])
        mark = b"[papa: %d bytes of output were dropped here]\n" % low
        world.path("log").write_bytes(mark)
        sink = sinks.open_file(os.path.realpath(world.path("log")))
        segments = (store.Segment(store.SourceKey(one, "out"), 0, 4),)
        overtaken = ((store.SourceKey(two, "out"), low),)
        intent = store.Intent(sink.path, sink.look(), segments, overtaken=overtaken)
        sink.close()
        await world.papa.commit(values={store.value_name("circus.", sink.path): store.encode(intent)})
        await world.pump.start()
        await world.until(lambda: (world.acked(one), world.acked(two)) == (4, 10))
        assert world.text("log").startswith(mark)
        assert sorted(world.text("log")[len(mark) :].splitlines()) == [b"kept", b"one"]

    run(world, story())


@pytest.mark.parametrize("is_shared", [False, True])
def test_marks_say_what_is_missing_though_each_acknowledgement_comes_too_late(
    world: World, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    commit, left, killed, one = FakePapa.commit, 0, asyncio.Event(), 0

    def flood() -> None:
        """Faster than it is written: what was announced is gone before it is acknowledged."""
        world.papa.write(one, "out", b"nine more\n" * 10)
        world.papa.drop_oldest(one, "out", 100)

    async def overtake(papa: FakePapa, **args: Any) -> None:
        nonlocal left
        if left > 0:
            flood()
        await commit(papa, **args)
        left -= 1
        if left == 0:
            killed.set()
            await asyncio.Event().wait()

    async def story() -> None:
        nonlocal left, one
        streams = {"out": world.file("log"), "err": world.file("log" if is_shared else "err")}
        world.pump.configure("web", streams)
        monkeypatch.setattr(FakePapa, "commit", overtake)
        one = await world.spawn()
        world.papa.write(one, "out", b"something\n")
        await world.pump.start()
        for count in (4, 1, 3, 2, 5, 1, 1, 4, 0):
            killed.clear()
            left = count
            await world.next_circusd(**streams)
            if count:
                await killed.wait()
        head = int(world.papa.row(one)["streams"]["out"]["head"])
        await world.until(lambda: world.acked(one) == head)
        lines = world.text("log").splitlines()
        marks = [match for line in lines if (match := re.fullmatch(rb"\[papa: (\d+) bytes .*\]", line))]
        assert sum(int(match[1]) for match in marks) + 10 * (len(lines) - len(marks)) == head

    run(world, story())


def test_a_clean_end_leaves_nothing_to_compare(world: World) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": world.file("err")}
        world.pump.configure("web", streams)
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"before, unfin")
        await world.until(lambda: world.acked(one) == 13)
        await world.pump.flush(BOUND_S)
        await world.pump.close()
        rows = await world.papa.list("values")
        assert rows
        assert all(not store.decode(row["value"]).segments for row in rows)
        with open(world.path("err"), "ab") as file:
            file.write(b"--- somebody's note ---\n")
        await world.next_circusd(**streams)
        world.papa.write(one, "out", b"ished\n")
        world.papa.write(one, "err", b"oops\n")
        await world.until(lambda: world.acked(one, "err") == 5 and world.acked(one) == 19)
        assert world.text("log") == b"before, unfinished\n"
        assert world.text("err") == b"--- somebody's note ---\noops\n"
        assert world.events == []

    run(world, story())


def test_what_cannot_be_proven_is_written_again_after_a_mark(world: World) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": None}
        world.pump.configure("web", streams)
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"known\n")
        await world.until(lambda: world.acked(one) == 6)
        await world.pump.flush(BOUND_S)
        await kill(world.pump)
        world.papa.write(one, "out", b"new\n")
        with open(world.path("log"), "ab") as file:
            file.write(b"strange\n")
        await world.next_circusd(**streams)
        await world.until(lambda: world.acked(one) == 10)
        text = world.text("log")
        assert text.startswith(b"known\nstrange\n[papa: this file changed")
        assert text.endswith(b"]\nnew\n")
        assert world.kinds() == ["output_doubt"]
        assert world.events[0][1]["path"] == str(world.path("log"))

    run(world, story())


def test_another_configuration_settles_the_old_file_first(world: World) -> None:
    async def story() -> None:
        old = {"out": world.file("old"), "err": None}
        world.pump.configure("web", old)
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"one\n")
        await world.until(lambda: world.acked(one) == 4)
        await world.pump.flush(BOUND_S)
        await kill(world.pump)
        # As if it had been killed in the middle of a batch under its open intent.
        world.papa.write(one, "out", b"two\nthree\n")
        with open(world.path("old"), "ab") as file:
            file.write(b"two\nth")
        await world.next_circusd(out=world.file("new"), err=None)
        await world.until(lambda: world.acked(one) == 14)
        assert (world.text("old"), world.text("new")) == (b"one\ntwo\nth", b"ree\n")
        names = [row["name"] for row in await world.papa.list("values")]
        assert names == [store.value_name("circus.", str(world.path("new")))]
        assert world.events == []

    run(world, story())


def test_intents_of_files_that_nobody_writes_any_more_are_forgotten(world: World) -> None:
    async def story() -> None:
        idle = store.Intent("/gone", store.Place(1, 2, 3, "ab"))
        await world.papa.set(store.value_name("circus.", "/gone"), store.encode(idle))
        await world.papa.set("circus.sink.garbage", "garbage")
        await world.papa.set("circus.other", "stays")
        await world.pump.start()
        await world.until(lambda: len(world.papa.kernel._ledger.values) == 1)
        assert [row["name"] for row in await world.papa.list("values")] == ["circus.other"]
        assert world.kinds() == ["output_doubt"]

    run(world, story())


def test_the_output_of_the_dead_is_taken_by_the_next_circusd(world: World) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": world.file("log")}
        one = await world.spawn(add=False)
        world.papa.write(one, "out", b"died while\nnobody looked")
        world.papa.end(one)
        await world.next_circusd(**streams)
        await world.until(lambda: world.acked(one) == 24)
        assert world.text("log") == b"died while\nnobody looked"

    run(world, story())


# Standard output --------------------------------------------------------------------------------------------


def test_streams_without_a_section_go_to_standard_output_in_whole_lines(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    monkeypatch.setattr(sinks.StdoutSink, "__init__", lambda self, made=sinks.StdoutSink.__init__: made(self, writer))

    async def story() -> None:
        world.pump.configure("web", {"out": None, "err": world.file("err")})
        one, two = await world.spawn(), await world.spawn("other.1")
        await world.pump.start()
        world.papa.write(one, "out", b"one and ")
        world.papa.write(two, "err", b"two\n")
        await world.until(lambda: world.acked(two, "err") == 4)
        world.papa.write(one, "out", b"a half\n")
        await world.until(lambda: world.acked(one) == 15)
        assert os.read(reader, 1000) == b"two\none and a half\n"
        assert await world.papa.list("values") == [], "what cannot be compared has no intent"

    try:
        run(world, story())
    finally:
        os.close(reader)
        os.close(writer)


def test_a_blocked_standard_output_never_stops_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "STDOUT_PATIENCE_S", 0.2)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    monkeypatch.setattr(sinks.StdoutSink, "__init__", lambda self, made=sinks.StdoutSink.__init__: made(self, writer))

    async def story() -> None:
        world.pump.configure("web", {"out": None, "err": world.file("err")})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"nobody reads this\n")
        world.papa.write(one, "err", b"flows\n")
        await world.until(lambda: world.text("err") == b"flows\n")
        assert world.acked(one) == 0
        await world.until(lambda: world.acked(one) == 18)
        assert world.pump.counters()["web"]["stdout"]["dropped"] == 18
        assert "output_dropped" in world.kinds()

    try:
        run(world, story())
    finally:
        os.close(reader)
        os.close(writer)


def test_one_that_ends_before_its_file_is_found_stops_no_other(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": world.file("log")})
        await world.pump.start()
        brief = await world.spawn()
        # It is bound in a task that has not run yet.
        world.papa.end(brief, 1)
        world.papa.deliver()
        other = await world.spawn("web.2")
        world.papa.write(other, "out", b"heard\n")
        await world.until(lambda: world.text("log") == b"heard\n")
        await world.until(lambda: world.acked(other) == len(b"heard\n"))

    run(world, story())


def test_who_is_let_go_has_each_line_once_when_it_is_taken_again(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.pump.configure("web", {"out": world.file("web.log"), "err": None})
        await world.pump.start()
        number = await world.spawn()
        written = 0
        for _ in range(30):
            for _ in range(20):
                written += 1
                world.papa.write(number, "out", b"%d\n" % written)
                await asyncio.sleep(0)
            await world.pump.let_go([number], BOUND_S)
            before = world.text("web.log")
            assert world.acked(number) == len(before), "what is in the file is committed"
            written += 1
            world.papa.write(number, "out", b"%d\n" % written)
            await world.attach_all()
        expected = b"".join(b"%d\n" % each for each in range(1, written + 1))
        await world.until(lambda: world.text("web.log") == expected)
        await kill(world.pump)
        world.papa.kernel.close()

    asyncio.run(run())


def test_who_is_let_go_while_its_file_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.path("web.log").mkdir()
        world.pump.configure("web", {"out": world.file("web.log"), "err": None})
        await world.pump.start()
        number = await world.spawn()
        world.papa.write(number, "out", b"kept\n")
        await world.pump.let_go([number], BOUND_S)
        assert world.acked(number) == 0
        world.path("web.log").rmdir()
        await world.attach_all()
        await world.until(lambda: world.text("web.log") == b"kept\n")
        await kill(world.pump)
        world.papa.kernel.close()

    asyncio.run(run())


class Gate:
    """Calls of a method on files whose names begin with ``prefix`` hang until `open`; "hung" is a disk of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, prefix: str) -> None:
        self._opened = threading.Event()
        self.entered = threading.Event()
        real = getattr(owner, method)

        def hang(*args: Any) -> Any:
            path = args[0] if isinstance(args[0], str) else getattr(args[0], "path", None) or args[0].filename
            if Path(path).name.startswith(prefix) and not self._opened.is_set():
                self.entered.set()
                assert self._opened.wait(BOUND_S)
            return real(*args)

        monkeypatch.setattr(owner, method, hang)
        device_above = sinks._device_above
        monkeypatch.setattr(sinks, "_device_above", lambda path: 77 if "/hung" in path else device_above(path))

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "UNANSWERED_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("method", ["look", "write"])
def test_a_disk_that_does_not_answer_is_told_and_holds_nobody_who_waits(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    gate = Gate(monkeypatch, sinks.FileSink, method, "hung")

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("hung"), "err": None})
        await world.pump.start()
        id = await world.spawn(stderr="null")
        world.papa.write(id, "out", b"one\n")
        await world.until(gate.entered.is_set)
        trouble = f"web: {world.path('hung')} cannot be written: has not answered for 0.2 s; papa keeps the output"
        await world.until(lambda: world.pump.troubles() == [trouble])
        failed = dict(world.events)["sink_failed"]
        assert (failed["reason"], failed["watchers"]) == ("has not answered for 0.2 s", ["web"])
        world.papa.end(id)
        await world.pump.drained(id)
        await world.pump.flush(BOUND_S)
        assert world.acked(id) == 0
        told = len(world.events)
        gate.open()
        await world.until(lambda: "sink_recovered" in [kind for kind, _ in world.events[told:]])
        await world.until(lambda: world.text("hung") == b"one\n")
        await world.until(lambda: world.pump.troubles() == [])

    run(world, story())


@pytest.mark.usefixtures("impatient")
def test_a_path_whose_disk_does_not_answer_is_told_and_holds_nobody_who_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, sinks, "open_sink", "hung")

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("hung"), "err": None})
        await world.pump.start()
        id = await world.spawn(stderr="null")
        world.papa.write(id, "out", b"one\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        assert dict(world.events)["sink_failed"]["path"] == str(world.path("hung"))
        (trouble,) = world.pump.troubles()
        assert trouble.startswith(f"web: {world.path('hung')} cannot be written: has not answered")
        world.papa.end(id)
        await world.pump.drained(id)
        gate.open()
        await world.until(lambda: world.text("hung") == b"one\n")
        assert world.kinds()[:2] == ["sink_failed", "sink_recovered"]

    run(world, story())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("method", "doubted"), [("look", 0), ("write", 4)])
def test_a_source_leaves_a_disk_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str, doubted: int
) -> None:
    gate = Gate(monkeypatch, sinks.FileSink, method, "hung")

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("hung"), "err": None})
        await world.pump.start()
        id = await world.spawn(stderr="null")
        world.papa.write(id, "out", b"one\n")
        await world.until(lambda: gate.entered.is_set() and world.pump.troubles() != [])
        world.pump.configure("web", {"out": world.file("sound"), "err": None})
        await world.until(lambda: world.text("sound").endswith(b"one\n"))
        await world.until(lambda: world.acked(id) == 4)
        doubts = [fields["bytes"] for kind, fields in world.events if kind == "output_doubt"]
        assert doubts == ([doubted] if doubted else [])
        assert len(world.text("sound").splitlines()) == (2 if doubted else 1)
        gate.open()
        await world.until(lambda: len(list(world.pump._routes)) == 1)
        # What was being written may come; what was not may not.
        assert world.text("hung") in ({b"", b"one\n"} if doubted else {b""})

    run(world, story())


@pytest.mark.usefixtures("impatient")
def test_two_files_on_a_disk_that_hangs_do_not_hold_one_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, sinks.FileSink, "write", "hung-1")

    async def story() -> None:
        for name in ("hung-1", "hung-2", "sound"):
            world.pump.configure(name, {"out": world.file(name), "err": None})
        await world.pump.start()
        for name in ("hung-1", "hung-2", "sound"):
            world.papa.write(await world.spawn(f"{name}.1", stderr="null"), "out", b"one\n")
            if name == "hung-1":
                await world.until(gate.entered.is_set)
        await world.until(lambda: world.text("sound") == b"one\n")
        await world.until(lambda: len([each for each in world.pump.troubles() if "/hung-" in each]) == 2)
        gate.open()
        await world.until(lambda: world.text("hung-1") == world.text("hung-2") == b"one\n")
        await world.until(lambda: world.pump.troubles() == [])

    run(world, story())


@pytest.mark.usefixtures("impatient")
def test_the_next_circusd_starts_while_the_disk_hangs_and_may_leave_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, trip_module, "settle", "hung")

    async def story() -> None:
        world.pump.configure("web", {"out": world.file("hung"), "err": None})
        await world.pump.start()
        id = await world.spawn(stderr="null")
        world.papa.write(id, "out", b"one\n")
        await world.until(lambda: world.acked(id) == 4)
        await world.next_circusd(out=world.file("hung"), err=None)
        world.papa.write(id, "out", b"two\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        world.pump.configure("web", {"out": world.file("sound"), "err": None})
        await world.until(lambda: world.text("sound").endswith(b"two\n"))
        assert dict(world.events)["output_doubt"]["bytes"] == 4, "what the killed one may have written"
        gate.open()
        await world.until(lambda: len(list(world.pump._routes)) == 1)
        assert world.text("hung") == b"one\n"

    run(world, story())


@pytest.mark.usefixtures("impatient")
def test_a_class_of_the_user_that_never_comes_back_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()

    class Stuck:
        def __call__(self, data: dict[str, Any]) -> None:
            opened.wait(BOUND_S)

    monkeypatch.setattr(importing, "find", lambda name: Stuck)

    async def story() -> None:
        config = StreamConfig(class_name="mine.Stuck", owner="web", options={})
        world.pump.configure("web", {"out": config, "err": world.file("log")})
        await world.pump.start()
        id = await world.spawn()
        world.papa.write(id, "out", b"one\n")
        world.papa.write(id, "err", b"two\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        await world.until(lambda: any("mine.Stuck" in fields["path"] for _, fields in world.events))
        await world.until(lambda: world.text("log") == b"two\n")
        opened.set()
        await world.until(lambda: world.acked(id) == 4)

    run(world, story())


def test_a_process_that_runs_is_told_how_much_papa_keeps(world: World) -> None:
    async def story() -> None:
        plain = world.file("log")
        world.pump.configure("web", {"out": plain, "err": plain})
        await world.pump.start()
        id = await world.spawn()
        assert "bounds" not in world.papa.row(id)
        world.pump.configure("web", {"out": world.file("log", buffer_bytes=8192), "err": plain})
        await world.until(lambda: "bounds" in world.papa.row(id))
        assert world.papa.row(id)["bounds"]["out"]["bound"] == 8192
        # The next circusd has it from the file, too, and undoes what the file does not say any more.
        await world.next_circusd(out=plain, err=plain)
        await world.until(lambda: world.papa.row(id)["bounds"]["out"]["bound"] == 2 << 20)

    run(world, story())


def test_losses_of_before_are_counted_by_the_next_circusd(world: World) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        await world.pump.start()
        id = await world.spawn(stderr="null")
        old = world.pump
        world.papa = world.papa.restart_client()
        world.new_pump()
        await kill(old)
        world.papa.write(id, "out", b"one\ntwo\n")
        world.papa.drop_oldest(id, "out", 4)
        world.pump.configure("web", {"out": world.file("log"), "err": None})
        await world.attach_all()
        await world.pump.start()
        await world.until(lambda: world.acked(id) == 8)
        assert world.pump.counters()["web"]["stdout"]["dropped"] == 4
        await world.next_circusd(out=world.file("log"), err=None)
        assert world.pump.counters()["web"]["stdout"]["dropped"] == 4
        assert world.pump.troubles() == ["web: 4 bytes of its output were dropped before they could be written"]

    run(world, story())


def test_a_start_that_is_made_again_opens_no_file_twice(world: World) -> None:
    async def story() -> None:
        streams = {"out": world.file("log"), "err": None}
        world.pump.configure("web", streams)
        await world.pump.start()
        id = await world.spawn(stderr="null")
        world.papa.write(id, "out", b"first\n")
        await world.until(lambda: world.acked(id) == 6)
        old = world.pump
        world.papa = world.papa.restart_client()
        world.new_pump()
        await kill(old)
        world.pump.configure("web", streams)
        await world.attach_all()
        await world.pump.start()
        world.papa.write(id, "out", b"second\n")
        await world.until(lambda: world.acked(id) == 13)
        await world.pump.start()  # as after a kernel that was lost behind it
        await world.until(lambda: not world.pump._routes._bindings)
        world.papa.write(id, "out", b"third\n")
        await world.until(lambda: world.acked(id) == 19)
        await world.pump.flush(5)
        assert world.text("log") == b"first\nsecond\nthird\n"
        assert sum(os.path.realpath(path) == str(world.path("log")) for path in open_files()) == 1

    run(world, story())


def open_files() -> list[str]:
    return [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
