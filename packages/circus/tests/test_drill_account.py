from __future__ import annotations

from typing import Any

import pytest

from circus.drill import account
from circus.drill.account import Connections, Fates, Gone, Output, Process, Result, Round

BEGAN = 1_000_000.0
WEB = Process(3, "circus.web.1", "web", 300, 7)


def end(at: float, *, pid: int = 300, status: int | None = 1, ordered: bool | None = False) -> dict[str, Any]:
    signal = {-9: "SIGKILL", -13: "SIGPIPE", -15: "SIGTERM"}.get(status or 0)
    return {"pid": pid, "at": at, "status": status, "signal": signal, "ordered": ordered}


@pytest.mark.parametrize(
    ("exits", "why", "is_affected"),
    [
        ([], "it is gone, and nobody knows how it ended", True),
        ([end(BEGAN + 1)], "ended with status 1", True),
        ([end(BEGAN + 1, ordered=None)], "ended with status 1", True),
        ([end(BEGAN + 1, status=None)], "ended, nobody knows how", True),
        ([end(BEGAN + 1, status=-13)], "ended by SIGPIPE: it wrote, and nobody held the other end", True),
        ([end(BEGAN + 1, status=-15, ordered=True)], "ended by SIGTERM, as was ordered", False),
        ([end(BEGAN - 5)], "ended with status 1 before anything was done", False),
        (
            [end(BEGAN - 60, pid=299), end(BEGAN + 1)],
            "ended with status 1, as others of its watcher in the 10 minutes before",
            False,
        ),
        ([end(BEGAN - 60, pid=299, ordered=True), end(BEGAN + 1)], "ended with status 1", True),
        ([end(BEGAN - 700, pid=299), end(BEGAN + 1)], "ended with status 1", True),
        ([end(BEGAN - 60, pid=299), end(BEGAN + 1, status=-13)], "ended by SIGPIPE: it wrote", True),
        ([end(BEGAN + 1, pid=301)], "it is gone, and nobody knows how it ended", True),
    ],
)
def test_who_is_gone_was_affected_unless_there_is_another_reason(
    exits: list[dict[str, Any]], why: str, is_affected: bool
) -> None:
    found = account.fates([WEB], set(), {"web": exits}, BEGAN)
    (gone,) = found.affected if is_affected else found.ended
    assert gone.why.startswith(why)
    assert found.total == 1
    assert len(found.affected) + len(found.ended) == 1


def test_who_runs_on_is_the_same_only_with_the_same_start() -> None:
    assert account.fates([WEB], {(300, 7)}, {}, BEGAN) == Fates(1)
    assert len(account.fates([WEB], {(300, 8)}, {}, BEGAN).affected) == 1


def test_a_job_that_ends_does_what_jobs_do() -> None:
    job = Process(4, "circus.job.1", "job", 300, 7, is_job=True)
    assert not account.fates([job], set(), {"job": [end(BEGAN + 1)]}, BEGAN).affected


def test_a_connection_that_was_closed_was_dropped_if_a_process_died() -> None:
    well = account.blamed([Connections("web", held=3, closed=2)], Fates(1))
    assert (well[0].dropped, well[0].closed) == (0, 2)
    ill = account.blamed([Connections("web", held=3, closed=2)], Fates(1, [Gone("circus.web.1", 300, "ended")]))
    assert (ill[0].dropped, ill[0].closed) == (2, 0)


def result(**changes: Any) -> Result:
    fine: dict[str, Any] = {
        "fates": Fates(1),
        "descendants": 0,
        "descendants_gone": 0,
        "connections": [Connections("web", held=1, tried=5)],
        "outputs": [Output("/w.log", 1, compared=5)],
        "rounds": [Round("circusd", 1, "the drill", 2, 0.1, 0.2)],
    }
    return Result(**{**fine, **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fates": Fates(1, [Gone("circus.web.1", 300, "ended with status 1")])}, "circus.web.1 (pid 300) ended"),
        ({"connections": [Connections("web", held=2, dropped=1)]}, "web: 1 of 2 held connections"),
        (
            {"connections": [Connections("web", tried=9, failed=2, reasons={"connection refused": 2})]},
            "web: 2 of 9 new connections failed (2 connection refused)",
        ),
        ({"outputs": [Output("/w.log", 1, lost=3)]}, "/w.log: 3 bytes are lost"),
        ({"outputs": [Output("/w.log", 1, doubled=3)]}, "/w.log: 3 bytes stand there"),
        ({"rounds": [Round("papa", 8, "its holder")]}, "papa 8: nobody took its place"),
        ({"rounds": [Round("papa", 8, "its holder", 9, 0.1)]}, "papa 8: not every process was held"),
    ],
)
def test_each_single_thing_breaks_the_promise(changes: dict[str, Any], problem: str) -> None:
    found = result(**changes)
    assert not found.has_held
    (told,) = found.problems
    assert told.startswith(problem)


def test_otherwise_it_held() -> None:
    assert result().has_held
    assert result(fates=Fates(1, [], [Gone("x", 1, "ended, as was ordered")])).has_held
