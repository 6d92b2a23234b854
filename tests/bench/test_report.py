"""The report of the benchmarks: what rows say, in words; and that the page that is kept is what its rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.report import figures, page, tables
from bench.report.figures import Figure, Question, key, per
from bench.report.tables import Claim, Column

from tests.house import ROOT

PUBLISHED = ROOT / "docs/benchmarks"

HEAD = {
    "plan": "full",
    "began_at": "2026-11-23T01:00+00:00",
    "machine": {
        "processor": "a processor",
        "cores": 2,
        "memory_gib": 4.0,
        "system": "a system",
        "kernel": "6.1",
        "python": "3.11.7",
        "logs_on": "ext4",
        "papa_state_on": "tmpfs",
    },
    "peers": {
        "circus": {"version": "1.0", "configuration": {"circus.ini": "[watcher:w000]\n"}},
        "s6": {"skipped": "no apt-get"},
    },
}


def row(step: str, peer: str, repetition: int = 0, **values: Any) -> dict[str, Any]:
    loads = {"load_before": 0.5, "load_after": 0.5}
    return {"step": step, "peer": peer, "repetition": repetition, **loads, **values}


def asked(step: str, name: str, **where: object) -> Question:
    return Question((step,), key(name), tuple(where.items()))


# Figures --------------------------------------------------------------------------------------------------------


def test_a_figure_is_the_median_with_the_least_and_the_most() -> None:
    assert figures.figure([3, 1, 10]) == Figure(3, 1, 10, 3)
    assert figures.figure([1, 2]) == Figure(1.5, 1, 2, 2)
    assert figures.figure([]) is None


@pytest.mark.parametrize(
    ("values", "text"),
    [([3.0], "3"), ([2, 1, 4], "2 (1-4)"), ([1.001, 1.002], "1"), ([0, 0], "0"), ([0, 12.5, 0], "0 (0-12.5)")],
)
def test_the_spread_is_shown_where_there_is_one(values: list[float], text: str) -> None:
    found = figures.figure(values)
    assert found is not None
    assert found.text() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234.5, "1234"), (100, "100"), (99.94, "99.9"), (10, "10"), (1.005, "1"), (2.346, "2.35"),
        (0.1234, "0.123"), (0.0123, "0.012"), (0.00001, "1e-05"), (-12.34, "-12.3"),
    ],
)  # fmt: skip
def test_three_digits_count(value: float, text: str) -> None:
    assert figures.number(value) == text


def test_a_value_is_scaled_and_a_share_of_nothing_is_no_value() -> None:
    assert key("seconds", 1000)({"seconds": 0.5}) == 500
    assert key("seconds")({"seconds": "never"}) is None
    assert key("seconds")({}) is None
    share = per("lost", "bytes", 100)
    assert share({"lost": 1, "bytes": 4}) == 25
    assert share({"lost": 0, "bytes": 4}) == 0
    assert share({"lost": 0, "bytes": 0}) is None
    assert share({"bytes": 4}) is None


def test_a_question_is_answered_by_rows_of_its_steps_and_sizes_alone() -> None:
    rows = [
        row("growth", "circus", start_s=1.0, children=10),
        row("growth", "circus", start_s=9.0, children=100),
        row("growth", "s6", start_s=5.0, children=10),
        row("other", "circus", start_s=7.0, children=10),
        row("start", "circus", start_s=3.0, children=10),
        row("growth", "circus", skipped="too many", children=10),
    ]
    question = Question(("start", "growth"), key("start_s"), (("children", 10),))
    assert question.answer(rows, "circus") == Figure(2.0, 1.0, 3.0, 2)
    assert question.answer(rows, "pm2") is None
    assert figures.sizes_of(rows, ("growth",)) == [10, 100]
    assert figures.peers_of(rows) == ["circus", "s6"]


# Tables ---------------------------------------------------------------------------------------------------------


def test_a_table_has_a_line_for_each_peer_and_says_who_is_left_out() -> None:
    rows = [
        row("respawn", "posix_spawn", median_ms=1.0, p95_ms=2.0),
        row("respawn", "circus", median_ms=4.0),
        row("respawn", "circus", 1, median_ms=6.0),
        row("respawn", "s6", skipped="no apt-get"),
        row("respawn", "pm2", failed="TimeoutError: not within 60 s"),
        row("respawn", "pm2", 1, failed="TimeoutError: not within 60 s"),
    ]
    columns = [Column(name, asked("respawn", name)) for name in ("median_ms", "p95_ms", "max_ms")]
    assert tables.of_peers(rows, columns) == (
        "|  | median_ms | p95_ms |\n"
        "| --- | --- | --- |\n"
        "| *posix_spawn* | 1 | 2 |\n"
        "| **circus** | 5 (4-6) |  |\n"
        "\n"
        "Left out: s6: no apt-get; pm2: failed: TimeoutError: not within 60 s.\n"
    )


def test_a_table_of_nothing_is_nothing() -> None:
    assert tables.of_peers([], [Column("ms", asked("respawn", "median_ms"))]) == ""


def verdict(ours: float, others: dict[str, float], *, more_is_better: bool = False) -> list[str]:
    rows = [row("step", "circus", value=ours), *(row("step", peer, value=value) for peer, value in others.items())]
    said = tables.verdicts(rows, [Claim("it", asked("step", "value"), more_is_better)]).splitlines()
    return [cell.strip() for cell in said[2].strip("|").split("|")[1:]]


def test_who_wins_and_who_loses_is_said_with_how_much() -> None:
    assert verdict(2, {"s6": 4, "pm2": 8}) == ["2", "4 (s6)", "8 (pm2)", "wins, 2 x"]
    assert verdict(8, {"s6": 4, "pm2": 16}) == ["8", "4 (s6)", "16 (pm2)", "**loses**, 2 x"]
    assert verdict(8, {"s6": 4, "pm2": 16}, more_is_better=True) == ["8", "16 (pm2)", "4 (s6)", "**loses**, 2 x"]
    assert verdict(16, {"s6": 4, "pm2": 8}, more_is_better=True)[-1] == "wins, 2 x"
    assert verdict(10.4, {"s6": 10})[-1] == "level"
    assert verdict(9.6, {"s6": 10})[-1] == "level"


def test_where_one_of_them_is_nothing_no_ratio_is_said() -> None:
    assert verdict(0, {"s6": 0})[-1] == "level"
    assert verdict(0, {"s6": 4})[-1] == "wins"
    assert verdict(4, {"s6": 0})[-1] == "**loses**"
    assert verdict(4, {"s6": 0}, more_is_better=True)[-1] == "wins"


def test_limits_take_no_part_in_a_comparison() -> None:
    assert verdict(2, {"posix_spawn": 1, "papa": 1, "cat": 1, "s6": 4})[1] == "4 (s6)"


def test_each_of_the_others_is_met_alone() -> None:
    rows = [
        row("one", "circus", ms=2.0), row("one", "s6", ms=4.0), row("one", "pm2", ms=1.0), row("one", "papa", ms=9.0),
        row("two", "circus", ms=2.0), row("two", "s6", ms=2.1),
        row("three", "circus", ms=0.0), row("three", "pm2", ms=0.0),
        row("four", "circus", ms=1.0), row("four", "pm2", ms=0.0),
    ]  # fmt: skip
    claims = [Claim(step, asked(step, "ms")) for step in ("one", "two", "three", "four", "five")]
    assert tables.duels(rows, claims) == (
        "| beside | wins | level | loses | loses in |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| s6 | 1 | 1 | 0 |  |\n"
        "| pm2 | 0 | 1 | 2 | one; four |\n"
    )


def test_who_has_lost_output_is_not_compared_by_speed() -> None:
    fast = figures.of_whole(key("mb_per_s"))
    assert fast({"mb_per_s": 5, "lost": 0}) == 5
    assert fast({"mb_per_s": 5, "lost": 1}) is None


def test_what_was_so_each_time_is_a_yes() -> None:
    assert [tables.yes_or_no(Figure(1, least, 1, 3)) for least in (1, 0)] == ["yes", "no"]


# The page -------------------------------------------------------------------------------------------------------


def test_a_page_says_only_what_was_measured() -> None:
    text = page.render(HEAD, [row("respawn", "circus", median_ms=4.0), row("respawn", "s6", median_ms=1004.0)])
    assert "\n## Respawn\n" in text
    assert "| respawn, ms | 4 | 1004 (s6) | 1004 (s6) | wins, 251 x |\n" in text
    assert "\n## Idle\n" not in text
    assert "busy" not in text
    assert "| s6 | left out: no apt-get |\n" in text
    assert "```text\n[watcher:w000]\n```\n" in text


def test_what_failed_is_told_where_no_table_can() -> None:
    text = page.render(
        HEAD, [row("growth-500", "pm2", failed="TimeoutError: a | b"), row("respawn", "s6", median_ms=1.0)]
    )
    assert (
        "What failed:\n\n| step | peer | how |\n| --- | --- | --- |\n| growth-500 | pm2 | TimeoutError: a / b |\n"
        in text
    )


def test_a_busy_machine_is_told() -> None:
    rows = [row("respawn", "circus", median_ms=4.0), {**row("respawn", "s6", median_ms=1.0), "load_before": 4.1}]
    assert "**The machine was busy**: 1 of 2 rows were measured with a load of more than 4." in page.render(HEAD, rows)


def test_the_share_of_cat_is_that_of_its_median() -> None:
    rows = [
        row("flood", peer, repetition, mb_per_s=rate, bytes=10_000_000, lost=0, children=1)
        for peer, rates in (("cat", (100, 200, 300)), ("circus", (50, 100, 150)))
        for repetition, rate in enumerate(rates)
    ]
    text = page.render(HEAD, rows)
    assert "One process, 10 MB each:\n" in text
    assert "| **circus** | 100 (50-150) | 0.5 (0.25-0.75) | 0 |\n" in text


def test_every_column_of_growth_is_a_size_that_was_measured() -> None:
    rows = [row("growth", "circus", children=size, start_s=size / 100, pss_mb=40.0) for size in (10, 2000)]
    text = page.render(HEAD, rows)
    assert "number of processes:\n\n|  | 10 | 2000 |\n| --- | --- | --- |\n| **circus** | 0.1 | 20 |\n" in text
    assert "PSS, MB:\n\n|  | 10 | 2000 |\n" in text


def test_the_published_page_is_what_its_rows_say() -> None:
    head, *rows = map(json.loads, (PUBLISHED / "rows.jsonl").read_text().splitlines())
    assert (PUBLISHED / page.NAME).read_text() == page.render(head, rows), 'run `make bench BENCH_ARGS="report"`'


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.svg")), ids=lambda path: path.name)
def test_a_published_plot_is_small_and_says_nothing_of_when_it_was_drawn(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 200_000
    assert "<dc:date>" not in text
