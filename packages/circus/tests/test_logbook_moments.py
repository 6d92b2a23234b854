from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from circus.errors import CircusError
from circus.logbook import cursors, moments

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 11, 22, 13, 30, 5, 250_000, ZONE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("10m", NOW - timedelta(minutes=10)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("today", datetime(2026, 11, 22, tzinfo=ZONE)),
        ("yesterday", datetime(2026, 11, 21, tzinfo=ZONE)),
        ("9:05", datetime(2026, 11, 22, 9, 5, tzinfo=ZONE)),
        ("09:05:07", datetime(2026, 11, 22, 9, 5, 7, tzinfo=ZONE)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=ZONE)),
        ("2026-11-20 10:00", datetime(2026, 11, 20, 10, tzinfo=ZONE)),
        ("2026-11-20T10:00:01.5Z", datetime(2026, 11, 20, 10, 0, 1, 500_000, UTC)),
        ("2026-11-20t10:00:01+05:30", datetime(2026, 11, 20, 4, 30, 1, 0, UTC)),
    ],
)
def test_times_as_people_write_them(text: str, expected: datetime) -> None:
    assert moments.parse(text, NOW) == int(expected.timestamp() * 1_000_000) * 1000


@pytest.mark.parametrize("text", ["", "soon", "10", "5 parrots", "25:00", "2026-13-01", "m"])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(CircusError, match="is no time") as caught:
        moments.parse(text, NOW)
    assert caught.value.code == "usage"


def test_times_are_shown_in_utc_with_microseconds() -> None:
    at_ns = moments.parse("2026-11-20T10:00:01.000005Z", NOW)
    assert moments.text(at_ns) == "2026-11-20T10:00:01.000005Z"
    assert moments.text(2**80) == str(2**80)


def test_a_cursor_is_what_it_was_made_of() -> None:
    positions = {"ab": 5, "cd": -7}
    assert cursors.decode(cursors.encode(positions)) == positions


@pytest.mark.parametrize("text", ["", "x", "WzIse31d", "é", "bnVsbA", "WzEsWzFdXQ"])
def test_what_is_no_cursor_is_a_usage_error(text: str) -> None:
    with pytest.raises(CircusError, match="is no cursor"):
        cursors.decode(text)
