"""A crash loop goes on where it was, after a restart of circusd and after one of the host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, KEPT, Bench, opened, story

from circus.engine.engine import Engine
from circus.supervise import events
from circus.supervise.states import SlotState, SlotView, WatcherState

LOOP = "[watcher:web]\ncmd = /bin/sleep 60\ncopy_env = true\ngraceful_timeout = 5\n"
FLAPS = LOOP + "flapping.attempts = 2\nflapping.window = 30\nflapping.retry_in = {retry}\nflapping.max_retry = {most}\n"
PAUSES = FLAPS.format(retry=600, most=5)
GIVES_UP = FLAPS.format(retry=600, most=0)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture(params=["restart", "reboot"])
def passing(request: pytest.FixtureRequest, bench: Bench) -> Callable[[], None]:
    """How circusd goes."""
    return bench.crash if request.param == "restart" else bench.reboot


def slot_of(engine: Engine, name: str = "web") -> SlotView | None:
    (view,) = [view for view in engine.fleet.snapshot() if view.name == name]
    return view.slots[0] if view.slots else None


def state_of(engine: Engine) -> tuple[SlotState | None, int | None]:
    slot = slot_of(engine)
    return (slot.state, slot.pid) if slot is not None else (None, None)


async def ends(bench: Bench, engine: Engine, state: SlotState) -> None:
    """Its process ends again and again, until the slot is in ``state``."""
    while True:
        await bench.until(lambda: state_of(engine)[0] in (SlotState.RUNNING, state))
        found, pid = state_of(engine)
        if found is state:
            break
        bench.papa.end(next(row["id"] for row in bench.papa.rows() if row["pid"] == pid), 1)
        await bench.until(lambda pid=pid: state_of(engine)[1] != pid)
    await engine.keeper.kept()


def test_a_pause_goes_on_until_a_person_starts_the_watcher(bench: Bench, passing) -> None:
    async def run() -> None:
        async with bench.engine(PAUSES + DB) as engine:
            await ends(bench, engine, SlotState.BACKOFF)
            reason = slot_of(engine).reason
            passing()
        async with bench.engine(PAUSES + DB) as engine:
            await bench.until(lambda: len(bench.running()) == 1)
            await bench.until(lambda: slot_of(engine) is not None)
            assert slot_of(engine).state is SlotState.BACKOFF
            assert slot_of(engine).reason == reason
            slot = engine.fleet.watchers["web"].slots[1]
            assert 590 < slot.pause_s <= 600
            assert slot.budget.pauses == 1
            assert (await engine.order(lambda op: events.Start(op, ("web",)))).ok
            assert slot_of(engine).state is SlotState.RUNNING
            passing()
        async with bench.engine(PAUSES + DB) as engine:
            await bench.until(lambda: len(bench.running()) == 2)
            assert engine.fleet.watchers["web"].slots[1].budget.pauses == 0

    story(run)


@pytest.mark.parametrize(("text", "state"), [(PAUSES, SlotState.BACKOFF), (GIVES_UP, SlotState.FATAL)])
def test_an_end_that_was_seen_and_not_acknowledged_counts_once(text: str, state: SlotState, bench: Bench) -> None:
    async def run() -> None:
        bench.trap = lambda _number, op: "ignored" if op == "commit" else None
        async with bench.engine(text) as engine:
            await ends(bench, engine, state)
            bench.crash()
        bench.trap = None
        assert [row["running"] for row in bench.papa.rows()] == [False, False]
        async with bench.engine(text) as engine:
            await bench.until(lambda: not bench.papa.rows())
            if state is SlotState.BACKOFF:
                await bench.until(lambda: slot_of(engine) is not None)
                assert slot_of(engine).state is SlotState.BACKOFF
                assert engine.fleet.watchers["web"].slots[1].budget.pauses == 1
            else:
                assert engine.fleet.watchers["web"].given_up
            assert bench.running() == set()

    story(run)


def test_one_that_gave_up_stays_so_with_its_reason(bench: Bench, passing) -> None:
    async def run() -> None:
        async with bench.engine(GIVES_UP) as engine:
            await ends(bench, engine, SlotState.FATAL)
            await bench.until(lambda: engine.fleet.watchers["web"].given_up)
            await bench.until(lambda: engine.fleet.snapshot()[0].state is WatcherState.STOPPED)
            told = engine.fleet.snapshot()[0]
            await engine.keeper.kept()
            passing()
        for _ in range(2):
            async with bench.engine(GIVES_UP) as engine:
                view = engine.fleet.snapshot()[0]
                assert (view.state, view.reason) == (told.state, told.reason)
                assert "flapping" in view.reason
                assert bench.running() == set()
                passing()
        async with bench.engine(GIVES_UP) as engine:
            await engine.order(lambda op: events.Start(op, ("web",)))
            assert len(bench.running()) == 1

    story(run)


def test_options_that_changed_meanwhile_forgive(bench: Bench, passing) -> None:
    async def run() -> None:
        async with bench.engine(GIVES_UP) as engine:
            await ends(bench, engine, SlotState.FATAL)
            await bench.until(lambda: engine.fleet.watchers["web"].given_up)
            await engine.keeper.kept()
            passing()
        async with bench.engine(GIVES_UP.replace("sleep 60", "sleep 61")):
            await bench.until(lambda: len(bench.running()) == 1)

    story(run)


def test_a_death_while_circusd_was_away_counts(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(GIVES_UP + KEPT) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.end("circus.web.1", 1)
            await bench.until_replaced(first)
            await bench.until(lambda: slot_of(engine).state is SlotState.RUNNING)
            await engine.keeper.kept()
            bench.crash()
        bench.papa.end("circus.web.1", 1)
        async with bench.engine(GIVES_UP + KEPT) as engine:
            await bench.until(lambda: engine.fleet.watchers["web"].given_up)
            assert bench.running() == set()

    story(run)


def test_what_is_damaged_is_said_and_forgotten(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench.engine(GIVES_UP) as engine:
            await ends(bench, engine, SlotState.FATAL)
            await engine.keeper.kept()
            bench.crash()
        path = bench.folder / "state" / "memory.json"
        content = json.loads(path.read_text())
        content["standings"]["web"]["slots"] = [{"wid": 1}]
        path.write_text(json.dumps(content))
        async with bench.engine(GIVES_UP):
            await bench.until(lambda: len(bench.running()) == 1)
        assert "web: what is remembered of its failures is damaged" in caplog.text

    story(run)


def test_the_end_of_circusd_is_no_reason_to_forget(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(PAUSES) as engine:
            await ends(bench, engine, SlotState.BACKOFF)
            await engine.shutdown()
            await engine.close()
        bench.reboot()
        async with bench.engine(PAUSES) as engine:
            await bench.until(lambda: slot_of(engine) is not None)
            assert slot_of(engine).state is SlotState.BACKOFF

    story(run)


def test_a_container_that_is_started_anew_tries_what_it_is_for(bench: Bench) -> None:
    async def run() -> None:
        text = GIVES_UP + "essential = true\n"
        async with bench.engine(text) as engine:
            await ends(bench, engine, SlotState.FATAL)
            await engine.keeper.kept()
            bench.crash()
        (bench.folder / "circus.ini").write_text(text)
        async with bench.engine(text, is_outlived=False):
            await bench.until(lambda: len(bench.running()) == 1)

    story(run)


def test_nothing_is_written_of_a_watcher_that_does_well(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(DB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.Restart(op, ("db",)))
            await engine.order(lambda op: events.Kill(op, "db"))
            await bench.until_active(engine)
        assert not (bench.folder / "state" / "memory.json").exists()

    story(run)


def test_one_that_gave_up_and_was_started_by_hand_is_started_by_the_next_circusd(bench: Bench, passing) -> None:
    async def run() -> None:
        async with bench.engine(GIVES_UP) as engine:
            await ends(bench, engine, SlotState.FATAL)
            await bench.until(lambda: engine.fleet.watchers["web"].given_up)
            await engine.keeper.kept()
            bench.crash()
        async with bench.engine(GIVES_UP) as engine:
            assert (await engine.order(lambda op: events.Start(op, ("web",)))).ok
            assert engine.memory.standing("web") is None
            passing()
        async with bench.engine(GIVES_UP) as engine:
            await bench.until(lambda: len(bench.running()) == 1)
            await bench.until_active(engine)

    story(run)


def test_forget_forgives_one_that_runs(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(PAUSES) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.end("circus.web.1", 1)
            await bench.until_replaced(first)
            await bench.until_active(engine)
            assert engine.fleet.watchers["web"].slots[1].budget.deaths
            await engine.forget(None, is_dry=False)
            assert engine.fleet.watchers["web"].slots[1].budget.deaths == ()
            assert engine.memory.standing("web") is None

    story(run)
