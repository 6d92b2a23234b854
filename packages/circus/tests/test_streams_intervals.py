from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.config.values import ROTATIONS
from circus.streams import intervals
from circus.streams.intervals import Schedule

#: Summer time in the north, of half an hour in the south, none; east and west.
ZONES = ("CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "LHST-10:30LHDT-11,M10.1.0,M4.1.0", "IST-5:30", "UTC0")

SPRING, AUTUMN = 1774746000, 1792890000  # 2026: 01:00 UTC of the nights in which the clocks of Europe change
MOMENTS = st.one_of(
    st.integers(0, 2**31), *(st.integers(at - 200_000, at + 200_000) for at in (SPRING, AUTUMN, 1775318400, 1793511000))
)
SCHEDULES = st.builds(Schedule, st.sampled_from(ROTATIONS), st.integers(1, 9), st.booleans())


@contextlib.contextmanager
def host_in(zone: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = zone
        time.tzset()
        intervals._start.cache_clear()
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
        intervals._start.cache_clear()


def model_label(schedule: Schedule, at_s: int) -> object:
    """Moments are of one interval if and only if they lie side by side and have the same label."""
    moment = datetime.fromtimestamp(at_s, UTC if schedule.is_utc else None)
    if schedule.unit == "S":
        return at_s
    if schedule.unit == "M":
        return moment.strftime("%F %H:%M"), moment.fold
    if schedule.unit == "H":
        return moment.strftime("%F %H"), moment.fold
    if schedule.unit in ("D", "MIDNIGHT"):
        return moment.strftime("%F")
    days = (moment.weekday() - int(schedule.unit[1]) - 1) % 7
    return moment.toordinal() - days


@given(zone=st.sampled_from(ZONES), schedule=SCHEDULES, at_s=MOMENTS)
@settings(max_examples=400, deadline=None)
def test_an_interval_is_what_the_calendar_says(zone: str, schedule: Schedule, at_s: int) -> None:
    schedule = schedule._replace(every=1)
    if zone.startswith("LHST") and schedule.unit == "H":
        return  # where half an hour comes twice an hour is cut in two
    with host_in(zone):
        start = schedule.start(at_s)
        assert start <= at_s
        assert model_label(schedule, start) == model_label(schedule, at_s)
        assert model_label(schedule, start - 1) != model_label(schedule, at_s)


@given(zone=st.sampled_from(ZONES), schedule=SCHEDULES, at_s=MOMENTS, later=st.integers(0, 40_000_000))
@settings(max_examples=400, deadline=None)
def test_intervals_follow_each_other(zone: str, schedule: Schedule, at_s: int, later: int) -> None:
    unit_s = {"S": 1, "M": 60, "H": 3600}.get(schedule.unit, 7 * 86400 if schedule.unit[0] == "W" else 86400)
    with host_in(zone):
        start = schedule.start(at_s)
        assert schedule.start(start) == start <= at_s
        assert at_s - start < unit_s * schedule.every + 3600  # the hour that comes twice
        if schedule.unit not in "SMH" or (3600 % (unit_s * schedule.every) == 0 and not zone.startswith("LHST")):
            assert schedule.start(at_s + later) >= start  # others may step back within a night that changes the clocks


@pytest.mark.parametrize(
    ("unit", "every", "start", "name"),
    [
        ("S", 1, "2026-11-22 13:05:59", "20261122130559"),
        ("S", 10, "2026-11-22 13:05:50", "20261122130550"),
        ("M", 1, "2026-11-22 13:05:00", "202611221305"),
        ("M", 15, "2026-11-22 13:00:00", "202611221300"),
        ("H", 1, "2026-11-22 13:00:00", "2026112213"),
        ("H", 6, "2026-11-22 12:00:00", "2026112212"),
        ("D", 1, "2026-11-22 00:00:00", "20261122"),
        ("MIDNIGHT", 1, "2026-11-22 00:00:00", "20261122"),
        ("W6", 1, "2026-11-16 00:00:00", "20261116"),
        ("W5", 1, "2026-11-22 00:00:00", "20261122"),
        ("W0", 1, "2026-11-17 00:00:00", "20261117"),
    ],
)
def test_a_backup_is_named_after_the_beginning_of_its_interval(unit: str, every: int, start: str, name: str) -> None:
    at_s = int(datetime(2026, 11, 22, 13, 5, 59, tzinfo=UTC).timestamp())  # a Sunday
    schedule = Schedule(unit, every, is_utc=True)
    begin = schedule.start(at_s)
    assert datetime.fromtimestamp(begin, UTC).strftime("%Y-%m-%d %H:%M:%S") == start
    assert schedule.name(begin) == name


def test_the_hour_that_comes_twice_is_two_intervals_of_one_name() -> None:
    with host_in(ZONES[0]):
        hour, day = Schedule("H"), Schedule("D")
        first, second = hour.start(AUTUMN - 1800), hour.start(AUTUMN + 1800)
        assert (first, second) == (AUTUMN - 3600, AUTUMN)
        assert hour.name(first) == hour.name(second) == "2026102502"
        assert day.start(AUTUMN - 1800) == day.start(AUTUMN + 1800) == day.start(AUTUMN + 18 * 3600)


# Where the next one begins ----------------------------------------------------------------------------------

lines_of_text = st.lists(st.sampled_from([b"\n", b"x\n", b"line\n", b"begun", b"long line\n"]), min_size=1, max_size=9)


@given(
    data=lines_of_text.map(b"".join),
    edges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=6),
    first=st.integers(0, 3),
    current=st.integers(0, 3),
    is_line_start=st.booleans(),
)
def test_the_first_line_of_the_next_interval_is_found_by_its_first_byte(
    data: bytes, edges: list[tuple[int, int]], first: int, current: int, is_line_start: bool
) -> None:
    base = 1000
    times = [(base, first), *((base + at, ns) for at, ns in sorted(dict(edges).items()) if 0 < at < len(data))]

    def model() -> int:
        for at in range(len(data)):
            begins = data[at - 1 : at] == b"\n" if at else is_line_start
            if begins and [ns for offset, ns in times if offset <= base + at][-1] > current:
                return base + at
        return base + len(data)

    def line_end(offset: int) -> int:
        newline = data.find(b"\n", offset - base)
        return base + (newline + 1 or len(data))

    found = intervals.first_of_next(
        times,
        base,
        base + len(data),
        is_line_start=is_line_start,
        is_next=lambda ns: ns > current,
        line_end=line_end,
    )
    assert found == model()
