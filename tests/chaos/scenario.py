"""What can happen, how a seed chooses from it, and how it is written down. No processes here.

A scenario is text: which world, with which words, and its steps, each as ``PAUSE_S STEP NUMBER``. Lines that begin with
`#` say what it is for. `python -m tests.chaos` prints what a seed chooses like that, and does what a file says.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """``pause_s`` is how long the world goes on before the step."""

    what: str
    pause_s: float
    number: int  # for steps that choose one of several things

    def __str__(self) -> str:
        return f"{self.pause_s:.3f} {self.what} {self.number}"


#: World -> name of a step -> how often, relative to the others.
WEIGHTS = {
    "house": {
        "kill_manager": 6,
        "quit_manager": 2,
        "stop_manager": 1,
        "hang_manager": 2,
        "upgrade_manager": 2,
        "kill_in_upgrade_of_manager": 2,
        "starve_manager": 1,
        "kill_kernel": 4,
        "stop_kernel": 1,
        "upgrade_kernel": 2,
        "kill_in_upgrade_of_kernel": 2,
        "starve_kernel": 1,
        "kill_holder": 2,
        "kill_writer": 4,
        "stop_writer": 1,
        "order": 6,
        "edit": 6,
        "fill_disk": 2,
        "turn_clock": 3,
        "leave_clients": 2,
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

#: What a long shake goes through, again and again: world, steps, variants.
ROUND = (
    ("house", 40, ("plain",)),
    ("kernel", 150, ("plain",)),
    ("files", 60, ("stamped",)),
    ("house", 40, ("plain",)),
    ("files+kernel", 60, ("json",)),
    ("house", 40, ("plain",)),
    ("files+disk", 60, ("plain",)),
    ("files", 60, ("timed", "compressed")),
)

#: The shortest and the longest pause before a step, seconds: circusd needs more time to come to rest than the kernel,
#: and where files are compared it is often killed before it has.
PAUSES_S = {"house": (0.02, 0.8), "kernel": (0.02, 0.25)}
FILES_PAUSES_S = (0.005, 1.0)

#: Beside the pauses every number is one of these.
NUMBERS = 1 << 16


def choose(seed: int, *, world: str = "house", allowed: Mapping[str, int] | None = None) -> Iterator[Step]:
    """The endless sequence of steps that ``seed`` means; ``allowed`` has other weights."""
    dice = random.Random(seed)
    weights = WEIGHTS[world] if allowed is None else allowed
    while True:
        what = dice.choices(list(weights), list(weights.values()))[0]
        pause_s = round(dice.uniform(*PAUSES_S.get(world, FILES_PAUSES_S)), 3)
        yield Step(what, pause_s, dice.randrange(NUMBERS))


@dataclass(frozen=True, slots=True)
class Scenario:
    """``size`` counts the writers where the kernel is alone, ``seed`` is the dice of that world; ``variants`` say how
    files are written where those are compared."""

    world: str
    steps: tuple[Step, ...]
    seed: int = 0
    size: int = 100
    variants: tuple[str, ...] = ("plain",)
    about: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(
        cls, seed: int, count: int, *, world: str = "house", size: int = 100, variants: Iterable[str] = ()
    ) -> Scenario:
        steps = tuple(itertools.islice(choose(seed, world=world), count))
        return cls(world, steps, seed, size, tuple(variants) or ("plain",))

    def __str__(self) -> str:
        head = f"world {self.world} seed={self.seed} size={self.size} variants={','.join(self.variants)}"
        return "\n".join([*(f"# {line}" for line in self.about), head, *map(str, self.steps)]) + "\n"


def read(path: Path) -> Scenario:
    """Raises: ValueError, with the line that is none."""
    about, world, given, steps = [], "", {}, []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.split()
        try:
            if line.startswith("#"):
                about.append(line[1:].strip())
            elif words and words[0] == "world":
                world = words[1]
                given = dict(word.split("=", 1) for word in words[2:])
            elif words:
                pause_s, what, chosen = words
                if what not in WEIGHTS[world]:
                    raise ValueError(f"{world} knows no {what}")
                steps.append(Step(what, float(pause_s), int(chosen)))
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{path}:{number}: {line}: {error!r}") from None
    variants = tuple(given.get("variants", "plain").split(","))
    numbers = {key: int(text) for key, text in given.items() if key in ("seed", "size")}
    return Scenario(world, tuple(steps), variants=variants, about=tuple(about), **numbers)
