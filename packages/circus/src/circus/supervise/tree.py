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
from typing import Protocol

from msgspec import Struct

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


class Trunk(Struct, frozen=True):
    """The main process of a tree. ``mark``: what its environment has; empty: nothing that only it has."""

    pid: int
    start_ticks: int
    mark: str = ""
    is_late: bool = False


class Look:
    """The machine at one moment, indexed once for all trees. ``marks`` are those of processes that were asked.

    ``apart`` belong to nobody's tree, nor does what is below them by that: other hosted processes, papa (which is in
    ``roots``), circusd.
    """

    def __init__(
        self,
        rows: Mapping[int, Row],
        marks: Mapping[int, str],
        apart: Collection[int] = (),
        roots: Collection[int] = (),
    ) -> None:
        self.rows = rows
        self.marks = marks
        self.apart = frozenset(apart)
        self.roots = frozenset(roots)
        self.below: dict[int, list[int]] = {}  # by parent
        self.numbered: dict[int, list[int]] = {}  # by session and group
        self.marked: dict[str, list[int]] = {}
        for pid, row in rows.items():
            self.below.setdefault(row.parent, []).append(pid)
            for number in {row.session, row.group}:
                self.numbered.setdefault(number, []).append(pid)
        for pid, mark in marks.items():
            self.marked.setdefault(mark, []).append(pid)

    def descendants(self, starts: Iterable[int], *, apart: Collection[int] = ()) -> set[int]:
        found: set[int] = set()
        todo = list(starts)
        while todo:
            fresh = [pid for pid in self.below.get(todo.pop(), ()) if pid not in found and pid not in apart]
            found.update(fresh)
            todo += fresh
        return found

    def is_below_papa(self, pid: int) -> bool:
        seen: set[int] = set()
        while pid in self.rows and pid not in seen:
            seen.add(pid)
            pid = self.rows[pid].parent
            if pid in self.roots:
                return True
        return False


def belonging(
    look: Look, trunk: Trunk, *, known: Mapping[Key, str] = NOBODY, grouped: Collection[int] = ()
) -> dict[int, str]:
    """The living processes of the tree but for the main one, and why each is known; ``grouped`` are in the cgroup."""
    rows = look.rows
    leader = rows.get(trunk.pid)
    is_number_ours = leader is None or leader.start_ticks == trunk.start_ticks
    found: dict[int, str] = {}

    def take(pid: int, why: str) -> None:
        row = rows.get(pid)
        if row is not None and row.start_ticks >= trunk.start_ticks and pid not in look.apart and pid != trunk.pid:
            found.setdefault(pid, why)

    for pid in look.numbered.get(trunk.pid, ()) if is_number_ours else ():
        if not trunk.is_late or look.is_below_papa(pid):
            take(pid, "session" if rows[pid].session == trunk.pid else "group")
    for (pid, start_ticks), why in known.items():
        if pid in rows and rows[pid].start_ticks == start_ticks:
            take(pid, why)
    for pid in look.marked.get(trunk.mark, ()) if trunk.mark else ():
        take(pid, "marker")
    for pid in grouped:
        take(pid, "cgroup")
    starts = [*found, *([trunk.pid] if leader is not None and is_number_ours else [])]
    for pid in look.descendants(starts, apart=look.apart):
        take(pid, "parent")
    return {pid: why for pid, why in found.items() if rows[pid].state not in ENDED}


def unasked(look: Look, lives: Iterable[int], *, since_ticks: int) -> list[int]:
    """Whose environment has to be asked: not those below a hosted process that lives, they are that one's."""
    passed = look.apart | look.descendants(lives)
    return [
        pid
        for pid, row in look.rows.items()
        if row.start_ticks >= since_ticks and pid not in passed and row.state not in ENDED
    ]
