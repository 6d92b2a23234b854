"""The reload of a watcher with bounds: so many more processes than wanted, so many fewer, and a time to prove itself.

**Forwards.** A batch of new processes is raised beside the old ones, as many as ``max_surge`` leaves room for, on trial
as in a graceful reload. When all of the batch are ready, and have stayed so for ``soak``, they are good, and as many
old ones go as ``max_unavailable`` allows; when those have gone, the next batch comes. With no surge at all the old ones
go first. Old ones without a process serve nobody, and go before others. At no time are fewer than the lower bound
ready by an order of the reload, or more than the upper bound there, those that are stopping included.

**Back.** If one of a batch cannot be spawned, is refused, ends or loses its wish, or a good one gives up for good,
the batch goes. If the reload was for other options, everything goes back: the policy of before is in force again, old
ones that had gone are raised by it, within the same bounds and without a trial, and the good ones go as they come. If
the options are the same, what is good stays: nothing tells it from a process that replaced a dead one.

While it lasts, old processes live by the policy of before, their successors too. Does not belong here: when a reload
may begin, who is told of its end (reloads), what the engine spawns by (the configuration of before: ``is_former``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from circus.supervise.actions import ReloadFailed
from circus.supervise.places import seniority
from circus.supervise.slot import Down, Slot
from circus.supervise.states import Rollout, SlotState, WatcherPolicy
from circus.supervise.tickets import Failure, Ticket

if TYPE_CHECKING:
    from circus.supervise.ring import Ring

THERE = frozenset({SlotState.STARTING, SlotState.RUNNING, SlotState.STOPPING, SlotState.BACKOFF})


class Rolling:
    """``target``: the policy to go to; None: it stays the same."""

    def __init__(
        self, tickets: list[Ticket], rollout: Rollout, *, is_one_by_one: bool, target: WatcherPolicy | None
    ) -> None:
        self.tickets = tickets
        self.is_over = False
        self.has_replaced_any = False
        self.trial_wids: frozenset[int] = frozenset()
        self.policies: dict[int, WatcherPolicy] = {}
        self.error = ""
        self._rollout = rollout
        self._is_one_by_one = is_one_by_one
        self._target = target
        self._former: WatcherPolicy | None = None
        self._count_before = 0
        self._old: set[int] = set()
        self._good: set[int] = set()
        self._lives: dict[int, int] = {}  # of the batch: wid -> incarnation
        self._refused: dict[int, Slot] = {}
        self._is_soaking = False
        self._is_going_back = False

    @property
    def noted_wids(self) -> frozenset[int]:
        return frozenset() if self.is_over else self.trial_wids | self._good

    def note(self, slot: Slot) -> None:
        self._refused[slot.key.wid] = slot

    def standing(self, ring: Ring) -> str:
        """For people, while it lasts."""
        if self.is_over:
            return ""
        if self._is_going_back:
            return "a reload has failed, and goes back"
        soaks = f", {len(self.trial_wids)} have to stay ready for a while" if self._is_soaking else ""
        return f"is reloaded: {len(self._good)} of {ring.policy.numprocesses} are replaced{soaks}"

    def begin(self, ring: Ring, now: float) -> None:  # noqa: ARG002 - nothing happens before the first turn
        self._old = {slot.key.wid for slot in ring.places.wanted}
        self._count_before = ring.policy.numprocesses
        if self._target is not None:
            self._former = replace(ring.policy, is_former=True)
            self.policies = dict.fromkeys(ring.slots, self._former)
            ring.policy = self._target

    def turn(self, ring: Ring, now: float) -> bool:
        if self._is_going_back:
            return self._turn_back(ring, now)
        if failures := self._failures(ring):
            self._go_back(ring, now, failures)
            return True
        if self.trial_wids:
            return self._turn_trial(ring)
        if self._missing(ring, self._good) > 0:
            is_proven = bool(self._good)
            return self._make_room(ring, now, self._old, is_proven=is_proven) or self._raise_batch(ring, now)
        self._retire(ring, now, self._old, self._spare(ring))
        if not any(slot.wants_up for slot in self._of(ring, self._old)):
            self.is_over = True
        return self.is_over

    # Forwards -----------------------------------------------------------------------------------------------

    def _turn_trial(self, ring: Ring) -> bool:
        if not all(slot.is_ready for slot in self._of(ring, self.trial_wids)):
            ring.cancel_warmup()
            self._is_soaking = False
            return False
        if not self._is_soaking:
            self._is_soaking = True
            ring.warm_up(self._rollout.soak_s)
        if ring.is_warming_up:
            return False
        self._is_soaking = False
        self._good |= self.trial_wids
        self.trial_wids = frozenset()
        self.has_replaced_any = True
        return True

    def _raise_batch(self, ring: Ring, now: float) -> bool:
        self._is_soaking = False
        self._lives = {}
        return self._raise(ring, now, self._missing(ring, self._good))

    def _failures(self, ring: Ring) -> list[Failure]:
        found = [Failure(slot.key, slot.incarnation, slot.reason) for slot in self._refused.values()]
        for wid in sorted(self.trial_wids - self._refused.keys()):
            slot = ring.slots.get(wid)
            if slot is not None and self._has_failed(slot):
                found.append(Failure(slot.key, self._lives[wid], slot.reason))
        given_up = (slot for slot in self._of(ring, self._good) if slot.is_spent)
        return found + [Failure(slot.key, slot.incarnation, slot.reason) for slot in given_up]

    def _has_failed(self, slot: Slot) -> bool:
        is_another = slot.incarnation != self._lives[slot.key.wid]
        return is_another or not (slot.wants_up and (slot.is_coming_up or slot.is_ready))

    # Back ---------------------------------------------------------------------------------------------------

    def _go_back(self, ring: Ring, now: float, failures: list[Failure]) -> None:
        self._is_going_back = True
        ring.cancel_warmup()
        for wid in self.trial_wids:
            ring.places.give(wid, now, Down())
        for failure in failures:
            ring.emit(ReloadFailed(failure.slot, failure.incarnation, failure.reason))
        for ticket in self.tickets:
            ticket.failures += failures
        told = "; ".join(f"{failure.slot}: {failure.reason}" for failure in failures)
        if self._former is None:
            stay = f"{len(self._good)} are replaced, the others stay" if self._good else "the old processes stay"
            self.error = f"not replaced, {stay}: {told}"
            return
        assert self._target is not None
        self.error = f"rolled back to the options of before: {told}"
        count, beginning = ring.policy.numprocesses, self._target.numprocesses
        back_to = count if count != beginning else self._former.numprocesses  # somebody has changed it since
        self.policies = {wid: ring.policy for wid in ring.slots if wid not in self._old}
        ring.policy = replace(self._former, numprocesses=back_to)
        self.trial_wids |= self._good

    def _turn_back(self, ring: Ring, now: float) -> bool:
        if self._former is None:
            self.is_over = not self._is_any_leaving(ring)
            if self.is_over:
                self.trial_wids = frozenset()
            return self.is_over
        if any(ring.is_unsettled(slot) for slot in self._of(ring, self._old)):
            return False
        if self._missing(ring, self._old) <= 0:
            self._retire(ring, now, self._good, len(ring.slots))
            self.trial_wids = frozenset()
            self.is_over = True
            return True
        if self._make_room(ring, now, self._good, is_proven=True):
            return True
        return self._raise(ring, now, self._missing(ring, self._old))

    # The bounds ---------------------------------------------------------------------------------------------

    def _bounds(self, ring: Ring) -> tuple[int, int]:
        count, rollout = ring.policy.numprocesses, self._rollout
        surge = count if rollout.max_surge is None else amount(rollout.max_surge, count, math.ceil)
        if ring.policy.singleton:
            surge = 0
        unavailable = amount(rollout.max_unavailable, count, math.floor)
        if self._is_one_by_one:
            surge, unavailable = min(surge, 1), min(unavailable, int(not surge))
        return surge, unavailable if surge else max(unavailable, 1)

    def _spare(self, ring: Ring) -> int:
        """How many of those that are ready need not be."""
        ready = sum(slot.is_ready for slot in ring.slots.values())
        return ready - min(ring.policy.numprocesses, self._count_before) + self._bounds(ring)[1]

    def _room(self, ring: Ring) -> int:
        there = sum(slot.state in THERE for slot in ring.slots.values())
        return max(ring.policy.numprocesses, self._count_before) + self._bounds(ring)[0] - there

    def _missing(self, ring: Ring, wids: set[int]) -> int:
        return ring.policy.numprocesses - sum(slot.wants_up for slot in self._of(ring, wids))

    def _make_room(self, ring: Ring, now: float, leaving: set[int], *, is_proven: bool) -> bool:
        """Whether anybody goes; nobody has to before the new ones have proved themselves, if there is room."""
        spare = self._spare(ring)
        if not is_proven and self._bounds(ring)[0]:
            spare = min(spare, 1 - self._room(ring))
            if spare <= 0:
                return False
        return self._retire(ring, now, leaving, spare)

    def _retire(self, ring: Ring, now: float, leaving: set[int], most: int) -> bool:
        """At most so many that are ready."""
        has_begun = False
        wanted = [slot for slot in self._of(ring, leaving) if slot.wants_up]
        for slot in sorted(wanted, key=lambda slot: (slot.is_ready, *seniority(slot))):
            if slot.is_ready and most <= 0:
                break
            most -= slot.is_ready
            ring.places.give(slot.key.wid, now, Down())
            has_begun = True
        return has_begun

    def _raise(self, ring: Ring, now: float, missing: int) -> bool:
        """New processes, as many as find room, when nobody is on the way out any more."""
        if self._is_any_leaving(ring):
            return False
        count = min(missing, self._room(ring))
        for _ in range(count):
            wid = ring.places.free_wid()
            self._old.discard(wid)
            self._good.discard(wid)
            self.policies.pop(wid, None)
            if self._is_going_back:
                self.trial_wids -= {wid}
                self._old.add(wid)
            else:
                self.trial_wids |= {wid}
            ring.places.lift(now)
            if not self._is_going_back and wid in ring.slots:
                self._lives[wid] = ring.slots[wid].incarnation
        return count > 0

    def _is_any_leaving(self, ring: Ring) -> bool:
        return any(slot.is_busy and not (slot.wants_up and slot.is_coming_up) for slot in ring.slots.values())

    def _of(self, ring: Ring, wids: set[int] | frozenset[int]) -> list[Slot]:
        return [ring.slots[wid] for wid in sorted(wids) if wid in ring.slots]


def amount(written: int | str, count: int, rounded: Callable[[float], int]) -> int:
    """A number of processes, or a share of ``count`` (`25%`)."""
    if isinstance(written, str):
        return rounded(count * float(written.removesuffix("%")) / 100)
    return written
