"""What each order costs both daemons, in system calls, instructions and wake-ups: no more than its budget."""

from __future__ import annotations

import warnings

import pytest

from tests.counts import budget, measure, pages

#: One count that is too high may be chance; a change of the program is there each time.
ATTEMPTS = 3


def judged(kind: str) -> dict[tuple[str, str], budget.Verdict]:
    budgets = pages.budgets(pages.python())
    if not budgets:
        pytest.skip(f"no budgets for Python {pages.python()}: make counts COUNTS_ARGS=--renew")
    best: dict[tuple[str, str], budget.Verdict] = {}
    for _ in range(ATTEMPTS):
        counts = measure.measured(kind)
        if kind == "instructions" and budget.is_another_build(budgets, counts, measure.INTERPRETER):
            warnings.warn(
                "this Python is built otherwise than that of the budgets: instructions are not compared", stacklevel=2
            )
            return {}
        for verdict in budget.judge(budgets, counts):
            key = (verdict.unit, verdict.name)
            if key not in best or best[key].is_over:
                best[key] = verdict
        if not any(verdict.is_over for verdict in best.values()):
            break
    return best


def check(kind: str) -> None:
    verdicts = judged(kind).values()
    for verdict in verdicts:
        if verdict.is_under:
            warnings.warn(verdict.line, stacklevel=2)
    over = [verdict.line for verdict in verdicts if verdict.is_over]
    assert not over, "\n" + "\n".join(over)


@pytest.mark.needs("strace", "unshare")
@pytest.mark.timeout(measure.BOUND_S * ATTEMPTS)
def test_no_order_takes_more_system_calls_than_its_budget_and_rest_is_rest() -> None:
    check("calls")


@pytest.mark.needs("valgrind", "unshare")
@pytest.mark.timeout(measure.BOUND_S * ATTEMPTS)
def test_no_order_takes_more_instructions_than_its_budget() -> None:
    check("instructions")


def test_the_page_says_what_the_budgets_are() -> None:
    page = pages.PAGE.read_text()
    assert pages.filled(page) == page, "make counts COUNTS_ARGS=--renew"
