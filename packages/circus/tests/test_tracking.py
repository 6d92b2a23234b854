"""Whose orders they are: what an operation orders is noted with it, and what nobody ordered with nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, TWO, WEB, Bench, opened, story

from circus.engine import tracking
from circus.supervise import events


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def test_the_orders_of_an_operation_and_of_the_tasks_that_it_begins_are_its_own(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60") + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            track, met = tracking.Track("1-1", ("web",)), []

            async def remove() -> None:
                track.use()
                await engine.remove_watcher("web", nostop=False)

            end = engine.follow(lambda: met.append(tracking.current()))
            removing = asyncio.create_task(remove())
            await bench.until(lambda: bench.signals)
            assert list(track.open.values()) == [("web",)]
            (row,) = engine.standings(track.open.keys())
            assert (row.watcher, row.done, row.of, row.what) == ("web", 0, 1, "ended")
            await engine.order(lambda op: events.Start(op, ("db",)))
            assert list(track.open.values()) == [("web",)], "of somebody else"
            await engine.order(lambda op: events.Kill(op, "web", signum=9))
            await removing
            assert (track.open, track.arrived) == ({}, {"web"})
            assert met and set(met) == {None}, "what follows an order is nobody's operation"
            end()

    story(run)


def test_what_has_arrived_is_known_when_the_cores_say_so_and_not_when_the_disk_has_it() -> None:
    async def run() -> None:
        track = tracking.Track("1-1", ("web",))
        track.use()
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tracking.begin(7, events.Stop(7, ("web",)), end)
        end.set_result(None)
        await asyncio.sleep(0)
        assert (track.open, track.arrived) == ({}, {"web"})

    asyncio.run(run())


def test_a_later_change_of_a_watcher_is_in_force_while_an_earlier_one_still_replaces_its_processes(
    bench: Bench,
) -> None:
    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 60") + TWO) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            first = asyncio.create_task(engine.set_options("web", {"cmd": "/bin/sleep 98"}))
            await bench.until(lambda: bench.signals)
            later = asyncio.create_task(engine.set_options("web", {"priority": "7"}))
            await bench.until(lambda: engine.options("web")["priority"] == 7)
            assert not first.done()
            await engine.order(lambda op: events.Kill(op, "web", signum=9))
            await asyncio.gather(first, later)

    story(run)
