"""What can happen, and how a seed chooses from it. No processes here: a step is a name and its numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """``pause_s`` is how long the world goes on before the step."""

    what: str
    pause_s: float
    number: int  # for steps that choose one of several things


#: World -> name of a step -> how often, relative to the others.
WEIGHTS = {
    "house": {
        "kill_manager": 5,
        "quit_manager": 2,
        "kill_kernel": 3,
        "kill_writer": 2,
        "stop_manager_for_a_while": 1,
        "restart_watcher": 1,
        "upgrade_kernel": 1,
    },
    "kernel": {
        "kill_kernel": 36,
        "kill_in_recovery": 8,
        "upgrade_kernel": 6,
        "kill_in_upgrade": 2,
        "kill_holder": 2,
        "stop_kernel": 1,
        "flood_with_connections": 1,
        "use_up_descriptors": 1,
        "remove_directory": 1,
        "reader_leaves": 3,
        "reader_freezes": 2,
        "kill_writer": 6,
        "ask_politely": 1,
    },
    "files": {"kill_manager": 1},
    "files+kernel": {"kill_manager": 5, "kill_kernel": 1},
    # Full for moments only: what papa must drop beyond its bound is another story.
    "files+disk": {"kill_manager": 6, "fill_disk": 1, "free_disk": 3},
}

#: The shortest and the longest pause before a step, seconds: circusd needs more time to come to rest than the kernel,
#: and where files are compared it is often killed before it has.
PAUSES_S = {"house": (0.02, 0.8), "kernel": (0.02, 0.25)}
FILES_PAUSES_S = (0.005, 1.0)


def choose(seed: int, *, world: str = "house", allowed: Mapping[str, int] | None = None) -> Iterator[Step]:
    """The endless sequence of steps that ``seed`` means; ``allowed`` has other weights."""
    dice = random.Random(seed)
    weights = WEIGHTS[world] if allowed is None else allowed
    while True:
        what = dice.choices(list(weights), list(weights.values()))[0]
        pause_s = round(dice.uniform(*PAUSES_S.get(world, FILES_PAUSES_S)), 3)
        yield Step(what, pause_s, dice.randrange(1 << 16))
