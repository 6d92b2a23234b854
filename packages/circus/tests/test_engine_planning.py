"""Plans of an engine: nothing is changed by one, and what came in between is noticed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, TWO, WEB, Bench, opened, story

from circus.engine import planning
from circus.engine.engine import Engine
from circus.engine.planning import MAX_REMEMBERED, Planned
from circus.errors import CircusError
from circus.supervise import events


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def edit(bench: Bench, text: str) -> None:
    (bench.folder / "circus.ini").write_text(text)


async def refusal(engine: Engine, plan: str) -> str:
    with pytest.raises(CircusError) as caught:
        await engine.reloadconfig(plan)
    assert caught.value.code == "conflict"
    return caught.value.message


def test_a_plan_overrules_no_order_and_logs_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await engine.set_options("web", {"priority": "3"})
            await engine.set_options("db", {"working_dir": str(bench.folder / "state")})
            await bench.until_active(engine)
            edits, config = engine.edits, engine.config
            edit(bench, WEB + "priority = 4\n" + DB)
            (bench.folder / "state").rename(bench.folder / "moved")
            with caplog.at_level(logging.DEBUG):
                caplog.clear()
                plan = await engine.plan()
                assert [record for record in caplog.records if record.name.startswith("circus")] == []
            (bench.folder / "moved").rename(bench.folder / "state")
            assert (engine.edits, engine.config, engine.unheeded) == (edits, config, {})
            assert plan.by_hand["web"] == ("set by hand, overruled by the file: priority",)
            assert plan.by_hand["db"][0] == "set by hand: working_dir"
            assert plan.by_hand["db"][1].endswith("what was ordered by hand is not in force")

    story(run)


def test_an_order_that_comes_while_the_file_is_read_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_up = planning.draw_up

    async def slow(engine: Engine) -> Planned:
        planned = await draw_up(engine)
        await engine.order(lambda op: events.Stop(op, ("web",)))
        return planned

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            edit(bench, WEB + TWO)
            plan = await engine.plan()
            monkeypatch.setattr(planning, "draw_up", slow)
            assert await refusal(engine, plan.id) == f"plan {plan.id} does not hold any more: an order came in between"
            assert engine.config.watchers[0].numprocesses == 1

    story(run)


def test_a_file_beside_the_configuration_counts_too(bench: Bench) -> None:
    async def run() -> None:
        variables = bench.folder / "web.env"
        include = bench.folder / "more.ini"
        variables.write_text("A=1\n")
        include.write_text(DB)
        async with bench.engine("[circus]\ninclude = more.ini\n" + WEB + "env_file = web.env -none.env\n") as engine:
            await bench.until_active(engine)
            for file, text in ((variables, "A=2\n"), (include, f"# more\n{DB}"), (bench.folder / "none.env", "")):
                plan = await engine.plan()
                file.write_text(text)
                assert await refusal(engine, plan.id) == f"plan {plan.id} does not hold any more: {file} was changed"
            await engine.reloadconfig((await engine.plan()).id)

    story(run)


def test_what_has_moved_is_known_of_the_last_plans_and_of_others_that_they_are_not(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first = await engine.plan()
            assert (await engine.plan()).id == first.id
            for number in range(MAX_REMEMBERED):
                edit(bench, f"{WEB}# {number}\n")
                last = await engine.plan()
            assert await refusal(engine, first.id) == f"no plan {first.id!r} is known since circusd started"
            edit(bench, WEB)
            assert "circus.ini was changed" in await refusal(engine, last.id)
            await engine.reloadconfig(first.id)

    story(run)
