"""How far an operation is: watcher by watcher, how many of its processes have got where the order wants them. Pure.

It is found out when somebody asks, from what the watchers are and what the operation's tickets remember; nothing is
counted meanwhile. What is done is never more than what is there: a process that was ready and has died is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from circus.supervise.operation import Operation
from circus.supervise.ring import Phase
from circus.supervise.slot import Slot
from circus.supervise.tickets import Ticket, Verb
from circus.supervise.watcher import Watcher

NOT_REACHED = "waits for its turn"

WHY = {
    Phase.DOWN: "has not begun",
    Phase.WAITING: "waits for a connection",
    Phase.INHERITED: "has not begun",
    Phase.BEFORE_START: "waits for its hook before_start",
    Phase.RISING: "starts its processes",
    Phase.SETTLING: "waits until its processes are ready",
    Phase.AFTER_START: "waits for its hook after_start",
    Phase.UP: "waits for processes that are ending",
    Phase.RELOADING: "replaces its processes",
    Phase.YIELDING: "ends after those that depend on it",
    Phase.BEFORE_STOP: "waits for its hook before_stop",
    Phase.LOWERING: "waits for its processes to end",
    Phase.AFTER_STOP: "waits for its hook after_stop",
}


class Standing(Struct, frozen=True):
    """Of one watcher: ``done`` of ``of`` processes are ``what`` (ready, replaced, ended).

    ``why`` it has not arrived, or why it will not.
    """

    watcher: str
    has_arrived: bool
    done: int
    of: int
    what: str
    why: str


def standings(operation: Operation, watchers: Mapping[str, Watcher]) -> list[Standing]:
    """In the order in which the operation reaches them."""
    tickets = dict(operation.tickets)
    ahead = {name for stage in operation.stages for name in stage.names}
    names = dict.fromkeys([*tickets, *(name for stage in operation.stages for name in stage.names)])
    return [_standing(operation, name, tickets.get(name), watchers.get(name), name in ahead) for name in names]


def _standing(
    operation: Operation, name: str, ticket: Ticket | None, watcher: Watcher | None, is_ahead: bool
) -> Standing:
    has_arrived = ticket is not None and ticket.is_done and not is_ahead
    what = _what(operation)
    slots = [] if watcher is None else list(watcher.slots.values())
    if what == "ended":
        living = {(slot.key, slot.incarnation) for slot in slots if slot.is_alive}
        meant = living if ticket is None else ticket.before.keys()
        of = len(meant)
        done = of - len(living & meant)
    else:
        of = 0 if watcher is None else watcher.policy.numprocesses
        done = min(of, sum(_is_new(slot, operation, ticket) for slot in slots))
    if has_arrived:
        assert ticket is not None
        return Standing(name, True, of if ticket.ok else done, of, what, ticket.error)
    return Standing(name, False, done, of, what, _why(ticket, watcher))


def _what(operation: Operation) -> str:
    match operation.verb:
        case Verb.STOP | Verb.KILL:
            return "ended"
        case Verb.RESTART | Verb.RELOAD:
            return "replaced"
        case _:
            return "ready"


def _is_new(slot: Slot, operation: Operation, ticket: Ticket | None) -> bool:
    if not slot.is_ready:
        return False
    if operation.verb not in (Verb.RESTART, Verb.RELOAD) or operation.joined.get(slot.key.watcher) == Verb.START.value:
        return True
    if ticket is None or ticket.verb is Verb.STOP:  # of a restart of several: what is there is the old ones
        return False
    return (slot.key, slot.incarnation) not in ticket.before


def _why(ticket: Ticket | None, watcher: Watcher | None) -> str:
    if ticket is None or watcher is None:
        return NOT_REACHED
    if watcher.phase is Phase.HELD:
        return watcher.blocked or f"waits for {', '.join(watcher.waits_for)}"
    return watcher.reloading or WHY[watcher.phase]


def waiting_first(rows: Iterable[Standing]) -> list[Standing]:
    """Those that have not arrived, those that the operation has reached before those that it has not."""
    return sorted((row for row in rows if not row.has_arrived), key=lambda row: row.why == NOT_REACHED)
