"""Watchers that are added and removed by hand, and processes that are left to themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events
from papa.client.reply import Reply
from papa.testing import FakePapa

SLEEP = {"cmd": "/bin/sleep 70", "use_papa": "true", "graceful_timeout": "5"}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def names(engine: Engine) -> list[str]:
    return sorted(view.name for view in engine.snapshot().watchers)


def state(engine: Engine, name: str) -> str:
    return next(view.state.value for view in engine.snapshot().watchers if view.name == name)


async def reloaded(bench: Bench, engine: Engine, text: str) -> None:
    (bench.folder / "circus.ini").write_text(text)
    await engine.reloadconfig()


# Added ------------------------------------------------------------------------------------------------------


def test_an_added_watcher_is_started_if_it_shall_be_and_all_know_of_it(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            finish, warnings = await engine.add_watcher("New", {**SLEEP, "numprocesses": "2"}, start=True)
            assert finish is not None and finish.ok
            assert sorted(finish.detail["started"]) == sorted(  # type: ignore[call-overload]
                bench.papa.row(f"circus.new.{wid}")["pid"] for wid in (1, 2)
            )
            assert warnings == []
            assert engine.snapshot().by_hand == {"New": "added by hand"}
            assert [(event.name, event.watcher) for event in engine.bus.recent if event.name == "add"] == [
                ("add", "New")
            ]

    story(run)


def test_an_added_watcher_that_is_not_started_waits_for_it_also_under_the_next_circusd(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT) as engine:
            assert (await engine.add_watcher("new", SLEEP, start=False))[0] is None
            assert state(engine, "new") == "stopped"
        bench.crash()
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until(lambda: bench.named("circus.web.1"))
            assert state(engine, "new") == "stopped"
            await engine.order(lambda op: events.Start(op, ("new",)))
            assert state(engine, "new") == "active"
        bench.crash()
        before = bench.running()
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
            assert bench.running() == before, "its processes are known again"

    story(run)


@pytest.mark.parametrize(
    ("name", "texts", "code", "message"),
    [
        ("WEB", SLEEP, "conflict", "watcher 'web' exists already"),
        ("new", {}, "bad-request", "new: cmd is missing"),
        ("new", {"args": "x"}, "config-invalid", "new: cmd is missing"),
        ("new", {**SLEEP, "uid": "nobody-here"}, "config-invalid", "new: there is no user nobody-here"),
        ("new", {**SLEEP, "hooks.before_start": "no.such"}, "config-invalid", "new: before_start: hook no.such"),
        ("a/b", SLEEP, "config-invalid", "'a/b' cannot be the name of a watcher"),
        ("a b", SLEEP, "conflict", "watcher 'a_b' exists already"),
    ],
)
def test_a_watcher_that_cannot_be_added_changes_nothing(
    bench: Bench, name: str, texts: dict[str, str], code: str, message: str
) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB.replace("db", "a_b")) as engine:
            await bench.until_active(engine)
            before = bench.running(), engine.config
            with pytest.raises(CircusError) as raised:
                await engine.add_watcher(name, texts, start=True)
            assert (raised.value.code, raised.value.message[: len(message)]) == (code, message)
            assert (bench.running(), engine.config) == before
            assert engine.snapshot().by_hand == {} and not engine.memory.is_stopped(name)

    story(run)


def test_reloadconfig_keeps_what_was_added_until_the_file_has_that_name(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await engine.add_watcher("new", SLEEP, start=True)
            pid = bench.papa.row("circus.new.1")["pid"]
            await reloaded(bench, engine, WEB + DB)
            assert names(engine) == ["db", "new", "web"] and pid in bench.running()
            await reloaded(bench, engine, WEB + DB.replace("db", "NEW"))
            assert names(engine) == ["NEW", "web"] and pid not in bench.running()
            assert engine.snapshot().by_hand == {}

    story(run)


def test_options_of_an_added_watcher_are_set_like_any(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await engine.add_watcher("new", SLEEP, start=True)
            await engine.set_options("new", {"cmd": "/bin/sleep 71", "numprocesses": "2", "stop_signal": "INT"})
            await bench.until(
                lambda: sorted(row["argv"][1] for row in bench.papa.rows() if row["running"]) == ["60", "71", "71"]
            )
        bench.crash()
        async with bench.engine(WEB) as engine:
            shown = engine.options("new")
            assert (shown["cmd"], shown["stop_signal"], shown["numprocesses"]) == ("/bin/sleep 71", 2, 2)

    story(run)


def test_an_added_watcher_that_is_not_possible_any_more_is_said_and_its_processes_are_left_alone(bench: Bench) -> None:
    async def run() -> None:
        place = bench.folder / "place"
        place.mkdir()
        async with bench.engine(WEB + KEPT) as engine:
            await engine.add_watcher("new", {**SLEEP, "working_dir": str(place)}, start=True)
            pid = bench.papa.row("circus.new.1")["pid"]
        bench.crash()
        place.rmdir()
        async with bench.engine(WEB + KEPT) as engine:
            assert names(engine) == ["web"]
            assert any("new: working directory" in str(each) for each in engine.snapshot().warnings)
            assert pid in bench.running()
            assert [row["pid"] for row in engine.snapshot().foreign] == [pid]
            place.mkdir()
            await engine.reloadconfig()
            await bench.until_active(engine)
            assert names(engine) == ["new", "web"] and pid in bench.running()
            assert engine.snapshot().foreign == () and len(bench.running()) == 2
        bench.crash()
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
            assert names(engine) == ["new", "web"] and pid in bench.running()

    story(run)


# Removed ----------------------------------------------------------------------------------------------------


def test_a_removed_watcher_is_stopped_and_stays_away_until_its_section_is_edited(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await engine.remove_watcher("DB", nostop=False)
            assert bench.named("circus.db.1") is None and names(engine) == ["web"]
            assert engine.snapshot().by_hand == {"db": "removed by hand"}
            await reloaded(bench, engine, WEB.replace("timeout = 5", "timeout = 6") + DB)
            assert names(engine) == ["web"], "another section was edited"
        bench.crash()
        async with bench.engine(WEB + DB) as engine:
            assert names(engine) == ["web"]
            await reloaded(bench, engine, WEB + DB + TWO)
            await bench.until_active(engine)
            assert names(engine) == ["db", "web"] and engine.snapshot().by_hand == {}

    story(run)


def test_a_removed_watcher_of_the_file_is_brought_back_by_its_name_alone(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await engine.set_options("db", {"priority": "3"})
            await engine.remove_watcher("db", nostop=False)
            await engine.add_watcher("DB", {}, start=False)
            await bench.until_active(engine)
            assert names(engine) == ["db", "web"] and not engine.memory.is_stopped("db"), "it starts with circusd"
            assert engine.options("db")["priority"] == 0, "as the file has it"

    story(run)


def test_another_watcher_may_take_the_name_of_one_that_was_removed(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await engine.remove_watcher("db", nostop=False)
            await engine.add_watcher("DB", SLEEP, start=True)
            await reloaded(bench, engine, WEB + DB)
            assert names(engine) == ["DB", "web"]
            await engine.remove_watcher("DB", nostop=False)
            await reloaded(bench, engine, WEB + DB)
            assert names(engine) == ["web"], "the one of the file is still removed"

    story(run)


def test_an_added_watcher_that_is_removed_is_forgotten_wholly(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await engine.add_watcher("new", SLEEP, start=False)
            await engine.remove_watcher("new", nostop=False)
            assert engine.snapshot().by_hand == {} and not engine.memory.is_stopped("new")
            with pytest.raises(CircusError, match="not found"):
                await engine.remove_watcher("new", nostop=False)

    story(run)


def test_a_watcher_that_takes_its_time_to_stop_holds_up_no_other_order(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60") + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            removing = asyncio.create_task(engine.remove_watcher("web", nostop=False))
            await bench.until(lambda: bench.signals)
            await engine.set_options("db", {"priority": "3"})
            await engine.add_watcher("new", SLEEP, start=True)
            for order in (engine.set_options("web", {"priority": "1"}), engine.remove_watcher("web", nostop=True)):
                with pytest.raises(CircusError, match="watcher 'web' is being removed"):
                    await order
            reloading = asyncio.create_task(reloaded(bench, engine, WEB + "priority = 9\n" + DB))
            await asyncio.sleep(0)
            await engine.set_options("db", {"priority": "4"})
            assert not (removing.done() or reloading.done())
            bench.obeys = True
            await engine.order(lambda op: events.Kill(op, "web", signum=9))
            await asyncio.gather(removing, reloading)
            await bench.until_active(engine)
            assert names(engine) == ["db", "new", "web"], "the file brought it back after it had gone"
            assert engine.options("web")["priority"] == 9

    story(run)


def test_a_second_removal_is_the_first_one_and_what_is_added_under_the_name_comes_after_both(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60") + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            removals = [asyncio.create_task(engine.remove_watcher("web", nostop=False)) for _ in range(2)]
            await bench.until(lambda: bench.signals)
            removals.append(asyncio.create_task(engine.remove_watcher("web", nostop=False)))
            adding = asyncio.create_task(engine.add_watcher("WEB", SLEEP, start=True))
            await asyncio.sleep(0)
            assert not any(each.done() for each in (*removals, adding))
            bench.obeys = True
            await engine.order(lambda op: events.Kill(op, "web", signum=9))
            await asyncio.gather(*removals, adding)
            assert names(engine) == ["WEB", "db"]
            with pytest.raises(CircusError, match="exists already"):
                await engine.add_watcher("web", SLEEP, start=True)

    story(run)


def test_a_plugin_is_changed_in_its_file_only(bench: Bench) -> None:
    async def run() -> None:
        plugin = "[plugin:counts]\nuse = circus.plugins.statsd.StatsdEmitter\n"
        async with bench.engine(WEB + plugin) as engine:
            await bench.until_active(engine)
            for order in (
                engine.set_options("plugin:counts", {"priority": "1"}),
                engine.remove_watcher("plugin:counts", nostop=False),
            ):
                with pytest.raises(CircusError, match="made by another section"):
                    await order

    story(run)


# Left -------------------------------------------------------------------------------------------------------


def test_rm_with_nostop_leaves_the_processes_and_lists_them_as_nobodys(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + DB) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            await engine.remove_watcher("web", nostop=True)
            assert pid in bench.running() and bench.signals == []
            assert [row["pid"] for row in engine.snapshot().foreign] == [pid]
        bench.crash()
        async with bench.engine(WEB + KEPT + DB) as engine:
            assert names(engine) == ["db"]
            assert pid in bench.running() and bench.signals == []
            assert [row["pid"] for row in engine.snapshot().foreign] == [pid]
            await engine.shutdown()
            assert pid in bench.running(), "an end of everything is an end of everything that circusd has"

    story(run)


def test_a_process_that_was_being_started_is_left_like_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()
        spawn = FakePapa.spawn

        async def slow(papa: FakePapa, **spec: Any) -> Reply:
            asked.set()
            await go_on.wait()
            return await spawn(papa, **spec)

        monkeypatch.setattr(FakePapa, "spawn", slow)
        async with bench.engine(WEB + KEPT) as engine:
            await asked.wait()
            await engine.remove_watcher("web", nostop=True)
            assert engine.snapshot().foreign == ()
            go_on.set()
            await bench.until(lambda: engine.snapshot().foreign)
            assert {row["pid"] for row in engine.snapshot().foreign} == bench.running()
            assert list(engine.lives.hosted) == []

    story(run)


@pytest.mark.parametrize("is_same", [False, True])
def test_what_was_left_is_taken_over_by_the_next_watcher_of_its_name(bench: Bench, is_same: bool) -> None:
    async def come_back(engine: Engine, before: set[int]) -> None:
        await engine.add_watcher("web", {}, start=False)
        await bench.until_active(engine)
        assert before <= bench.running()
        assert engine.snapshot().foreign == () and engine.memory.left == frozenset()
        await engine.order(lambda op: events.Stop(op, ("web",)))
        assert before.isdisjoint(bench.running())

    async def run() -> None:
        async with bench.engine(WEB + KEPT + TWO + DB) as engine:
            await bench.until_active(engine)
            before = {bench.papa.row(f"circus.web.{wid}")["pid"] for wid in (1, 2)}
            await engine.remove_watcher("web", nostop=True)
            if is_same:
                await come_back(engine, before)
                return
        bench.crash()
        async with bench.engine(WEB + KEPT + TWO + DB) as engine:
            await come_back(engine, before)

    story(run)


def test_of_what_was_left_ends_what_is_too_much_or_was_started_otherwise(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + TWO) as engine:
            await bench.until_active(engine)
            await engine.remove_watcher("web", nostop=True)
            await reloaded(bench, engine, WEB.replace("sleep 60", "sleep 90") + KEPT)
            await bench.until_active(engine)
            await bench.until(lambda: len(bench.running()) == 1)
            (row,) = (row for row in bench.papa.rows() if row["running"])
            assert row["argv"] == ["/bin/sleep", "90"]

    story(run)


def test_what_was_left_and_has_ended_is_settled_by_the_next_watcher_of_its_name(bench: Bench) -> None:
    async def run() -> None:
        text = WEB + KEPT + bench.log_option("web.log")
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            number = bench.papa.row("circus.web.1")["id"]
            await engine.remove_watcher("web", nostop=True)
            bench.papa.write(number, "out", b"last words\n")
            bench.papa.end(number, 0)
            await engine.add_watcher("web", {}, start=True)
            await bench.until(lambda: number not in bench.ids())
            assert (bench.folder / "web.log").read_bytes() == b"last words\n"
            assert engine.snapshot().foreign == () and len(bench.running()) == 1

    story(run)


def test_what_was_left_and_has_ended_is_settled_by_the_next_circusd_and_forgotten(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + DB) as engine:
            await bench.until_active(engine)
            await engine.remove_watcher("web", nostop=True)
            bench.papa.end(bench.papa.row("circus.web.1")["id"], 0)
        bench.crash()
        async with bench.engine(WEB + KEPT + DB) as engine:
            assert engine.snapshot().foreign == () and engine.memory.left == frozenset()
            await bench.until(lambda: len(bench.ids()) == 1)

    story(run)
