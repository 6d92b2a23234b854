"""What somebody else did to a log file, as an event says it: moved, removed or replaced it, cut it, wrote to it.

The idea: nothing of it is forbidden, logrotate does all of it, and nothing is ever cut or taken back because of it. But
who looks for missing lines wants to know. How often it is said has a bound: once a minute is a habit, in a loop it is a
fault of somebody else's that must not fill circusd's log.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: So many within ``WINDOW_S`` are told one by one: logrotate each minute is, twice over.
MAX_TOLD = 20
WINDOW_S = 600.0


class Change(NamedTuple):
    """``what``: moved, removed, replaced, truncated or appended; ``reason`` says it as a sentence."""

    what: str
    reason: str
    was_away: bool = False  # it happened while no circusd was there


def of_name(*, is_there: bool, is_ours_elsewhere: bool) -> Change:
    """The file's name does not lead to it any more."""
    if is_there:
        return Change("replaced", "another file has its name; that one is written from here on")
    if is_ours_elsewhere:
        return Change("moved", "it was moved away; a new one is made")
    return Change("removed", "it was removed; a new one is made")


def of_size(known: int, size: int) -> Change | None:
    """It has another size than what was written to it makes it have."""
    if size < known:
        return Change("truncated", f"it was cut from {known} to {size} bytes; it is written from its new end on")
    if size > known:
        return Change("appended", f"{size - known} bytes that are not of its streams were written to it")
    return None


class Telling:
    """Which changes of one file are told; ``tell`` has the fields of an event, or None for one that is only counted."""

    def __init__(self) -> None:
        self._told: deque[float] = deque(maxlen=MAX_TOLD)
        self._untold = 0

    def tell(self, change: Change, now: float) -> dict[str, object] | None:
        if len(self._told) == MAX_TOLD and now - self._told[0] < WINDOW_S:
            self._untold += 1
            return None
        self._told.append(now)
        fields: dict[str, object] = {"what": change.what, "reason": change.reason, "was_away": change.was_away}
        if self._untold:
            fields["untold"], self._untold = self._untold, 0
        return fields
