"""What is left of trees, at the edge: real processes that bear the mark of one that only the fake kernel has."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import BOUND_S, KEPT, WEB, Bench, opened, story

from circus import procfs
from circus.engine import asking, departures, trees
from circus.engine.engine import Engine
from circus.engine.hosted import Hosted
from circus.engine.looks import MARK
from circus.engine.survivors import MAX_NAMED, Survivor, tell
from circus.supervise import events, rest
from circus.supervise.actions import Finish
from papa.testing import FakePapa
from papa.testing.kernel import FakeKernel

TREE = WEB.replace("timeout = 5", "timeout = 60") + "kill_mode = tree\n"
BRIEF = TREE.replace("timeout = 60", "timeout = 0")

Relative = subprocess.Popen[bytes]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(trees, "SOON_S", 0.01)
    start = FakeKernel._start

    def start_long_ago(kernel: FakeKernel, *args: Any) -> Any:
        """Its relatives were started later, however short the machine is up."""
        process = start(kernel, *args)
        process.start_ticks = 0
        return process

    monkeypatch.setattr(FakeKernel, "_start", start_long_ago)
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def relate(bench: Bench) -> Iterator[Callable[..., Relative]]:
    made: list[Relative] = []

    def make(*, obeys: bool = True, words: str = "") -> Relative:
        token = bench.papa.row("circus.web.1")["meta"]["token"]
        words = words or ("echo; exec sleep 60" if obeys else "trap '' TERM; echo; exec sleep 60")
        made.append(subprocess.Popen(["/bin/sh", "-c", words], stdout=subprocess.PIPE, env={MARK: token}))
        assert made[-1].stdout is not None
        made[-1].stdout.readline()
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.communicate()


async def stop(engine: Engine) -> Finish:
    return await engine.order(lambda op: events.Stop(op, ("web",)))


def rests(engine: Engine) -> list[dict[str, Any]]:
    return [event.fields for event in engine.bus.recent if event.name == "rest"]


async def stop_and_kill(bench: Bench, engine: Engine) -> Finish:
    """The grace is over as soon as the rest is seen."""
    stopping = asyncio.create_task(stop(engine))
    await bench.until(lambda: rests(engine))
    await engine.order(lambda op: events.Kill(op, "web", None, 9, 0.0))
    return await stopping


def let_nobody_be_killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that were tried."""
    sent: list[int] = []
    monkeypatch.setattr(procfs, "send_signal", lambda _row, signum: sent.append(signum))
    for room in (rest, trees):
        monkeypatch.setattr(room, "KILL_AGAIN_S", 0.01)
    return sent


def named(engine: Engine) -> list[int]:
    return [each.pid for each in engine.trees.survivors().get("web", [])]


@pytest.mark.parametrize("has_pidfds", [True, False])
@pytest.mark.parametrize("obeys", [True, False])
def test_who_is_left_gets_the_stop_signal_and_then_sigkill(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch, *, obeys: bool, has_pidfds: bool
) -> None:
    monkeypatch.setattr(departures, "LOOK_S", 0.01)
    if not has_pidfds:
        monkeypatch.setattr(procfs, "_pidfd", lambda _pid: -1)

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            relatives = [relate(obeys=obeys) for _ in range(departures.MAX_WATCHED + 3)]
            finish = await (stop(engine) if obeys else stop_and_kill(bench, engine))
            assert finish.ok
            assert "warnings" not in finish.detail
            assert {each.wait(30) for each in relatives} == {-15 if obeys else -9}
            (told,) = rests(engine)
            assert (told["signum"], told["left"], len(told["survivors"])) == (15, len(relatives), MAX_NAMED)
            await bench.until(lambda: not bench.papa.rows())

    story(run)


def test_who_is_born_while_others_end_is_told_as_well(bench: Bench, relate: Callable[..., Relative]) -> None:
    """Though there is one who stays."""

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            relate(obeys=False)
            parent = relate(words="trap 'sleep 61 >/dev/null & echo $!; exit' TERM; echo; sleep 60 >/dev/null & wait")
            stopping = asyncio.create_task(stop(engine))
            await bench.until(lambda: parent.poll() is not None)
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            await bench.until(lambda: procfs.has_ended(child))
            await engine.order(lambda op: events.Kill(op, "web", None, 9, 0.0))
            assert (await stopping).ok

    story(run)


def test_the_rest_of_one_that_ends_when_circusd_has_left_is_the_next_ones(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(TREE + KEPT) as engine:
            await bench.until_active(engine)
            (hosted,) = engine.lives.hosted
            await engine.quit()
            bench.papa.end("circus.web.1", 0)
            await bench.until(lambda: hosted.has_exited)
            await engine.lives.settled(BOUND_S)
            assert [row["running"] for row in bench.papa.rows()] == [False]

    story(run)


def test_who_cannot_be_killed_is_named_and_left(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = let_nobody_be_killed(monkeypatch)

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            stuck = relate()
            finish = await stop_and_kill(bench, engine)
            assert finish.ok
            (warning,) = finish.detail["warnings"]  # type: ignore[misc]
            assert f"1 of its tree left: pid {stuck.pid} (" in warning
            assert (sent[0], set(sent[1:])) == (15, {9})
            assert named(engine) == [stuck.pid]
            assert any(f"pid {stuck.pid} (" in each for each in engine.snapshot().warnings)
            assert engine.snapshot().survivors["web"][0]["why"] == "marker"
            await bench.until(lambda: not bench.papa.rows())
            stuck.kill()
            stuck.wait()
            assert named(engine) == []

    story(run)


def test_who_is_left_is_told_again_when_that_is_ordered(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = let_nobody_be_killed(monkeypatch)

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            relate()
            stopping = asyncio.create_task(stop(engine))
            await bench.until(lambda: rests(engine))
            for count in (2, 3):
                again = asyncio.create_task(engine.order(lambda op: events.Kill(op, "web", None, 15, None)))
                await bench.until(lambda count=count: sent == [15] * count)
            await engine.order(lambda op: events.Kill(op, "web", None, 9, 0.0))
            assert (await stopping).ok
            await again

    story(run)


def test_a_stop_of_others_does_not_tell_of_them(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_nobody_be_killed(monkeypatch)

    async def run() -> None:
        async with bench.engine(TREE + TREE.replace("web", "db")) as engine:
            await bench.until_active(engine)
            relate()
            others = await engine.order(lambda op: events.Stop(op, ("db",)))
            assert "warnings" not in others.detail
            assert "warnings" in (await stop_and_kill(bench, engine)).detail
            again = await engine.order(lambda op: events.Start(op, ("web",)))
            assert "warnings" not in again.detail
            for name in ("web", "db"):  # had they been ordered before
                told = await engine.trees.with_survivors(others, events.Stop(0, (name,)), 0)
                assert ("warnings" in told.detail) == (name == "web")

    story(run)


@pytest.mark.parametrize("can_be_killed", [True, False])
def test_what_an_earlier_circusd_has_left_is_ended_before_there_is_another_one(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch, *, can_be_killed: bool
) -> None:
    if not can_be_killed:
        let_nobody_be_killed(monkeypatch)
    seen: list[bool] = []

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            left = relate(obeys=False)
        bench.papa.end("circus.web.1", 0)
        bench.crash()
        spawn = FakePapa.spawn

        async def spawn_after(papa: FakePapa, **spec: Any) -> Any:
            seen.append(left.poll() is None)
            return await spawn(papa, **spec)

        monkeypatch.setattr(FakePapa, "spawn", spawn_after)
        async with bench.engine(BRIEF) as engine:
            await bench.until_active(engine)
            await bench.until(lambda: len(bench.papa.rows()) == 1)  # the end of the first one is settled
            assert seen == [not can_be_killed]
            assert left.poll() == (-9 if can_be_killed else None)
            await bench.until(lambda: named(engine) == ([] if can_be_killed else [left.pid]))

    story(run)


def test_by_default_nobody_else_is_signalled(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            other = relate()
            assert (await stop(engine)).ok
            assert other.poll() is None

    story(run)


def test_who_is_just_going_is_not_named(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As children that have got the signal, too."""
    monkeypatch.setattr(trees, "SOON_S", BOUND_S)

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            going, looks = relate(), list[bool]()

            async def look(*_: object, **__: object) -> tuple[dict[int, procfs.Row], dict[int, str]]:
                row = procfs.row(going.pid)
                assert row is not None
                looks.append(row.state not in "ZX")
                going.kill()
                return {row.pid: row}, ({row.pid: "session"} if looks[-1] else {})

            monkeypatch.setattr(engine.trees, "_look", look)
            assert "warnings" not in (await stop(engine)).detail
            assert looks == [True, False]
            assert named(engine) == []

    story(run)


@pytest.mark.parametrize("what", ["variable", "command"])
def test_a_process_that_does_not_tell_what_it_has_in_memory_holds_up_no_stop(
    bench: Bench, relate: Callable[..., Relative], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    go, hangs, read = threading.Event(), threading.Event(), getattr(procfs, what)

    def hang(*args: Any) -> Any:
        hangs.set()
        go.wait()
        return read(*args)

    async def wait(futures: set[asyncio.Future[Any]], timeout: float) -> None:
        """As if the time were over when somebody hangs, and never before."""
        assert timeout == asking.ANSWER_S
        (future,) = futures
        await bench.until(lambda: future.done() or hangs.is_set())

    monkeypatch.setattr(asking, "asyncio", types.SimpleNamespace(wait=wait))
    monkeypatch.setattr(procfs, what, hang)

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            other = relate()
            try:
                assert (await stop(engine)).ok
                assert hangs.is_set()
                assert bench.running() == set()
                assert (other.poll() is None) == (what == "variable"), "its mark is not known"
                assert any("hangs in the system" in each for each in engine.snapshot().warnings)
            finally:
                go.set()
            await bench.until(lambda: asking.TROUBLE not in engine.troubles)

    story(run)


def test_an_answer_waits_for_no_ends_that_come_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: as where a large watcher is reloaded one by one."""

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            left_of = engine.trees._left_of

            async def look(hosted: Hosted, is_late: bool) -> Any:
                engine.trees.look_after(hosted)
                return await left_of(hosted, is_late)

            monkeypatch.setattr(engine.trees, "_left_of", look)
            assert (await stop(engine)).ok
            monkeypatch.undo()

    story(run)


def test_a_look_that_fails_holds_up_no_stop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(procfs, "rows", fail)

    async def run() -> None:
        async with bench.engine(TREE) as engine:
            await bench.until_active(engine)
            assert (await stop(engine)).ok
            assert bench.running() == set()

    story(run)


def test_some_are_named_and_the_others_counted() -> None:
    many = [Survivor(pid, 1, "sleep", "sleeping", "session", 5) for pid in range(1, 21)]
    told = tell(many, 50)
    assert told.startswith("pid 1 (sleep, sleeping, parent 1, of its session), pid 2 (")
    assert told.endswith(" and 47 more")
    own = procfs.row(os.getpid())
    assert own is not None
    assert Survivor(own.pid, 1, "it", "running", "group", own.start_ticks).is_alive()
    assert not Survivor(own.pid, 1, "it", "running", "group", own.start_ticks + 1).is_alive()
