"""One run: a world, the steps of a seed, the verdict."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from papa.errors import PapaError
from tests.chaos import scenario
from tests.chaos.scenario import Step


class World(Protocol):
    """What a seed is carried out on. The checks return what was promised and not kept."""

    counts: Counter[str]

    def start(self) -> None: ...
    def carry_out(self, step: Step) -> None: ...
    def check_living(self) -> list[str]: ...
    def close(self) -> None: ...
    def check_end(self) -> list[str]: ...


def make_world(name: str, folder: Path, seed: int, size: int, variants: Sequence[str]) -> World:
    # Each world has imports of its own, and the kernel's runs where circus is not installed.
    if name == "kernel":
        from tests.chaos.kernel_world import KernelWorld

        return KernelWorld(folder, size=size, seed=seed)
    if name.startswith("files"):
        from tests.chaos.files_world import FilesWorld

        return FilesWorld(folder, variants=variants, has_disk=name == "files+disk")
    from tests.chaos.house_world import HouseWorld

    return HouseWorld(folder)


def run(
    folder: Path,
    seed: int,
    *,
    steps: int,
    world_name: str = "house",
    size: int = 100,
    variants: Sequence[str] = (),
    kills: int | None = None,
    say: Callable[[str], object] = lambda _: None,
    allowed: Mapping[str, int] | None = None,
    counts: Counter[str] | None = None,
) -> list[str]:
    """The invariants that broke; the folder is removed when none did. ``kills`` ends it sooner, after so many."""
    world = make_world(world_name, folder, seed, size, variants)
    broken: list[str] = []
    try:
        world.start()
        for step in itertools.islice(scenario.choose(seed, world=world_name, allowed=allowed), steps):
            if kills is not None and world.counts["kills"] >= kills:
                break
            say(f"  {step.what} after {step.pause_s} s ({step.number})")
            world.carry_out(step)
        broken += world.check_living()
    except (AssertionError, OSError, PapaError) as error:
        broken.append(f"{type(error).__name__}: {error}")
    finally:
        world.close()
    broken += world.check_end()
    if counts is not None:
        counts.update(world.counts)
    if not broken:
        shutil.rmtree(folder)
    return broken
