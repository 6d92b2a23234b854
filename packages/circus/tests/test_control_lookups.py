from __future__ import annotations

import asyncio
from typing import Any

import pytest

from circus.control.caller import Caller
from circus.control.catalog import OPERATIONS
from circus.control.dispatch import dispatch
from circus.control.ops import Ops
from circus.engine.samples import Use
from circus.errors import CircusError
from circus.supervise.states import SlotKey
from circus.testing.circusd import FakeEngine, make_watcher

OWNER = Caller("owner", "test")
WEB_ONLY = Caller("web's", "test", patterns=("web*",))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db"))


def ask(engine: FakeEngine, target: str, caller: Caller = OWNER) -> Any:
    return asyncio.run(dispatch(Ops(engine), caller, "GET", target))


def refused(engine: FakeEngine, target: str, caller: Caller = OWNER) -> str:
    with pytest.raises(CircusError) as caught:
        ask(engine, target, caller)
    return caught.value.code


def test_the_history_of_statistics_is_told_by_watcher_and_slot(engine: FakeEngine) -> None:
    samples = engine.figures.samples
    web, db = SlotKey("web", 2), SlotKey("db", 1)
    for number in range(3):
        samples.add(100.0 + 10 * number, [Use(web, 7, 1.0 * number, 4096), Use(db, 8, 0.0, 1)])
    row = {"at": 110.0, "pid": 7, "cpu": 10.0, "memory": 4096}
    assert ask(engine, "/v1/stats/history?name=WEB&since=105&limit=1") == {
        "interval": 0.0,
        "samples": {"web": {"2": [{**row, "at": 120.0}]}},
    }
    found = ask(engine, "/v1/stats/history?since=105")["samples"]
    assert (found["web"]["2"][0], len(found["db"]["1"])) == (row, 2)
    assert list(ask(engine, "/v1/stats/history", WEB_ONLY)["samples"]) == ["web"]
    assert ask(engine, "/v1/stats/history?since=200")["samples"] == {}
    assert refused(engine, "/v1/stats/history?name=db", WEB_ONLY) == "not-found"
    for bad in ("limit=0", "limit=1001", "since=-1", "since=1e30", "name="):
        assert refused(engine, f"/v1/stats/history?{bad}") == "bad-request"


def test_each_operation_is_there_once() -> None:
    assert len({each.id for each in OPERATIONS}) == len({(each.method, each.path) for each in OPERATIONS})
