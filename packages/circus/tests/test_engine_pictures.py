from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, WEB, Bench, opened, story

from circus import procfs
from circus.engine import pictures
from circus.engine.tallies import Reason
from circus.procfs import Row
from circus.streams import lag
from circus.supervise.states import SlotKey

SLOT = SlotKey("web", 1)


class Machine:
    """All processes of the fake kernel, and their children."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.looks = 0
        self.children: dict[int, int] = {}  # pid -> ticks, below the first process
        self.waited = 0

    def rows(self) -> dict[int, Row]:
        self.looks += 1
        found = [
            Row(row["pid"], "x", "S", 1, row["pid"], row["pid"], 100, 0, row["start_ticks"], 0, 1000, self.waited)
            for row in self.bench.papa.rows()
            if row["running"]
        ]
        for pid, ticks in self.children.items():
            found.append(Row(pid, "y", "S", found[0].pid, 1, found[0].pid, ticks, 0, pid, 0, 500))
        return {each.pid: each for each in found}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def machine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(bench)
    monkeypatch.setattr(procfs, "rows", made.rows)
    monkeypatch.setattr(procfs, "descriptors", lambda _pid: 7)
    return made


def test_who_asks_while_a_picture_is_taken_gets_that_one(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            taken = await asyncio.gather(*(engine.picture() for _ in range(5)))
            assert (machine.looks, len(set(map(id, taken)))) == (1, 1)
            assert await engine.picture() is not taken[0]
            assert machine.looks == 2
            picture = taken[0]
            assert {each.name for each in picture.watchers} == {"web", "db"}
            assert picture.uses[SLOT] == pictures.Use(1.0, 1000, 1, 7)
            assert picture.papa is not None and picture.papa["running"] == 2
            assert picture.papa_s is not None and picture.papa_s >= 0
            assert picture.waits is not None and sum(picture.waits.counts) > 0
            assert (picture.idle, picture.warnings) == (frozenset(), 0)

    story(run)


def test_one_who_went_takes_the_picture_from_nobody(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first, second = (asyncio.ensure_future(engine.picture()) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).uses[SLOT].cpu_s == 1.0

    story(run)


def test_a_circusd_that_ends_meanwhile_lets_the_thread_look_to_its_end(
    bench: Bench, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on, looked = threading.Event(), threading.Event(), []
    measure = lag.measure

    def slowly(positions: list[lag.Position]) -> Any:
        begun.set()
        may_go_on.wait(30)
        looked.append(len(measure(positions)))
        return {}

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            monkeypatch.setattr(lag, "measure", slowly)
            asked = asyncio.ensure_future(engine.picture())
            await asyncio.to_thread(begun.wait, 30)
            closing = asyncio.ensure_future(engine.pictures.close())
            await asyncio.wait([asked])
            assert asked.cancelled() and not closing.done()
            may_go_on.set()
            await closing
            assert looked == [2], "both streams, of which the files were open still"

    story(run)


def test_the_time_of_a_tree_never_falls_while_its_process_lives(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            seen = []
            for children, waited in (({}, 0), ({501: 40}, 0), ({501: 60, 502: 10}, 0), ({502: 10}, 60), ({}, 60)):
                machine.children, machine.waited = children, waited
                seen.append((await engine.picture()).uses[SLOT].cpu_s * procfs.TICKS_S)
            assert seen == [100, 140, 170, 170, 170], "the last child was never waited for, and has been counted"

    story(run)


def test_lives_and_ends_are_counted_and_forgotten_with_their_watcher(bench: Bench, machine: Machine) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.end(first["id"], 3)
            await bench.until_replaced(first)
            await bench.until_active(engine)
            picture = await engine.picture()
            assert picture.lives == {"web": {1: 2}}
            assert picture.exits == {"web": {Reason("exit", "3", "false"): 1}}
            assert picture.events["web"]["reap"] == 1
            await engine.remove_watcher("web", nostop=False)
            assert (engine.tallies.lives, engine.tallies.exits) == ({}, {})

    story(run)


def test_a_papa_that_does_not_answer_is_no_reason_for_no_picture(
    bench: Bench, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            request, patience = engine.kernel.request, []

            async def asked(op: str, *, timeout_s: float = 0.0, **args: Any) -> Any:
                patience.append(timeout_s)
                return await request(op, timeout_s=timeout_s, **args)

            with monkeypatch.context() as patched:
                patched.setattr(engine.kernel, "request", asked)
                await engine.picture()
            assert patience == [pictures.PAPA_S, pictures.PAPA_S]
            bench.trap = lambda _number, op: "ignored" if op in ("ping", "status") else None
            picture = await engine.picture()
            assert (picture.papa, picture.papa_s) == (None, None)
            assert picture.uses[SLOT].processes == 1
            bench.trap, bench.stays_away = None, True
            bench.go_away()
            assert (await engine.picture()).papa is None
            bench.stays_away = False
            bench.papa.come_back()

    story(run)


def test_a_machine_that_cannot_be_looked_at_is_said_to_whoever_asks(
    bench: Bench, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> dict[int, Row]:
        raise OSError("too many open files")

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            with monkeypatch.context() as patched:
                patched.setattr(procfs, "rows", fail)
                with pytest.raises(OSError, match="too many"):
                    await engine.picture()
            assert (await engine.picture()).uses

    story(run)


def test_our_own_layers_are_told_by_what_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    row = procfs.row(os.getpid())
    assert row is not None
    layer = pictures._layer(row, procfs.boot_time())
    assert layer is not None and layer.threads >= 1 and layer.memory_bytes > 0 and layer.descriptors
    assert abs(layer.started_at - time.time()) < 86_400
    monkeypatch.setattr(procfs, "status", lambda _pid: None)
    assert pictures._layer(row, 0.0) is None
    assert pictures._layer(None, 0.0) is None
