from __future__ import annotations

import pytest

from tests.counts import budget
from tests.counts.budget import Allowed

BUDGETS = {
    "system calls": {"spawn: papa": Allowed(100), "status: circusd": Allowed(10, 5)},
    "wake-ups": {"idle: papa": Allowed(0)},
}


def judged(**counts: int) -> list[budget.Verdict]:
    rows = {"spawn: papa": 100, "status: circusd": 10, **{name.replace("_", ": "): n for name, n in counts.items()}}
    return list(budget.judge(BUDGETS, {"system calls": rows}))


def over(verdicts: list[budget.Verdict]) -> list[str]:
    return [verdict.line for verdict in verdicts if verdict.is_over]


def under(verdicts: list[budget.Verdict]) -> list[str]:
    return [verdict.line for verdict in verdicts if verdict.is_under]


def test_what_is_within_its_bounds_is_neither_over_nor_under() -> None:
    for count in (90, 100, 110):
        assert not over(judged(spawn_papa=count)) and not under(judged(spawn_papa=count))


def test_one_above_says_what_how_much_and_how_to_look_and_renew() -> None:
    assert over(judged(spawn_papa=111)) == [
        "spawn: papa: 111 system calls, budget 100 (at most 110): 11 % more; look with make counts; "
        "where it is meant: make counts COUNTS_ARGS=--renew"
    ]


def test_what_has_become_better_asks_to_be_tightened_and_fails_nobody() -> None:
    verdicts = judged(spawn_papa=89)
    assert not over(verdicts)
    assert under(verdicts) == [
        "spawn: papa: 89 system calls, budget 100 (at most 110): 11 % less, tighten it: make counts COUNTS_ARGS=--renew"
    ]


def test_two_calls_are_no_matter_of_percent() -> None:
    assert not over(judged(status_circusd=12))
    assert over(judged(status_circusd=13))


def test_who_shall_do_nothing_may_do_nothing() -> None:
    (verdict,) = budget.judge(BUDGETS, {"wake-ups": {"idle: papa": 1}})
    assert verdict.is_over and "more than none" in verdict.line
    (verdict,) = budget.judge(BUDGETS, {"wake-ups": {"idle: papa": 0}})
    assert not verdict.is_over and not verdict.is_under


def test_a_count_without_budget_and_a_budget_without_count_are_told() -> None:
    assert len(over(judged(drop_papa=1))) == 1
    assert "drop: papa: 1 system calls, and there is no budget for it" in over(judged(drop_papa=1))[0]
    lines = over(list(budget.judge(BUDGETS, {"system calls": {"spawn: papa": 100}})))
    assert len(lines) == 1 and "status: circusd: has a budget of system calls, and was not counted" in lines[0]


def test_a_file_of_budgets_is_read_as_it_was_written() -> None:
    text = budget.render({"3.11": BUDGETS, "3.12": {"wake-ups": {"idle: papa": Allowed(3)}}})
    assert budget.parse(text, "3.11") == BUDGETS
    assert budget.parse(text, "3.12") == {"wake-ups": {"idle: papa": Allowed(3)}}
    assert budget.parse(text, "3.13") == {}


def test_what_is_renewed_keeps_its_percent_and_what_was_not_counted() -> None:
    counts = {"system calls": {"status: circusd": 8, "new: papa": 4}}
    assert budget.renewed(BUDGETS, counts) == {
        "system calls": {"status: circusd": Allowed(8, 5), "new: papa": Allowed(4, budget.PERCENT)},
        "wake-ups": BUDGETS["wake-ups"],
    }


@pytest.mark.parametrize(("now", "is_another"), [(1000, False), (1020, False), (1021, True), (979, True)])
def test_another_build_of_the_interpreter_is_known_by_its_own_loop(now: int, is_another: bool) -> None:
    budgets = {"instructions": {"loop": Allowed(1000)}}
    assert budget.is_another_build(budgets, {"instructions": {"loop": now}}, "loop") is is_another


def test_the_table_has_a_row_for_each_name_and_no_cell_of_what_is_not_counted() -> None:
    assert budget.table(BUDGETS) == (
        "| | system calls | instructions | wake-ups |\n|---|---:|---:|---:|\n"
        "| spawn: papa | 100 | | |\n| status: circusd | 10 | | |\n| idle: papa | | | 0 |\n"
    )
