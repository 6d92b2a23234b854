"""Bounds of control groups; the files here only look like some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.workbench import KEPT, WEB, Bench, opened, story

from circus import cgroups
from circus.engine.engine import Engine
from circus.errors import CircusError

BOUNDS = """\
cgroup = true
limits.cgroup_memory_max = 512m
limits.cgroup_memory_high = 400m
limits.cgroup_cpu_max = 150
limits.cgroup_pids_max = 99
"""
FILES = {"memory.max": "536870912", "memory.high": "419430400", "cpu.max": "150000 100000", "pids.max": "99"}


class System:
    """What it has handed down, and what the files of groups say."""

    def __init__(self) -> None:
        self.controllers = {"memory", "cpu", "pids"}
        self.files: dict[tuple[str, str], str] = {}
        self.refuses = False

    def enable(self, _base: str, _circusd: str, controllers: Iterable[str]) -> frozenset[str]:
        return frozenset(controllers) & self.controllers

    def set(self, path: str, name: str, value: str) -> None:
        if self.refuses:
            raise CircusError("unavailable", f"control group {name}: Permission denied")
        self.files[Path(path).name, name] = value

    def read(self, path: str, name: str) -> str | None:
        return self.files.get((Path(path).name, name))

    def bounds(self) -> list[dict[str, str]]:
        """Of each group that has any."""
        found: dict[str, dict[str, str]] = {}
        for (group, name), value in self.files.items():
            found.setdefault(group, {})[name] = value
        return list(found.values())


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    for name in ("enable", "set", "read"):
        monkeypatch.setattr(cgroups, name, getattr(made, name))
    return made


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(cgroups, "find_base", lambda _pid: str(tmp_path / "base"))
    monkeypatch.setattr(cgroups, "add", lambda _path, _pid: True)
    yield from opened(tmp_path, monkeypatch)


def said(engine: Engine) -> list[str]:
    return [each for each in engine.snapshot().warnings if "cannot be set" in each]


def test_bounds_are_written_when_a_process_is_in_its_group_and_when_the_options_change(
    bench: Bench, system: System
) -> None:
    ordered = {**FILES, "memory.high": "max", "pids.max": "7"}

    async def run() -> None:
        async with bench.engine(WEB + KEPT + BOUNDS) as engine:
            await bench.until_active(engine)
            assert system.bounds() == [FILES]
            await engine.set_options("web", {"limits.cgroup_memory_high": "0", "limits.cgroup_pids_max": "7"})
            await bench.until(lambda: system.bounds() == [ordered])
            assert said(engine) == []
            pids = bench.running()
        bench.crash()
        system.files.clear()
        async with bench.engine(WEB + KEPT + BOUNDS) as engine:
            await bench.until_active(engine)
            assert bench.running() == pids
            assert system.bounds() == [{name: ordered[name] for name in ("memory.max", "cpu.max", "pids.max")}]

    story(run)


def test_what_the_system_does_not_hand_down_is_said_and_the_watcher_runs(
    bench: Bench, system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.controllers = {"cpu"}
    told = (
        "web: memory.max, memory.high, cpu.max, pids.max cannot be set: the system hands memory, pids not down to "
        "control groups here; it runs without"
    )

    async def run() -> None:
        async with bench.engine(WEB + BOUNDS) as engine:
            await bench.until_active(engine)
            assert said(engine) == [told]
            assert system.bounds() == [{"cpu.max": FILES["cpu.max"]}]
            system.controllers = {"memory", "cpu", "pids"}
            await engine.set_options("web", {"limits.cgroup_cpu_max": "10"})
            await bench.until(lambda: not said(engine))

    story(run)
    assert caplog.text.count("cannot be set") == 1


def test_a_file_that_refuses_is_said(bench: Bench, system: System) -> None:
    system.refuses = True

    async def run() -> None:
        async with bench.engine(WEB + BOUNDS) as engine:
            await bench.until_active(engine)
            (told,) = said(engine)
            assert told.endswith("control group memory.max: Permission denied; it runs without")

    story(run)


@pytest.mark.parametrize(("status", "kills", "is_told"), [(-9, 1, True), (-9, 0, False), (-15, 1, False)])
def test_who_was_killed_for_want_of_memory_is_known_by_it(
    bench: Bench, system: System, status: int, kills: int, is_told: bool
) -> None:
    async def run() -> None:
        async with bench.engine(WEB + BOUNDS) as engine:
            await bench.until_active(engine)
            (row,) = bench.papa.rows()
            group = Path(row["meta"]["cgroup"]).name
            system.files[group, "memory.events"] = f"low 0\nhigh 7\nmax 3\noom 1\noom_kill {kills}"
            bench.papa.end(row["id"], status)
            await bench.until_replaced(row)
            await engine.keeper.kept()
            (ended, *_) = await engine.exits("web")
            out_of_memory = ": out of memory: its control group may have 512M (limits.cgroup_memory_max)"
            assert str(ended["reason"]).endswith(out_of_memory) is is_told

    story(run)
