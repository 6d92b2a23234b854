from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, WEB, Bench, opened, story

from circus import procfs
from circus.engine import figures
from circus.engine.samples import told
from circus.procfs import Row
from circus.supervise.states import SlotKey

SLOT = SlotKey("web", 1)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


class Machine:
    """What a look at it finds; ``looks`` counts them."""

    def __init__(self, engine: Any) -> None:
        self.looks = 0
        self.rows = {
            each.pid: Row(each.pid, "sleep", "S", 1, 1, 1, 100, 0, each.start_ticks, 1 << 20, 4096)
            for each in engine.lives.hosted
        }

    def look(self) -> dict[int, Row]:
        self.looks += 1
        return dict(self.rows)


def test_all_who_ask_at_once_share_a_look_and_it_is_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            machine = Machine(engine)
            monkeypatch.setattr(procfs, "rows", machine.look)
            looks = await asyncio.gather(*(engine.figures.look() for _ in range(20)))
            assert (machine.looks, len(set(map(id, looks)))) == (1, 1)
            pid = bench.papa.row("circus.web.1")["pid"]
            (sample,) = told(engine.figures.samples.tail(SLOT, 10), 0.0, 10)
            assert (sample.pid, sample.memory, sample.cpu) == (pid, 4096, None)
            assert len(engine.figures.samples.slots) == 2

            await engine.stats("web")
            assert machine.looks == 2
            machine.rows[pid] = replace(machine.rows[pid], start_ticks=machine.rows[pid].start_ticks + 1)
            monkeypatch.setattr("circus.engine.samples.MIN_GAP_S", 0.0)
            await engine.figures.look()
            assert len(told(engine.figures.samples.tail(SLOT, 10), 0.0, 10)) == 1, (
                "that is somebody else's number by now"
            )

    story(run)


def test_who_asks_while_a_look_is_under_way_gets_one_that_began_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            machine = Machine(engine)
            monkeypatch.setattr(procfs, "rows", machine.look)
            first = asyncio.create_task(engine.figures.look())
            await bench.until(lambda: machine.looks == 1)
            later = await asyncio.gather(engine.figures.look(), engine.figures.look())
            assert machine.looks == 2 or (machine.looks == 1 and first.done())
            assert later[0] is later[1]
            await first
            assert engine.figures._looking is None, "the machine's processes are not remembered"

    story(run)


def test_an_interval_looks_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MIN_GAP_S", 0.001)

    async def run() -> None:
        async with bench.engine("[circus]\nstats_interval = 0.002\n" + WEB) as engine:
            machine = Machine(engine)
            monkeypatch.setattr(procfs, "rows", machine.look)
            await bench.until(lambda: machine.looks > 3)
            engine.figures.repeat(0.0)
            await engine.figures.look()
            seen = machine.looks
            for _ in range(20):
                await asyncio.sleep(0)
            assert machine.looks == seen
            assert engine.figures._repeating is None

    story(run)


def test_without_an_interval_nothing_looks(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            assert engine.figures._repeating is None

    story(run)
