"""How far sinks are behind, over the fake kernel of the pump's tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from circus.config.model import StreamConfig
from circus.engine.lives import lost
from circus.streams import lag
from circus.streams.pump import Attached, Pump
from papa.client.output import StreamFiles
from papa.testing import FakePapa


class World:
    def __init__(self) -> None:
        self.papa = FakePapa()
        self.pump = Pump(self.papa, prefix="circus.", on_event=lambda _kind, _fields: None)

    async def spawn(self, name: str, stdout: StreamConfig) -> int:
        reply = await self.papa.spawn(
            name=f"circus.{name}.1", owner="circus", fds=True,
            argv=["x"], env={}, stdin="null", stdout="capture", stderr="capture",
        )  # fmt: skip
        row = reply.ok
        self.pump.configure(name, {"out": stdout, "err": None})
        acked = {stream: facts["acked"] for stream, facts in row["streams"].items()}
        losses = {stream: lost(facts) for stream, facts in row["streams"].items()}
        await self.pump.add(Attached(row["id"], name, 1, row["pid"], StreamFiles(reply.fds), acked, lost=losses))
        return int(row["id"])


@pytest.fixture
def world() -> Iterator[World]:
    before = len(os.listdir("/proc/self/fd"))
    world = World()
    yield world
    world.papa.kernel.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_papa_has_and_the_sink_has_not_is_measured_in_a_thread_for_all_streams(
    world: World, tmp_path: Path
) -> None:
    async def run() -> None:
        web = await world.spawn("web", StreamConfig(class_name="FileStream", filename=str(tmp_path / "web")))
        await world.spawn("db", StreamConfig(class_name="FileStream", filename=str(tmp_path / "db")))
        world.papa.write(web, "out", b"hello\n")  # nothing is taken before the pump starts
        world.papa.clock.advance(2.0)
        positions = world.pump.positions()
        assert {(each.watcher, each.stream) for each in positions.of} == {
            ("web", "out"), ("web", "err"), ("db", "out"), ("db", "err"),
        }  # fmt: skip
        found = await asyncio.to_thread(lag.measure, positions.of)
        (one,) = [each for each in positions.of if (each.watcher, each.stream) == ("web", "out")]
        part = lag.measure([replace(one, written=4, committed=1, is_failing=True), one])["web", "out"]
        assert (part.held_bytes, part.unwritten_bytes, part.is_failing) == (5 + 6, 2 + 6, True), "two of one watcher"
        assert lag.measure([replace(one, written=6, committed=6)])["web", "out"] == lag.Lag()
        positions.let_go()
        assert found["db", "out"] == lag.Lag()
        behind = found["web", "out"]
        assert (behind.held_bytes, behind.unwritten_bytes, behind.is_failing) == (6, 6, False)
        assert behind.seconds >= 0
        await world.pump.close()
        await world.papa.close()

    asyncio.run(run())


def test_files_stay_open_until_the_positions_are_let_go(world: World, tmp_path: Path) -> None:
    async def run() -> None:
        web = await world.spawn("web", StreamConfig(class_name="FileStream", filename=str(tmp_path / "web")))
        world.papa.write(web, "out", b"hello\n")
        positions = world.pump.positions()
        world.pump.forget(web)
        assert lag.measure(positions.of)["web", "out"].held_bytes == 6
        open_files = len(os.listdir("/proc/self/fd"))
        positions.let_go()
        assert len(os.listdir("/proc/self/fd")) < open_files
        await world.pump.close()
        await world.papa.close()

    asyncio.run(run())
