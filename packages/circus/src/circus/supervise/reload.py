"""Two ways to replace the processes of a watcher that is up; the module ``rolling`` has a third, with bounds.

**Graceful**: as many new slots as processes are wanted are raised beside the old ones, at once and without
warm-up, on trial: a new process that cannot be spawned, that after_spawn refuses, or that ends before the
others are ready, gets no second chance. When the last of them is settled, the oldest go, as many as there are
too many; for each new one that failed an old one stays.

**Sequential**: one slot after another gets a new life in its place, the oldest first, with the warm-up delay
between them. If a new one does not come up, the rest stay as they are.

A reload begins only when nothing is stopping any more, so there are never more than two generations. Does not
belong here: when a reload may begin, who is told of its end (ring).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from circus.supervise.slot import Down, Slot, Up
from circus.supervise.states import SlotState, WatcherPolicy
from circus.supervise.tickets import Ticket

if TYPE_CHECKING:
    from circus.supervise.ring import Ring


class Reload(Protocol):
    tickets: list[Ticket]
    is_over: bool
    has_replaced_any: bool
    policies: dict[int, WatcherPolicy]  # of slots that do not live by the watcher's

    @property
    def trial_wids(self) -> frozenset[int]:
        """Slots that get no second chance."""

    @property
    def noted_wids(self) -> frozenset[int]:
        """Slots of which a refusal by a hook concerns the reload, and not the whole watcher."""

    @property
    def error(self) -> str:
        """What went wrong, for people; empty if nothing did."""

    def note(self, slot: Slot) -> None:
        """A hook refused the new process of ``slot``."""

    def standing(self, ring: Ring) -> str:
        """How far it is, for people; empty if there is nothing to say."""

    def begin(self, ring: Ring, now: float) -> None: ...

    def turn(self, ring: Ring, now: float) -> bool:
        """Go on as far as possible; False when it has to wait for a fact."""


class Graceful:
    def __init__(self, tickets: list[Ticket]) -> None:
        self.tickets = tickets
        self.is_over = False
        self.has_replaced_any = False
        self.policies: dict[int, WatcherPolicy] = {}
        self.trial_wids: frozenset[int] = frozenset()
        self._failures: list[str] = []

    @property
    def noted_wids(self) -> frozenset[int]:
        return self.trial_wids

    @property
    def error(self) -> str:
        if not self._failures:
            return ""
        return f"not replaced, the old processes stay: {'; '.join(self._failures)}"

    def standing(self, ring: Ring) -> str:  # noqa: ARG002 - all are there at once
        return ""

    def note(self, slot: Slot) -> None:
        self._failures.append(f"{slot.key}: {slot.reason}")

    def begin(self, ring: Ring, now: float) -> None:
        for _ in range(ring.policy.numprocesses):
            self.trial_wids |= {ring.places.free_wid()}
            ring.places.lift(now)

    def turn(self, ring: Ring, now: float) -> bool:
        fresh = [ring.slots[wid] for wid in self.trial_wids if wid in ring.slots]
        if any(slot.is_coming_up for slot in fresh):
            return False
        for slot in fresh:
            if slot.is_spent:
                self.note(slot)
        good = frozenset(slot.key.wid for slot in fresh if slot.state is SlotState.RUNNING)
        self.trial_wids = frozenset()
        self.has_replaced_any = bool(good)
        ring.places.lower_extra(now, ring.policy.numprocesses, spare=good)
        self.is_over = True
        return True


class Sequential:
    def __init__(self, tickets: list[Ticket]) -> None:
        self.tickets = tickets
        self.is_over = False
        self.has_replaced_any = False
        self.policies: dict[int, WatcherPolicy] = {}
        self.trial_wids: frozenset[int] = frozenset()
        self.noted_wids: frozenset[int] = frozenset()
        self.error = ""
        self._todo: list[int] = []
        self._current: int | None = None

    def standing(self, ring: Ring) -> str:  # noqa: ARG002
        return ""

    def note(self, slot: Slot) -> None:
        """None is on trial: a refusal stops the ring."""

    def begin(self, ring: Ring, now: float) -> None:  # noqa: ARG002 - nothing happens before the first turn
        oldest_first = sorted(ring.places.wanted, key=lambda slot: (slot.started_at or 0.0, slot.key.wid))
        self._todo = [slot.key.wid for slot in oldest_first]

    def turn(self, ring: Ring, now: float) -> bool:
        if ring.is_warming_up:
            return False
        slot = ring.slots.get(self._current) if self._current is not None else None
        if slot is not None:
            if slot.state is SlotState.STOPPING or ring.is_unsettled(slot):
                return False
            self._current = None
            if slot.state is not SlotState.RUNNING:
                self.error = f"{slot.key} did not come up again, the others stay as they are: {slot.reason}"
                self.is_over = True
                return True
            self.has_replaced_any = True
            if self._todo:
                ring.warm_up(ring.policy.warmup_delay_s)
            return True
        if not self._todo:
            self.is_over = True
            return True
        self._current = self._todo.pop(0)
        ring.places.give(self._current, now, Down(), Up())
        return True
