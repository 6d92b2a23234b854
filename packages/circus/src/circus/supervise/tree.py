"""Who belongs to the tree of a hosted process, and why that is known. Pure.

Every hosted process leads a session and a process group of its own, so its number stands in all who have not left them,
also after its end: no other process gets that number while anybody has it. Who left them is known by having been seen
below it before, or by the mark in the environment that every process inherits, or by the control group. Whatever is
below one of these belongs to the tree as well.

``known`` says of those who were seen before, as (pid, start), why; a pid alone may be somebody else's by now. Of a
process that ended long ago nobody has watched whether its number was free in between (``is_late``): then session and
group count only for what descends from papa, whose children all hosted ones are.

Does not belong here: how all that is read (procfs), what is done about it (engine/trees).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

#: Of a process that has ended, and whose end nobody has asked for.
ENDED = "ZX"

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "stuck in the system",
    "T": "stopped",
    "t": "traced",
    "I": "idle",
}


class Row(Protocol):
    """One process, as the system shows it."""

    @property
    def pid(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def parent(self) -> int: ...
    @property
    def group(self) -> int: ...
    @property
    def session(self) -> int: ...
    @property
    def start_ticks(self) -> int: ...


Key = tuple[int, int]  # pid and start
NOBODY: Mapping[Key, str] = {}


@dataclass(frozen=True, slots=True)
class Trunk:
    """The main process of a tree. ``mark``: what its environment has; empty: nothing that only it has."""

    pid: int
    start_ticks: int
    mark: str = ""
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """The machine at one moment. ``marks`` are those of processes that were asked.

    ``apart`` belong to nobody's tree, nor does what is below them by that: other hosted processes, papa, circusd.
    """

    rows: Mapping[int, Row]
    marks: Mapping[int, str]
    apart: Collection[int] = ()
    roots: Collection[int] = ()  # papa


def belonging(
    look: Look, trunk: Trunk, *, known: Mapping[Key, str] = NOBODY, grouped: Collection[int] = ()
) -> dict[int, str]:
    """The living processes of the tree but for the main one, and why each is known; ``grouped`` are in the cgroup."""
    rows = look.rows
    below = _below(rows)
    apart = {*look.apart} - {trunk.pid}
    leader = rows.get(trunk.pid)
    is_number_ours = leader is None or leader.start_ticks == trunk.start_ticks
    inside = _descendants(below, look.roots, ()) if trunk.is_late else rows.keys()

    def why(row: Row) -> str:
        if row.start_ticks < trunk.start_ticks or row.pid in apart:
            return ""
        if is_number_ours and row.pid in inside:
            if row.session == trunk.pid:
                return "session"
            if row.group == trunk.pid:
                return "group"
        if before := known.get((row.pid, row.start_ticks)):
            return before
        if trunk.mark and look.marks.get(row.pid) == trunk.mark:
            return "marker"
        return "cgroup" if row.pid in grouped else ""

    found = {pid: reason for pid, row in rows.items() if (reason := why(row))}
    starts = [*found, *([trunk.pid] if leader is not None and is_number_ours else [])]
    for pid in _descendants(below, starts, apart):
        found.setdefault(pid, "parent")
    found.pop(trunk.pid, None)
    return {pid: reason for pid, reason in found.items() if rows[pid].state not in ENDED}


def unasked(look: Look, lives: Iterable[int], *, since_ticks: int) -> list[int]:
    """Whose environment has to be asked: not those below a hosted process that lives, they are that one's."""
    passed = {*look.apart} | _descendants(_below(look.rows), lives, ())
    return [
        pid
        for pid, row in look.rows.items()
        if row.start_ticks >= since_ticks and pid not in passed and row.state not in ENDED
    ]


def _below(rows: Mapping[int, Row]) -> dict[int, list[int]]:
    below: dict[int, list[int]] = {}
    for pid, row in rows.items():
        below.setdefault(row.parent, []).append(pid)
    return below


def _descendants(below: Mapping[int, list[int]], starts: Iterable[int], apart: Collection[int]) -> set[int]:
    found: set[int] = set()
    todo = list(starts)
    while todo:
        fresh = [pid for pid in below.get(todo.pop(), ()) if pid not in found and pid not in apart]
        found.update(fresh)
        todo += fresh
    return found
