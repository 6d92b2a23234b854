"""Jobs on a fake kernel, under a clock of the wall that a test sets; circusd is killed in between."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import Bench, opened, story

from circus import clock
from circus.engine import byhand, jobs
from circus.engine.engine import Engine
from circus.engine.groups import Groups
from circus.engine.runbook import NAME, Runbook
from circus.errors import CircusError
from circus.supervise import events

JOB = "[watcher:job]\ncmd = /bin/true\nschedule = 30 3 * * *\njob.timezone = UTC\n"
ONCE = "[watcher:job]\ncmd = /bin/true\ntype = oneshot\n"
ROW = "circus.job.1"
DAY = 86400.0
#: A midnight, from which a test begins.
MIDNIGHT = 1_900_022_400.0
DUE = MIDNIGHT + 3.5 * 3600


class Wall:
    """A clock that goes on from where it was set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set(MIDNIGHT)
        monkeypatch.setattr(clock, "wall", lambda: self.base + time.monotonic() - self.since)

    def set(self, at: float) -> None:
        self.base, self.since = at, time.monotonic()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(jobs, "life_of_machine", lambda: "this boot")
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def come(engine: Engine, wall: Wall, at: float) -> None:
    wall.set(at)
    engine.jobs.look()


def noted(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bench.folder / "state" / NAME).read_text().splitlines()]


def states(engine: Engine) -> list[object]:
    return [run["state"] for run in engine.runs("job")]


async def until_it_waits(bench: Bench, engine: Engine) -> None:
    await bench.until(lambda: engine.fleet.watchers["job"].view().reason == "waits for its time")


async def until_it_runs(bench: Bench) -> None:
    await bench.until(lambda: (row := bench.named(ROW)) is not None and row["running"])


def dues(bench: Bench) -> list[object]:
    """Of all that was ever spawned."""
    return [spec["meta"].get("run") for spec in bench.papa.spawns]


def test_a_run_is_on_the_disk_before_it_is_spawned_and_in_its_row(bench: Bench, wall: Wall) -> None:
    seen: list[list[dict[str, Any]]] = []

    def trap(_number: int, op: str) -> None:
        if op == "spawn":
            seen.append(noted(bench))

    async def run() -> None:
        bench.trap = trap
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await until_it_runs(bench)
            assert seen[0][-1]["due"] == DUE and seen[0][-1]["state"] == "starting"
            assert dues(bench) == [DUE]
            bench.papa.end(ROW, 0)
            await bench.until(lambda: states(engine) == ["done"])
            await until_it_waits(bench, engine)
            job = engine.snapshot().jobs["job"]
            assert job["next_run"] == DUE + DAY and job["schedule"] == "30 3 * * *"

    story(run)


def test_nothing_is_spawned_before_the_disk_has_it(bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate = threading.Event(), threading.Event()
    write = Runbook.write

    def gated(book: Runbook, taken: tuple[bytes, bool]) -> None:
        if b"starting" in taken[0]:
            asked.set()
            assert gate.wait(20)
        write(book, taken)

    monkeypatch.setattr(Runbook, "write", gated)

    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await bench.until(asked.is_set)
            for _ in range(100):  # turns of the loop, of which a spawn needs a few
                await asyncio.sleep(0)
            assert not bench.papa.spawns
            gate.set()
            await until_it_runs(bench)

    story(run)


@pytest.mark.parametrize("how", ["unasked", "unanswered", "answered"])
def test_a_run_whose_circusd_is_killed_around_its_spawn_runs_once(bench: Bench, wall: Wall, how: str) -> None:
    async def run() -> None:
        bench.stays_away = True
        bench.trap = lambda _number, op: how if op == "spawn" else None
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await bench.until(lambda: "spawn" in bench.requests)
            if how != "unasked":
                await until_it_runs(bench)
        bench.trap, bench.stays_away = None, False
        spawned = dues(bench)
        bench.crash()
        wall.set(DUE + 5)
        async with bench.engine(JOB) as engine:
            await until_it_runs(bench)
            assert (spawned or dues(bench)) == [DUE]
            bench.papa.end(ROW, 0)
            await bench.until(lambda: states(engine) == ["done"])
            await until_it_waits(bench, engine)
            await bench.until(lambda: bench.named(ROW) is None)

    story(run)


def test_a_run_that_ended_while_nobody_was_there_is_not_run_again(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await until_it_runs(bench)
        bench.papa.end(ROW, 3)
        bench.crash()
        wall.set(DUE + 10)
        for _ in range(2):
            async with bench.engine(JOB) as engine:
                await until_it_waits(bench, engine)
                (done,) = engine.runs("job")
                assert (done["state"], done["status"], done["reason"]) == ("failed", 3, "ended with status 3")
                await engine.keeper.kept()
            bench.crash()

    story(run)


def test_a_run_that_the_machine_took_with_it_has_failed_and_is_not_run_again(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await until_it_runs(bench)
            await engine.keeper.kept()
        bench.reboot()
        monkeypatch.setattr(jobs, "life_of_machine", lambda: "another boot")
        wall.set(DUE + 40)
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            assert states(engine) == ["failed"]
            assert "nobody knows" in str(engine.runs("job")[0]["reason"])
            assert not bench.papa.spawns

    story(run)


def test_what_was_missed_while_nobody_was_there_is_made_up_for_as_is_said(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        text = f"{JOB}job.missed = once\n"
        async with bench.engine(text) as engine:
            await until_it_waits(bench, engine)
            await engine.keeper.kept()
        bench.crash()
        wall.set(DUE + 2 * DAY + 3600)
        async with bench.engine(text) as engine:
            await bench.until(lambda: states(engine) == ["skipped", "running"])
            assert [(each["due"], each["count"]) for each in engine.runs("job")] == [(DUE + DAY, 2), (DUE + 2 * DAY, 1)]

    story(run)


def test_a_clock_that_is_set_back_runs_nothing_twice(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await until_it_runs(bench)
            bench.papa.end(ROW, 0)
            await until_it_waits(bench, engine)
            for at in (DUE - 3600, DUE, DUE + 3600):
                come(engine, wall, at)
            assert states(engine) == ["done"] and len(bench.papa.spawns) == 1

    story(run)


def test_a_stop_by_hand_ends_the_schedule_and_what_is_due_then_was_not_missed(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        text = f"{JOB}job.missed = all\n"
        async with bench.engine(text) as engine:
            await until_it_waits(bench, engine)
            await engine.order(lambda op: events.Stop(op, ("job",)))
            assert engine.snapshot().jobs["job"]["next_run"] is None
            come(engine, wall, DUE + 100)
        bench.crash()
        async with bench.engine(text) as engine:
            assert engine.snapshot().jobs["job"]["next_run"] is None
            await engine.order(lambda op: events.Start(op, ("job",)))
            assert engine.runs("job") == []
            assert engine.snapshot().jobs["job"]["next_run"] == DUE + DAY

    story(run)


def test_a_schedule_that_was_started_by_hand_is_active_under_the_next_circusd(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        text = f"{JOB}autostart = false\n"
        async with bench.engine(text) as engine:
            assert engine.snapshot().jobs["job"]["next_run"] is None
            await engine.order(lambda op: events.Start(op, ("job",)))
        bench.crash()
        async with bench.engine(text) as engine:
            await until_it_waits(bench, engine)

    story(run)


def test_the_instants_of_another_schedule_were_not_missed(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(f"{JOB}job.missed = all\n") as engine:
            await until_it_waits(bench, engine)
            await engine.keeper.kept()
        bench.crash()
        wall.set(DUE + 2 * DAY)
        async with bench.engine(JOB.replace("30 3", "0 3") + "job.missed = all\n") as engine:
            await until_it_waits(bench, engine)
            assert engine.runs("job") == []

    story(run)


def test_a_run_goes_to_its_end_under_a_circusd_with_other_options(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await until_it_runs(bench)
        bench.crash()
        async with bench.engine(JOB.replace("/bin/true", "/bin/false")) as engine:
            await bench.until(lambda: states(engine) == ["running"])
            bench.papa.end(ROW, 0)
            await until_it_waits(bench, engine)
            assert states(engine) == ["done"] and bench.signals == []

    story(run)


def test_a_run_by_hand_of_a_stopped_schedule_goes_to_its_end_under_the_next_circusd(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        text = f"{JOB}autostart = false\n"
        async with bench.engine(text) as engine:
            began = await engine.run("job", wait=False)
            assert (began["state"], began["by_hand"]) == ("running", True)
            with pytest.raises(CircusError, match="runs already"):
                await engine.run("job", wait=False)
        bench.crash()
        async with bench.engine(text) as engine:
            bench.papa.end(ROW, 0)
            await bench.until(lambda: states(engine) == ["done"])
            await bench.until(lambda: not engine.fleet.watchers["job"].wants_up)
            assert bench.signals == []

    story(run)


def test_a_run_of_a_schedule_that_was_stopped_by_hand_is_left_alone_by_the_next_circusd(
    bench: Bench, wall: Wall
) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            await engine.order(lambda op: events.Stop(op, ("job",)))
            await engine.run("job", wait=False)
        bench.crash()
        async with bench.engine(JOB) as engine:
            bench.papa.end(ROW, 0)
            await bench.until(lambda: not engine.fleet.watchers["job"].wants_up)
            assert bench.signals == [] and states(engine) == ["done"]

    story(run)


def test_what_was_stopped_by_hand_decides_nothing_though_the_runs_do_not_know(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            engine.memory.remember_stopped({"job"}, stopped=True)  # and killed before anything else was noted
            await engine.keeper.kept()
        bench.crash()
        async with bench.engine(JOB) as engine:
            assert engine.snapshot().jobs["job"]["next_run"] is None
            come(engine, wall, DUE)
            assert engine.runs("job") == []

    story(run)


def test_whoever_waits_for_a_run_is_told_how_it_ended(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(JOB) as engine:
            await until_it_waits(bench, engine)
            waits = asyncio.create_task(engine.run("job", wait=True))
            await until_it_runs(bench)
            bench.papa.end(ROW, 7)
            told = await waits
            assert (told["state"], told["status"]) == ("failed", 7)
            with pytest.raises(CircusError, match="no job"):
                await engine.jobs.run("web", wait=False)

    story(run)


def test_a_oneshot_runs_again_after_a_boot_and_not_after_a_restart_of_circusd(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(ONCE) as engine:
            await until_it_runs(bench)
            bench.papa.end(ROW, 0)
            await bench.until(lambda: engine.fleet.watchers["job"].is_done)
            await bench.until(lambda: bench.named(ROW) is None)
        bench.crash()
        async with bench.engine(ONCE) as engine:
            assert engine.fleet.watchers["job"].is_done
            assert len(bench.papa.spawns) == 1
        bench.reboot()
        monkeypatch.setattr(jobs, "life_of_machine", lambda: "another boot")
        async with bench.engine(ONCE) as engine:
            await until_it_runs(bench)

    story(run)


@pytest.mark.parametrize("status", [0, 5])
def test_a_oneshot_that_ended_while_nobody_was_there_is_not_run_again(bench: Bench, wall: Wall, status: int) -> None:
    async def run() -> None:
        async with bench.engine(ONCE):
            await until_it_runs(bench)
        bench.papa.end(ROW, status)
        bench.crash()
        for _ in range(2):
            async with bench.engine(ONCE) as engine:
                watcher = engine.fleet.watchers["job"]
                assert watcher.is_done if status == 0 else watcher.given_up == "job.1: ended with status 5"
                assert len(engine.runs("job")) == 1
                await engine.keeper.kept()
            bench.crash()

    story(run)


def test_a_oneshot_that_failed_is_tried_again_after_a_boot(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(ONCE) as engine:
            await until_it_runs(bench)
            bench.papa.end(ROW, 1)
            await bench.until(lambda: engine.fleet.watchers["job"].given_up)
            await engine.keeper.kept()
        bench.reboot()
        monkeypatch.setattr(jobs, "life_of_machine", lambda: "another boot")
        async with bench.engine(ONCE):
            await until_it_runs(bench)

    story(run)


def test_what_ran_with_other_options_and_was_not_noted_is_no_run_with_these(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_book: Runbook, _taken: tuple[bytes, bool]) -> None:
        raise OSError(28, "no space left")

    async def run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Runbook, "write", refuse)
            async with bench.engine(ONCE) as engine:
                await until_it_runs(bench)
        bench.papa.end(ROW, 0)
        bench.crash()
        async with bench.engine(ONCE.replace("true", "false")) as engine:
            await until_it_runs(bench)
            await bench.until(lambda: states(engine) == ["done", "running"])

    story(run)


def test_a_oneshot_whose_last_run_papa_has_lost_is_not_done(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(ONCE) as engine:
            await until_it_runs(bench)
            bench.papa.end(ROW, 0)
            await bench.until(lambda: states(engine) == ["done"] and bench.named(ROW) is None)
            engine.give(partial(events.Start, names=("job",)))
            await bench.until(lambda: states(engine) == ["done", "running"])
            await engine.keeper.kept()
        bench.reboot()  # of papa alone
        async with bench.engine(ONCE) as engine:
            await bench.until(lambda: states(engine) == ["done", "failed", "running"])

    story(run)


def test_a_circusd_that_leaves_is_not_woken_up_by_what_it_does_not_begin(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = jobs.Jobs.look
    monkeypatch.setattr(jobs.Jobs, "look", lambda each: (looks.append(0.0), look(each)))

    async def run() -> None:
        async with bench.engine(JOB + "[watcher:web]\ncmd = /bin/true\n") as engine:
            await until_it_waits(bench, engine)
            await bench.until(lambda: (row := bench.named("circus.web.1")) is not None and row["running"])
            bench.obeys = False
            leaving = asyncio.ensure_future(engine.quit())
            await bench.until(lambda: bench.signals)
            looks.clear()
            come(engine, wall, DUE)
            loop = asyncio.get_running_loop()
            later = loop.create_future()
            loop.call_later(10 * jobs.EARLY_S, later.set_result, None)
            await later  # behind every timer that came before
            assert len(looks) == 1
            leaving.cancel()

    story(run)


def test_a_watcher_that_is_no_job_for_a_while_is_one_again(bench: Bench, wall: Wall) -> None:
    async def change(engine: Engine, text: str) -> None:
        (bench.folder / "circus.ini").write_text(text)
        await byhand.reloadconfig(engine, None, lambda _plan: None)

    async def run() -> None:
        async with bench.engine(ONCE) as engine:
            await bench.until(lambda: states(engine) == ["running"])
            await change(engine, "[watcher:job]\ncmd = /bin/true\n")
            changing = asyncio.ensure_future(change(engine, ONCE))
            await bench.until(lambda: states(engine) == ["failed", "running"])
            bench.papa.end(ROW, 0)
            await changing
            assert states(engine) == ["failed", "done"]
            assert engine.runs("job")[0]["reason"] == "its watcher is no job any more"

    story(run)


def test_a_run_that_ends_before_a_new_circusd_has_given_its_orders_stops_no_schedule(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end_it(groups: Groups) -> None:
        bench.papa.end(ROW, 0)
        await bench.until(lambda: groups._engine.runs("job")[0]["state"] == "done")
        for _ in range(100):  # turns of the loop, in which the cores hear of it
            await asyncio.sleep(0)

    async def run() -> None:
        text = f"{JOB}job.overlap = queue\n"
        async with bench.engine(text) as engine:
            await until_it_waits(bench, engine)
            come(engine, wall, DUE)
            await bench.until(lambda: states(engine) == ["running"])
            come(engine, wall, DUE + DAY)
            assert states(engine) == ["running", "waiting"]
            await engine.keeper.kept()
        bench.crash()
        with monkeypatch.context() as patch:
            patch.setattr(Groups, "tidy", end_it)
            async with bench.engine(text) as engine:
                await bench.until(lambda: states(engine) == ["done", "running"])
                assert dues(bench)[-1] == DUE + DAY

    story(run)


def test_a_run_that_an_order_has_taken_back_in_the_last_moment_is_not_spawned(bench: Bench, wall: Wall) -> None:
    async def run() -> None:
        async with bench.engine(f"{JOB}[watcher:other]\ncmd = /bin/true\nschedule = 0 0 29 2 *\n") as engine:
            await until_it_waits(bench, engine)
            post = engine.post

            def post_behind_an_order(event: events.Event) -> None:
                if isinstance(event, events.RunDue):
                    engine.post = post  # type: ignore[method-assign]
                    engine.give(partial(events.Restart, names=("job", "other")))
                post(event)

            engine.post = post_behind_an_order  # type: ignore[method-assign]
            come(engine, wall, DUE)
            await bench.until(lambda: "the run was taken back" in str(engine.fleet.watchers["job"].slots))
            assert states(engine) == ["skipped"] and not bench.papa.spawns

    story(run)
