"""What can happen, and how a seed chooses from it. No processes here: a step is a name and its numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """``pause_s`` is how long the world goes on before the step."""

    what: str
    pause_s: float
    number: int  # for steps that choose one of several things


#: Name -> how often, relative to the others.
WEIGHTS = {
    "kill_manager": 5,
    "quit_manager": 2,
    "kill_kernel": 3,
    "kill_writer": 2,
    "stop_manager_for_a_while": 1,
    "restart_watcher": 1,
    "upgrade_kernel": 1,
}


def choose(seed: int, *, allowed: tuple[str, ...] = tuple(WEIGHTS)) -> Iterator[Step]:
    """The endless sequence of steps that ``seed`` means."""
    dice = random.Random(seed)
    weights = [WEIGHTS[what] for what in allowed]
    while True:
        what = dice.choices(allowed, weights)[0]
        yield Step(what, round(dice.uniform(0.02, 0.8), 3), dice.randrange(1 << 16))
