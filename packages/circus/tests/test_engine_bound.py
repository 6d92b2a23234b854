"""Watchers that depend on others, over starts of circusd and changes of the file."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, WEB, Bench, opened, story

from circus.control.ops import Ops
from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events

NEEDS = "requires = db\n"
LOG = "[watcher:log]\ncmd = /bin/sleep 63\ncopy_env = true\n"
MANUAL = "autostart = false\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


async def order(engine: Engine, make: Any, *names: str) -> Any:
    return await engine.order(partial(make, names=names))


def states(engine: Engine) -> dict[str, str]:
    return {view.name: view.state.value for view in engine.snapshot().watchers}


async def change(bench: Bench, engine: Engine, text: str) -> None:
    (bench.folder / "circus.ini").write_text(text)
    await engine.reloadconfig()


def signalled(bench: Bench, names: dict[int, str]) -> list[str]:
    return [names[pid] for pid, _ in bench.signals]


def named(bench: Bench) -> dict[int, str]:
    return {row["pid"]: row["name"].split(".")[1] for row in bench.papa.rows()}


def test_a_start_of_circusd_brings_what_is_needed_and_leaves_alone_what_runs(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + NEEDS + DB + MANUAL) as engine:
            await bench.until_active(engine)
            web, db = bench.papa.row("circus.web.1"), bench.papa.row("circus.db.1")
            assert web["id"] > db["id"]
            bench.crash()
        bench.papa.end("circus.db.1", 1)
        async with bench.engine(WEB + KEPT + NEEDS + DB + MANUAL) as engine:
            await bench.until_active(engine)
            assert bench.papa.row("circus.web.1")["id"] == web["id"]
            assert bench.papa.row("circus.db.1")["id"] > web["id"]
            assert bench.signals == []

    story(run)


def test_who_was_stopped_with_what_it_requires_is_stopped_for_the_next_circusd_too(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + NEEDS + DB) as engine:
            await bench.until_active(engine)
            finish = await order(engine, events.Stop, "db")
            assert finish.detail["joined"] == {"web": "stop"}
            assert engine.snapshot().by_hand == {"db": "stopped by hand", "web": "stopped by hand"}
            bench.crash()
        async with bench.engine(WEB + NEEDS + DB) as engine:
            assert states(engine) == {"db": "stopped", "web": "stopped"}
            await order(engine, events.Start, "web")
            assert states(engine) == {"db": "active", "web": "active"}
            assert engine.snapshot().by_hand == {}

    story(run)


def test_what_was_stopped_by_hand_is_not_started_by_who_requires_it_now(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await order(engine, events.Stop, "db")
            bench.crash()
        kept = bench.running()
        async with bench.engine(WEB + NEEDS + DB) as engine:
            assert bench.running() == kept, "what runs is not touched"
            assert states(engine) == {"db": "stopped", "web": "active"}
            bench.papa.end("circus.web.1", 1)
            await bench.until(lambda: bench.running() - kept)
            finish = await order(engine, events.Restart, "web")
            assert finish.detail["joined"] == {"db": "start"}

    story(run)


def test_what_was_changed_while_circusd_was_away_restarts_with_those_that_require_it(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + NEEDS + DB + KEPT) as engine:
            await bench.until_active(engine)
            names = named(bench)
            bench.crash()
        old = bench.running()
        async with bench.engine(WEB + KEPT + NEEDS + DB.replace("61", "62") + KEPT) as engine:
            await bench.until(lambda: len(bench.running()) == 2 and not bench.running() & old)
            await bench.until_active(engine)
            assert signalled(bench, names) == ["web", "db"]
            assert bench.papa.row("circus.web.1")["id"] > bench.papa.row("circus.db.1")["id"]

    story(run)


def test_a_file_may_bring_and_take_away_those_that_depend_on_each_other(bench: Bench) -> None:
    async def run() -> None:
        alone = "[watcher:alone]\ncmd = /bin/sleep 60\ncopy_env = true\n"
        async with bench.engine(alone) as engine:
            await change(bench, engine, WEB + NEEDS + DB + MANUAL + alone)
            assert states(engine) == dict.fromkeys(("alone", "db", "web"), "active")
            assert bench.papa.row("circus.web.1")["id"] > bench.papa.row("circus.db.1")["id"]
            names = named(bench)
            await change(bench, engine, DB + MANUAL + WEB + NEEDS.replace("db", "db log") + alone + LOG)
            assert (states(engine)["log"], bench.signals) == ("active", [])
            names |= named(bench)
            await change(bench, engine, DB.replace("61", "62") + MANUAL + WEB + NEEDS + alone)
            ended = signalled(bench, names)
            assert sorted(ended) == ["db", "log", "web"]
            assert ended.index("web") < ended.index("db")
            bench.signals.clear()
            names = named(bench)
            await change(bench, engine, alone)
            assert signalled(bench, names) == ["web", "db"]

    story(run)


def test_what_is_required_cannot_be_taken_away_and_a_circle_cannot_be_set(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + NEEDS + DB) as engine:
            await bench.until_active(engine)
            before = bench.running()
            with pytest.raises(CircusError, match="web: requires names db, which is not defined"):
                await engine.remove_watcher("db", nostop=False)
            with pytest.raises(CircusError, match="web -> db -> web"):
                await engine.set_options("db", {"after": "web"})
            with pytest.raises(CircusError, match="after names nobody"):
                await engine.add_watcher("job", {"cmd": "/bin/true", "after": "nobody"}, start=True)
            with pytest.raises(CircusError, match="web: requires names db, which is not defined"):
                await change(bench, engine, WEB + NEEDS)
            assert (bench.running(), bench.signals) == (before, [])
            await engine.set_options("web", {"requires": "", "wants": "db"})
            await engine.remove_watcher("db", nostop=False)
            assert states(engine) == {"web": "active"}

    story(run)


def test_what_is_added_by_hand_brings_what_it_requires(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(DB + MANUAL) as engine:
            options = {"cmd": "/bin/sleep 60", "copy_env": "true", "requires": "db"}
            await engine.add_watcher("web", options, start=True)
            assert states(engine) == {"db": "active", "web": "active"}

    story(run)


def test_who_waits_for_what_does_not_come_is_shown_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "refusing.py").write_text("def no(**kwargs):\n    return False\n")
    monkeypatch.syspath_prepend(str(bench.folder))
    text = WEB + NEEDS + DB + "hooks.before_start = refusing.no\n"

    async def run() -> None:
        async with bench.engine(text) as engine:
            why = "requires db, which: the hook before_start refused"
            await bench.until(lambda: engine.fleet.watchers["web"].blocked == why)
            (web,) = (view for view in engine.snapshot().watchers if view.name == "web")
            assert (web.state.value, web.reason, web.waits_for) == ("stopped", why, ("db",))
            told = [(each.watcher, each.fields["reason"]) for each in engine.bus.recent if each.name == "blocked"]
            assert told == [("web", why)]
            finish = await order(engine, events.Start, "web")
            assert f"web: {why}" in finish.error
            await change(bench, engine, WEB + NEEDS + DB)
            await order(engine, events.Start, "db")
            await bench.until_active(engine)

    story(run)


def test_a_socket_that_is_opened_anew_stops_and_starts_those_that_require_its_users(bench: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serves = DB.replace("61", "$(circus.sockets.front)")
    front = f"[socket:front]\nhost = 127.0.0.1\nport = {port}\n"

    async def run() -> None:
        async with bench.engine(WEB + NEEDS + serves + front) as engine:
            await bench.until_active(engine)
            old, names = bench.running(), named(bench)
            await change(bench, engine, WEB + NEEDS + serves + front + "type = SOCK_STREAM\nbacklog = 77\n")
            await bench.until_active(engine)
            assert not bench.running() & old
            assert signalled(bench, names)[:2] == ["web", "db"]

    story(run)


def test_status_has_what_a_watcher_depends_on(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + NEEDS + "after = socket:front\n" + DB + "[socket:front]\nport = 0\n") as engine:
            await bench.until_active(engine)
            answer = await Ops(engine).status_of("web")  # type: ignore[arg-type]
            assert (answer.requires, answer.after, answer.waits_for) == (["db"], [], [])
            assert json.dumps(engine.options("web")["after"]) == '["socket:front"]'

    story(run)
