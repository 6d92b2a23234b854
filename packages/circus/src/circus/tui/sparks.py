"""What processes used in the last minute, for small curves: a short ring for each slot. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: Samples of a slot, and so characters of a curve: those of 16 s.
LENGTH = 8

#: Of a character that is as high as the largest one. Those of people whose terminal has no other characters.
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.:-=+*#"

Key = tuple[str, int]


class Use(NamedTuple):
    """``cpu`` in percent of one processor; None: of a process that was looked at once. ``memory`` in bytes."""

    pid: int
    cpu: float | None
    memory: int


class History:
    def __init__(self) -> None:
        self._rings: dict[Key, deque[Use]] = {}
        self.latest_at = 0.0

    def add(self, samples: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> None:
        """Takes the samples of `/v1/stats/history` that are newer than those that it has."""
        latest_at = self.latest_at
        for watcher, slots in samples.items():
            for wid, told in slots.items():
                ring = self._rings.setdefault((watcher, int(wid)), deque(maxlen=LENGTH))
                for each in told:
                    if each["at"] > self.latest_at:
                        ring.append(Use(each["pid"], each["cpu"], each["memory"]))
                        latest_at = max(latest_at, each["at"])
        self.latest_at = latest_at

    def keep(self, keys: Iterable[Key]) -> None:
        """Forgets all other slots."""
        wanted = set(keys)
        for key in self._rings.keys() - wanted:
            del self._rings[key]

    def of(self, key: Key) -> Sequence[Use]:
        """The oldest first."""
        return self._rings.get(key, ())


def curve(values: Sequence[float], most: float, levels: str = BLOCKS) -> str:
    """LENGTH characters, the last one for the latest value; ``most`` is as high as it gets."""
    top = len(levels) - 1
    drawn = "".join(levels[min(top, int(value / most * len(levels)))] if most > 0 else levels[0] for value in values)
    return drawn[-LENGTH:].rjust(LENGTH)


def total(curves: Iterable[Sequence[float]]) -> list[float]:
    """Added up from the latest values backwards: who is there for less long counts for nothing before."""
    sums: list[float] = []
    for values in curves:
        sums += [0.0] * (len(values) - len(sums))
        for back, value in enumerate(reversed(values)):
            sums[back] += value
    return sums[::-1]
