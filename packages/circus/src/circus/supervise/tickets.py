"""What somebody waits for from one watcher: a ticket, given for an order, closed exactly once.

An operation of the fleet holds one ticket for each watcher that it concerns; the watcher has them in its ``Waiting``
until they are closed. Does not belong here: when that is (watcher), what is told about the whole operation (fleet).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct, field

from circus.supervise.slot import Slot
from circus.supervise.states import SlotKey, SlotState

Life = tuple[SlotKey, int]


class Verb(enum.Enum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RELOAD = "reload"
    COUNT = "count"
    KILL = "kill"


class Failure(NamedTuple):
    """A new process of a reload that was no good."""

    slot: SlotKey
    incarnation: int
    reason: str


class Ticket(Struct, eq=False):
    """``has_passed``: the next watcher need not wait any longer; ``is_done``: this is the end."""

    verb: Verb
    before: dict[Life, int]  # pids when the order came
    has_passed: bool = False
    is_done: bool = False
    ok: bool = True
    error: str = ""
    detail: dict[str, object] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def close(self, slots: Iterable[Slot], *, numprocesses: int, error: str = "") -> None:
        self.has_passed = self.is_done = True
        self.ok, self.error = not error, error
        if self.verb is Verb.COUNT:
            self.detail = {"numprocesses": numprocesses}
        else:
            after = lives_of(slots)
            self.detail = {
                "stopped": [pid for life, pid in self.before.items() if life not in after],
                "started": [pid for life, pid in after.items() if life not in self.before],
                "kept": [pid for life, pid in after.items() if life in self.before],
            }

    def has_started_any(self, slots: Iterable[Slot]) -> bool:
        return any(life not in self.before for life in lives_of(slots))


def lives_of(slots: Iterable[Slot]) -> dict[Life, int]:
    """The processes that live and are to live on."""
    return {
        (slot.key, slot.incarnation): slot.pid
        for slot in slots
        if slot.pid is not None and slot.state is SlotState.RUNNING
    }


class Waiting:
    """The open tickets of one watcher."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def open(self, verb: Verb, slots: Iterable[Slot]) -> Ticket:
        ticket = Ticket(verb, lives_of(slots))
        self.tickets.append(ticket)
        return ticket

    def take(self, ticket: Ticket) -> None:
        """It waits elsewhere."""
        self.tickets.remove(ticket)

    def add(self, tickets: Iterable[Ticket]) -> None:
        self.tickets += tickets

    def close_killed(self, slots: Iterable[Slot], *, numprocesses: int) -> None:
        """Those whose processes have all gone."""
        if not any(ticket.verb is Verb.KILL for ticket in self.tickets):
            return
        slots = list(slots)
        alive = {(slot.key, slot.incarnation) for slot in slots if slot.is_alive}
        for ticket in self.tickets:
            if ticket.verb is Verb.KILL and alive.isdisjoint(ticket.before):
                ticket.close(slots, numprocesses=numprocesses)
        self.tickets = [ticket for ticket in self.tickets if not ticket.is_done]

    def pass_all(self) -> None:
        for ticket in self.tickets:
            ticket.has_passed = True

    def close(self, verbs: Iterable[Verb], slots: Iterable[Slot], *, numprocesses: int, error: str = "") -> bool:
        """Whether there were any."""
        meant, slots, before = frozenset(verbs), list(slots), len(self.tickets)
        for ticket in self.tickets:
            if ticket.verb in meant:
                ticket.close(slots, numprocesses=numprocesses, error=error)
        self.tickets = [ticket for ticket in self.tickets if not ticket.is_done]
        return len(self.tickets) < before
