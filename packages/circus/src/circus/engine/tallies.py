"""What has happened since circusd started, in numbers: for whoever draws curves of it. Pure.

The idea: everything is counted where it happens, so that nobody has to listen, and asked for by name. Only watchers
that are configured are counted; the numbers of one that is forgotten go with it. They begin anew with each circusd.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from typing import NamedTuple

from circus.bus import Event
from circus.engine.history import Exit
from circus.supervise.states import SlotKey

#: In seconds; a loop that works answers in the first ones, at the last ones people notice.
WAIT_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

#: Different ends that are told apart of one watcher: a program that gives a status at random must not fill the memory
#: of who collects these numbers. The rest is counted together.
MAX_REASONS = 32


class Reason(NamedTuple):
    """Of an end: ``how`` is exit, signal or unknown; ``code`` the status, or the name of the signal; ``ordered`` is
    true, false, or away where no circusd saw it."""

    how: str
    code: str
    ordered: str


def reason_of(ended: Exit) -> Reason:
    ordered = "away" if ended.is_ordered is None else str(ended.is_ordered).lower()
    if ended.status is None:
        return Reason("unknown", "", ordered)
    if ended.signal is not None:
        return Reason("signal", ended.signal, ordered)
    return Reason("exit", str(ended.status), ordered)


class Histogram:
    """So many values up to each bound, and above."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Histogram:
        copied = Histogram(self.bounds)
        copied.counts, copied.sum = self.counts.copy(), self.sum
        return copied


class Tallies:
    """``known``: the names of watchers that are configured."""

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self.lives: dict[str, dict[int, int]] = {}  # watcher -> wid -> processes that were in the slot
        self.exits: dict[str, dict[Reason, int]] = {}
        self.events: dict[str, dict[str, int]] = {}  # those of no watcher under ""
        self.waits = Histogram(WAIT_BOUNDS)  # of what was posted, for the loop

    def forget(self, watcher: str) -> None:
        for each in (self.lives, self.exits, self.events):
            each.pop(watcher, None)

    def came(self, slot: SlotKey) -> None:
        """A process was started in the slot, or found there."""
        if slot.watcher in self._known:
            slots = self.lives.setdefault(slot.watcher, {})
            slots[slot.wid] = slots.get(slot.wid, 0) + 1

    def ended(self, ended: Exit) -> None:
        if ended.watcher not in self._known:
            return
        reasons, reason = self.exits.setdefault(ended.watcher, {}), reason_of(ended)
        if reason not in reasons and len(reasons) >= MAX_REASONS:
            reason = Reason(reason.how, "other", reason.ordered)
        reasons[reason] = reasons.get(reason, 0) + 1

    def published(self, event: Event) -> None:
        if not event.watcher or event.watcher in self._known:
            names = self.events.setdefault(event.watcher, {})
            names[event.name] = names.get(event.name, 0) + 1
