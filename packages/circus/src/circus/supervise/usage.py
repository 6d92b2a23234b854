"""What the trees of processes use, from one look at all processes of the machine. Pure.

A tree is a process, all that is below it by parent, all of its session (every hosted process leads one of its own), and
all below these. Memory is what is resident, and what several share is counted for each.

The time of processors between two looks is that which the same processes have used, all that those have used which were
born meanwhile, and what their parents were charged for those which ended and were waited for, less what of that had
been seen already. Lost is what an orphan used after the last look at it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from circus.procfs import Row

#: A process: its pid, and when it began, in ticks.
Process = tuple[int, int]


class Tree(Struct, frozen=True):
    """``ticks``: of each process its own, and those of its children that have ended."""

    memory: int
    ticks: Mapping[Process, tuple[int, int]]


def trees_of(roots: Iterable[Process], rows: Mapping[int, Row]) -> list[Tree | None]:
    """The tree of each of ``roots``; None of one that is no more."""
    below = defaultdict[int, list[Row]](list)
    for each in rows.values():
        below[each.parent].append(each)
        if each.session not in (each.parent, each.pid):
            below[each.session].append(each)
    return [_tree_of(root, rows, below) for root in roots]


def _tree_of(root: Process, rows: Mapping[int, Row], below: Mapping[int, Iterable[Row]]) -> Tree | None:
    first = rows.get(root[0])
    if first is None or first.start_ticks != root[1]:
        return None
    found, seen = [first], {first.pid}
    for each in found:
        more = [row for row in below.get(each.pid, ()) if row.pid not in seen]
        seen.update(row.pid for row in more)
        found += more
    memory = sum(each.resident_bytes for each in found)
    return Tree(memory, {(each.pid, each.start_ticks): (each.cpu_ticks, each.waited_ticks) for each in found})


def ticks_between(before: Tree, after: Tree) -> int:
    own = waited = 0
    for process, (ticks, of_children) in after.ticks.items():
        own_before, of_children_before = before.ticks.get(process, (0, 0))
        own += ticks - own_before
        waited += of_children - of_children_before
    seen = sum(sum(ticks) for process, ticks in before.ticks.items() if process not in after.ticks)
    return own + max(0, waited - seen)
