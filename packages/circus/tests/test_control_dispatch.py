from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from circus.control import catalog, dispatch, openapi
from circus.control.caller import ADMIN_VERBS, OWNER, ROLES, Caller
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.testing.circusd import FakeEngine, make_watcher

WEB_ONLY = Caller("token web", "test", patterns=("WEB*",))


@pytest.fixture
def ops() -> Ops:
    return Ops(FakeEngine(make_watcher("web", 2), make_watcher("web/2", 1), make_watcher("db", 1)))


def ask(ops: Ops, method: str, target: str, body: Any = None, caller: Caller = OWNER) -> Any:
    return asyncio.run(dispatch.dispatch(ops, caller, method, target, body))


def refused(ops: Ops, method: str, target: str, body: Any = None, caller: Caller = OWNER) -> tuple[str, str]:
    with pytest.raises(CircusError) as caught:
        ask(ops, method, target, body, caller)
    return caught.value.code, caught.value.message


def test_what_is_asked_inside_is_answered_as_over_http(ops: Ops) -> None:
    assert ask(ops, "GET", "/v1/watchers") == {"watchers": ["db", "web", "web/2"]}
    assert ask(ops, "GET", "/v1/watchers/web%2F2")["name"] == "web/2"
    assert ask(ops, "POST", "/v1/watchers/web/count", {"delta": 1})["numprocesses"] == 3
    assert ask(ops, "GET", "/v1/openapi.json")["text"].startswith("{")
    assert refused(ops, "GET", "/v1/nope") == ("not-found", "there is no /v1/nope")
    assert refused(ops, "GET", "/v1/quit") == ("bad-request", "GET is not answered at /v1/quit")
    assert refused(ops, "GET", "/v1/stats?x=1") == ("bad-request", "unknown parameter 'x'")
    assert refused(ops, "POST", "/v1/quit", {"wait": {1, 2}})[0] == "bad-request"
    assert refused(ops, "POST", "/v1/quit", {"wait": object()})[0] == "bad-request"


def test_a_watcher_that_a_caller_does_not_see_does_not_exist_for_him(ops: Ops) -> None:
    assert ask(ops, "GET", "/v1/watchers", caller=WEB_ONLY) == {"watchers": ["web", "web/2"]}
    assert [each["name"] for each in ask(ops, "GET", "/v1/status", caller=WEB_ONLY)["watchers"]] == ["web", "web/2"]
    code, message = refused(ops, "POST", "/v1/watchers/db/stop", {}, WEB_ONLY)
    assert (code, message) == ("not-found", "watcher 'db' not found")
    assert refused(ops, "POST", "/v1/watchers/db/add", {"cmd": "x"}, WEB_ONLY)[0] == "forbidden"


def test_all_are_all_that_the_caller_sees(ops: Ops) -> None:
    ask(ops, "POST", "/v1/stop", {}, WEB_ONLY)
    states = {each["name"]: each["state"] for each in ask(ops, "GET", "/v1/status")["watchers"]}
    assert states == {"web": "stopped", "web/2": "stopped", "db": "active"}


@pytest.mark.parametrize("verb", ["start", "restart", "reload"])
def test_all_that_a_caller_sees_are_not_ordered_by_their_names(verb: str) -> None:
    """Who is named is started also when he is to be down."""
    engine = FakeEngine(make_watcher("web"), make_watcher("db"))
    ask(Ops(engine), "POST", f"/v1/{verb}", {}, WEB_ONLY)
    (order,) = engine.heard
    assert (order.names, order.among) == (None, {"web"})


def test_what_concerns_all_of_circusd_needs_the_right_to_see_all(ops: Ops) -> None:
    for operation in catalog.OPERATIONS:
        if operation.whole:
            with pytest.raises(CircusError, match="only for watchers"):
                dispatch.check(WEB_ONLY, operation)


def test_roles_grow_and_every_operation_needs_a_verb_that_somebody_has() -> None:
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["admin"] == ADMIN_VERBS
    assert {operation.verb for operation in catalog.OPERATIONS} <= ADMIN_VERBS
    with pytest.raises(CircusError, match="viewer may not stop"):
        Caller("viewer", "test", ROLES["viewer"]).check("stop")


def test_every_operation_stands_in_the_catalog_once_and_is_found_by_its_path() -> None:
    assert len({operation.id for operation in catalog.OPERATIONS}) == len(catalog.OPERATIONS)
    for operation in catalog.OPERATIONS:
        path = operation.path.replace("{name}", "a/b c").replace("{key}", "k")
        found, placed = dispatch.find(operation.method, path)
        assert found is operation
        assert placed.get("name", "a/b c") == "a/b c"


def test_the_description_names_every_operation_and_all_that_it_refers_to() -> None:
    text = openapi.document().decode()
    described = json.loads(text)
    ids = [each["operationId"] for methods in described["paths"].values() for each in methods.values()]
    assert sorted(ids) == sorted(operation.id for operation in catalog.OPERATIONS)
    for name in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert name in described["components"]["schemas"]
    stats = described["paths"]["/v1/stats"]["get"]["parameters"]
    assert [each["name"] for each in stats] == ["name", "pid", "extended"]
