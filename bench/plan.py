"""What `bench all` measures, in which order, and how long that takes: a table, and nothing else.

Sizes are those that a reader of the report asks for; repetitions are what fits into the time. ``seconds`` are those of
one repetition with all peers on two processors that have nothing else to do, as they were seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from bench.measurements import MEASUREMENTS
from bench.measurements.restart import SCENARIOS
from bench.peers import MANAGERS
from bench.report.figures import stem

#: A whole run, and a quick one, take no longer.
FULL_S, QUICK_S = 25 * 60, 4 * 60

#: Before the first step: versions and configurations of all peers.
LOOK_AROUND_S = 25

WRITERS = ("cat", "papa", *MANAGERS)
STARTERS = ("posix_spawn", *MANAGERS)


@dataclass(frozen=True, slots=True)
class Step:
    """``name`` up to its hyphen says what the report makes of it; ``arguments`` are options of the measurement, where
    they are not its own defaults."""

    name: str
    measurement: str
    peers: tuple[str, ...]
    repeat: int
    seconds: int
    arguments: dict[str, object] = field(default_factory=dict)

    def options(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        MEASUREMENTS[self.measurement].add_arguments(parser)
        options = parser.parse_args([])
        for name, value in self.arguments.items():
            if not hasattr(options, name):
                raise ValueError(f"step {self.name}: {self.measurement} has no option {name}")
            setattr(options, name, value)
        return options


FULL = (
    Step("flood", "throughput", WRITERS, 3, 60, {"children": 1, "megabytes": 500}),
    Step("floods", "throughput", WRITERS, 2, 45, {"children": 64, "megabytes": 2}),
    Step("respawn", "respawn", STARTERS, 1, 100, {"children": 10, "times": 15}),
    *(
        Step(f"restart-{at}", "restart", MANAGERS, 1, 48, {"scenarios": what, "children": 10, "seconds": 1.0})
        for at, what in enumerate(SCENARIOS, 1)
    ),
    Step("takeover", "takeover", ("circus",), 1, 15, {"children": 500, "times": 3}),
    Step("recovery", "recovery", ("papa",), 1, 20, {"children": "1,100,1000", "times": 5}),
    Step("start-100", "start", STARTERS, 2, 25, {"children": "100"}),
    Step("start-500", "start", STARTERS, 1, 60, {"children": "500"}),
    Step("growth-10", "growth", STARTERS, 1, 105, {"children": "10", "seconds": 5.0}),
    Step("growth-100", "growth", STARTERS, 1, 110, {"children": "100", "seconds": 5.0}),
    Step("growth-500", "growth", STARTERS, 1, 110, {"children": "500", "seconds": 5.0}),
    Step("growth-1000", "growth", STARTERS, 1, 150, {"children": "1000", "seconds": 5.0}),
    Step("growth-2000", "growth", STARTERS, 1, 230, {"children": "2000", "seconds": 5.0}),
)

QUICK = (
    Step("flood", "throughput", WRITERS, 1, 20, {"children": 1, "megabytes": 50}),
    Step("floods", "throughput", WRITERS, 1, 10, {"children": 16, "megabytes": 1}),
    Step("respawn", "respawn", STARTERS, 1, 45, {"children": 10, "times": 2}),
    Step(
        "restart-2", "restart", MANAGERS, 1, 45, {"scenarios": "SIGKILL of the manager", "seconds": 0.5, "limit": 8.0}
    ),
    Step("growth-10", "growth", STARTERS, 1, 45, {"children": "10", "seconds": 1.0, "times": 1}),
    Step("growth-100", "growth", STARTERS, 1, 50, {"children": "100", "seconds": 1.0, "times": 1}),
)

PLANS = {"full": (FULL, FULL_S), "quick": (QUICK, QUICK_S)}


def chosen(steps: tuple[Step, ...], only: str) -> tuple[Step, ...]:
    """Those that are named by commas, wholly or up to the hyphen; all for nothing.

    Raises: ValueError for a name that none has.
    """
    wanted = set(filter(None, only.split(",")))
    if unknown := wanted - {name for step in steps for name in (step.name, stem(step.name))}:
        known = ", ".join(step.name for step in steps)
        raise ValueError(f"no such step: {', '.join(sorted(unknown))}; there are {known}")
    return tuple(step for step in steps if not wanted or wanted & {step.name, stem(step.name)})


def expected_s(steps: tuple[Step, ...]) -> int:
    return LOOK_AROUND_S + sum(step.seconds * step.repeat for step in steps)
