"""The slots of one watcher: who is there, who comes next, who goes first.

Empty slots are forgotten; a slot that is made later with the same wid goes on above the numbers of the old one, so that
old news never fits a new life. Does not belong here: how many there shall be, and when (watcher).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from circus.supervise.actions import Action, CancelTimer
from circus.supervise.budget import UNTOUCHED, Recollection
from circus.supervise.events import TimerKey
from circus.supervise.slot import Aging, Done, Down, Kill, Resume, Slot, SlotEvent, Up
from circus.supervise.states import SlotKey, SlotState, SlotView, WatcherPolicy
from circus.supervise.table import step


class Places:
    """``policy_for`` gives the policy by which the slot of a wid decides now; ``base`` is below all numbers."""

    def __init__(
        self,
        watcher: str,
        policy_for: Callable[[int], WatcherPolicy],
        emit: Callable[[Action], None],
        *,
        base: int,
    ) -> None:
        self.slots: dict[int, Slot] = {}
        self.recalled: dict[int, Recollection] = {}  # of slots that are still to come, by wid
        self._watcher = watcher
        self._policy_for = policy_for
        self._emit = emit
        self._base = base

    @property
    def wanted(self) -> list[Slot]:
        """Alive or not."""
        return [slot for slot in self.slots.values() if slot.wants_up]

    @property
    def is_busy(self) -> bool:
        return any(slot.is_busy for slot in self.slots.values())

    @property
    def high_water(self) -> int:
        """No number of a life or timer was ever above it."""
        return max([self._base, *(max(slot.incarnation, slot.generation) for slot in self.slots.values())])

    def views(self) -> tuple[SlotView, ...]:
        return tuple(
            SlotView(
                wid=wid,
                state=slot.shown_state,
                pid=slot.pid if slot.rest is None else None,  # that one has ended
                kernel_id=slot.kernel_id,
                started_at=slot.started_at,
                incarnation=slot.incarnation,
                reason=slot.reason,
                last_status=slot.last_status,
                is_ready=slot.is_ready,
                health=self._health_of(slot),
            )
            for wid, slot in sorted(self.slots.items())
        )

    def _health_of(self, slot: Slot) -> str:
        if not slot.is_ready or self._policy_for(slot.key.wid).health is None:
            return ""
        return "unhealthy" if slot.doubt else "healthy"

    def give(self, wid: int, now: float, *news: SlotEvent) -> Slot | None:
        """Let the slot answer ``news``; one that has become empty is forgotten."""
        slot = self.slots.get(wid)
        if slot is None:
            return None
        for event in news:
            slot, actions = step(slot, event, now, self._policy_for(wid))
            for action in actions:
                self._emit(action)
        self.slots[wid] = slot
        if slot.state is SlotState.STOPPED:
            self._forget(slot)
        return slot

    def make(self, wid: int) -> None:
        """An empty slot; to be given news at once."""
        if wid not in self.slots:
            known = self.recalled.pop(wid, None)
            budget = UNTOUCHED if known is None else known.budget
            self.slots[wid] = Slot(
                SlotKey(self._watcher, wid), incarnation=self._base, generation=self._base, budget=budget
            )

    def free_wid(self) -> int:
        return next(wid for wid in range(1, len(self.slots) + 2) if wid not in self.slots)

    def lift(self, now: float) -> int:
        """Begin a new slot: one that is recalled, or at the lowest free wid."""
        wid = min(self.recalled.keys() - self.slots.keys(), default=self.free_wid())
        known = self.recalled.get(wid)
        self.make(wid)
        if known is None:
            self.give(wid, now, Up())
        else:
            self.give(wid, now, Resume(known.budget, known.reason, known.pause_ends - now, known.is_fatal))
        return wid

    def lift_fatal(self, now: float) -> None:
        """Those that gave up under an earlier manager, and no others."""
        self.recalled = {wid: known for wid, known in self.recalled.items() if known.is_fatal}
        while self.recalled:
            self.lift(now)

    def make_done(self, now: float) -> None:
        """A job that has ended well under an earlier manager."""
        self.make(1)
        self.give(1, now, Done())

    def lift_again(self, now: float) -> None:
        """Those that gave up or wait for their next attempt try at once."""
        for slot in self.wanted:
            if slot.is_spent or slot.state is SlotState.BACKOFF:
                self.give(slot.key.wid, now, Up())

    def kill(self, now: float, wids: Iterable[int], signum: int | None, grace_s: float | None) -> None:
        for wid in wids:
            self.give(wid, now, Kill(signum, grace_s))

    def age(self, now: float) -> None:
        """The limit of age is another one."""
        for slot in [*self.slots.values()]:
            self.give(slot.key.wid, now, Aging())

    def lower_extra(self, now: float, count: int, *, spare: frozenset[int] = frozenset()) -> None:
        """Down to ``count``: those without a process go first, then the oldest; the wids in ``spare`` last."""
        wanted = sorted(self.wanted, key=lambda slot: (slot.key.wid in spare, *seniority(slot)))
        for slot in wanted[: max(0, len(wanted) - count)]:
            self.give(slot.key.wid, now, Down())

    def lower(self, now: float, states: Iterable[SlotState]) -> None:
        meant = frozenset(states)
        for slot in [*self.slots.values()]:
            if slot.state in meant:
                self.give(slot.key.wid, now, Down())

    def clear(self) -> None:
        """Forget slots in which nothing is going on."""
        for slot in [*self.slots.values()]:
            self._forget(slot)

    def cancel_timers(self) -> None:
        for slot in self.slots.values():
            purpose = {SlotState.STOPPING: "kill", SlotState.BACKOFF: "backoff"}.get(slot.state)
            purpose = "age" if slot.is_aging else "start" if slot.is_timing_start else purpose
            if purpose is not None:
                self._emit(CancelTimer(TimerKey(self._watcher, slot.key.wid, purpose, slot.generation)))

    def _forget(self, slot: Slot) -> None:
        self._base = max(self._base, slot.incarnation, slot.generation)
        del self.slots[slot.key.wid]


def seniority(slot: Slot) -> tuple[int, float]:
    """Who goes first: those without a process, then the oldest."""
    if slot.state is SlotState.STARTING:
        return 2, 0.0
    return (1, slot.started_at) if slot.started_at is not None else (0, 0.0)


def tell(slots: Iterable[Slot]) -> str:
    """For people: which slot, and why."""
    return "; ".join(f"{slot.key}: {slot.reason}" for slot in slots)
