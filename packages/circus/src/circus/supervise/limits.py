"""When a slot uses too much for too long. Pure.

Each bound is judged by itself, from look to look. Who is above it is in excess, and remains so until seen below
``clear`` percent of it: what swings about the bound does not begin anew with each swing. When an excess has lasted for
the grace and is seen above the bound, its action follows, once; nothing more until it has been cleared, or until the
process is another one. The first seconds of a life do not count. What nobody knows changes nothing.

A watcher is reloaded at most once in `RELOAD_PACE_S`: reloads that help nothing must not follow each other without a
pause. Restarts are paced by the budget of the slot.

Does not belong here: what the processes use (usage), and who looks (engine/sampling).
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct, field
from msgspec.structs import replace

from circus.config.model import LimitsPolicy
from circus.supervise.budget import tell_duration
from circus.supervise.states import SlotKey

#: As long as the pause that restarts come to at last (budget.EXCESS).
RELOAD_PACE_S = 60.0

MEMORY = "memory"
CPU = "cpu"


class Use(Struct, frozen=True):
    """What one incarnation of a slot uses, ``age_s`` after its start; ``cpu`` in percent, None if nobody knows yet."""

    incarnation: int
    age_s: float
    memory: int
    cpu: float | None = None


class Excess(Struct, frozen=True):
    what: str
    value: float
    bound: float
    for_s: float = 0.0

    def __str__(self) -> str:
        """``memory 612M of 500M for 20 s``."""
        show = _size if self.what == MEMORY else _percent
        return f"{self.what} {show(self.value)} of {show(self.bound)} for {tell_duration(self.for_s)}"


class Verdict(Struct, frozen=True):
    """``action`` follows now, as ``excess`` has lasted too long; or, when it is empty, what was told is over."""

    excess: Excess
    action: str = ""


class _Known(Struct):
    excess: Excess
    since: float
    is_told: bool = False


class _Slot(Struct):
    incarnation: int
    known: dict[str, _Known] = field(default_factory=dict)


class Limits:
    """The excesses of all slots."""

    def __init__(self) -> None:
        self._slots: dict[SlotKey, _Slot] = {}
        self._reloaded: dict[str, float] = {}

    def look(self, key: SlotKey, use: Use, policy: LimitsPolicy, now: float) -> list[Verdict]:
        """What follows on a look at the slot, at ``now`` (monotonic)."""
        slot = self._slots.get(key)
        if slot is None or slot.incarnation != use.incarnation:
            slot = self._slots[key] = _Slot(use.incarnation)
        if use.age_s < policy.start_period_s:
            slot.known.clear()
            return []
        verdicts: list[Verdict] = []
        for what, value, bound in ((MEMORY, use.memory, policy.memory), (CPU, use.cpu, policy.cpu)):
            if not bound:
                slot.known.pop(what, None)
            elif value is not None:
                verdicts += self._judge(key, slot, Excess(what, value, bound), policy, now)
        return verdicts

    def _judge(self, key: SlotKey, slot: _Slot, seen: Excess, policy: LimitsPolicy, now: float) -> list[Verdict]:
        known = slot.known.get(seen.what)
        if known is None:
            if seen.value <= seen.bound:
                return []
            known = slot.known[seen.what] = _Known(seen, now)
        known.excess = seen = replace(seen, for_s=now - known.since)
        if seen.value < seen.bound * policy.clear / 100:
            del slot.known[seen.what]
            return [Verdict(seen)] if known.is_told else []
        if known.is_told or seen.value <= seen.bound or seen.for_s < policy.grace_s:
            return []
        if policy.action == "reload":
            if now - self._reloaded.get(key.watcher, -RELOAD_PACE_S) < RELOAD_PACE_S:
                return []
            self._reloaded[key.watcher] = now
        known.is_told = True
        return [Verdict(seen, policy.action)]

    def excesses(self, key: SlotKey, incarnation: int) -> list[Excess]:
        """As they were seen last."""
        slot = self._slots.get(key)
        if slot is None or slot.incarnation != incarnation:
            return []
        return [each.excess for each in slot.known.values()]

    def keep(self, keys: Collection[SlotKey], watchers: Collection[str]) -> None:
        """Forget all other slots and watchers."""
        for key in self._slots.keys() - set(keys):
            del self._slots[key]
        for watcher in self._reloaded.keys() - set(watchers):
            del self._reloaded[watcher]


def _size(value: float) -> str:
    for unit, bytes_ in (("G", 1 << 30), ("M", 1 << 20)):
        if value >= bytes_:
            return f"{value / bytes_:.0f}{unit}" if value >= 10 * bytes_ else f"{value / bytes_:.1f}{unit}"
    return f"{value / 1024:.0f}K"


def _percent(value: float) -> str:
    return f"{value:.0f}%"
