"""The answer to why: ends with their last lines, one process alone, and what somebody may not see."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from circus.control import whys
from circus.control.caller import VIEWER_VERBS, Caller
from circus.control.dispatch import dispatch
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.logbook import pages
from circus.logbook.entries import Source
from circus.logbook.reading import Line
from circus.testing.circusd import FakeEngine, make_slot, make_watcher

OWNER = Caller("owner", "test")


def end(wid: int, at: float, *, pid: int = 7, ran_s: float = 10.0, **changes: Any) -> dict[str, Any]:
    told = {"watcher": "web", "wid": wid, "pid": pid, "at": at, "started_at": at - ran_s, "ran_s": ran_s, "status": 1}
    return {**told, "signal": None, "ordered": False, "reason": "ended with status 1", **changes}


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(make_watcher("web", 2, slots=(make_slot(1, pid=11, started_at=1.0), make_slot(2, pid=12))))
    engine.ends["web"] = [end(2, 300.0), end(1, 100.0), end(1, 110.4, pid=8)]
    return engine


def ask(engine: FakeEngine, query: str = "", caller: Caller = OWNER) -> Any:
    return asyncio.run(dispatch(Ops(engine), caller, "GET", f"/v1/watchers/WEB/why{query}"))


def at_of(answer: Any) -> list[float]:
    return [each["exit"]["at"] for each in answer["exits"]]


def test_ends_come_in_their_order_the_latest_of_one_process_or_of_all(engine: FakeEngine) -> None:
    assert at_of(ask(engine)) == [100.0, 110.4, 300.0]
    assert at_of(ask(engine, "?exits=2")) == [110.4, 300.0]
    answer = ask(engine, "?wid=1&exits=1")
    assert (at_of(answer), [slot["wid"] for slot in answer["slots"]]) == ([110.4], [1])
    assert at_of(ask(engine, "?exits=0")) == []
    for bad in ("exits=51", "exits=-1", "wid=0", "lines=21", "what=1"):
        with pytest.raises(CircusError) as caught:
            ask(engine, f"?{bad}")
        assert caught.value.code == "bad-request"
    with pytest.raises(CircusError, match="web has no slot 9"):
        ask(engine, "?wid=9")


def test_a_process_that_runs_again_since_it_failed_has_to_prove_itself(engine: FakeEngine) -> None:
    now = time.time()
    engine.watchers["web"] = make_watcher(
        "web", 2, slots=(make_slot(1, pid=11, started_at=now - 600), make_slot(2, pid=12, started_at=now))
    )
    answer = ask(engine)
    assert not answer["well"]
    (wait,) = answer["waits"]
    assert (wait["kind"], wait["wid"]) == ("proof", 2)
    assert ask(engine, "?wid=1")["well"]
    engine.ends["web"][0]["ordered"] = True
    assert ask(engine)["well"]


def line(text: str, at: float, pid: int, wid: int = 1) -> Line:
    source = Source("web", wid, pid, "stdout")
    return Line(int(at * 1e9), int(at * 1e9), source, text.encode(), "log", 0, 0)


def test_last_words_are_those_of_that_life(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(_directory: str, want: pages.Want) -> pages.Page:
        asked.append((want.wid, want.until_ns / 1e9, want.limit, want.is_backward))
        lines = [line("x" * 300, 99.9, 7), line("of the next", 100.5, 8), line("of one before", 80.0, 7)]
        return pages.Page(lines=lines)

    monkeypatch.setattr(pages, "read", read)
    first, second = ask(engine, "?wid=1&lines=5")["exits"]
    assert [(each["text"], each.get("cut")) for each in first["lines"]] == [("x" * 200, True)]
    assert [each["text"] for each in second["lines"]] == ["of the next"]
    # The next process of this place came 0.4 s after the end of the first.
    assert asked == [(1, pytest.approx(100.4), 5, True), (1, pytest.approx(111.4), 5, True)]
    assert ask(engine, "?lines=0")["exits"][0]["lines"] == []


def test_who_may_not_see_logs_is_told_so_and_a_disk_that_fails_is_no_error(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blind = Caller("blind", "test", VIEWER_VERBS - {"logs"})
    answer = ask(engine, caller=blind)
    assert (answer["lines_missing"], answer["exits"][0]["lines"]) == (whys.NO_RIGHT, [])

    def fails(*_: object) -> pages.Page:
        raise OSError(5, "Input/output error", "/var/log/web.log")

    monkeypatch.setattr(pages, "read", fails)
    answer = ask(engine)
    assert (answer["lines_missing"], len(answer["exits"])) == ("/var/log/web.log: Input/output error", 3)


def test_orders_under_way_are_told(engine: FakeEngine) -> None:
    async def run() -> Any:
        ops = Ops(engine)
        engine.gate = asyncio.Event()
        begun = await dispatch(ops, OWNER, "POST", "/v1/watchers/web/restart", {"wait": False})
        answer = await dispatch(ops, OWNER, "GET", "/v1/watchers/web/why")
        engine.gate.set()
        await ops.end()
        return begun, answer

    begun, answer = asyncio.run(run())
    assert [each["id"] for each in answer["operations"]] == [begun["operation"]]
