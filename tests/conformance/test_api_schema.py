"""The API keeps to its own description: whatever is asked, no answer is a fault of circusd, and each is as described.

Requests are made up from /v1/openapi.json, good ones and bad ones, always the same, and sent through a real control
socket to a circusd without processes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from tests.house import opened, ticker, wait_for
from urllib3.connectionpool import HTTPConnectionPool

from circus import stats
from circus.control.openapi import describe
from circus.control.rows import Run
from circus.engine.samples import Use
from circus.supervise.states import SlotKey
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher
from papa import places

#: Of each operation, good ones and as many bad ones.
EXAMPLES = 25
EXAMPLES_OF_REAL = 8

CHECKS: list[Any] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]

DESCRIPTION = describe()

#: The value of a variable of the environment.
SECRET = "hush-hush"

#: What goes on for ever is asked for its beginning by others.
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIPTION["paths"].items()
    for method, each in methods.items()
    if set(each["responses"]["200"]["content"]) != {"text/event-stream"}
]


class Pinned(HTTPAdapter):
    """Speaks TLS with who has this certificate."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **named)  # type: ignore[no-untyped-call]


class UnixAdapter(HTTPAdapter):
    """Sends what `requests` sends through a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        kind = type("Connection", (HTTPConnectionPool.ConnectionCls,), {"_new_conn": lambda _self: _connect(path)})
        self._pool = type("Pool", (HTTPConnectionPool,), {"ConnectionCls": kind})("localhost")

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    with places.unix_address(path) as address:
        sock.connect(address)
    return sock


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[requests.Session]:
    folder = tmp_path_factory.mktemp("api")
    engine = FakeEngine(make_watcher("web", 2), make_watcher("a/b", 1))
    engine.state_directory = str(folder)
    engine.daemon_info = dict(stats.read(os.getpid(), with_children=False))  # type: ignore[arg-type]
    run = Run(
        due=1.0, by_hand=False, state="done", started_at=1.0, ended_at=2.0, pid=7, status=0, signal=None, reason="",
        count=1,
    )  # fmt: skip
    engine.ran = {"web": [dict(run)], "a/b": [dict(run)]}
    engine.figures.samples.add(time.time(), [Use(SlotKey("web", 1), 7, 1.0, 4096)])
    path = str(folder / "circus.sock")
    with FakeCircusd(engine, path), session_of(path) as session:
        yield session


REAL = f"""
[circus]
stats_interval = 1
api.listen = 127.0.0.1:0
api.rate = 0
[env]
HIDDEN = {SECRET}
[socket:front]
host = 127.0.0.1
port = 0
[watcher:job]
cmd = /bin/true
schedule = 0 3 * * *
[watcher:fails]
cmd = /bin/false
backoff.attempts = 1
"""


class Real(NamedTuple):
    by_unix: requests.Session
    by_tls: requests.Session
    url: str


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with opened(tmp_path_factory.mktemp("house"), ticker("web", count=2) + REAL) as house:
        house.launch()
        wait_for(lambda: "web: active" in house.ctl("status").stdout, "circusd up")
        house.asked("run", "job")
        wait_for(lambda: house.log("web.log"), "something written")
        (url,) = wait_for(
            lambda: [line for line in house.asked("version").splitlines() if line.startswith("listening at ")],
            "an address",
        )
        made = house.ctl("token", "create", "eye", "--role", "viewer")
        fingerprint = made.stderr.splitlines()[-1].removeprefix("fingerprint ")
        with session_of(str(house.folder / "run" / "circus-default.sock")) as by_unix, requests.Session() as by_tls:
            by_tls.verify = False
            by_tls.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
            by_tls.mount("https://", Pinned(fingerprint))
            yield Real(by_unix, by_tls, url.removeprefix("listening at "))


@contextlib.contextmanager
def session_of(path: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://localhost", UnixAdapter(path))
        yield session


def shape(case: schemathesis.Case) -> None:
    """Names that there are come up more often; nobody waits for what has no end."""
    if case.path_parameters and len(str(case.path_parameters.get("name", ""))) % 2:
        case.path_parameters["name"] = "web"
    if case.query and "follow" in case.query:
        case.query["follow"] = "false"


def ask(
    session: requests.Session,
    method: str,
    path: str,
    modes: Iterable[GenerationMode],
    examples: int,
    url: str = "http://localhost",
) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method]

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]))
    def one(case: schemathesis.Case) -> None:
        shape(case)
        response = case.call(base_url=url, session=session, verify=session.verify)
        case.validate_response(response, checks=CHECKS)
        assert SECRET not in response.content.decode() or "reveal" in (case.query or {})

    one()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_asked_or_ordered_is_answered_as_described(fake: requests.Session, method: str, path: str) -> None:
    ask(fake, method, path, GenerationMode, EXAMPLES)


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "get"])
def test_a_real_circusd_answers_as_described(real: Real, path: str) -> None:
    ask(real.by_unix, "get", path, [GenerationMode.POSITIVE], EXAMPLES_OF_REAL)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_over_tls_all_is_answered_or_refused_as_described(real: Real, method: str, path: str) -> None:
    ask(real.by_tls, method, path, GenerationMode, EXAMPLES_OF_REAL, real.url)
