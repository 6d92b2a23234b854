"""Processes that are left of a tree whose main process has ended, for people: which they are, and why they are ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from circus import procfs
from circus.supervise import tree

#: More than a person reads; the others are counted.
MAX_NAMED = 20
MAX_IN_LINE = 3

#: The first word of a command; what follows may hold a secret.
MAX_COMMAND = 80

WHY = {
    "session": "of its session",
    "group": "of its process group",
    "parent": "started below it",
    "marker": "has its mark in the environment",
    "cgroup": "in its control group",
}


@dataclass(frozen=True, slots=True)
class Survivor:
    pid: int
    parent: int
    command: str
    state: str
    why: str  # session, group, parent, marker, cgroup
    start_ticks: int

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command}, {self.state}, parent {self.parent}, {WHY[self.why]})"

    def is_alive(self) -> bool:
        row = procfs.row(self.pid)
        return row is not None and row.start_ticks == self.start_ticks and row.state not in tree.ENDED

    def to_json(self) -> dict[str, object]:
        shown = asdict(self)
        del shown["start_ticks"]
        return shown


def name_all(rows: Mapping[int, procfs.Row], found: Mapping[int, str], *, are_asked: bool = True) -> list[Survivor]:
    """``are_asked``: each for its arguments, for which one may have to wait."""
    return [
        Survivor(
            pid,
            row.parent,
            _command(row) if are_asked else row.name,
            tree.STATES.get(row.state, row.state),
            why,
            row.start_ticks,
        )
        for pid, why in found.items()
        if (row := rows[pid])
    ]


def tell(named: Iterable[Survivor], count: int) -> str:
    few = [str(each) for each in named][:MAX_IN_LINE]
    more = f" and {count - len(few)} more" if count > len(few) else ""
    return ", ".join(few) + more


def _command(row: procfs.Row) -> str:
    """A process that is stuck in the system may not tell its arguments."""
    words: list[str] = []
    if row.state != "D":
        try:
            words = procfs.command(row.pid)
        except OSError:
            words = []
    return (os.path.basename(words[0]) if words and words[0] else row.name)[:MAX_COMMAND]
