"""One run: a world, the steps of a scenario, the verdict."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from papa.errors import PapaError
from tests.chaos.scenario import Scenario, Step


class World(Protocol):
    """What a scenario is carried out on. The checks return what was promised and not kept."""

    counts: Counter[str]

    def start(self) -> None: ...
    def carry_out(self, step: Step) -> None: ...
    def check_living(self) -> list[str]: ...
    def close(self) -> None: ...
    def check_end(self) -> list[str]: ...


def make_world(scenario: Scenario, folder: Path) -> World:
    # Each world has imports of its own, and the kernel's runs where circus is not installed.
    if scenario.world == "kernel":
        from tests.chaos.kernel_world import KernelWorld

        return KernelWorld(folder, size=scenario.size, seed=scenario.seed)
    if scenario.world.startswith("files"):
        from tests.chaos.files_world import FilesWorld

        return FilesWorld(folder, variants=scenario.variants, has_disk=scenario.world == "files+disk")
    from tests.chaos.house_world import HouseWorld

    return HouseWorld(folder)


def run(
    folder: Path,
    scenario: Scenario,
    *,
    kills: int | None = None,
    say: Callable[[str], object] = lambda _: None,
    counts: Counter[str] | None = None,
) -> list[str]:
    """The invariants that broke; the folder is removed when none did, else it has the scenario too. ``kills`` ends it
    sooner, after so many."""
    world = make_world(scenario, folder)
    broken: list[str] = []
    done: list[Step] = []
    try:
        world.start()
        for step in scenario.steps:
            if kills is not None and world.counts["kills"] >= kills:
                break
            say(str(step))
            done.append(step)
            world.carry_out(step)
        broken += world.check_living()
    except (AssertionError, OSError, PapaError) as error:
        broken.append(f"{type(error).__name__}: {error}")
    finally:
        world.close()
    broken += world.check_end()
    if counts is not None:
        counts.update(world.counts)
    if broken:
        happened = Scenario(scenario.world, tuple(done), scenario.seed, scenario.size, scenario.variants)
        (folder / "scenario.txt").write_text(str(happened))
    else:
        shutil.rmtree(folder)
    return broken
