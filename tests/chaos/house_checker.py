"""The one checker of the house's invariants: what was promised, compared with what is there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from bench import machine

from tests.house import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import tally


def check_living(now: dict[str, set[int]], before: dict[str, set[int]], ended: set[int]) -> list[str]:
    """While the world lives: every wanted process runs once, and none that nobody ended was replaced."""
    broken = []
    for watcher, pids in now.items():
        if len(pids) != len(before[watcher]):
            broken.append(f"{watcher}: {len(pids)} processes instead of {len(before[watcher])}: {sorted(pids)}")
        if gone := before[watcher] - pids - ended:
            broken.append(f"{watcher}: nobody ended {sorted(gone)}, but they are gone")
    return broken


def check_output(truth: Path, logs: Iterable[Path]) -> list[str]:
    """After the end: every line of every writer stands in its log, once, in order."""
    files: list[Path] = []
    for log in logs:
        files += tally.rotated(log)
    tallies = tally.compare(truth, files)
    broken = [
        f"{name} pid={pid}: {each}"
        for (name, pid), each in tallies.items()
        # One that was killed may have died between its write and its count.
        if each.lost > 0 or each.doubled or each.disordered
    ]
    if not tallies:
        broken.append("no writer has written anything")
    return broken


def check_nothing_left(folder: Path) -> list[str]:
    """After the end: no process of ours."""
    return [f"left behind: {pid} {command}" for pid, command in machine.marked(str(folder)).items()]
