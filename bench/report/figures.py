"""What rows say of one thing: medians with their spread, as numbers and as words. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

#: What a row says of one thing; None where it says nothing.
Value = Callable[[Row], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    median: float
    least: float
    most: float
    count: int

    def text(self) -> str:
        """The median, and the spread where there was more than one."""
        if self.count == 1 or number(self.least) == number(self.most):
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)}-{number(self.most)})"


def figure(values: Iterable[float]) -> Figure | None:
    """None of nothing."""
    found = list(values)
    return Figure(statistics.median(found), min(found), max(found), len(found)) if found else None


def number(value: float) -> str:
    """Three digits that count, as nobody measures more; none behind the point that say nothing."""
    if not value:
        return "0"
    for least, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= least:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
    return f"{value:.2g}" if abs(value) >= 0.0001 else f"{value:.0e}"


def key(name: str, scale: float = 1) -> Value:
    """What stands in a row under ``name``, times ``scale``."""

    def value(row: Row) -> float | None:
        return row[name] * scale if isinstance(row.get(name), int | float) else None

    return value


def per(name: str, other: str, scale: float = 1) -> Value:
    """What stands under ``name``, divided by what stands under ``other``; nothing without that."""

    def value(row: Row) -> float | None:
        if row.get(other) and row.get(name) is not None:
            return float(row[name]) / float(row[other]) * scale
        return None

    return value


def of_whole(value: Value) -> Value:
    """The same of rows that have lost nothing: who drops what costs time saves time."""
    return lambda row: None if row.get("lost") else value(row)


def stem(step: str) -> str:
    """What a step measures, without its size."""
    return step.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Question:
    """``steps`` by their stem, ``value`` of their rows, of those that match ``where``."""

    steps: tuple[str, ...]
    value: Value
    where: tuple[tuple[str, object], ...] = ()

    def rows(self, rows: Iterable[Row]) -> list[Row]:
        return [
            row
            for row in rows
            if stem(row["step"]) in self.steps and all(row.get(name) == wanted for name, wanted in self.where)
        ]

    def answer(self, rows: Iterable[Row], peer: str) -> Figure | None:
        values = (self.value(row) for row in self.rows(rows) if row["peer"] == peer)
        return figure(value for value in values if value is not None)


def peers_of(rows: Iterable[Row]) -> list[str]:
    """In the order in which they were measured."""
    return list(dict.fromkeys(row["peer"] for row in rows))


def sizes_of(rows: Iterable[Row], steps: tuple[str, ...]) -> list[int]:
    """With how many processes was measured, ascending."""
    return sorted({row["children"] for row in rows if stem(row["step"]) in steps and "children" in row})


def left_out(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Reason -> the peers for which it was given, and what they were left out of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for word in ("skipped", "failed"):
            if word in row:
                what = f"{row['peer']} ({row['what']})" if "what" in row else row["peer"]
                reason = row[word] if word == "skipped" else f"failed: {row[word]}"
                peers = found.setdefault(reason, [])
                if what not in peers:
                    peers.append(what)
    return found
