"""The reloads of one watcher: those that wait, the one under way, and the policy that a change is about to bring.

All who wait for the same kind of reload get the same one. A change of options by a reload is in force when it begins:
until then, and while it may still go back, the processes that are there live by the policy of before. If it never
comes to its end (the watcher stops, restarts, or has nothing that serves), the new policy is in force at once.

Does not belong here: how processes are replaced (reload, rolling), when a reload may begin (ring).
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING

from msgspec.structs import replace

from circus.supervise.actions import Signal
from circus.supervise.reload import Graceful, Reload, Sequential
from circus.supervise.rolling import Rolling
from circus.supervise.slot import Slot
from circus.supervise.states import WatcherPolicy
from circus.supervise.tickets import Ticket

if TYPE_CHECKING:
    from circus.supervise.ring import Ring

SIGHUP = 1


class Kind(enum.Enum):
    GRACEFUL = "graceful"
    SEQUENTIAL = "sequential"
    CHANGE = "change"


class Reloads:
    def __init__(self) -> None:
        self.current: Reload | None = None
        self._waiting: deque[tuple[Kind, Ticket]] = deque()
        self._target: WatcherPolicy | None = None

    @property
    def is_changing(self) -> bool:
        """Other options are on their way, and may go back."""
        return self._target is not None

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def standing(self, ring: Ring) -> str:
        """How far the one under way is, for people."""
        return "" if self.current is None else self.current.standing(ring)

    def policy_for(self, wid: int, slot: Slot | None, policy: WatcherPolicy) -> WatcherPolicy:
        """By which a slot lives; it gives no second chance to the new ones of a reload."""
        current = self.current
        if current is None:
            return policy
        if current.is_over and (slot is None or slot.wants_up or not slot.is_busy):
            return policy
        policy = current.policies.get(wid, policy)
        if wid in current.trial_wids:
            return replace(policy, respawn=False, max_retry=0, backoff=None)
        return policy

    def add(self, kind: Kind, ticket: Ticket) -> None:
        self._waiting.append((kind, ticket))

    def add_change(self, ring: Ring, target: WatcherPolicy, ticket: Ticket) -> None:
        self._target = target
        ring.policy = replace(ring.policy, is_former=True)
        self.add(Kind.CHANGE, ticket)

    def recount(self, numprocesses: int) -> None:
        """Somebody has ordered another number meanwhile."""
        if self._target is not None:
            self._target = replace(self._target, numprocesses=numprocesses)

    def begin(self, ring: Ring, now: float) -> bool:
        """The next; False if it is over already."""
        kind = self._waiting[0][0]
        tickets = [ticket for each, ticket in self._waiting if each is kind]
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not kind)
        target = self._target if kind is Kind.CHANGE else None
        policy = ring.policy if target is None else target
        if policy.send_hup and target is None:
            for slot in ring.places.wanted:
                if slot.is_alive:
                    ring.emit(Signal(slot.key, slot.incarnation, SIGHUP, is_plain=True))
            self._close(ring, tickets, "")
            return False
        is_sequential = kind is Kind.SEQUENTIAL
        if policy.rollout is not None:
            self.current = Rolling(tickets, policy.rollout, is_one_by_one=is_sequential, target=target)
        else:
            self.current = Sequential(tickets) if is_sequential else Graceful(tickets)
        self.current.begin(ring, now)
        return True

    def end(self, ring: Ring) -> None:
        """It has come to its end, and so have the processes that it has replaced."""
        if self.current is not None:
            self._close(ring, self.current.tickets, self.current.error)
            if not any(kind is Kind.CHANGE for kind, _ in self._waiting):
                self._target = None
            self.current = None

    def drop(self, ring: Ring) -> list[Ticket]:
        """None comes to its end; who waits for one."""
        tickets = [] if self.current is None else self.current.tickets
        tickets += [ticket for _, ticket in self._waiting]
        if self._target is not None and any(kind is Kind.CHANGE for kind, _ in self._waiting):
            ring.policy = self._target
        self._waiting.clear()
        self.current = self._target = None
        return tickets

    def _close(self, ring: Ring, tickets: list[Ticket], error: str) -> None:
        for ticket in tickets:
            ticket.close(ring.slots.values(), numprocesses=ring.policy.numprocesses, error=error)
