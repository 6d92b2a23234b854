"""What a soak found, as a table for people and as rows for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tests.soak import slopes
from tests.soak.course import Outcome
from tests.soak.samples import DAEMONS, Sample

#: Of what a daemon holds: name, unit, and how much may be added in a thousand restarts. Descriptors follow the
#: number of processes, which is ordered up and down: they are compared at the rests.
OF_DAEMONS = (
    ("rss_kb", "KB", math.inf),
    ("pss_kb", "KB", math.inf),
    ("own_kb", "KB", slopes.FLAT_KB),
    ("fds", "", math.inf),
    ("threads", "", math.inf),
)
#: Of directories; what has a bound of its own is told, and grows until it is there.
OF_FOLDERS = (
    ("journal_kb", "KB", math.inf),
    ("kernel_files", "", math.inf),
    ("vault", "", math.inf),
    ("state_kb", "KB", math.inf),
    ("index_kb", "KB", math.inf),
)

#: A restart each second, as in a house that is never at rest.
RESTARTS_OF_AN_HOUR = 3600


def rows(outcome: Outcome) -> Iterator[dict[str, object]]:
    """One for each that was sampled: first and last value, slope for 1000 restarts and for an hour, verdict."""
    for daemon in DAEMONS:
        for name, unit, bound in OF_DAEMONS:
            yield _row(
                outcome, daemon, name, unit, bound, lambda each, d=daemon, n=name: float(getattr(each.daemons[d], n))
            )
    for name, unit, bound in OF_FOLDERS:
        yield _row(outcome, "directories", name, unit, bound, lambda each, n=name: float(getattr(each, n)))


def _row(
    outcome: Outcome, whose: str, name: str, unit: str, bound: float, value: Callable[[Sample], float]
) -> dict[str, object]:
    steady = [each for each in outcome.samples if each.restarts >= outcome.steady_at]
    values = [value(each) for each in steady]
    by_restarts = slopes.fit([each.restarts / 1000 for each in steady], values)
    by_hours = slopes.fit([each.at_s / 3600 for each in steady], values)
    verdict = "told" if bound == math.inf else "flat" if by_restarts.is_flat(bound) else "grows"
    return {
        "of": whose,
        "what": name,
        "unit": unit,
        "samples": len(values),
        "first": values[0] if values else None,
        "last": values[-1] if values else None,
        "most": max(values, default=None),
        "per_1000_restarts": _told(by_restarts.slope, by_restarts),
        "error": _told(by_restarts.error, by_restarts),
        "per_hour": _told(by_hours.slope, by_hours),
        "verdict": verdict if by_restarts.is_known else "too short to tell",
    }


def _told(value: float, slope: slopes.Slope) -> float | None:
    return round(value, 2) if slope.is_known else None


def table(outcome: Outcome) -> str:
    counts = outcome.counts
    replaced = counts["processes replaced"]
    lines = [
        f"{replaced} restarts in {outcome.took_s / 60:.1f} minutes: {replaced / RESTARTS_OF_AN_HOUR:.2f} hours with one"
        f" each second; slopes from restart {outcome.steady_at} on",
        "",
        "| of | what | first | last | most | for 1000 restarts | an hour here | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(outcome):
        slope = "" if row["error"] is None else f"{row['per_1000_restarts']} ± {row['error']}"
        shown = (_number(row[key]) for key in ("first", "last", "most"))
        hour = "" if row["per_hour"] is None else row["per_hour"]
        lines.append(f"| {row['of']} | {row['what']} | {' | '.join(shown)} | {slope} | {hour} | {row['verdict']} |")
    lines += ["", "at rest, before and after the steady part:"]
    for daemon in DAEMONS:
        first, last = (rested[daemon] for rested in (outcome.rested[0], outcome.rested[-1]))
        lines.append(
            f"  {daemon}: own memory {first.own_kb} -> {last.own_kb} KB, descriptors {first.fds} -> {last.fds},"
            f" threads {first.threads} -> {last.threads}"
        )
    lines += ["", *(f"  {name}: {count}" for name, count in sorted(counts.items())), ""]
    lines += [f"FAULT {fault}" for fault in outcome.faults] or ["everything accounted for"]
    return "\n".join(lines)


def grows(outcome: Outcome) -> list[str]:
    return [f"{row['of']} {row['what']}" for row in rows(outcome) if row["verdict"] == "grows"]


def _number(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else "-"
