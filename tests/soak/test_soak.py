"""A short soak in every test run: books and descriptors. Whether memory grows takes longer to see: `make soak`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from tests.soak import books, course, report, slopes
from tests.soak.orders import ROUGH
from tests.soak.samples import DAEMONS, Held, Sample

#: Far above what pools and histories take when they fill up; a leak with each event or line would be more.
MOST_OWN_KB = 64 * 1024


@pytest.mark.timeout(300)
def test_after_restarts_kills_and_upgrades_under_traffic_all_is_accounted_for_and_nothing_is_held(
    tmp_path: Path,
) -> None:
    outcome = course.run(tmp_path / "house", seed=1, restarts=30, minutes=0.25, rough_each=1)
    assert outcome.faults == [], report.table(outcome)
    counts = outcome.counts
    assert all(counts[step] for step in ROUGH)
    assert counts["lives that began"] > 0 and counts["lines written"] > 0 and counts["visitors"] > 0
    for daemon in DAEMONS:
        first, last = (rested[daemon] for rested in outcome.rested)
        assert last.own_kb - first.own_kb < MOST_OWN_KB, report.table(outcome)


def sampled(own_kb: list[float]) -> course.Outcome:
    held = [Held(rss_kb=0, pss_kb=0, own_kb=round(kb), fds=9, threads=2) for kb in own_kb]
    samples = [
        Sample(at_s=n, restarts=10 * n, daemons=dict.fromkeys(DAEMONS, each), journal_kb=0, kernel_files=0, state_kb=0,
               index_kb=0, vault=0)
        for n, each in enumerate(held)
    ]  # fmt: skip
    return course.Outcome(samples=samples, rested=[samples[0].daemons, samples[-1].daemons])


def test_memory_that_grows_with_each_restart_is_named_and_one_that_goes_up_and_down_is_not() -> None:
    grows = report.grows(sampled([20_000 + 5 * n for n in range(200)]))
    assert grows == [f"{daemon} own_kb" for daemon in DAEMONS]
    assert "grows" in report.table(sampled([20_000 + 5 * n for n in range(200)]))
    assert report.grows(sampled([20_000 + 300 * (n % 7) for n in range(200)])) == []


def test_a_line_is_found_with_its_error() -> None:
    exact = slopes.fit(range(100), [3 * x + 1 for x in range(100)])
    assert math.isclose(exact.slope, 3) and exact.error < 1e-9
    noisy = slopes.fit(range(100), [x * 0.01 + (-1) ** x for x in range(100)])
    assert abs(noisy.slope - 0.01) < slopes.SURE * noisy.error


def test_too_few_samples_have_no_slope() -> None:
    for xs in ([], [1], [1, 2], [5] * 50):
        slope = slopes.fit(xs, [0.0] * len(xs))
        assert not slope.is_known and slope.is_flat(0)
    assert "too short to tell" in report.table(sampled([1.0, 2.0]))


def end(pid: int, started_at: float, status: int | None = 0) -> dict[str, object]:
    return {"pid": pid, "started_at": started_at, "status": status}


def test_an_end_that_is_missing_is_named_and_one_that_is_told_again_counts_once() -> None:
    begun = Counter({("web", 7): 2, ("web", 8): 1})
    exits = books.Exits()
    exits.note("web", [end(7, 1.0)])
    exits.note("web", [end(7, 1.0)])
    assert books.check_ends(begun, exits, {("web", 8)}) == [
        "web: pid 7 began 2 times, 1 ends are noted, it lives: False"
    ]
    exits.note("web", [end(7, 2.0)])
    assert books.check_ends(begun, exits, {("web", 8)}) == []
    begun["web", 10] = 1
    exits.note("web", [end(0, 4.0, None)])  # of which a killed kernel had not noted the pid
    assert books.check_ends(begun, exits, {("web", 8)}) == []
    exits.note("web", [end(9, 3.0, None)])
    assert books.check_ends(begun, exits, {("web", 8)}) == ["web: nobody knows how pid 9 has ended"]


def test_a_gap_between_events_is_named_unless_another_circusd_came() -> None:
    events = books.Events()
    events.note([{"id": "1-1", "topic": "a"}, {"id": "1-2", "topic": "b"}])
    events.note([{"id": "2-0", "missed": None}, {"id": "2-1", "topic": "c"}])
    assert events.faults == [] and events.heard == 3
    events.note([{"id": "2-3", "topic": "d"}, {"id": "2-9", "missed": 5}])
    assert len(events.faults) == 2


def test_a_line_that_is_not_in_its_log_is_named(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "web-1.99.7").write_bytes((2).to_bytes(8, "little"))
    (truth / "web-1-child.98.8").write_bytes((1).to_bytes(8, "little"))
    assert books.lives(truth) == Counter({("web", 7): 1})
    log = tmp_path / "web.log"
    log.write_text("web-1.99 7 1\nweb-1-child.98 8 1\nweb-1.99 7 2\n")
    assert books.check_lines(truth, tmp_path) == (3, [])
    log.write_text("web-1.99 7 1\nweb-1-child.98 8 1\n")
    assert len(books.check_lines(truth, tmp_path)[1]) == 1
