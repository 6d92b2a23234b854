from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from circus.streams import rotate


def test_a_file_without_a_limit_or_without_backups_is_never_rotated() -> None:
    assert rotate.rotates(100, 3)
    assert not rotate.rotates(0, 3)
    assert not rotate.rotates(100, 0)


def test_a_file_stays_below_its_limit() -> None:
    assert rotate.room(90, 100) == 9
    assert rotate.room(99, 100) == 0
    assert rotate.room(500, 100) == 0


def test_backups_are_shifted_up_to_the_first_missing_number() -> None:
    assert rotate.plan_shift(set(), 3) == [(0, 1)]
    assert rotate.plan_shift({1, 2}, 5) == [(2, 3), (1, 2), (0, 1)]
    assert rotate.plan_shift({1, 3, 4}, 5) == [(1, 2), (0, 1)]
    assert rotate.plan_shift({1}, 1) == [(0, 1)]


def test_the_oldest_is_overwritten_when_all_are_there() -> None:
    assert rotate.plan_shift({1, 2, 3}, 3) == [(2, 3), (1, 2), (0, 1)]


@given(st.sets(st.integers(1, 6)), st.integers(1, 6), st.integers(0, 6))
def test_a_shift_that_was_interrupted_and_planned_again_ends_the_same(
    existing: set[int], backup_count: int, done: int
) -> None:
    def apply(names: dict[int, str], moves: list[tuple[int, int]]) -> None:
        for source, target in moves:
            if source in names:
                names[target] = names.pop(source)

    def fresh() -> dict[int, str]:
        return {0: "file", **{number: f"old{number}" for number in existing}}

    at_once, again = fresh(), fresh()
    plan = rotate.plan_shift(existing, backup_count)
    apply(at_once, plan)
    apply(again, plan[: min(done, len(plan) - 1)])
    apply(again, rotate.plan_shift(again.keys() - {0}, backup_count))
    assert again == at_once
    assert 0 not in at_once
    assert at_once[1] == "file"
