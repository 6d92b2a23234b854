from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from circus.control import auditing
from circus.control.audit import Trail
from circus.control.auditing import Audited
from circus.control.caller import VIEWER_VERBS, Caller
from circus.control.dispatch import dispatch
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.errors import CircusError
from circus.testing.circusd import FakeEngine, make_watcher

ROOT = Caller("uid 0", "unix")
EVE = Caller("token eve", "192.0.2.7", VIEWER_VERBS)
ZMQ = Caller("owner", "zmq")


class Bench:
    """A door whose trail can be read."""

    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine(make_watcher("web", 2), make_watcher("db", 1))
        self.trail = Trail(str(folder / "audit.jsonl"))
        self.ops = Ops(self.engine, self.trail)
        self.app = Audited(make_app(self.ops), self.ops.auditing)

    def lines(self) -> list[dict[str, Any]]:
        self.trail.close()
        path = Path(self.trail.path)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def ask(
        self, method: str, path: str, body: Any = None, caller: Caller | None = ROOT, **changes: Any
    ) -> tuple[int, str]:
        """Status and number of the answer."""
        state = {} if caller is None else {"caller": caller}
        data = b"" if body is None else msgspec.json.encode(body)
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"content-type", b"application/json")], "scheme": "http", "http_version": "1.1",
            "state": state, "client": None, "server": None, "root_path": "", **changes,
        }  # fmt: skip
        said: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        headers = dict(said[0]["headers"])
        return said[0]["status"], headers[b"x-request-id"].decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_order_has_a_line_and_queries_have_none(bench: Bench) -> None:
    async def ask() -> list[str]:
        return [
            (await bench.ask("GET", "/v1/status"))[1],
            (await bench.ask("POST", "/v1/watchers/web/stop", {"wait": False}))[1],
            (await bench.ask("POST", "/v1/start", {}))[1],
            (await bench.ask("POST", "/v1/start", {"names": ["db", "web"]}))[1],
            (await bench.ask("POST", "/v1/watchers/web/count", {"count": 3}))[1],
        ]

    numbers = asyncio.run(ask())
    assert len(set(numbers)) == 5
    stop, everything, some, count = bench.lines()
    assert stop.pop("at") > 1e9
    assert stop.pop("ms") >= 0
    assert stop == {
        "who": "uid 0",
        "from": "unix",
        "operation": "watchers.stop",
        "watchers": ["web"],
        "given": ["wait"],
        "result": "ok",
        "request": numbers[1],
    }
    assert everything["watchers"] == ["*"]
    assert some["watchers"] == ["db", "web"]
    assert (count["watchers"], count["given"]) == (["web"], ["count"])


def test_names_of_options_are_told_and_no_value(bench: Bench) -> None:
    body = {"options": {"priority": 7, "env": {"TOKEN": "hush", "A": "hush"}, "db_password": "hush"}}
    assert asyncio.run(bench.ask("POST", "/v1/watchers/web/set", body))[0] == 200
    (line,) = bench.lines()
    assert line["options"] == ["db_password", "env.A", "env.TOKEN", "priority"]
    assert "hush" not in Path(bench.trail.path).read_text()


def test_what_was_refused_is_told_also_of_queries(bench: Bench) -> None:
    async def ask() -> None:
        assert (await bench.ask("POST", "/v1/watchers/web/stop", {}, EVE))[0] == 403
        assert (await bench.ask("GET", "/v1/status", caller=None, client=("192.0.2.9", 7)))[0] == 403
        assert (await bench.ask("POST", "/v1/watchers/nope/stop", {}))[0] == 404
        assert (await bench.ask("POST", "/v1/nothing", {}))[0] == 404
        assert (await bench.ask("POST", "/v1/watchers/web/stop", {"wiat": 1}))[0] == 400
        assert (await bench.ask("DELETE", "/v1/status"))[0] == 400
        assert (await bench.ask("GET", "/v1/watchers/nope"))[0] == 404

    asyncio.run(ask())
    told = [(line.get("who"), line["from"], line["operation"], line["result"]) for line in bench.lines()]
    assert told == [
        ("token eve", "192.0.2.7", "watchers.stop", "forbidden"),
        (None, "192.0.2.9", "status", "forbidden"),
        ("uid 0", "unix", "watchers.stop", "not-found"),
        ("uid 0", "unix", "POST /v1/nothing", "not-found"),
        ("uid 0", "unix", "watchers.stop", "bad-request"),
        ("uid 0", "unix", "DELETE /v1/status", "bad-request"),
    ]


def test_an_order_that_takes_its_time_is_told_when_it_begins_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "SOON_S", 0.0)

    async def ask() -> None:
        bench.engine.gate = asyncio.Event()
        order = asyncio.ensure_future(bench.ask("POST", "/v1/watchers/web/stop", {}))
        while not bench.trail.waiting + bench.trail.written:
            await asyncio.sleep(0)
        bench.engine.gate.set()
        await order

    asyncio.run(ask())
    early, late = bench.lines()
    assert (early["result"], late["result"]) == ("under way", "ok")
    assert early["request"] == late["request"]
    assert early["watchers"] == ["web"]


def test_who_leaves_before_the_answer_is_told_so(bench: Bench) -> None:
    async def ask() -> None:
        bench.engine.gate = asyncio.Event()
        order = asyncio.ensure_future(dispatch(bench.ops, ZMQ, "POST", "/v1/watchers/web/stop"))
        while not bench.engine.heard:
            await asyncio.sleep(0)
        order.cancel()
        await asyncio.gather(order, return_exceptions=True)

    asyncio.run(ask())
    assert [line["result"] for line in bench.lines()] == ["left"]


def test_doors_inside_of_circusd_are_audited_as_well(bench: Bench) -> None:
    async def ask() -> None:
        await dispatch(bench.ops, ZMQ, "GET", "/v1/status")
        await dispatch(bench.ops, ZMQ, "POST", "/v1/watchers/web/signal", {"signum": 15})
        for caller, target in ((EVE, "/v1/watchers/web/stop"), (ZMQ, "/v1/nothing")):
            with pytest.raises(CircusError):
                await dispatch(bench.ops, caller, "POST", target)

    asyncio.run(ask())
    told = [(line["who"], line["from"], line["operation"], line["result"]) for line in bench.lines()]
    assert told == [
        ("owner", "zmq", "watchers.signal", "ok"),
        ("token eve", "192.0.2.7", "watchers.stop", "forbidden"),
        ("owner", "zmq", "POST /v1/nothing", "not-found"),
    ]


def test_who_is_refused_again_and_again_does_not_fill_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(auditing.clock, "monotonic", lambda: now[0])
    bench.ops.auditing._refused_at = 0.0
    for _ in range(1000):
        bench.ops.auditing.note_refused("uid 7", "unix pid 9", "forbidden")
    now[0] += auditing.REFUSAL_S
    bench.ops.auditing.note_refused("uid 7", "unix pid 9", "forbidden")
    lines = bench.lines()
    assert len(lines) == auditing.MAX_REFUSALS + 1
    assert lines[-1]["more"] == 1000 - auditing.MAX_REFUSALS
    assert (lines[0]["operation"], lines[0]["result"]) == ("connect", "forbidden")


def test_a_fault_of_circusd_is_told_as_one(bench: Bench) -> None:
    bench.engine.failure = ValueError("x")
    assert asyncio.run(bench.ask("POST", "/v1/watchers/web/stop", {}))[0] == 500
    assert [line["result"] for line in bench.lines()] == ["internal"]


def test_a_trail_that_cannot_be_written_is_seen_in_the_status(bench: Bench) -> None:
    bench.trail.trouble = "the audit trail cannot be written"
    assert asyncio.run(bench.ops.status()).warnings == ["the audit trail cannot be written"]
    assert asyncio.run(bench.ops.global_options()).options["audit.file"] == bench.trail.path
    assert asyncio.run(Ops(FakeEngine()).global_options()).options["audit.file"] == "off"


def test_a_token_that_is_given_for_its_name_does_not_get_into_the_trail(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    token = f"ct_{'0a' * 6}_{'1b' * 32}"
    assert asyncio.run(bench.ask("POST", f"/v1/tokens/{token}/revoke", {}))[0] == 404
    (line,) = bench.lines()
    assert (line["operation"], line["about"], line["result"]) == ("tokens.revoke", "ct_0a0a0a0a0a0a...", "not-found")


def test_a_token_that_stands_in_a_wrong_path_does_not_get_into_the_trail(bench: Bench) -> None:
    async def ask() -> None:
        for path in ("/v1/tokens/ct_{}/delete", "/v1/token/ct_{}"):
            await bench.ask("POST", path.format("a" * 12 + "_" + "b" * 64), {})

    asyncio.run(ask())
    assert [line["operation"] for line in bench.lines()] == [
        "POST /v1/tokens/ct_aaaaaaaaaaaa_***/delete",
        "POST /v1/token/ct_aaaaaaaaaaaa_***",
    ]


def test_an_order_with_a_slash_too_many_is_not_said_to_be_carried_out(bench: Bench) -> None:
    status, _ = asyncio.run(bench.ask("POST", "/v1/shutdown/", {}, EVE))
    assert status == 404
    assert [(line["who"], line["result"]) for line in bench.lines()] == [("token eve", "not-found")]
