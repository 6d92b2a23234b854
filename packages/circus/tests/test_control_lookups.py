from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from circus.control.caller import VIEWER_VERBS, Caller
from circus.control.catalog import OPERATIONS
from circus.control.dispatch import dispatch
from circus.control.ops import Ops
from circus.engine import samples
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


def test_a_history_ends_with_a_sample_of_now_for_who_asks_for_a_look(engine: FakeEngine) -> None:
    engine.figures.uses = [[Use(SlotKey("web", 1), 7, 1.0, 4096)]]
    assert ask(engine, "/v1/stats/history")["samples"] == {}
    assert ask(engine, "/v1/stats/history?look=true")["samples"]["web"]["1"][0]["pid"] == 7


def test_a_history_is_made_beside_the_loop(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def told(*asked: Any) -> list[samples.Sample]:
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(samples, "told", told)
    engine.figures.samples.add(100.0, [Use(SlotKey("web", 1), 7, 0.0, 4096), Use(SlotKey("db", 1), 8, 0.0, 1)])
    assert ask(engine, "/v1/stats/history")["samples"] == {}
    assert len(threads) == 2 and threading.main_thread() not in threads


def test_slots_are_told_with_their_process_and_the_ends_before(engine: FakeEngine) -> None:
    pid = engine.watchers["web"].slots[1].pid
    engine.infos = {"web": {str(pid): {"pid": pid, "cpu": 1.0}}}
    ended = {"wid": 2, "pid": 7, "reason": "ended with status 1"}
    engine.ends["web"] = [{"wid": 1, "pid": 6}, ended]
    told = ask(engine, "/v1/watchers/WEB/slots")
    assert (told["name"], [each["wid"] for each in told["slots"]]) == ("web", [1, 2])
    one = ask(engine, "/v1/watchers/web/slots/2")
    assert (one["slot"]["pid"], one["stats"], one["exits"]) == (pid, {"pid": pid, "cpu": 1.0}, [ended])
    for wrong in ("web/slots/3", "web/slots/x", "nobody/slots", "nobody/slots/1"):
        assert refused(engine, f"/v1/watchers/{wrong}") == "not-found"
    assert refused(engine, "/v1/watchers/db/slots/1", WEB_ONLY) == "not-found"


def test_one_socket_is_told() -> None:
    engine = FakeEngine(sockets=({"name": "circus.default.sock.web", "port": 80}, {"name": "db", "port": 81}))
    assert ask(engine, "/v1/sockets/DB")["sockets"] == [{"name": "db", "port": 81}]
    assert refused(engine, "/v1/sockets/nobody") == "not-found"
    assert refused(engine, "/v1/sockets/db", WEB_ONLY) == "forbidden"


def test_a_plan_can_be_asked_for(engine: FakeEngine) -> None:
    assert ask(engine, "/v1/plan")["id"] == engine.made.id
    assert engine.heard == ["plan"]
    assert refused(engine, "/v1/plan", WEB_ONLY) == "forbidden"


CONFIG = """
[env]
SECRET = hush
[socket:front]
port = 80
[watcher:web]
cmd = sleep --with $(circus.env.SECRET) --at http://me:hush@host/
api_token = hush
[watcher:db]
cmd = sleep 1
"""


def test_the_configuration_is_told_with_its_places_and_without_what_is_secret(
    engine: FakeEngine, tmp_path: Path
) -> None:
    path = tmp_path / "circus.ini"
    path.write_text(CONFIG)
    engine.config_path = str(path)

    def options(section: Any) -> dict[str, Any]:
        return {each["option"]: each for each in section["options"]}

    whole = ask(engine, "/v1/config")
    assert [(each["kind"], each["name"]) for each in whole["sections"]] == [
        ("circus", "default"), ("socket", "front"), ("watcher", "web"), ("watcher", "db"),
    ]  # fmt: skip
    assert "hush" not in json.dumps(whole)
    web = options(whole["sections"][2])
    assert web["cmd"] == {
        "option": "cmd",
        "value": "sleep --with $(circus.env.SECRET) --at http://***@host/",
        "origin": f"{path}:7",
        "file": str(path),
        "line": 7,
        "variables": [{"name": "SECRET", "origin": f"{path}:3 [env]"}],
    }
    assert (web["numprocesses"]["value"], web["numprocesses"]["origin"]) == ("1", "default")
    (shown,) = ask(engine, "/v1/config?name=WEB&reveal=true")["sections"]
    assert options(shown)["cmd"]["value"] == "sleep --with hush --at http://me:hush@host/"
    assert [each["name"] for each in ask(engine, "/v1/config", WEB_ONLY)["sections"]] == ["web"]
    for hidden in ("db", "circus", "front"):
        assert refused(engine, f"/v1/config?name={hidden}", WEB_ONLY) == "not-found"
    viewer = Caller("viewer", "test", VIEWER_VERBS)
    assert refused(engine, "/v1/config?reveal=true", viewer) == "forbidden"
    path.write_text("[watcher:web]\nnumprocesses = many\n")
    assert refused(engine, "/v1/config") == "config-invalid"
    path.unlink()
    assert refused(engine, "/v1/config") == "config-invalid"


def test_each_operation_is_there_once() -> None:
    assert len({each.id for each in OPERATIONS}) == len({(each.method, each.path) for each in OPERATIONS})
