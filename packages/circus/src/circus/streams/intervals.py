"""Files that are rotated by time: which interval a moment is of, and where in a stream the next one begins. Pure.

The idea: the interval of a moment is the moment of its beginning, found by the calendar of the host (or UTC) alone, so
that every circusd finds the same. Intervals lie on the calendar, not on the start of a program: hours begin at :00,
days at midnight, the weeks of W0 to W6 end with Monday to Sunday; several units are counted from 1970, days and weeks
from the year 1. An hour that the end of summer time repeats is an interval of its own; one that its begin leaves out is
none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_SECONDS = {"S": 1, "M": 60, "H": 3600}
_NAMES = {"S": "%Y%m%d%H%M%S", "M": "%Y%m%d%H%M", "H": "%Y%m%d%H"}
_DAY_NAME = "%Y%m%d"

_DAY_S = 86400
_CIVIL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - on the wall of any zone


class Schedule(NamedTuple):
    """``unit`` is one of circus.config.values.ROTATIONS."""

    unit: str
    every: int = 1
    is_utc: bool = False

    def start(self, at_s: int) -> int:
        """When the interval of this moment began; seconds since 1970, as everywhere here."""
        return _start(self, at_s)

    def name(self, start_s: int) -> str:
        """What comes behind the name of a file of that interval."""
        return _on_the_wall(self, start_s).strftime(_NAMES.get(self.unit, _DAY_NAME))

    def is_overdue(self, start_s: int, at_s: int) -> bool:
        """Whether the interval after the one of ``start_s`` is over, too."""
        unit_s = _SECONDS.get(self.unit) or (7 * _DAY_S if self.unit.startswith("W") else _DAY_S)
        return at_s - start_s >= 2 * unit_s * self.every


def _on_the_wall(schedule: Schedule, at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, UTC if schedule.is_utc else None)


@functools.lru_cache(maxsize=256)  # neighbouring lines are of one second
def _start(schedule: Schedule, at_s: int) -> int:
    moment = _on_the_wall(schedule, at_s)
    if (unit_s := _SECONDS.get(schedule.unit)) is not None:
        civil = moment.replace(tzinfo=None, fold=0)
        begin = civil - (civil - _CIVIL_EPOCH) % timedelta(seconds=unit_s * schedule.every)
    else:
        # Day 1 was a Monday, with which the week of W6 begins.
        first, length = (int(schedule.unit[1]) + 2, 7) if schedule.unit.startswith("W") else (1, 1)
        day = moment.toordinal()
        begin = datetime.fromordinal(max(1, day - (day - first) % (length * schedule.every)))
    # The fold is that of the moment: the second 02:10 of a night is of the second 02:00.
    return int(begin.replace(tzinfo=moment.tzinfo, fold=moment.fold).timestamp())


def first_of_next(
    times: Sequence[tuple[int, int]],
    start: int,
    end: int,
    *,
    is_line_start: bool,
    is_next: Callable[[int], bool],
    line_end: Callable[[int], int],
) -> int:
    """The offset of the first line from ``start`` on whose time ``is_next``; ``end`` if there is none before it.

    ``times`` are (offset, ns) as for `lines.cut_pieces`: a line has the time of its first byte. ``line_end`` gives the
    offset behind the first newline from an offset on, or ``end``. Not ``is_line_start``: the first line was begun
    before.
    """
    at = start if is_line_start else line_end(start)
    for number, (offset, ns) in enumerate(times):
        stop = times[number + 1][0] if number + 1 < len(times) else end
        if at >= end:
            break
        if stop <= at or not is_next(ns):
            continue
        if offset > at:
            at = line_end(offset - 1)
        if at < stop:
            return at
    return end
