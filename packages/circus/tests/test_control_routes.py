from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from circus.control import routes
from circus.control.caller import OWNER
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.supervise import events
from circus.testing.circusd import FakeEngine, make_watcher

JSON = "application/json"


class Asgi:
    """Speaks to the application without a server."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self._app = routes.make_app(Ops(engine))

    def __call__(
        self, method: str, target: str, body: object = None, *, kind: str | None = JSON, raw: bytes | None = None
    ) -> tuple[int, Any]:
        status, _headers, answer = asyncio.run(self.ask(method, target, body, kind=kind, raw=raw))
        return status, answer

    async def ask(
        self, method: str, target: str, body: object = None, *, kind: str | None = JSON, raw: bytes | None = None
    ) -> tuple[int, dict[str, str], Any]:
        path, _, query = target.partition("?")
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "server": ("circusd", 80),
            "state": {"caller": OWNER},
            "headers": [] if kind is None else [(b"content-type", kind.encode())],
        }
        chunks = [data[at : at + 50_000] for at in range(0, len(data), 50_000)] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        content = b"".join(message.get("body", b"") for message in sent[1:])
        assert headers["content-type"] == JSON
        return sent[0]["status"], headers, json.loads(content)


@pytest.fixture
def ask() -> Asgi:
    sockets = ({"name": "web", "fileno": 6, "host": "127.0.0.1", "port": 80},)
    return Asgi(FakeEngine(make_watcher("web", 2), make_watcher("a/b c", 1), sockets=sockets))


def error_of(answer: tuple[int, Any]) -> tuple[int, str, str, str]:
    status, body = answer
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "hint"]
    return status, body["error"]["code"], body["error"]["message"], body["error"]["hint"]


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/v1/version", "version"),
        ("/v1/logs", "directory"),
        ("/v1/status", "watchers"),
        ("/v1/status/web", "slots"),
        ("/v1/watchers", "watchers"),
        ("/v1/watchers/web", "pids"),
        ("/v1/watchers/web/options", "options"),
        ("/v1/options", "options"),
        ("/v1/dstats", "info"),
        ("/v1/sockets", "sockets"),
        ("/v1/stats", "infos"),
        ("/v1/stats?name=WEB&extended=true", "infos"),
    ],
)
def test_every_query_has_its_route(target: str, key: str, ask: Asgi) -> None:
    status, body = ask("GET", target)
    assert status == 200
    assert key in body


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reload"])
@pytest.mark.parametrize(
    ("target", "body", "names"),
    [
        ("/v1/{verb}", None, None),
        ("/v1/{verb}", {"names": ["WEB", "a*"]}, ("web", "a/b c")),
        ("/v1/watchers/WEB/{verb}", {}, ("web",)),
        ("/v1/watchers/w*/{verb}", {"wait": True}, ("web",)),
        ("/v1/watchers/a/b c/{verb}", None, ("a/b c",)),
    ],
)
def test_every_order_has_its_routes(verb: str, target: str, body: Any, names: Any, ask: Asgi) -> None:
    assert ask("POST", target.format(verb=verb), body)[0] == 200
    assert ask.engine.heard == [getattr(events, verb.capitalize())(1, names)]


def test_counts_signals_and_the_ends_have_their_routes(ask: Asgi) -> None:
    assert ask("POST", "/v1/watchers/web/count", {"delta": 2})[1]["numprocesses"] == 4
    assert ask("POST", "/v1/watchers/web/signal", {"signum": "TERM"})[1] == {"signum": 15, "signalled": 4}
    for target in ("/v1/reloadconfig", "/v1/quit", "/v1/shutdown"):
        assert ask("POST", target, {})[0] == 200
    assert ask.engine.heard[2:] == ["reloadconfig", "quit", "shutdown"]


def test_watchers_are_added_and_removed_by_routes_of_their_names(ask: Asgi) -> None:
    assert ask("POST", "/v1/watchers/a/b new/add", {"cmd": "x", "start": True})[0] == 200
    assert ask("POST", "/v1/watchers/web/remove", {"nostop": True})[0] == 200
    assert ask.engine.heard == [("add", "a/b new", {"cmd": "x"}, True), ("remove", "web", True)]
    assert error_of(ask("POST", "/v1/watchers/x/add", {"cmd": 5}))[:2] == (400, "bad-request")


def test_a_kill_has_its_route_and_its_numbers_are_numbers(ask: Asgi) -> None:
    assert ask("POST", "/v1/watchers/web/kill", {"signum": 9, "graceful_timeout": 1})[0] == 200
    assert ask.engine.heard == [events.Kill(1, "web", None, 9, 1.0)]
    for wrong in ({"graceful_timeout": "1"}, {"graceful_timeout": -1}, {"graceful_timeout": 1e99}, {"pid": "5"}):
        assert error_of(ask("POST", "/v1/watchers/web/kill", wrong))[:2] == (400, "bad-request")
    assert len(ask.engine.heard) == 1


def test_options_are_set_by_a_route_of_their_watcher(ask: Asgi) -> None:
    assert ask("POST", "/v1/watchers/a/b c/set", {"options": {"priority": 3}})[0] == 200
    assert ask.engine.heard == [("set", "a/b c", {"priority": "3"})]
    for body in ({}, {"options": {}}, {"options": []}, {"options": {"uid": None}}):
        assert error_of(ask("POST", "/v1/watchers/web/set", body))[:2] == (400, "bad-request")


def test_a_name_with_slashes_is_a_name(ask: Asgi) -> None:
    assert ask("GET", "/v1/watchers/a/b c/options")[1]["name"] == "a/b c"
    assert ask("GET", "/v1/watchers/a/b c")[1]["name"] == "a/b c"
    assert ask("GET", "/v1/status/a/b c")[1]["name"] == "a/b c"


def test_names_stand_in_the_path_or_in_the_body(ask: Asgi) -> None:
    assert error_of(ask("POST", "/v1/watchers/web/stop", {"names": ["web"]}))[:2] == (400, "bad-request")
    assert ask.engine.heard == []


def test_a_refusal_has_code_message_hint_and_the_status_of_its_code(ask: Asgi) -> None:
    assert error_of(ask("GET", "/v1/status/wbe")) == (
        *(404, "not-found"),
        *("watcher 'wbe' not found", "did you mean 'web'?"),
    )
    ask.engine.refusal = "web: cannot start"
    assert error_of(ask("POST", "/v1/start"))[:3] == (409, "operation-failed", "web: cannot start")


@pytest.mark.parametrize("target", ["/", "/v1", "/v1/nope", "/v2/status", "/v1/status/../x", "/v1/quit/x"])
def test_an_unknown_path_is_refused_in_the_same_form(target: str, ask: Asgi) -> None:
    assert error_of(ask("GET", target))[:2] == (404, "not-found")


@pytest.mark.parametrize(("method", "target", "allowed"), [("GET", "/v1/quit", "POST"), ("POST", "/v1/status", "GET")])
def test_a_wrong_method_is_told_the_right_one(method: str, target: str, allowed: str, ask: Asgi) -> None:
    status, code, _message, hint = error_of(ask(method, target))
    assert (status, code) == (400, "bad-request")
    assert allowed in hint
    assert ask.engine.heard == []


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_an_order_must_be_of_type_json_so_that_no_web_page_can_send_it(kind: str | None, ask: Asgi) -> None:
    assert error_of(ask("POST", "/v1/quit", {}, kind=kind))[:2] == (400, "bad-request")
    assert ask.engine.heard == []


def test_parameters_of_the_content_type_do_no_harm(ask: Asgi) -> None:
    assert ask("POST", "/v1/quit", {}, kind="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[]", "object"),
        (b"1", "object"),
        (b"null", "object"),
        (b"{", "truncated"),
        (b'{"wiat": true}', "wiat"),
        (b'{"wait": "yes"}', "wait"),
        (b'{"names": []}', "names"),
        (b'{"names": [""]}', "names"),
        (b'{"names": "web"}', "names"),
        (b'{"match": "regex"}', "match"),
        (b"\xff\xfe", ""),
        (b'{"names": ["\xff"]}', ""),
    ],
)
def test_a_body_that_is_not_understood_is_refused_with_what_is_wrong(raw: bytes, said: str, ask: Asgi) -> None:
    status, code, message, _hint = error_of(ask("POST", "/v1/stop", raw=raw))
    assert (status, code) == (400, "bad-request")
    assert said in message
    assert ask.engine.heard == []


@pytest.mark.parametrize(
    "body", [{"count": -1}, {"count": 10_001}, {"count": 1.5}, {"count": True}, {"delta": -10_001}, {"count": 10**30}]
)
def test_counts_are_bounded(body: Any, ask: Asgi) -> None:
    assert error_of(ask("POST", "/v1/watchers/web/count", body))[:2] == (400, "bad-request")
    assert ask.engine.heard == []


def test_a_body_is_bounded_and_one_that_is_not_read_ends_the_connection(ask: Asgi) -> None:
    fitting = json.dumps({"names": ["web"]}).encode().ljust(routes.MAX_BODY)
    assert ask("POST", "/v1/stop", raw=fitting)[0] == 200
    status, headers, body = asyncio.run(ask.ask("POST", "/v1/stop", raw=fitting + b" "))
    assert (status, body["error"]["code"], headers["connection"]) == (400, "bad-request", "close")
    assert len(ask.engine.heard) == 1


@pytest.mark.parametrize("query", ["pid=x", "pid=-1", "name=web&pid=1.5", "extended=maybe", "nmae=web", "pid=1"])
def test_a_query_that_is_not_understood_is_refused(query: str, ask: Asgi) -> None:
    assert error_of(ask("GET", f"/v1/stats?{query}"))[:2] == (400, "bad-request")
    assert ask.engine.heard == []


def test_an_unexpected_fault_is_told_without_its_inside_and_logged_once(
    ask: Asgi, caplog: pytest.LogCaptureFixture
) -> None:
    ask.engine.failure = ZeroDivisionError("secret")
    with caplog.at_level(logging.DEBUG):
        answer = ask("GET", "/v1/status")
    assert error_of(answer)[:2] == (500, "internal")
    assert "secret" not in json.dumps(answer[1])
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert "/v1/status" in logged[0].getMessage()


def test_an_error_of_the_engine_keeps_its_code(ask: Asgi) -> None:
    ask.engine.failure = CircusError("config-invalid", "x.ini:3: no", "repair it")
    assert error_of(ask("POST", "/v1/reloadconfig")) == (422, "config-invalid", "x.ini:3: no", "repair it")


def test_who_waits_when_circusd_leaves_is_told_so(ask: Asgi) -> None:
    async def scenario() -> tuple[int, Any]:
        ask.engine.gate = asyncio.Event()
        asking = asyncio.create_task(ask.ask("POST", "/v1/stop"))
        while not ask.engine.heard:
            await asyncio.sleep(0)
        asking.cancel()
        status, _headers, body = await asking
        return status, body

    assert error_of(asyncio.run(scenario()))[:2] == (503, "unavailable")
