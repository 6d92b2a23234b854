from __future__ import annotations

import pytest

from circus.bus import Event
from circus.engine import tallies
from circus.engine.history import Exit
from circus.engine.tallies import Histogram, Reason, Tallies
from circus.supervise.states import SlotKey


def ended(status: int | None, *, watcher: str = "web", is_ordered: bool | None = False) -> Exit:
    return Exit(at=2.0, watcher=watcher, wid=1, pid=7, started_at=1.0, status=status, is_ordered=is_ordered)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (ended(0), Reason("exit", "0", "false")),
        (ended(3, is_ordered=True), Reason("exit", "3", "true")),
        (ended(-15, is_ordered=True), Reason("signal", "SIGTERM", "true")),
        (ended(-9, is_ordered=None), Reason("signal", "SIGKILL", "away")),
        (ended(None), Reason("unknown", "", "false")),
    ],
)
def test_an_end_has_a_reason_in_three_words(end: Exit, reason: Reason) -> None:
    assert tallies.reason_of(end) == reason


def test_what_happens_is_counted_for_watchers_that_are_configured_until_they_are_forgotten() -> None:
    known = {"web"}
    counted = Tallies(known)
    for _ in range(3):
        counted.came(SlotKey("web", 1))
        counted.ended(ended(1))
        counted.published(Event(1.0, "web", "reap"))
    counted.came(SlotKey("gone", 1))
    counted.ended(ended(1, watcher="gone"))
    counted.published(Event(1.0, "gone", "reap"))
    counted.published(Event(1.0, "", "file_changed"))
    assert counted.lives == {"web": {1: 3}}
    assert counted.exits == {"web": {Reason("exit", "1", "false"): 3}}
    assert counted.events == {"web": {"reap": 3}, "": {"file_changed": 1}}
    counted.forget("web")
    assert (counted.lives, counted.exits, counted.events) == ({}, {}, {"": {"file_changed": 1}})


def test_a_program_that_ends_in_any_way_it_likes_has_a_bounded_number_of_reasons() -> None:
    counted = Tallies({"web"})
    for status in range(256):
        counted.ended(ended(status))
    reasons = counted.exits["web"]
    assert len(reasons) == tallies.MAX_REASONS + 1
    assert reasons[Reason("exit", "other", "false")] == 256 - tallies.MAX_REASONS
    assert sum(reasons.values()) == 256


def test_a_histogram_has_a_value_on_a_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.note(value)
    copied = histogram.copy()
    histogram.note(0.0)
    assert (copied.counts, copied.sum) == ([2, 2, 1], 104.0)
