"""Each end of a process is noted once, and the kernel keeps it until it is."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import KEPT, WEB, Bench, opened, story

from circus.engine import history
from circus.engine.history import Exit
from circus.errors import CircusError
from circus.supervise import events


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def noted(bench: Bench) -> list[Exit]:
    return history.read(bench.folder / "state")


def test_ends_by_themselves_and_ordered_ones_are_told_apart(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.end("circus.web.1", -11)
            second = await bench.until_replaced(first)
            await engine.order(lambda op: events.Stop(op, ("web",)))
            await bench.until(lambda: len(noted(bench)) == 2 and not bench.papa.rows())
            assert [(each.pid, each.status, each.is_ordered) for each in noted(bench)] == [
                (first["pid"], -11, False),
                (second["pid"], -15, True),
            ]
            assert noted(bench)[0].started_at == first["started_at"]
            told = await engine.exits("WEB")
            assert [each["reason"] for each in told] == [
                "ended by signal 11 (SIGSEGV)",
                "ended by signal 15 (SIGTERM), as ordered",
            ]
            assert await engine.exits("db") == []
            (bench.folder / "state" / history.NAME).unlink()
            (bench.folder / "state" / history.NAME).mkdir()
            with pytest.raises(CircusError, match="cannot be read"):
                await engine.exits("web")
            (bench.folder / "state" / history.NAME).rmdir()

    story(run)


def test_an_end_while_circusd_was_away_is_noted_with_the_time_of_the_kernel(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.crash()
        bench.papa.clock.advance(7)
        bench.papa.end("circus.web.1", 3)
        bench.papa.clock.advance(100)
        async with bench.engine(WEB + KEPT):
            await bench.until(lambda: noted(bench) and first["id"] not in bench.ids())
            await bench.until(lambda: len(bench.running()) == 1)
        (ended,) = noted(bench)
        assert (ended.status, ended.is_ordered, ended.ran_s) == (3, None, 7.0)

    story(run)


def test_the_kernel_keeps_an_end_until_it_is_noted_and_it_is_noted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        gate = threading.Event()
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            fdatasync = os.fdatasync
            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", lambda fd: (gate.wait(20), fdatasync(fd)))
                bench.papa.end("circus.web.1", 1)
                await bench.until_replaced(first)
                await bench.until(lambda: noted(bench))
                await asyncio.sleep(0)
                assert first["id"] in bench.ids(), "it stands there, but it is not on the disk yet"
                bench.crash()
                gate.set()
        async with bench.engine(WEB):
            await bench.until(lambda: first["id"] not in bench.ids())
        assert [each.pid for each in noted(bench)].count(first["pid"]) == 1

    story(run)
