"""New options that come by a reload: in force when it has succeeded, and as if they had never been when it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.engine import formers
from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events
from papa.errors import PapaError
from papa.testing import FakePapa

ROLLS = WEB + TWO + "max_surge = 1\nupdate = roll\n"
BAD = "13"


class Doom:
    """Processes whose command has ``BAD`` in it cannot be started, after so many that can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spared = 0
        self.before: Callable[[], Awaitable[None]] | None = None
        spawn = FakePapa.spawn

        async def doomed(papa: FakePapa, **spec: Any) -> Any:
            if BAD in spec["argv"]:
                if self.before is not None:
                    await self.before()
                if not self.spared:
                    raise PapaError("no such program", code="spawn-failed")
                self.spared -= 1
            return await spawn(papa, **spec)

        monkeypatch.setattr(FakePapa, "spawn", doomed)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def doom(monkeypatch: pytest.MonkeyPatch) -> Doom:
    return Doom(monkeypatch)


def commands(bench: Bench, watcher: str = "web") -> list[str]:
    rows = [row for row in bench.papa.rows() if row["running"] and row["meta"]["watcher"] == watcher]
    return [row["argv"][1] for row in rows]


def edited(bench: Bench, text: str) -> None:
    (bench.folder / "circus.ini").write_text(text)


def warned(engine: Engine) -> list[str]:
    return [each for each in engine.snapshot().warnings if "was refused" in each]


async def ready(bench: Bench, engine: Engine, count: int) -> None:
    await bench.until_active(engine)
    await bench.until(lambda: len(bench.running()) == count)
    await engine.order(lambda op: events.Start(op))


@pytest.mark.parametrize("spared", [0, 1])
def test_a_file_that_does_not_work_is_refused_and_tried_again_by_the_next_reloadconfig(
    bench: Bench, doom: Doom, spared: int
) -> None:
    doom.spared = spared
    other = "stop_signal = INT\nnumprocesses = 3\n"

    async def run() -> None:
        async with bench.engine(ROLLS + DB) as engine:
            await ready(bench, engine, 3)
            before = engine.config_of("web")
            edited(bench, ROLLS.replace("60", BAD).replace(TWO, other) + DB.replace("61", "62"))
            with pytest.raises(CircusError, match=r"rolled back to the options of before: web\.\d: no such program"):
                await engine.reloadconfig()
            assert commands(bench) == ["60", "60"]
            assert commands(bench, "db") == ["62"], "the others have got theirs"
            assert engine.config_of("web") == before
            assert before in engine.config.watchers
            assert engine.way_to_stop("web")[0] == 15
            assert engine.options("web")["numprocesses"] == 2
            assert engine.snapshot().drift == {}
            (told,) = warned(engine)
            assert told.startswith("web: the file's configuration was refused: web.")

            bench.papa.end("circus.web.2", 1)
            await bench.until(lambda: commands(bench) == ["60", "60"])
            await engine.set_options("db", {"priority": "5"})
            assert (commands(bench), len(warned(engine))) == (["60", "60"], 1), "what is refused is not tried by that"

            web = next(item for item in (await engine.plan()).items if item.name == "web")
            causes = {each.option: (each.old, each.new) for each in web.causes}
            assert (web.verb, causes) == (
                "roll",
                {
                    "cmd": ("/bin/sleep 60", f"/bin/sleep {BAD}"),
                    "numprocesses": ("2", "3"),
                    "stop_signal": ("SIGTERM", "SIGINT"),
                },
            )
            with pytest.raises(CircusError, match="rolled back"):
                await engine.set_options("web", {"priority": "5"})
            assert (commands(bench), len(warned(engine))) == (["60", "60"], 1), "an order about it does not forget that"

            doom.spared = 3
            await engine.reloadconfig()
            assert engine.rolls.texts == {}
            assert (commands(bench), warned(engine)) == ([BAD] * 3, [])
            assert engine.way_to_stop("web")[0] == 2

    story(run)


def test_options_set_by_hand_that_do_not_work_are_forgotten_and_the_others_are_not(bench: Bench, doom: Doom) -> None:
    doom.spared = 1

    async def run() -> None:
        async with bench.engine(ROLLS) as engine:
            await ready(bench, engine, 2)
            await engine.set_options("web", {"priority": "7"})
            before = engine.edits
            with pytest.raises(CircusError, match="rolled back"):
                await engine.set_options("web", {"cmd": f"/bin/sleep {BAD}"})
            assert engine.edits == before
            assert engine.options("web")["priority"] == 7
            assert (commands(bench), warned(engine)) == (["60", "60"], [])
            names = [event.name for event in engine.bus.recent]
            assert names.count("reload_failed") == 1
            doom.spared = 2
            await engine.set_options("web", {"cmd": f"/bin/sleep {BAD}"})
            assert commands(bench) == [BAD, BAD]

    story(run)


def test_a_file_that_is_as_it_was_again_takes_the_warning_away(bench: Bench, doom: Doom) -> None:
    assert doom.spared == 0

    async def run() -> None:
        async with bench.engine(ROLLS) as engine:
            await ready(bench, engine, 2)
            edited(bench, ROLLS.replace("60", BAD))
            with pytest.raises(CircusError, match="rolled back"):
                await engine.reloadconfig()
            pids = bench.running()
            edited(bench, ROLLS)
            await engine.reloadconfig()
            assert (warned(engine), bench.running()) == ([], pids)

    story(run)


def test_other_options_come_after_those_that_are_on_their_way_and_may_go_back(bench: Bench, doom: Doom) -> None:
    async def run() -> None:
        async with bench.engine(ROLLS + DB) as engine:
            await ready(bench, engine, 3)
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def wait() -> None:
                begun.set()
                await go_on.wait()

            doom.before = wait
            rolling = asyncio.create_task(engine.set_options("web", {"cmd": f"/bin/sleep {BAD}"}))
            await begun.wait()
            bench.papa.end("circus.web.1", 1)
            await bench.until(lambda: commands(bench) == ["60", "60"])  # its successor is what it was
            later = asyncio.create_task(engine.set_options("web", {"priority": "7"}))
            edited(bench, ROLLS.replace("60", "98") + DB + "priority = 3\n")
            latest = asyncio.create_task(engine.reloadconfig())
            await engine.set_options("db", {"max_retry": "4"})
            assert not (later.done() or latest.done()), "and others do not wait for it"
            go_on.set()
            with pytest.raises(CircusError, match="rolled back"):
                await rolling
            await later
            await latest
            assert commands(bench) == ["98", "98"]
            assert (engine.options("web")["priority"], engine.options("db")["priority"]) == (7, 3)

    story(run)


def test_a_socket_that_only_the_options_of_before_use_stays_until_they_have_gone(bench: Bench, doom: Doom) -> None:
    front = "[socket:front]\nhost = 127.0.0.1\nport = 0\n"
    serving = ROLLS.replace("/bin/sleep 60", "/bin/sleep $(circus.sockets.front)")

    async def run() -> None:
        async with bench.engine(front + serving) as engine:
            await ready(bench, engine, 2)
            edited(bench, ROLLS.replace("60", BAD))
            with pytest.raises(CircusError, match="rolled back"):
                await engine.reloadconfig()
            assert len(await bench.papa.list("sockets")) == 1
            doom.spared = 2
            await engine.reloadconfig()
            assert await bench.papa.list("sockets") == []

    story(run)


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_circusd_that_ends_half_way_is_followed_by_one_that_goes_back(
    bench: Bench, doom: Doom, is_killed: bool
) -> None:
    doom.spared = 1
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        if not doom.spared:
            begun.set()
            await go_on.wait()

    async def run() -> None:
        doom.before = stay
        new = ROLLS.replace("60", BAD) + KEPT
        async with bench.engine(ROLLS.replace("update = roll\n", "") + KEPT) as engine:
            await ready(bench, engine, 2)
            edited(bench, new)
            rolling = asyncio.create_task(engine.reloadconfig())
            await begun.wait()
            assert sorted(commands(bench)) == [BAD, "60"]
            if is_killed:
                rolling.cancel()
            else:
                leaving = asyncio.create_task(engine.quit())
                await bench.until(lambda: engine.fleet.is_ending)
                go_on.set()
                with pytest.raises(CircusError, match="circusd is leaving"):
                    await rolling
                await leaving
                await engine.close()
        bench.crash()
        doom.before, doom.spared = None, 2
        async with bench.engine(new) as engine:
            await bench.until(lambda: commands(bench) == ["60", "60"])
            (told,) = warned(engine)
            assert "circusd ended while it was rolled out" in told
            await engine.reloadconfig()
            assert (commands(bench), warned(engine)) == ([BAD, BAD], [])
        bench.crash()
        async with bench.engine(new) as engine:
            await ready(bench, engine, 2)
            assert (commands(bench), warned(engine)) == ([BAD, BAD], [])

    story(run)


def test_what_was_refused_stays_so_for_the_next_circusd_until_the_file_says_something_else(
    bench: Bench, doom: Doom
) -> None:
    async def run() -> None:
        new = ROLLS.replace("60", BAD) + KEPT
        async with bench.engine(ROLLS + KEPT) as engine:
            await ready(bench, engine, 2)
            edited(bench, new)
            with pytest.raises(CircusError, match="rolled back"):
                await engine.reloadconfig()
            await engine.close()
        pids = bench.running()
        bench.crash()
        async with bench.engine(new) as engine:
            await ready(bench, engine, 2)
            assert ["no such program" in told for told in warned(engine)] == [True], warned(engine)
            assert (bench.running(), engine.snapshot().drift) == (pids, {})
            first = bench.papa.row("circus.web.1")
            bench.papa.end("circus.web.1", 1)
            await bench.until_replaced(first)
            assert commands(bench) == ["60", "60"]
            assert (await engine.plan()).items[0].verb == "roll"
        bench.crash()
        doom.spared = 2
        async with bench.engine(new + "priority = 3\n") as engine:
            await bench.until(lambda: commands(bench) == [BAD, BAD])
            assert (warned(engine), dict(engine.memory.formers)) == ([], {})

    story(run)


def test_without_its_socket_what_ran_before_is_of_no_use(bench: Bench, doom: Doom) -> None:
    front = "[socket:front]\nhost = 127.0.0.1\nport = 0\nuse_papa = true\n"
    serving = ROLLS.replace("/bin/sleep 60", "/bin/sleep $(circus.sockets.front)") + KEPT

    async def run() -> None:
        new = ROLLS.replace("60", BAD) + KEPT
        async with bench.engine(front + serving) as engine:
            await ready(bench, engine, 2)
            edited(bench, new)
            with pytest.raises(CircusError, match="rolled back"):
                await engine.reloadconfig()
            await engine.close()
        pids = bench.running()
        bench.crash()
        async with bench.engine(new) as engine:
            await bench.until(lambda: warned(engine))
            assert bench.running() == pids, "who serves goes on"
            assert list(engine.snapshot().drift) == ["web"]
        assert doom.spared == 0

    story(run)


@pytest.mark.parametrize("content", [{}, {"config": "?"}, {"config": "AAAA"}, {"file": "/other.ini"}, {"refused": ""}])
def test_a_memory_of_it_that_is_damaged_or_of_something_else_is_forgotten(
    bench: Bench, content: dict[str, str]
) -> None:
    async def run() -> None:
        async with bench.engine(ROLLS) as engine:
            config = engine.config_of("web")
            whole = formers.encode(replace(config, cmd="/bin/sleep 1"), config, engine.config.path)
            assert whole is not None
            engine.memory.remember_former("web", (whole | content) if content else {"why": ""})
            await engine.keeper.kept()
        bench.crash()
        async with bench.engine(ROLLS) as engine:
            await bench.until(lambda: commands(bench) == ["60", "60"])
            assert dict(engine.memory.formers) == {}

    story(run)
