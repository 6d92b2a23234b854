"""What each order may cost: the file of budgets, and what is said of counts that are not as it has them. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

#: Of a new line, in percent: repeated counts on a busy machine lie within half of it.
PERCENT = 10

#: A few calls are no matter of percent.
LEAST = 2

#: Another build of the same Python differs by more in a loop that has nothing to do with us.
BUILD_PERCENT = 2

UNITS = ("system calls", "instructions", "wake-ups")

HEAD = """\
# What an order may cost both daemons, by the version of Python: a test fails above `count` + `percent`.
# Where a change is meant to cost more, or costs less: make counts COUNTS_ARGS=--renew, and say why in the commit.
"""

HOW = "look with make counts; where it is meant: make counts COUNTS_ARGS=--renew"

#: unit -> name -> count
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Allowed:
    count: int
    percent: int = PERCENT

    @property
    def most(self) -> int:
        """Nothing is added to 0: who does nothing does nothing."""
        return self.count + max(self.count * self.percent // 100, LEAST if self.count else 0)

    @property
    def least(self) -> int:
        return self.count - (self.most - self.count)


#: unit -> name -> what is allowed
Budgets = dict[str, dict[str, Allowed]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``line`` is for people; ``is_over`` fails, ``is_under`` shall be renewed."""

    unit: str
    name: str
    is_over: bool
    is_under: bool
    line: str


def parse(text: str, python: str) -> Budgets:
    """Those of that version, such as "3.11"; none, when there are none.

    Raises: ValueError, KeyError for what is no file of budgets.
    """
    units = tomllib.loads(text).get(python, {})
    return {unit: {name: Allowed(**row) for name, row in rows.items()} for unit, rows in units.items()}


def render(budgets: dict[str, Budgets]) -> str:
    """The file of budgets of each version."""
    lines = [HEAD]
    for python, units in budgets.items():
        for unit, rows in units.items():
            lines.append(f'["{python}"."{unit}"]\n')
            lines += [f'"{name}" = {{ count = {row.count}, percent = {row.percent} }}\n' for name, row in rows.items()]
            lines.append("\n")
    return "".join(lines).rstrip("\n") + "\n"


def renewed(budgets: Budgets, counts: Counts) -> Budgets:
    """What was counted; of what was not, the old."""
    new = {
        unit: {name: Allowed(count, _percent(budgets, unit, name)) for name, count in rows.items()}
        for unit, rows in counts.items()
    }
    return {unit: new.get(unit) or budgets[unit] for unit in UNITS if unit in new or unit in budgets}


def _percent(budgets: Budgets, unit: str, name: str) -> int:
    row = budgets.get(unit, {}).get(name)
    return PERCENT if row is None else row.percent


def judge(budgets: Budgets, counts: Counts) -> Iterator[Verdict]:
    """Of each count; of one without a budget, too, and of a budget of a unit that was counted and has no count."""
    for unit, rows in counts.items():
        allowed = budgets.get(unit, {})
        for name, count in rows.items():
            if (row := allowed.get(name)) is None:
                yield Verdict(
                    unit, name, True, False, f"{name}: {count:,} {unit}, and there is no budget for it; {HOW}"
                )
                continue
            line = f"{name}: {count:,} {unit}, budget {row.count:,} (at most {row.most:,})"
            if count > row.most:
                more = f"{100 * (count - row.count) / row.count:.0f} % more" if row.count else "more than none"
                yield Verdict(unit, name, True, False, f"{line}: {more}; {HOW}")
            elif count < row.least:
                less = f"{100 * (row.count - count) / row.count:.0f} % less"
                yield Verdict(unit, name, False, True, f"{line}: {less}, tighten it: make counts COUNTS_ARGS=--renew")
            else:
                yield Verdict(unit, name, False, False, line)
        for name in allowed.keys() - rows.keys():
            yield Verdict(unit, name, True, False, f"{name}: has a budget of {unit}, and was not counted; {HOW}")


def is_another_build(budgets: Budgets, counts: Counts, name: str) -> bool:
    """Whether the interpreter takes other instructions for its own loop, ``name``, than the one of the budgets."""
    was, now = budgets["instructions"][name].count, counts["instructions"][name]
    return abs(now - was) * 100 > was * BUILD_PERCENT


def table(budgets: Budgets) -> str:
    """As Markdown: a row for each name, a column for each unit."""
    names = list(dict.fromkeys(name for rows in budgets.values() for name in rows))
    lines = ["| | system calls | instructions | wake-ups |", "|---|---:|---:|---:|"]
    for name in names:
        cells = [f"{row.count:,}" if (row := budgets.get(unit, {}).get(name)) else "" for unit in UNITS]
        lines.append(f"| {name} | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines) + "\n"
