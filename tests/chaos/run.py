"""One run: a world, the steps of a seed, the verdict."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.chaos import checker, scenario
from tests.chaos.world import WATCHERS, World
from tests.house import wait_for


def run(
    folder: Path,
    seed: int,
    *,
    steps: int,
    say: Callable[[str], object] = lambda _: None,
    allowed: tuple[str, ...] = tuple(scenario.WEIGHTS),
) -> list[str]:
    """The invariants that broke; the folder is removed when none did."""
    world = World(folder)
    broken: list[str] = []
    try:
        world.start()
        before = {watcher: world.pids(watcher) for watcher in WATCHERS}
        for step in itertools.islice(scenario.choose(seed, allowed=allowed), steps):
            say(f"  {step.what} after {step.pause_s} s ({step.number})")
            world.carry_out(step)
        wait_for(world.is_up, "all watchers active at the end")
        broken += checker.check_living(world, before)
    except (AssertionError, OSError) as error:
        broken.append(f"{type(error).__name__}: {error}")
    finally:
        world.close()
    broken += checker.check_output(world)
    try:
        wait_for(lambda: not checker.check_nothing_left(world), "everything gone")
    except AssertionError:
        broken += checker.check_nothing_left(world)
    if not broken:
        shutil.rmtree(folder)
    return broken
