"""The course of a soak: the rough part, in which the daemons are killed and upgraded, a rest, the steady part, and a
rest again. What the daemons hold at both rests is compared; slopes are those of the steady part.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine

from tests.house import wait_for
from tests.soak import books, samples, traffic
from tests.soak.orders import ROUGH, Orders
from tests.soak.samples import Held, Sample
from tests.soak.world import CRASHING, FORKING, JOBS, World

#: Of all restarts, those of the rough part.
ROUGH_SHARE = 0.25
#: Of the steady part, what fills the histories that have a bound, and the allocator's pools.
WARM_SHARE = 0.3
#: In the rough part something happens to the daemons themselves before one of so many steps.
ROUGH_EACH = 30
SAMPLE_S = 1.0
#: What was begun has come to its end by then.
SETTLE_S = 30.0

#: What comes and goes by itself; at a rest it does not.
RESTLESS = [*CRASHING, *FORKING, *JOBS]


@dataclass(slots=True)
class Outcome:
    """``steady_at``: the restarts after which slopes count. ``faults``: what was not as promised."""

    samples: list[Sample] = field(default_factory=list)
    steady_at: int = 0
    rested: list[dict[str, Held]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    took_s: float = 0.0


class Course:
    def __init__(self, world: World, *, seed: int, minutes: float, pause_s: float) -> None:
        self.world = world
        self.orders = Orders(world, seed)
        self.outcome = Outcome()
        self._pause_s = pause_s
        self._began = time.monotonic()
        self._until = self._began + minutes * 60
        self._links: dict[str, Counter[str]] = {}

    def run(self, restarts: int, *, rough_each: int = ROUGH_EACH) -> None:
        with traffic.going_on(self.world) as clients:
            self._part(round(restarts * ROUGH_SHARE), ROUGH_SHARE, rough_each)
            self._rest(clients)
            steady = self.orders.restarts
            self._part(restarts, 1.0, 0)
            self._rest(clients)
        orders, outcome = self.orders, self.outcome
        outcome.steady_at = steady + round((orders.restarts - steady) * WARM_SHARE)
        outcome.took_s = time.monotonic() - self._began
        outcome.counts = orders.counts + clients.counts
        outcome.counts["processes replaced"] = orders.restarts
        outcome.counts["events heard"] = clients.events.heard
        outcome.faults += orders.faults + clients.faults + clients.events.faults
        self._check_ends(clients)

    def _part(self, restarts: int, share: float, rough_each: int) -> None:
        """Until so many restarts, or this share of the time has gone; but each rough step comes once at least."""
        until = self._began + share * (self._until - self._began)
        sampled, steps = 0.0, 0
        rough = itertools.cycle(ROUGH)
        owed = set(ROUGH) if rough_each else set()
        while not self.orders.is_hopeless:
            now = time.monotonic()
            if (now >= until or self.orders.restarts >= restarts) and owed <= set(self.orders.counts):
                break
            if now - sampled >= SAMPLE_S:
                sampled = now
                sample = samples.take(self.world, now - self._began, self.orders.restarts)
                self.outcome.samples += [sample] if sample else []
            steps += 1
            if rough_each and not steps % rough_each:
                self.orders.carry_out(next(rough))
            self.orders.step()
            time.sleep(self._pause_s)

    def _rest(self, clients: traffic.Traffic) -> None:
        """Nobody asks, nobody comes and goes; then all as before."""
        clients.end()
        self.orders.reset_counts()
        self.world.client.post("/v1/stop", {"names": RESTLESS})
        is_first = not self.outcome.rested
        self._settle()
        sample = samples.take(self.world, 0, 0)
        assert sample is not None, "a daemon has gone while nothing happened"
        self.outcome.rested.append(sample.daemons)
        self.outcome.faults += self.orders.check_counts()
        clients.gather_exits()
        if is_first:
            self.world.client.post("/v1/start", {"names": RESTLESS})
            clients.begin()

    def _settle(self) -> None:
        """Until nothing is on its way any more: two looks agree, or there is no more than at the rest before."""
        former, seen = self._links, [self._links]

        def has_settled() -> bool:
            seen.append({name: samples.links(pid) for name, pid in samples.pids(self.world).items()})
            if former:
                return all(links.total() <= former[name].total() for name, links in seen[-1].items())
            time.sleep(SAMPLE_S)
            return seen[-1] == seen[-2]

        try:
            wait_for(has_settled, "as many descriptors as before", SETTLE_S)
        except AssertionError:
            more = {name: dict(links - former.get(name, Counter())) for name, links in seen[-1].items()}
            self.outcome.faults.append(f"more descriptors at rest than at the rest before: {more}")
        self._links = seen[-1]

    def _check_ends(self, clients: traffic.Traffic) -> None:
        status = self.world.client.get("/v1/status")["watchers"]
        living = {(row["name"], slot["pid"]) for row in status for slot in row["slots"] if slot["pid"]}
        begun = books.lives(self.world.truth)
        self.outcome.counts["lives that began"] = begun.total()
        self.outcome.counts["ends noted"] = clients.exits.ends.total()
        self.outcome.counts["living"] = len(living)
        self.outcome.faults += books.check_ends(begun, clients.exits, living)
        listed = self.world.client.get("/v1/operations")["operations"]
        self.outcome.faults += [f"operation {row}" for row in listed if row["state"] != "done"]
        if (hosted := len(self.world.rows())) != len(living):
            self.outcome.faults.append(f"papa hosts {hosted} processes, {len(living)} live")


def run(
    folder: Path, *, seed: int, restarts: int, minutes: float, pause_s: float = 0.0, rough_each: int = ROUGH_EACH
) -> Outcome:
    """A whole soak in ``folder``, of so many restarts, or so many minutes if they are over earlier."""
    world = World(folder)
    try:
        world.begin()
        course = Course(world, seed=seed, minutes=minutes, pause_s=pause_s)
        course.run(restarts, rough_each=rough_each)
        outcome = course.outcome
    finally:
        world.close()
    lines, broken = books.check_lines(world.truth, folder)
    outcome.counts["lines written"] = lines
    outcome.faults += broken
    try:
        wait_for(lambda: not machine.marked(str(folder)), "everything gone")
    except AssertionError:
        outcome.faults += [f"left behind: {pid} {command}" for pid, command in machine.marked(str(folder)).items()]
    return outcome
