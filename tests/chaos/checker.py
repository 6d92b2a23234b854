"""The one checker of invariants: what was promised, compared with what is there."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import machine

from tests.chaos.world import COUNT, WATCHERS, World
from tests.house import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import tally


def check_living(world: World, before: dict[str, set[int]]) -> list[str]:
    """While the world lives: every wanted process runs once, and none that nobody ended was replaced."""
    broken = []
    for watcher in WATCHERS:
        now = world.pids(watcher)
        if len(now) != COUNT:
            broken.append(f"{watcher}: {len(now)} processes instead of {COUNT}: {sorted(now)}")
        if gone := before[watcher] - now - world.ended:
            broken.append(f"{watcher}: nobody ended {sorted(gone)}, but they are gone")
    return broken


def check_output(world: World) -> list[str]:
    """After the end: every line of every writer stands in its log, once, in order."""
    files: list[Path] = []
    for watcher in WATCHERS:
        files += tally.rotated(world.folder / f"{watcher}.log")
    tallies = tally.compare(world.truth, files)
    broken = [
        f"{name} pid={pid}: {each}"
        for (name, pid), each in tallies.items()
        # One that was killed may have died between its write and its count.
        if each.lost > 0 or each.doubled or each.disordered
    ]
    if not tallies:
        broken.append("no writer has written anything")
    return broken


def check_nothing_left(world: World) -> list[str]:
    """After the end: no process of ours."""
    return [f"left behind: {pid} {command}" for pid, command in machine.marked(str(world.folder)).items()]
