"""Schedules: expressions, time zones, and the days on which clocks are changed."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from circus.config import cron

BERLIN = ZoneInfo("Europe/Berlin")


def instants(expression: str, begin: str, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """In UTC, from ``begin``."""
    find, found = cron.next_after(cron.parse_cron(expression), zone), []
    at: float | None = datetime.fromisoformat(begin).timestamp()
    for _ in range(count):
        assert at is not None
        at = find(at)
        assert at is not None
        found.append(datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M:%S"))
    return found


def test_five_fields_are_minutes_and_six_begin_with_seconds() -> None:
    assert instants("*/20 * * * *", "2026-01-01T00:05Z", 2) == ["01-01 00:20:00", "01-01 00:40:00"]
    assert instants("*/30 * * * * *", "2026-01-01T00:00:01Z", 2) == ["01-01 00:00:30", "01-01 00:01:00"]


def test_names_for_usual_schedules_are_understood_in_any_case() -> None:
    assert instants("@Hourly", "2026-01-01T00:05Z", 1) == ["01-01 01:00:00"]
    assert cron.parse_cron(" @weekly ") == "0 0 * * 0"


def test_a_time_that_is_skipped_in_spring_comes_once_right_after() -> None:
    assert instants("30 2 * * *", "2026-03-28T12:00Z", 2) == ["03-29 01:00:00", "03-30 00:30:00"]


def test_a_time_that_comes_twice_in_autumn_counts_the_first_time() -> None:
    assert instants("30 2 * * *", "2026-10-24T12:00Z", 2) == ["10-25 00:30:00", "10-26 01:30:00"]


def test_what_runs_each_hour_goes_on_over_both_changes() -> None:
    assert instants("15 * * * *", "2026-10-25T00:00Z", 3) == ["10-25 00:15:00", "10-25 01:15:00", "10-25 02:15:00"]
    assert instants("15 * * * *", "2026-03-29T00:00Z", 2) == ["03-29 00:15:00", "03-29 01:15:00"]


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/7 2,3 * * *", "0,30 2 * * *", "15 * * * *", "0 30 2 * * *"])
@pytest.mark.parametrize("day", ["2026-03-28T20:00Z", "2026-10-24T20:00Z"])
def test_each_instant_is_later_than_the_one_before_also_when_clocks_change(expression: str, day: str) -> None:
    find = cron.next_after(cron.parse_cron(expression), BERLIN)
    start = datetime.fromisoformat(day).timestamp()
    asked = [start + 60.0 * minute for minute in range(0, 1440, 5)]
    answered = [find(at) for at in asked]
    assert all(answer is not None and answer > at for at, answer in zip(asked, answered, strict=True))
    assert all(one <= other for one, other in pairwise(answered))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no schedule"),
        ("* * * *", "wrong number of fields"),
        ("61 * * * *", "bad minute"),
        ("@fortnightly", "is no schedule"),
        ("@reboot", "type = oneshot"),
        ("0 0 31 2 *", "day-of-month"),
        ("* * * * * * *", "wrong number of fields"),
        ("*" * 2000, "is no schedule"),
    ],
)
def test_what_is_no_schedule_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="; write") as caught:
        cron.parse_cron(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        cron.parse_timezone(text)


def test_the_zone_of_the_host_is_that_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert str(cron.zone_of(None)) == "America/New_York"
    monkeypatch.setenv("TZ", "No/Where")
    assert cron.zone_of(None) is UTC


def test_the_zone_of_the_host_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = next(found for each in zoneinfo.TZPATH if (found := Path(each, "Asia/Tokyo")).exists())
    monkeypatch.setenv("TZ", f":{file}")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert cron.zone_of(None).utcoffset(moment).total_seconds() == 9 * 3600  # type: ignore[union-attr]
    monkeypatch.setenv("TZ", f":{tmp_path / 'none'}")
    assert cron.zone_of(None) is UTC
