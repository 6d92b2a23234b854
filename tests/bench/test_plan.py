"""The plan of the benchmarks: that it can be carried out, in the time that it has; and what becomes of its rows."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import driver, plan
from bench import rows as rowfile
from bench.measurements import MEASUREMENTS
from bench.peers import PEERS
from bench.peers.base import Unmeasured
from bench.plan import Step


@pytest.mark.parametrize("name", plan.PLANS)
def test_a_plan_fits_into_its_time_and_names_what_there_is(name: str) -> None:
    steps, bound_s = plan.PLANS[name]
    assert plan.expected_s(steps) <= bound_s
    assert len({step.name for step in steps}) == len(steps)
    for step in steps:
        assert set(step.peers) <= set(PEERS)
        assert vars(step.options()).items() >= step.arguments.items()


def test_the_full_plan_has_all_peers() -> None:
    assert {peer for step in plan.FULL for peer in step.peers} == set(PEERS)


def test_an_option_that_a_measurement_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="step start: start has no option slots"):
        Step("start", "start", (), 1, 1, {"slots": 3}).options()


def test_steps_are_chosen_by_name_or_by_what_they_measure() -> None:
    def names(only: str) -> list[str]:
        return [step.name for step in plan.chosen(plan.FULL, only)]

    assert names("start-500,growth-10") == ["start-500", "growth-10"]
    assert names("start") == ["start-100", "start-500"]
    assert len(names("")) == len(plan.FULL)
    with pytest.raises(ValueError, match="no such step: growth-3; there are flood, floods, "):
        names("flood,growth-3")


# Carried out ----------------------------------------------------------------------------------------------------


class Fake:
    """A measurement of peers that are not there; ``asked``: who was, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended: list[str] = []
        self.interrupted_at = ""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--children", type=int, default=1)

    def measure(self, peer: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
        self.asked.append(peer)
        try:
            if peer == self.interrupted_at:
                raise KeyboardInterrupt
            if peer == "away":
                raise Unmeasured("away is not there")
            yield {"children": options.children, "seconds": 1.5}
            if peer == "broken":
                raise TimeoutError("not within 3 s\nand more")
        finally:
            self.ended.append(peer)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(MEASUREMENTS, "fake", fake)
    return fake


@pytest.fixture
def rows(tmp_path: Path) -> rowfile.Rows:
    rows = rowfile.Rows(tmp_path / "new/rows.jsonl")
    rows.head = {"machine": {}}
    return rows


def carry_out(rows: rowfile.Rows, *steps: Step, left_s: float = 60.0) -> bool:
    return driver.run([*steps], rows, deadline=time.monotonic() + left_s, tell=lambda _: None)


def test_peers_take_turns_within_each_repetition(fake: Fake, rows: rowfile.Rows) -> None:
    assert carry_out(rows, Step("one", "fake", ("a", "b"), 2, 1, {"children": 7}))
    assert fake.asked == ["a", "b", "a", "b"]
    assert [(row["step"], row["peer"], row["repetition"], row["children"]) for row in rows.all] == [
        ("one", "a", 0, 7),
        ("one", "b", 0, 7),
        ("one", "a", 1, 7),
        ("one", "b", 1, 7),
    ]
    assert all({"load_before", "load_after", "took_s"} <= set(row) for row in rows.all)


def test_who_cannot_take_part_or_fails_is_a_row_and_the_others_are_measured(fake: Fake, rows: rowfile.Rows) -> None:
    assert carry_out(rows, Step("one", "fake", ("away", "broken", "a"), 1, 1))
    away, broken, failed, whole = rows.all
    assert away["skipped"] == "away is not there"
    assert broken["seconds"] == 1.5
    assert failed["failed"] == "TimeoutError: not within 3 s"
    assert whole["peer"] == "a"


def test_what_was_interrupted_is_resumed_where_it_stood(fake: Fake, rows: rowfile.Rows) -> None:
    steps = (Step("one", "fake", ("a", "b"), 1, 1), Step("two", "fake", ("a", "c"), 1, 1))
    fake.interrupted_at = "c"
    with pytest.raises(KeyboardInterrupt):
        carry_out(rows, *steps)
    assert fake.ended == ["a", "b", "a", "c"]
    again = rowfile.Rows(rows.path)
    again.read()
    assert again.all == rows.all
    fake.asked, fake.interrupted_at = [], ""
    assert carry_out(again, *steps)
    assert fake.asked == ["c"]
    assert [row["peer"] for row in again.all] == ["a", "b", "a", "c"]


def test_one_step_is_measured_anew_without_the_others(fake: Fake, rows: rowfile.Rows) -> None:
    one, two = Step("one", "fake", ("a",), 1, 1), Step("two", "fake", ("b",), 1, 1)
    carry_out(rows, one, two)
    rows.forget("one")
    carry_out(rows, one)
    assert fake.asked == ["a", "b", "a"]
    assert sorted(row["step"] for row in rows.all) == ["one", "two"]


def test_when_the_time_is_over_nothing_more_is_begun(fake: Fake, rows: rowfile.Rows) -> None:
    assert not carry_out(rows, Step("one", "fake", ("a",), 1, 1), left_s=-1.0)
    assert fake.asked == []


def test_a_file_that_is_none_of_rows_is_refused(rows: rowfile.Rows) -> None:
    rows.path.parent.mkdir()
    rows.path.write_text(json.dumps({"step": "one"}) + "\n")
    with pytest.raises(ValueError, match="no file of rows"):
        rows.read()


def test_where_there_is_no_file_there_are_no_rows(tmp_path: Path) -> None:
    rows = rowfile.Rows(tmp_path / "rows.jsonl")
    rows.read()
    assert (rows.head, rows.all) == ({}, [])
