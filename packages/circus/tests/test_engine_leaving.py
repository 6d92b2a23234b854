"""The end of circusd has a bound, whatever is under way and whoever is not there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, WEB, Bench, opened, story

from circus import hooks
from circus.engine import leaving
from circus.supervise import events
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakePapa

SOCKETS = "[socket:kept]\nport = 0\nuse_papa = true\n[socket:other]\nport = 0\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(leaving, "LOOK_S", 0.01)
    monkeypatch.setattr(leaving, "GIVE_UP_S", 0.05)
    yield from opened(tmp_path, monkeypatch)


def test_others_are_stopped_in_reverse_order_of_start(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "priority = 5\n" + DB + "[watcher:last]\ncmd = /bin/sleep 1\n" + KEPT) as engine:
            await bench.until_active(engine)
            pids = [bench.papa.row(f"circus.{name}.1")["pid"] for name in ("db", "web")]
            await engine.quit()
            assert bench.signals == [(pid, 15) for pid in pids]
            assert engine.may_leave.is_set()

    story(run)


def test_the_kernel_is_asked_to_exit_only_when_nothing_is_left(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKETS + WEB + KEPT) as engine:
            await bench.until_active(engine)
            await engine.kernel.set("circus.sink.1", "x")
            await engine.quit()
            await engine.close()
        watching = FakePapa(bench.papa.kernel, client="somebody")
        assert [row["name"] for row in await watching.list("sockets")] == ["circus.kept"]
        assert len(await watching.list("values")) == 1
        await watching.close()
        bench.crash()
        asked: list[str] = []
        request = FakePapa.request

        async def note(papa: FakePapa, op: str, **args: Any) -> Reply:
            if op == "exit":
                asked.append(op)
                assert await papa.list("sockets") == await papa.list("values") == await papa.list("processes") == []
            return await request(papa, op, **args)

        async with bench.engine(SOCKETS + WEB + KEPT) as engine:
            await bench.until_active(engine)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(FakePapa, "request", note)
                await engine.shutdown()
                await engine.close()
            assert asked == ["exit"]

    story(run)


def test_a_kernel_that_was_told_something_meanwhile_is_asked_to_exit_again(bench: Bench) -> None:
    answers: list[str] = []
    request = FakePapa.request

    async def late(papa: FakePapa, op: str, **args: Any) -> Reply:
        if op == "exit" and not answers:
            await papa.set("circus.sink.late", "x")
        try:
            reply = await request(papa, op, **args)
        except PapaError as error:
            answers.extend([error.code] if op == "exit" else [])
            raise
        answers.extend(["ok"] if op == "exit" else [])
        return reply

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(FakePapa, "request", late)
                await engine.shutdown()
                await engine.close()
        assert answers == ["busy", "ok"]

    story(run)


@pytest.mark.parametrize("end", ["quit", "shutdown"])
def test_a_kernel_that_is_gone_does_not_hold_circusd(bench: Bench, end: str) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60")) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            bench.papa.lose()
            await getattr(engine, end)()
            assert engine.may_leave.is_set()
            await engine.close()

    story(run)


def test_a_kernel_that_hangs_does_not_hold_circusd(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60")) as engine:
            await bench.until_active(engine)
            bench.obeys = False

            async def hangs(papa: FakePapa, op: str, **_: Any) -> Reply:
                await asyncio.sleep(0)
                raise PapaError(f"the kernel did not answer {op}", code="timeout")

            monkeypatch.setattr(FakePapa, "request", hangs)
            await engine.quit()
            assert engine.may_leave.is_set()
            await engine.close()

    story(run)


def test_a_kernel_that_comes_back_in_time_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "GIVE_UP_S", 5)

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            bench.go_away()
            await engine.quit()
            assert bench.running() == set()

    story(run)


def test_a_spawn_in_flight_is_waited_for_and_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = FakePapa.spawn
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(papa: FakePapa, **spec: Any) -> Reply:
        begun.set()
        await go_on.wait()
        return await spawn(papa, **spec)

    monkeypatch.setattr(FakePapa, "spawn", slow)

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await begun.wait()
            ending = asyncio.create_task(engine.quit())
            await asyncio.sleep(0)
            assert not engine.may_leave.is_set()
            go_on.set()
            await ending
            assert engine.may_leave.is_set()
            assert len(bench.papa.spawns) == 1
            assert bench.running() == set()

    story(run)


def test_a_hook_that_hangs_holds_the_end_no_longer_than_its_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "TIMEOUT_S", 0.05)
    source = "import threading\ngate = threading.Event()\ndef hang(**_):\n    gate.wait(60)\n"
    (bench.folder / "hanging_hooks.py").write_text(source)
    monkeypatch.syspath_prepend(str(bench.folder))

    async def run() -> None:
        names = ("before_stop", "after_stop", "before_signal", "after_signal", "before_reap")
        options = "".join(f"hooks.{name} = hanging_hooks.hang\n" for name in names)
        async with bench.engine(WEB + options) as engine:
            await bench.until_active(engine)
            await engine.quit()
            assert bench.running() == set()
            sys.modules["hanging_hooks"].gate.set()

    story(run)


def test_ends_that_are_ordered_twice_end_together(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB + KEPT) as engine:
            await bench.until_active(engine)
            await asyncio.gather(engine.quit(), engine.shutdown(), engine.quit())
            assert bench.running() == set()
            assert len(bench.signals) == 2
            finish = await engine.order(lambda op: events.Start(op, ("web",)))
            assert not finish.ok

    story(run)


def test_an_end_orders_nothing_that_is_remembered(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await engine.shutdown()
            assert not engine.memory.path.exists()

    story(run)
