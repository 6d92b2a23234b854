"""Why a watcher is as it is: who says so, what has changed since it ran well; also for the next circusd."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.engine import proofs
from circus.engine.engine import Engine
from circus.engine.tracking import Track
from circus.supervise import events

ONCE = "[watcher:once]\ncmd = /bin/sleep 62\ntype = oneshot\nrespawn = false\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(proofs, "GOOD_S", 0.01)
    yield from opened(tmp_path, monkeypatch)


async def as_operation(what: str, work: Any, *, by: str = "uid 7") -> Any:
    """As a door has it carried out."""

    async def run() -> Any:
        Track("17-1", (), what, by, "unix").use()
        return await work

    return await asyncio.create_task(run())


async def order(engine: Engine, what: str, make: Any, **fields: Any) -> None:
    assert (await as_operation(what, engine.order(lambda op: make(op, **fields)))).ok


async def wanted(engine: Engine, name: str = "web") -> dict[str, Any]:
    return (await engine.why(name))["wanted"]


async def ran_well(bench: Bench, engine: Engine, name: str = "web") -> float:
    await bench.until(lambda: engine.annals.good(name) is not None)
    good = engine.annals.good(name)
    assert good is not None
    return good.at


def test_without_an_order_the_file_wants_it(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB + "autostart = false\n") as engine:
            await bench.until(lambda: bench.running())
            await bench.until(lambda: engine.watcher_view("web").state.value == "active")
            told = await wanted(engine)
            assert (told["up"], told["source"], told["reason"], told["order"]) == (
                True, "file", "autostart = true by default", None,
            )  # fmt: skip
            assert (told["file"], told["line"]) == (engine.config.path, 1)
            told = await wanted(engine, "db")
            assert (told["up"], told["source"], told["reason"], told["line"]) == (False, "file", "autostart = false", 9)
            assert (await engine.why("db"))["well"] is (await engine.why("web"))["well"] is True

    story(run)


def test_who_ordered_it_is_known_also_to_the_next_circusd(bench: Bench) -> None:
    text = WEB + KEPT + DB + "requires = web\n"

    async def run() -> None:
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            await order(engine, "stop", events.Stop, names=("web",))
            await order(engine, "count", partial(events.SetCount, name="web", count=3))
            await engine.keeper.close()
            bench.crash()
        async with bench.engine(text) as engine:
            for name, along in (("web", False), ("db", True)):
                told = await wanted(engine, name)
                assert (told["up"], told["source"]) == (False, "order")
                assert (told["order"]["what"], told["order"]["by"], told["order"]["along"]) == ("stop", "uid 7", along)
            told = await wanted(engine)
            assert (told["numprocesses"], told["in_file"], told["count_order"]["what"]) == (3, 1, "count")
            await order(engine, "start", events.Start, names=("db",))
            assert [(await wanted(engine, name))["order"]["along"] for name in ("web", "db")] == [True, False]
            assert (await engine.why("web"))["well"]

    story(run)


def test_a_signal_to_circusd_is_nobodys(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await engine.reload_all()
            told = (await wanted(engine))["order"]
            assert (told["what"], told["by"], told["operation"]) == ("reload", "", "")

    story(run)


def test_an_order_that_is_refused_is_not_told(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await as_operation("stop", engine.order(lambda op: events.Stop(op, ("nobody",))))
            assert (await wanted(engine))["order"] is None

    story(run)


def test_one_that_gave_up_says_so_and_what_brings_it_back(bench: Bench) -> None:
    gives_up = "flapping.attempts = 1\nflapping.max_retry = 0\n"

    async def run() -> None:
        async with bench.engine(WEB + gives_up) as engine:
            await bench.until_active(engine)
            (row,) = bench.papa.rows()
            bench.papa.end(row["id"], 3)
            await bench.until(lambda: engine.fleet.watchers["web"].given_up)
            await bench.until(lambda: engine.watcher_view("web").state.value == "stopped")
            told = await engine.why("web")
            assert not told["well"]
            assert (told["wanted"]["up"], told["wanted"]["source"]) == (True, "file")
            assert [each["kind"] for each in told["waits"]] in (["order"], [])
            assert told["next"] == {"at": None, "what": "none by itself: it needs an order (`circusctl start web`)"}

    story(run)


@pytest.mark.parametrize(("status", "is_well"), [(0, True), (3, False)])
def test_one_that_ends_for_good_is_wanted_down_by_circusd(bench: Bench, status: int, is_well: bool) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "respawn = false\n") as engine:
            await bench.until_active(engine)
            await order(engine, "start", events.Start, names=("web",))
            (row,) = bench.papa.rows()
            bench.papa.end(row["id"], status)
            await bench.until(lambda: engine.watcher_view("web").state.value == "stopped")
            told = await engine.why("web")
            assert (told["wanted"]["up"], told["wanted"]["source"], told["well"]) == (False, "circusd", is_well)
            assert f"ended with status {status}" in told["wanted"]["reason"]
            assert told["wanted"]["order"]["what"] == "start"

    story(run)


def test_a_pause_has_the_moment_of_the_next_attempt(bench: Bench) -> None:
    pauses = "flapping.attempts = 1\nflapping.retry_in = 600\nflapping.max_retry = 5\n"

    async def run() -> None:
        async with bench.engine(WEB + pauses) as engine:
            await bench.until_active(engine)
            (row,) = bench.papa.rows()
            bench.papa.end(row["id"], 3)
            await bench.until(lambda: engine.watcher_view("web").slots[0].state.value == "backoff")
            told = await engine.why("web")
            (wait,) = told["waits"]
            assert wait["until"] == pytest.approx(told["next"]["at"], abs=1)
            assert told["next"]["what"] == wait["then"] == "the next attempt (1 of 5 pauses for flapping)"
            assert not told["well"]

    story(run)


def test_what_ran_well_is_compared_with_what_is_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "[env:web]\nTOKEN = hunter1\n") as engine:
            await bench.until_active(engine)
            assert (await engine.why("web"))["changes"] == []
            at = await ran_well(bench, engine)
            await engine.keeper.close()
            assert "hunter" not in engine.annals.path.read_text()
            bench.crash()
        monkeypatch.setattr(proofs, "GOOD_S", 3600.0)
        changed = WEB.replace("/bin/sleep 60", "/bin/sleep 6000") + "autostart = false\n[env:web]\nTOKEN = hunter2\n"
        async with bench.engine(changed) as engine:
            await as_operation("set", engine.set_options("web", {"stop_signal": "INT"}))
            told = await engine.why("web")
            causes = {each.option: (each.old, each.new, each.file, each.is_hidden) for each in told["changes"]}
            path = engine.config.path
            assert causes.pop("autostart") == (None, "false", path, False)
            assert causes == {
                "cmd": ("/bin/sleep 60", "/bin/sleep 6000", path, False),
                "stop_signal": (None, "INT", "by hand", False),
                "env TOKEN": ("", "", path, True),
            }
            assert told["ran_well"] == at
            assert (told["last_set"]["what"], told["last_set"]["by"]) == ("set", "uid 7")

    story(run)


def test_one_that_dies_at_once_has_not_run_well_and_a_job_that_ends_well_has(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "GOOD_S", 3600.0)

    async def run() -> None:
        async with bench.engine(WEB + ONCE) as engine:
            await bench.until(lambda: len(bench.running()) == 2)
            for name, status in (("circus.once.1", 0), ("circus.web.1", 1)):
                row = next(row for row in bench.papa.rows() if str(row["name"]).startswith(name[:-2]))
                bench.papa.end(row["id"], status)
            await ran_well(bench, engine, "once")
            assert engine.annals.good("web") is None
            assert (await engine.why("once"))["well"]

    story(run)


def test_a_reload_of_the_file_is_remembered_with_who_ordered_it(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            Path(engine.config.path).write_text(WEB + TWO + DB)
            await as_operation("reloadconfig", engine.reloadconfig())
            assert (await engine.why("web"))["last_reload"]["by"] == "uid 7"
            assert (await engine.why("db"))["last_reload"] is None
            await as_operation("remove", engine.remove_watcher("db", nostop=False))
            assert engine.annals.order("db", "wish") is None

    story(run)
