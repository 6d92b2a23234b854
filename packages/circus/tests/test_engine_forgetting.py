"""Forgetting returns to the file, whatever was ordered by hand; and until then the file wins only where it changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workbench import DB, TWO, WEB, Bench, opened, story

from circus.config import amend
from circus.config.amend import Edits
from circus.engine import shown
from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.states import WatcherState


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def states(engine: Engine) -> dict[str, tuple[str, int]]:
    return {view.name: (view.state.value, view.numprocesses) for view in engine.fleet.snapshot()}


async def order_all(engine: Engine) -> None:
    """Everything that can be ordered by hand."""
    await engine.order(lambda op: events.SetCount(op, "web", count=3))
    await engine.set_options("web", {"priority": "7"})
    await engine.order(lambda op: events.Stop(op, ("db",)))
    await engine.add_watcher("new", {"cmd": "/bin/sleep 62", "copy_env": "true"}, start=True)
    await engine.remove_watcher("gone", nostop=False)


GONE = DB.replace("db", "gone")
ALL = WEB + DB + GONE
TOLD = {
    "web": ["set by hand: priority", "numprocesses 3 by hand, 1 in the file"],
    "db": ["stopped by hand"],
    "new": ["added by hand"],
    "gone": ["removed by hand"],
}


def test_all_that_was_ordered_is_forgotten_and_undone(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(ALL) as engine:
            await bench.until_active(engine)
            await order_all(engine)
            before = states(engine)
            assert await engine.forget(None, is_dry=True) == TOLD
            assert states(engine) == before and engine.snapshot().by_hand["db"] == "stopped by hand"
            assert await engine.forget(None, is_dry=False) == TOLD
            assert states(engine) == dict.fromkeys(("web", "db", "gone"), ("active", 1))
            assert engine.options("web")["priority"] == 0
            assert engine.snapshot().by_hand == {} and await engine.forget(None, is_dry=False) == {}
            bench.crash()
        async with bench.engine(ALL) as engine:
            await bench.until_active(engine)
            assert states(engine) == dict.fromkeys(("web", "db", "gone"), ("active", 1))
            assert len(bench.running()) == 3

    story(run)


@pytest.mark.parametrize("name", TOLD)
def test_one_watcher_is_forgotten_and_the_others_stay_as_ordered(bench: Bench, name: str) -> None:
    async def run() -> None:
        async with bench.engine(ALL) as engine:
            await bench.until_active(engine)
            await order_all(engine)
            before = states(engine)
            assert await engine.forget([name.upper()], is_dry=False) == {name: TOLD[name]}
            assert shown.remembered(engine) == {other: what for other, what in TOLD.items() if other != name}
            after = states(engine)
            assert {k: v for k, v in after.items() if k != name} == {k: v for k, v in before.items() if k != name}
            assert after.get(name) == (None if name == "new" else ("active", 1))

    story(run)


def test_a_number_alone_is_forgotten(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + TWO) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.SetCount(op, "web", delta=1))
            told = {"web": ["numprocesses 3 by hand, 2 in the file"]}
            assert await engine.forget(["web"], is_dry=False) == told
            assert len(bench.running()) == 2

    story(run)


def test_what_had_given_up_is_started(bench: Bench) -> None:
    async def run() -> None:
        flaps = "flapping.attempts = 1\nflapping.max_retry = 0\n"
        async with bench.engine(WEB + flaps) as engine:
            await bench.until_active(engine)
            bench.papa.end("circus.web.1", 1)
            await bench.until(lambda: states(engine)["web"][0] == "stopped")
            assert engine.snapshot().by_hand == {}, "nobody has ordered that"
            assert list(await engine.forget(["web"], is_dry=False)) == ["web"]
            assert engine.fleet.snapshot()[0].state is WatcherState.ACTIVE

    story(run)


def test_a_watcher_that_the_file_does_not_start_is_not_started(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "autostart = false\n" + DB) as engine:
            await engine.order(lambda op: events.Stop(op, ("web",)))
            await engine.forget(["web"], is_dry=False)
            assert states(engine)["web"][0] == "stopped"
            assert not engine.memory.is_stopped("web")

    story(run)


def test_what_the_file_says_must_be_possible_or_nothing_is_forgotten(bench: Bench) -> None:
    async def run() -> None:
        folder = bench.folder / "there"
        folder.mkdir()
        text = WEB + f"working_dir = {folder}\n"
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            await engine.set_options("web", {"working_dir": "/"})
            await engine.order(lambda op: events.SetCount(op, "web", count=2))
            folder.rmdir()
            with pytest.raises(CircusError, match="there"):
                await engine.forget(["web"], is_dry=False)
            assert engine.memory.count("web", 1) == 2
            assert "web" in engine.edits.options

    story(run)


# The file wins over what was remembered only where it changed --------------------------------------------------

WISHES: dict[str, Any] = {
    "count": lambda engine: engine.order(lambda op: events.SetCount(op, "web", count=3)),
    "stopped": lambda engine: engine.order(lambda op: events.Stop(op, ("web",))),
    "option": lambda engine: engine.set_options("web", {"priority": "7"}),
    "added": lambda engine: engine.add_watcher("new", {"cmd": "/bin/sleep 62", "copy_env": "true"}, start=True),
    "removed": lambda engine: engine.remove_watcher("gone", nostop=False),
}
#: What the file may say instead, and which wish that overrules.
CHANGES = {
    "count": lambda text: text.replace(WEB, WEB + TWO),
    "option": lambda text: (
        text.replace(WEB, WEB + "priority = 5\n", 1) if TWO not in text else text.replace(TWO, TWO + "priority = 5\n")
    ),
    "added": lambda text: text + DB.replace("db", "new"),
    "removed": lambda text: text.replace(GONE, GONE + "priority = 4\n"),
    "nothing": lambda text: text,
    "other": lambda text: text.replace(DB, DB + "priority = 9\n"),
}


def seen(engine: Engine) -> dict[str, bool]:
    """Which wishes are in force."""
    watchers = {view.name: view for view in engine.fleet.snapshot()}
    return {
        "count": watchers["web"].numprocesses == 3,
        "stopped": watchers["web"].state is WatcherState.STOPPED,
        "option": engine.configs["web"].priority == 7,
        "added": "added by hand" in engine.snapshot().by_hand.get("new", ""),
        "removed": "gone" not in watchers,
    }


@given(
    wishes=st.sets(st.sampled_from(sorted(WISHES)), min_size=1),
    changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True),
    is_live=st.booleans(),
)
def test_the_file_overrules_exactly_the_wishes_about_what_it_changed(
    tmp_path_factory: pytest.TempPathFactory, wishes: set[str], changes: list[str], is_live: bool
) -> None:
    async def run(bench: Bench) -> None:
        text = WEB + DB + GONE
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            for wish in sorted(wishes):
                await WISHES[wish](engine)
            for change in sorted(changes):
                text = CHANGES[change](text)
            expected = {wish: wish in wishes and wish not in changes for wish in WISHES}
            if is_live:
                (bench.folder / "circus.ini").write_text(text)
                await engine.reloadconfig()
                assert seen(engine) == expected
            bench.crash()
        for _ in range(2):
            async with bench.engine(text) as engine:
                await bench.until(lambda: seen(engine) == expected)
                bench.crash()

    with pytest.MonkeyPatch.context() as monkeypatch:
        for bench in opened(tmp_path_factory.mktemp("bench"), monkeypatch):
            story(lambda bench=bench: run(bench))


def test_orders_about_some_watchers_are_taken_out_of_all() -> None:
    edits = Edits({"web": {}, "db": {}}, {"New": {"cmd": "x"}}, {"old": "digest"})
    assert amend.without(edits, {"web", "new"}) == Edits({"db": {}}, {}, {"old": "digest"})
