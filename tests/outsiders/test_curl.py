"""curl, the program, at circusd's API: by its unix socket, and over TCP and TLS with a token."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.house import House, opened, ticker, wait_for

pytestmark = pytest.mark.needs("curl")

CONFIG = "[circus]\napi.listen = 127.0.0.1:0\n" + ticker("web", count=2)

BOUND_S = 60
JSON = ["-H", "Content-Type: application/json"]


def curl(*words: str | Path) -> tuple[int, str]:
    """(status, body) of an answer."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(BOUND_S), "--write-out", "\n%{http_code}", *words],
        capture_output=True, text=True, timeout=2 * BOUND_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def address_of(house: House) -> str:
    told = wait_for(
        lambda: [line for line in house.asked("version").splitlines() if line.startswith("listening at ")], "an address"
    )
    return str(told[0].removeprefix("listening at "))


def test_it_asks_orders_listens_and_follows_by_the_unix_socket(runtime_root: Path) -> None:
    with opened(runtime_root / "house", CONFIG) as house:
        house.start()
        local = ["--unix-socket", house.folder / "run/circus-default.sock"]
        status, body = curl(*local, "http://localhost/v1/status/web")
        assert (status, json.loads(body)["state"]) == (200, "active")
        before = house.pids("web")

        feeds = [
            subprocess.Popen(["curl", "-sN", *local, f"http://localhost/v1/{path}"], stdout=subprocess.PIPE, text=True)
            for path in ("events?topic=watcher.web&since=1", "watchers/web/logs?follow=true")
        ]
        try:
            status, body = curl(*local, *JSON, "-d", '{"delta": 1}', "http://localhost/v1/watchers/web/count")
            assert (status, json.loads(body)["numprocesses"]) == (200, 3)
            events, lines = feeds
            assert events.stdout is not None
            assert lines.stdout is not None
            while '"watcher.web.spawn"' not in (heard := events.stdout.readline()):
                assert heard, "the feed has ended"
            while '"stream":"stdout"' not in (heard := lines.stdout.readline()).replace(" ", ""):
                assert heard, "the feed has ended"
        finally:
            for feed in feeds:
                feed.kill()
                feed.communicate()
        assert house.pids("web") > before

        status, body = curl(*local, *JSON, "-d", "{}", "http://localhost/v1/watchers/nobody/stop")
        assert (status, json.loads(body)["error"]["code"]) == (404, "not-found")
        # A page of the web cannot send this type; a form can send what curl sends of itself.
        status, body = curl(*local, "-d", "{}", "http://localhost/v1/watchers/web/stop")
        assert (status, "application/json" in body) == (400, True), body
        assert curl(*local, "http://localhost/metrics")[0] == 200


def test_over_tcp_it_needs_the_certificate_and_a_token(runtime_root: Path) -> None:
    with opened(runtime_root / "house", CONFIG) as house:
        house.start()
        address = address_of(house)
        (certificate,) = (house.folder / "run").rglob("certificate.pem")
        trusted = ["--cacert", certificate]
        token = house.asked("token", "create", "ci", "--role", "operator", "--watcher", "web")
        shown = [*trusted, "-H", f"Authorization: Bearer {token}"]

        refused = subprocess.run(
            ["curl", "-sS", address + "/v1/status"], capture_output=True, text=True, timeout=BOUND_S
        )
        assert refused.returncode == 60, refused.stderr  # nobody vouches for the certificate
        assert curl(*trusted, f"{address}/v1/status")[0] == 401
        status, body = curl(*shown, f"{address}/v1/status/web")
        assert (status, json.loads(body)["state"]) == (200, "active")
        before = house.pids("web")
        assert curl(*shown, *JSON, "-d", "{}", f"{address}/v1/watchers/web/restart")[0] == 200
        assert house.pids("web").isdisjoint(before)
        assert curl(*shown, *JSON, "-d", "{}", f"{address}/v1/shutdown")[0] == 403

        # Another circusd has the same certificate and the same tokens, perhaps at another port.
        house.kill()
        house.start()
        assert curl(*shown, f"{address_of(house)}/v1/status/web")[0] == 200
        house.asked("token", "revoke", "ci")
        assert curl(*shown, f"{address_of(house)}/v1/status/web")[0] == 401
