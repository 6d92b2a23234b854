from __future__ import annotations

from circus.control.limits import Buckets


def test_a_bucket_has_so_many_drops_and_they_come_back() -> None:
    buckets = Buckets(rate_s=2.0, size=3, places=10)
    assert [buckets.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", 100.0) == 0
    assert buckets.take("a", 100.25) == 0.25
    assert buckets.take("a", 100.5) == 0
    assert buckets.take("a", 100.5) == 0.5
    assert [buckets.take("a", 500.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(rate_s=1.0, size=1, places=10)
    assert [buckets.take("a", now) for now in (100.0, 50.0, 50.5)] == [0, 1.0, 0.5]


def test_names_that_were_quiet_for_the_longest_time_are_forgotten() -> None:
    buckets = Buckets(rate_s=0.001, size=1, places=2)
    assert [buckets.take(name, 1.0) for name in "abac"][:2] == [0, 0]
    assert len(buckets) == 2
    assert buckets.take("a", 1.0) > 0  # it was heard of after b
    assert buckets.take("b", 1.0) == 0
