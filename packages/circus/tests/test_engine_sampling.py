"""Who looks at what limited watchers use, and when; with a fake machine below a fake kernel."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import BOUND_S, DB, KEPT, WEB, Bench, opened, story

from circus import procfs
from circus.engine.engine import Engine
from circus.engine.sampling import Sampler, _next
from circus.procfs import Row
from circus.supervise import events

M = 1 << 20
OFTEN = "limits.interval = 0.01\nlimits.grace = 0\nlimits.start_period = 0\n"
SMALL = WEB + KEPT + "limits.memory = 100m\n" + OFTEN


class Machine:
    """All processes of the kernel use so much."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.resident = 50 * M
        self.looks = 0
        self.fails = False

    def rows(self) -> dict[int, Row]:
        self.looks += 1
        if self.fails:
            raise OSError("no /proc")
        return {
            row["pid"]: Row(row["pid"], "x", "S", 1, row["pid"], row["pid"], 0, 0, row["start_ticks"], 0, self.resident)
            for row in self.bench.papa.rows()
        }


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def machine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(bench)
    monkeypatch.setattr(procfs, "rows", made.rows)
    return made


def told(engine: Engine, name: str) -> list[dict[str, object]]:
    return [dict(event.fields) for event in engine.bus.recent if event.name == name]


def reason(engine: Engine) -> str:
    (web,) = [each for each in engine.snapshot().watchers if each.name == "web"]
    return "; ".join(slot.reason for slot in web.slots)


def test_who_exceeds_is_replaced_and_it_is_told_why(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(SMALL + DB) as engine:
            await bench.until_active(engine)
            first, db = bench.papa.row("circus.web.1"), bench.papa.row("circus.db.1")
            await bench.until(lambda: machine.looks > 1)
            assert reason(engine) == ""
            machine.resident = 200 * M
            second = await bench.until_replaced(first)
            machine.resident = 50 * M
            (limit,) = [each for each in told(engine, "limit") if each["pid"] == first["pid"]]
            assert (limit["wid"], limit["what"], limit["value"], limit["bound"]) == (1, "memory", 200 * M, 100 * M)
            assert (limit["action"], str(limit["reason"])[:22]) == ("restart", "memory 200M of 100M fo")
            assert bench.named("circus.db.1") == db, "nothing is limited there"
            await engine.keeper.kept()
            exits = await engine.exits("web")
            assert "as ordered: memory 200M of 100M for" in str(exits[0]["reason"])
            assert str(exits[0]["why"]).startswith("memory")
            assert second["pid"] != first["pid"]

    story(run)


def test_what_is_only_reported_is_shown_until_it_is_over(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(SMALL + "limits.action = report\n") as engine:
            await bench.until_active(engine)
            before = bench.running()
            machine.resident = 200 * M
            await bench.until(lambda: told(engine, "limit"))
            assert reason(engine).startswith("memory 200M of 100M for")
            machine.resident = 95 * M
            await bench.until(lambda: reason(engine).startswith("memory 95M of 100M for"))
            machine.resident = 50 * M
            await bench.until(lambda: told(engine, "limit_cleared"))
            assert (reason(engine), len(told(engine, "limit"))) == ("", 1)
            assert bench.running() == before

    story(run)


def test_a_reload_replaces_who_exceeds_beside_it(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(SMALL + "limits.action = reload\n") as engine:
            await bench.until_active(engine)
            machine.resident = 200 * M
            await bench.until(lambda: told(engine, "reload"))
            await bench.until(lambda: bench.named("circus.web.1") is None)
            assert len(told(engine, "limit")) == 1

    story(run)


@pytest.mark.parametrize("action", ["reload", "restart"])
def test_a_stop_that_waits_for_a_hook_is_not_undone(
    bench: Bench, machine: Machine, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    asked, go, rounds, lives = threading.Event(), threading.Event(), [0], Sampler._lives

    def count(*args: Any) -> Any:
        rounds[0] += 1
        return lives(*args)

    monkeypatch.setattr(Sampler, "_lives", count)

    def ask(*_: object, **__: object) -> bool:
        asked.set()
        return go.wait(BOUND_S)

    monkeypatch.setattr(os.path, "exists_for_a_stop", ask, raising=False)
    hook = f"limits.action = {action}\nhooks.before_stop = os.path.exists_for_a_stop\n"

    async def run() -> None:
        async with bench.engine(SMALL + hook) as engine:
            await bench.until_active(engine)
            stopping = asyncio.create_task(engine.order(lambda op: events.Stop(op, ("web",))))
            await bench.until(asked.is_set)
            machine.resident, now = 200 * M, rounds[0]
            await bench.until(lambda: rounds[0] > now + 3)
            go.set()
            assert (await stopping).ok
            assert not engine.fleet.watchers["web"].wants_up
            assert told(engine, "limit") == []

    story(run)


def test_where_nothing_is_limited_nobody_looks_and_limits_come_and_go_while_it_runs(
    bench: Bench, machine: Machine
) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + OFTEN.replace("limits.", "own.")) as engine:
            await bench.until_active(engine)
            assert engine.sampler._task is None
            await engine.set_options(
                "web", {"limits.memory": "1k", "limits.interval": "0.01", "limits.action": "report"}
            )
            await bench.until(lambda: machine.looks)
            await engine.set_options("web", {"limits.memory": "0"})
            assert engine.sampler._task is None
            assert reason(engine) == ""
            await engine.set_options("web", {"limits.cpu": "5"})
            assert engine.sampler._task is not None
            await engine.remove_watcher("web", nostop=False)
            assert engine.sampler._task is None
        assert machine.looks

    story(run)


def test_a_look_that_fails_is_logged_and_others_follow(
    bench: Bench, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with bench.engine(SMALL) as engine:
            machine.fails = True
            await bench.until_active(engine)
            await bench.until(lambda: "could not be looked at" in caplog.text)
            machine.fails, machine.resident = False, 200 * M
            await bench.until(lambda: told(engine, "limit"))

    story(run)


def test_adopted_processes_are_looked_at_and_an_excess_begins_anew(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        reports = SMALL + "limits.action = report\n"
        machine.resident = 200 * M
        async with bench.engine(reports) as engine:
            await bench.until(lambda: told(engine, "limit"))
            pids = bench.running()
        bench.crash()
        async with bench.engine(reports) as engine:
            await bench.until(lambda: told(engine, "limit"))
            assert bench.running() == pids

    story(run)


def test_one_look_is_enough_for_all_watchers_of_an_interval(bench: Bench, machine: Machine) -> None:
    one = SMALL.replace("0.01", "0.5") + "limits.action = report\n"
    many = "".join(one.replace("watcher:web", f"watcher:web{number}") for number in range(20))

    async def run() -> None:
        machine.resident = 200 * M
        async with bench.engine(many) as engine:
            await bench.until_active(engine)
            before = machine.looks
            await bench.until(lambda: len(told(engine, "limit")) >= 20)
            assert machine.looks - before <= 4, "the first may come while they start"

    story(run)


def test_all_who_have_the_same_interval_are_due_at_the_same_moments() -> None:
    assert [_next(10.0, now) for now in (0.0, 3.0, 9.999, 10.0, 10.001)] == [10.0, 10.0, 10.0, 20.0, 20.0]
