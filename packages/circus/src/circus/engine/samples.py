"""What processes used, over time: for each slot a ring of samples. Pure, and in memory only.

The idea: four numbers for each sample, side by side, without an object for any. Percentages are not kept: they follow
from two samples of one process, so that it does no harm how often and by whom it is looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from circus.supervise.states import SlotKey

#: Samples of all slots together: 2 MB, and an hour and a half of a hundred processes at one look in ten seconds.
MAX_SAMPLES = 65_536

#: Of one slot, when there are few: an hour at one look in a second.
MAX_OF_SLOT = 3600

#: What is older goes with the next look: also the last of processes that have ended.
MAX_AGE_S = 86_400.0

#: Looks that follow one another faster add nothing.
MIN_GAP_S = 1.0

_WIDTH = 4  # at, pid, cpu seconds, resident bytes


class Use(NamedTuple):
    """What a process has used by now."""

    slot: SlotKey
    pid: int
    cpu_s: float
    memory: int


class Sample(NamedTuple):
    """``at`` is wall clock; ``cpu`` is in percent of one processor since the sample before it of the same process;
    None: there is none."""

    at: float
    pid: int
    cpu: float | None
    memory: int


class Samples:
    def __init__(self) -> None:
        self._rings: dict[SlotKey, array[float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rings.values())) // _WIDTH

    @property
    def slots(self) -> list[SlotKey]:
        return list(self._rings)

    def add(self, at: float, uses: Iterable[Use]) -> None:
        for use in uses:
            ring = self._rings.setdefault(use.slot, array("d"))
            if ring and ring[-_WIDTH + 1] == use.pid and 0 <= at - ring[-_WIDTH] < MIN_GAP_S:
                continue
            ring.extend((at, use.pid, use.cpu_s, use.memory))
        self._make_room(at)

    def _make_room(self, now: float) -> None:
        while len(self._rings) > MAX_SAMPLES:  # one for each
            del self._rings[next(iter(self._rings))]
        most = min(MAX_OF_SLOT, MAX_SAMPLES // max(1, len(self._rings)))
        for slot, ring in list(self._rings.items()):
            begin = 0
            while begin < len(ring) and ring[begin] < now - MAX_AGE_S:
                begin += _WIDTH
            begin = max(begin, len(ring) - most * _WIDTH)
            if begin:
                del ring[:begin]
            if not ring:
                del self._rings[slot]

    def whole(self, slot: SlotKey) -> array[float]:
        return self._rings.get(slot, array("d"))

    def take(self, rings: dict[SlotKey, array[float]]) -> None:
        """What `whole` has told of each of ``slots``, of an earlier program. Raises: ValueError."""
        if any(len(ring) % _WIDTH for ring in rings.values()):
            raise ValueError("samples of another form")
        self._rings = rings

    def tail(self, slot: SlotKey, most: int) -> array[float]:
        """A copy of the latest ``most`` of them, and of the one before these."""
        return self._rings.get(slot, array("d"))[-(most + 1) * _WIDTH :]


def told(ring: array[float], since: float, most: int) -> list[Sample]:
    """Of a `tail` for ``most``. Tens of thousands take long: called in a thread."""
    rows, found = list(_rows(ring)), []
    for number, (at, pid, cpu_s, memory) in enumerate(rows):
        if at < since or number < len(rows) - most:
            continue
        before = rows[number - 1] if number else None
        cpu = None
        if before is not None and before[1] == pid and at > before[0] and cpu_s >= before[2]:
            cpu = round((cpu_s - before[2]) / (at - before[0]) * 100, 1)
        found.append(Sample(at, int(pid), cpu, int(memory)))
    return found


def _rows(ring: array[float]) -> Iterator[tuple[float, float, float, float]]:
    for at in range(0, len(ring), _WIDTH):
        yield ring[at], ring[at + 1], ring[at + 2], ring[at + 3]
