"""When what processes use is too much, or too little, for too long. Pure.

A limit that is broken once says nothing; each has a count of its own, of how often it was broken in a row. Values that
nobody knows break no limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

#: (amount, whether it is in bytes; else percent of the host's memory)
Memory = tuple[float, bool]


@dataclass(frozen=True, slots=True)
class Limits:
    max_cpu: float | None = None
    min_cpu: float | None = None
    max_mem: Memory | None = None
    min_mem: Memory | None = None
    health_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What one process uses; None: nobody knows."""

    cpu: float | None
    mem_percent: float | None
    mem_bytes: float | None

    def memory(self, limit: Memory) -> float | None:
        """In the unit of ``limit``."""
        return self.mem_bytes if limit[1] else self.mem_percent


def broken(limits: Limits, uses: Iterable[Use]) -> frozenset[str]:
    """The limits that the largest, or smallest, of ``uses`` breaks."""
    uses = list(uses)
    cpus = [use.cpu for use in uses if use.cpu is not None]
    percents = [use.mem_percent for use in uses if use.mem_percent is not None]
    found = set()
    if limits.max_cpu is not None and max(cpus, default=0) > limits.max_cpu:
        found.add("over_cpu")
    if limits.min_cpu is not None and min(cpus, default=math.inf) < limits.min_cpu:
        found.add("under_cpu")
    if limits.max_mem is not None and max(_of(uses, limits.max_mem), default=0) > limits.max_mem[0]:
        found.add("over_memory")
    if limits.min_mem is not None and min(_of(uses, limits.min_mem), default=math.inf) < limits.min_mem[0]:
        found.add("under_memory")
    health = (max(cpus, default=0) + max(percents, default=0)) / 2
    if limits.health_threshold is not None and health > limits.health_threshold:
        found.add("over_health")
    return frozenset(found)


def _of(uses: Iterable[Use], limit: Memory) -> list[float]:
    return [amount for use in uses if (amount := use.memory(limit)) is not None]


@dataclass(slots=True)
class Patience:
    """Bears each limit ``max_count`` times in a row."""

    max_count: int
    counts: dict[str, int] = field(default_factory=dict)

    def is_over(self, broken_now: frozenset[str]) -> bool:
        """Takes the outcome of one look; at the end of patience all counts begin anew."""
        self.counts = {name: self.counts.get(name, 0) + 1 for name in broken_now}
        if all(count <= self.max_count for count in self.counts.values()):
            return False
        self.counts = {}
        return True
