"""One order on its way through several watchers: stages that are still before it, tickets that it holds.

Does not belong here: which watchers make up a stage, when the next one is entered (fleet).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

from circus.supervise.actions import Finish
from circus.supervise.events import TimerKey
from circus.supervise.tickets import Ticket, Verb

#: What the Finish of an operation tells, by its verb.
DETAIL: dict[Verb, tuple[str, ...]] = {
    Verb.START: ("started", "kept"),
    Verb.STOP: (),
    Verb.RESTART: ("stopped", "started", "kept"),
    Verb.RELOAD: ("stopped", "started", "kept"),
    Verb.COUNT: ("numprocesses",),
    Verb.KILL: ("stopped",),
}


class Stage(Struct):
    """The order ``verb`` for all of ``names`` at once."""

    verb: Verb
    names: list[str]
    is_sequential: bool = False


class Operation(Struct, eq=False):
    op: int
    verb: Verb
    stages: deque[Stage] = field(default_factory=deque)
    current: list[tuple[str, Ticket]] = field(default_factory=list)  # of the stage that was entered last
    tickets: list[tuple[str, Ticket]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warmup: TimerKey | None = None
    has_warmed_up: bool = False  # after the current stage
    is_end: bool = False  # Quit or Shutdown
    removes: str | None = None
    joined: dict[str, str] = field(default_factory=dict)  # watcher that was taken along -> what was ordered

    def hold(self, held: Iterable[tuple[str, Ticket]]) -> None:
        self.current = list(held)
        self.tickets += self.current
        self.has_warmed_up = False

    def overrule(self, names: Iterable[str], why: str) -> None:
        """Take ``names`` out of the stages that are still to come."""
        for name in names:
            hit = [stage for stage in self.stages if name in stage.names]
            for stage in hit:
                stage.names.remove(name)
            if hit:
                self.errors.append(f"{name}: {why}")

    @property
    def has_arrived(self) -> bool:
        """Everywhere it went."""
        return all(ticket.is_done for _, ticket in self.tickets)

    def finish(self) -> Finish:
        detail: dict[str, object] = {}
        for key in DETAIL[self.verb]:
            found = [ticket.detail[key] for _, ticket in self.tickets]
            lists = [pid for pids in found if isinstance(pids, list) for pid in pids]
            detail[key] = lists if key != "numprocesses" else next(iter(found), 0)
        if failed := [failure for _, ticket in self.tickets for failure in ticket.failures]:
            detail["failed"] = failed
        if self.joined:
            detail["joined"] = dict(self.joined)
        errors = [*self.errors, *(f"{name}: {ticket.error}" for name, ticket in self.tickets if not ticket.ok)]
        return Finish(self.op, ok=not errors, detail=detail, error="; ".join(errors))
