"""reloadconfig: all or nothing before the first change, and afterwards every change where it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, TWO, WEB, Bench, opened, story

from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events
from papa.errors import PapaError
from papa.testing import FakePapa

FRONT = "[socket:front]\nhost = 127.0.0.1\nport = {port}\nbacklog = {backlog}\n"
SERVES = "[watcher:web]\ncmd = /bin/sleep $(circus.sockets.front)\ncopy_env = true\ngraceful_timeout = 5\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def refuse_listen(monkeypatch: pytest.MonkeyPatch, refused: object) -> None:
    """The kernel cannot open sockets with this backlog, or of this name."""
    listen = FakePapa.listen

    async def limited(papa: FakePapa, **spec: Any) -> dict[str, Any]:
        held = {row["name"] for row in await papa.list("sockets")}
        if spec["name"] not in held and refused in (spec.get("backlog"), spec["name"]):
            raise PapaError(f"{spec['host']}:{spec['port']}: Address already in use", code="listen-failed")
        return await listen(papa, **spec)

    monkeypatch.setattr(FakePapa, "listen", limited)


async def changed(bench: Bench, engine: Engine, text: str) -> Any:
    (bench.folder / "circus.ini").write_text(text)
    return (await engine.reloadconfig()).changes


async def state(bench: Bench, engine: Engine) -> object:
    """All that a refused change must leave as it is."""
    rows = await bench.papa.list("sockets")
    sockets = [(row["name"], row["port"], row["backlog"]) for row in rows]
    options = {name: engine.options(name) for name in sorted(engine.configs)}
    return bench.running(), sockets, sorted(engine.sockets.configs), options, engine.config


@pytest.mark.parametrize("hook", ["no_such_module.hook", "os.no_such", "quitting.hook"])
def test_a_hook_that_cannot_be_found_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    (bench.folder / "quitting.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(bench.folder))

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            before = await state(bench, engine)
            with pytest.raises(CircusError, match=f"db: before_start: hook {hook}") as raised:
                text = FRONT.format(port=0, backlog=5) + WEB.replace("60", "99")
                await changed(bench, engine, text + DB + f"hooks.before_start = {hook}\n")
            assert raised.value.code == "config-invalid"
            assert await state(bench, engine) == before

    story(run)


@pytest.mark.parametrize("port", [0, 28124])
@pytest.mark.parametrize("refused", [9, "circus.back"])
def test_a_socket_that_cannot_be_opened_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, port: int, refused: object
) -> None:
    async def run() -> None:
        async with bench.engine(FRONT.format(port=port, backlog=7) + SERVES + DB) as engine:
            await bench.until_active(engine)
            before: Any = await state(bench, engine)
            front = (await bench.papa.list("sockets"))[0]["id"]
            refuse_listen(monkeypatch, refused)
            with pytest.raises(CircusError, match=r"socket (front|back): 127\.0\.0\.1:\d+: Address already in use"):
                new = "[socket:back]\nhost = 127.0.0.1\nport = 0\n" + FRONT.format(port=port, backlog=9)
                await changed(bench, engine, new + SERVES + DB.replace("61", "99"))
            await bench.until(lambda: len(bench.running()) == 2)
            await bench.until_active(engine)
            after: Any = await state(bench, engine)
            assert after[1:] == before[1:]
            if port == 0:
                assert [row["id"] for row in await bench.papa.list("sockets")] == [front], "tried before it is touched"
                assert after[0] == before[0], "only the users of a port that must be free are stopped meanwhile"
            assert bench.papa.row("circus.db.1")["pid"] in before[0]
            assert not engine.memory.is_stopped("web")

    story(run)


@pytest.mark.parametrize("port", [0, 28125])
def test_a_socket_that_changed_is_opened_anew_and_its_users_restart(bench: Bench, port: int) -> None:
    async def run() -> None:
        async with bench.engine(FRONT.format(port=port, backlog=7) + SERVES + DB) as engine:
            await bench.until_active(engine)
            web, db = (bench.papa.row(f"circus.{name}.1")["pid"] for name in ("web", "db"))
            await changed(bench, engine, FRONT.format(port=port, backlog=9) + SERVES + DB)
            assert web not in bench.running()
            assert db in bench.running()
            await bench.until_active(engine)
            (row,) = await bench.papa.list("sockets")
            assert row["backlog"] == 9
            assert not engine.memory.is_stopped("web")
            await changed(bench, engine, DB)
            assert await bench.papa.list("sockets") == []

    story(run)


def test_a_user_of_a_changed_socket_that_was_stopped_stays_stopped(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(FRONT.format(port=28126, backlog=7) + SERVES + DB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.Stop(op, ("web",)))
            await changed(bench, engine, FRONT.format(port=28126, backlog=9) + SERVES + DB)
            assert bench.named("circus.web.1") is None
            assert engine.memory.is_stopped("web")

    story(run)


def test_a_count_changes_live_and_overrules_the_wish(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            before = bench.running()
            await engine.order(lambda op: events.SetCount(op, "web", count=3))
            await changed(bench, engine, WEB + TWO)
            await bench.until(lambda: len(bench.running()) == 2)
            await changed(bench, engine, WEB)
            await bench.until(lambda: len(bench.running()) == 1)
            assert before.isdisjoint(bench.running()) or before == bench.running()
            assert engine.options("web")["numprocesses"] == 1

    story(run)


def test_a_watcher_that_is_removed_is_forgotten_wholly(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.SetCount(op, "db", count=3))
            await engine.order(lambda op: events.Stop(op, ("db",)))
            await changed(bench, engine, WEB)
            with pytest.raises(CircusError, match="not found"):
                engine.options("db")
            await changed(bench, engine, WEB + DB)
            await bench.until_active(engine)
            assert engine.options("db")["numprocesses"] == 1

    story(run)


def test_a_name_may_change_its_spelling(bench: Bench) -> None:
    async def run() -> None:
        web = WEB.replace("timeout = 5", "timeout = 0.05") + "max_retry = 0\n"
        async with bench.engine(web + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            await changed(bench, engine, web.replace("watcher:web", "watcher:Web") + DB)
            await bench.until_active(engine)
            assert {view.name for view in engine.snapshot().watchers} == {"Web", "db"}
            assert bench.named("circus.web.1")

    story(run)


def test_a_change_that_comes_too_late_is_refused_and_nothing_is_forgotten(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 0.2") + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            ending = asyncio.create_task(engine.quit())
            await bench.until(lambda: bench.signals)
            with pytest.raises(CircusError, match="leav"):
                await changed(bench, engine, DB)
            assert engine.options("web")["cmd"] == "/bin/sleep 60"
            await ending

    story(run)


def test_a_watcher_that_cannot_start_is_said_and_the_rest_is_in_force(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            bench.papa.fail_next_spawn(PapaError("no memory (stage fork)", code="spawn-failed"))
            with pytest.raises(CircusError, match=r"is in force, but: .*stage fork") as raised:
                await changed(bench, engine, WEB + DB + "max_retry = 0\n")
            assert raised.value.code == "operation-failed"
            assert engine.options("db")["cmd"] == "/bin/sleep 61"
            assert len(bench.running()) == 1

    story(run)


def test_what_needs_a_restart_of_circusd_is_said_until_it_is_done_or_undone(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            plan = await changed(bench, engine, "[circus]\ncheck_delay = 2\nuse_papa = true\n" + WEB)
            assert {(change.name, change.restart) for change in plan.circus_changes} >= {("check_delay", True)}
            said = "[circus] check_delay changed in the file: in force after a restart of circusd"
            assert said in engine.snapshot().warnings
            await changed(bench, engine, "[circus]\ncheck_delay = 2\n" + WEB + TWO)
            assert said in engine.snapshot().warnings
            await changed(bench, engine, WEB)
            assert engine.snapshot().warnings == ()

    story(run)
