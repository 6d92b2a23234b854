"""Which rows are shown, and in which order: sorted, filtered, grouped. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from circus.tui.rows import Group, Row

#: What is not known stands last.
_UNKNOWN = -1.0

#: By what rows are sorted; each has its own natural direction.
SORTS: dict[str, Callable[[Row], Any]] = {
    "trouble": lambda row: row.trouble,
    "cpu": lambda row: -(_UNKNOWN if row.cpu is None else row.cpu),
    "memory": lambda row: -(_UNKNOWN if row.memory is None else row.memory),
    "age": lambda row: float("inf") if row.started_at is None else -row.started_at,  # the youngest first
    "name": lambda _row: 0,
}


@dataclass(slots=True)
class Choice:
    """What a person has chosen. ``opened``: watchers whose slots are shown below them; all with ``is_all_open``."""

    sort: str = "trouble"
    is_reversed: bool = False
    filter: str = ""
    is_flat: bool = False
    is_all_open: bool = False
    opened: set[str] = field(default_factory=set)

    def sort_by(self, key: str) -> None:
        """Asked for again, it goes the other way round."""
        self.is_reversed = not self.is_reversed if self.sort == key else False
        self.sort = key

    def toggle(self, watcher: str) -> None:
        self.opened ^= {watcher}

    def rows(self, groups: Sequence[Group]) -> list[Row]:
        if self.is_flat:
            slots = [slot for group in groups for slot in group.slots or (group.head,)]
            return self._sorted([slot for slot in slots if self._is_met(slot)])
        shown = {group.head.watcher: group for group in groups if any(map(self._is_met, (group.head, *group.slots)))}
        found = []
        for head in self._sorted([group.head for group in shown.values()]):
            found.append(head)
            if self.is_all_open or head.watcher in self.opened:
                found += self._sorted([slot for slot in shown[head.watcher].slots if self._is_met(slot)])
        return found

    def _is_met(self, row: Row) -> bool:
        """Every word stands in it somewhere."""
        if not self.filter:
            return True
        text = f"{row.name} {row.state} {row.why} {row.pid or ''}".lower()
        return all(word in text for word in self.filter.lower().split())

    def _sorted(self, rows: list[Row]) -> list[Row]:
        by_name = sorted(rows, key=lambda row: (row.watcher, row.wid or 0), reverse=self.is_reversed)
        return sorted(by_name, key=SORTS[self.sort], reverse=self.is_reversed)
