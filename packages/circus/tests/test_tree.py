"""Who belongs to a tree, and why."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from circus.supervise.tree import Look, Row, Trunk, belonging, unasked

PAPA, MAIN = 10, 100


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int = PAPA
    session: int = 1
    group: int = 1
    start_ticks: int = 50
    state: str = "S"


TRUNK = Trunk(MAIN, 50, "token")
LIVING = Process(MAIN, session=MAIN, group=MAIN)


def look(*processes: Process, marks: dict[int, str] | None = None, apart: tuple[int, ...] = (PAPA,)) -> Look:
    rows: dict[int, Row] = {each.pid: each for each in (Process(PAPA, parent=1, start_ticks=1), *processes)}
    return Look(rows, marks or {}, apart, roots={PAPA})


@pytest.mark.parametrize("main", [(LIVING,), ()], ids=["it lives", "it has ended"])
def test_its_session_and_its_group_are_known_by_their_number(main: tuple[Process, ...]) -> None:
    seen = look(*main, Process(101, session=MAIN, group=7), Process(102, session=7, group=MAIN), Process(103))
    assert belonging(seen, TRUNK) == {101: "session", 102: "group"}


def test_a_number_that_is_somebody_elses_by_now_counts_nothing() -> None:
    other = Process(MAIN, session=MAIN, group=MAIN, start_ticks=90)
    assert belonging(look(other, Process(101, parent=MAIN, session=MAIN, start_ticks=91)), TRUNK) == {}


def test_who_was_there_before_is_of_another_tree() -> None:
    assert belonging(look(Process(101, session=MAIN, start_ticks=49)), TRUNK) == {}


def test_all_that_is_below_it_belongs_to_it() -> None:
    seen = look(LIVING, Process(101, MAIN), Process(102, 101), Process(103, 102))
    assert belonging(seen, TRUNK) == dict.fromkeys((101, 102, 103), "parent")


def test_who_was_seen_below_it_is_known_for_ever_and_by_the_start() -> None:
    seen = look(Process(101), Process(102, 101, start_ticks=60), Process(103))
    assert belonging(seen, TRUNK, known={(101, 50): "session", (103, 49): "parent"}) == {101: "session", 102: "parent"}


def test_the_mark_is_a_proof_and_that_of_another_one_is_not() -> None:
    seen = look(Process(101), Process(102), Process(103, 101), marks={101: "token", 102: "other"})
    assert belonging(seen, TRUNK) == {101: "marker", 103: "parent"}
    assert belonging(seen, replace(TRUNK, mark="")) == {}


def test_the_control_group_is_a_proof() -> None:
    assert belonging(look(Process(101), Process(102)), TRUNK, grouped=[101, 7]) == {101: "cgroup"}


@pytest.mark.parametrize("state", ["Z", "X"])
def test_who_has_ended_is_not_left(state: str) -> None:
    assert belonging(look(Process(101, session=MAIN, state=state)), TRUNK) == {}


def test_papa_and_what_it_hosts_are_of_no_tree_even_with_its_mark() -> None:
    """Papa may have been started by somebody of the tree, and what it hosts is below it."""
    seen = look(Process(20, session=20), Process(21, 20), marks={PAPA: "token", 20: "token"}, apart=(PAPA, 20))
    assert belonging(seen, TRUNK) == {}


def test_long_after_its_end_session_and_group_count_only_below_papa() -> None:
    seen = look(Process(101, parent=1, session=MAIN), Process(102, session=MAIN), marks={103: "token"})
    assert belonging(seen, replace(TRUNK, is_late=True)) == {102: "session"}
    assert belonging(seen, TRUNK) == {101: "session", 102: "session"}
    marked = look(Process(101, parent=1), marks={101: "token"})
    assert belonging(marked, replace(TRUNK, is_late=True)) == {101: "marker"}


def test_only_those_are_asked_who_may_be_somebodys() -> None:
    seen = look(LIVING, Process(101, MAIN), Process(102), Process(103, start_ticks=49), Process(104, state="Z"))
    assert unasked(seen, [], since_ticks=50) == [MAIN, 101, 102]
    others = look(Process(20), Process(21, 20), Process(22), apart=(PAPA, 20))
    assert unasked(others, [20], since_ticks=50) == [22]
