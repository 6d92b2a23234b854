from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.control import auth
from circus.control import client as client_module
from circus.control.client import Client
from circus.errors import CircusError
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

#: A time-out that shall pass.
SOON_S = 0.05

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    return str(tmp_path / "circus-default.sock")


@pytest.fixture
def peer(path: str) -> Iterator[Callable[[Callable[[socket.socket], None]], None]]:
    """Serves one connection at the path by a function, in a thread."""
    threads = []

    def serve(function: Callable[[socket.socket], None]) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def run() -> None:
            with listener:
                connection, _ = listener.accept()
            with connection:
                connection.settimeout(30)
                function(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def saying(data: bytes) -> Callable[[socket.socket], None]:
    def function(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return function


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def refusal(call: Callable[[], Any]) -> CircusError:
    with pytest.raises(CircusError) as caught:
        call()
    return caught.value


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """A client's time-out passes soon after it has sent this, and not before, however slow the machine is."""

    def lose_patience_after(piece: bytes) -> None:
        send = client_module._Reader.send

        def send_and_lose_patience(reader: client_module._Reader, data: bytes) -> None:
            send(reader, data)
            if piece in data:
                reader.deadline = time.monotonic() + SOON_S

        monkeypatch.setattr(client_module._Reader, "send", send_and_lose_patience)

    return lose_patience_after


def test_a_query_and_an_order_are_answered(path: str) -> None:
    with FakeCircusd(FakeEngine(make_watcher("web", 2)), path):
        client = Client(path)
        assert client.get("/v1/watchers") == {"watchers": ["web"]}
        assert client.post("/v1/watchers/web/count", {"delta": 1})["numprocesses"] == 3


def test_an_answer_larger_than_many_reads_arrives_whole(path: str) -> None:
    with FakeCircusd(FakeEngine(*[make_watcher(f"w{number:05}") for number in range(5000)]), path):
        assert len(Client(path).get("/v1/status")["watchers"]) == 5000


def test_a_refusal_arrives_with_code_message_and_hint(path: str) -> None:
    with FakeCircusd(FakeEngine(make_watcher("web")), path):
        error = refusal(lambda: Client(path).get("/v1/status/wbe"))
        assert (error.code, error.message, error.hint) == (
            *("not-found", "watcher 'wbe' not found"),
            "did you mean 'web'?",
        )
        # A refusal before the body is wanted.
        assert refusal(lambda: Client(path).post("/v1/nope", {})).code == "not-found"


def test_without_a_circusd_the_place_and_what_to_do_are_said(path: str, tmp_path: Path) -> None:
    (tmp_path / "circus-web.sock").touch()
    error = refusal(lambda: Client(path).get("/v1/status"))
    assert (error.code, error.exit_status) == ("unreachable", 1)
    assert f"no circusd answers at {path}" in error.message
    assert "circusd CONFIG" in error.hint
    assert "(here: web)" in error.hint


def test_a_socket_that_nobody_listens_to_is_no_circusd(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    assert "Connection refused" in refusal(lambda: Client(path).get("/v1/status")).message


def test_a_path_without_access_is_told_whom_to_run_as(path: str) -> None:
    error = Client(path)._unreachable(PermissionError(13, "Permission denied"))
    assert (error.code, "as root" in error.hint) == ("unreachable", True)


def test_a_listener_of_another_user_is_sent_nothing(
    path: str, peer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    peer(lambda connection: heard.append(connection.recv(65536)))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(auth, "peer_uid", lambda sock: 1001)
    error = refusal(lambda: Client(path).post("/v1/quit", {}))
    assert (error.code, "uid 1001" in error.message) == ("unreachable", True)
    monkeypatch.undo()
    while not heard:
        time.sleep(0.001)
    assert heard == [b""]


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_hung_circusd_is_noticed_also_by_an_order_without_a_bound(
    is_bounded: bool, path: str, peer: Callable[..., None], impatient: Callable[[bytes], None]
) -> None:
    peer(silent)
    impatient(b"Expect")
    error = refusal(lambda: Client(path).post("/v1/stop", {}, is_bounded=is_bounded))
    assert (error.code, error.exit_status) == ("timeout", 1)
    assert error.message.startswith("Timed out.")
    assert error.hint.endswith("the order was not taken, and will not be")


def test_a_query_is_bounded(path: str, peer: Callable[..., None], impatient: Callable[[bytes], None]) -> None:
    peer(silent)
    impatient(b"GET")
    assert refusal(lambda: Client(path).get("/v1/status")).code == "timeout"


def test_bytes_that_trickle_do_not_prolong_a_query(
    path: str, peer: Callable[..., None], impatient: Callable[[bytes], None]
) -> None:
    def trickle(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"H")
                time.sleep(0.005)
        except OSError:
            pass

    peer(trickle)
    impatient(b"GET")
    assert refusal(lambda: Client(path).get("/v1/status")).code == "timeout"


@pytest.mark.parametrize("is_bounded", [True, False])
def test_an_order_may_take_longer_than_the_time_out_unless_it_is_bounded(
    is_bounded: bool, path: str, impatient: Callable[[bytes], None]
) -> None:
    import asyncio

    engine = FakeEngine(make_watcher("web"))
    with FakeCircusd(engine, path) as circusd:
        engine.gate = asyncio.Event()
        impatient(b"{}")  # with which the order is taken
        client = Client(path)
        if is_bounded:
            error = refusal(lambda: client.post("/v1/stop", {}, is_bounded=True))
            assert (error.code, "has taken the order" in error.hint) == ("timeout", True)
            circusd.call(engine.gate.set)
        else:
            timer = threading.Timer(5 * SOON_S, lambda: circusd.call(engine.gate.set))  # type: ignore[union-attr]
            timer.start()
            assert client.post("/v1/stop", {})["op"] == 1
            timer.join()


def test_a_listener_with_a_full_queue_is_timed_out_and_an_order_was_not_taken(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        assert refusal(lambda: Client(path, timeout_s=SOON_S).get("/v1/status")).code == "timeout"
        error = refusal(lambda: Client(path, timeout_s=SOON_S).post("/v1/stop", {}))
        assert (error.code, "was not taken" in error.hint) == ("timeout", True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        b"\xff" * (2 * client_module.MAX_HEAD),
        b"\r\n\r\n",
    ],
)
def test_what_is_no_circusd_is_said_so(data: bytes, path: str, peer: Callable[..., None]) -> None:
    peer(saying(data))
    error = refusal(lambda: Client(path).get("/v1/status"))
    assert (error.code, "is no circusd" in error.message) == ("unreachable", True)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_an_answer_that_breaks_off_is_said_so(data: bytes, path: str, peer: Callable[..., None]) -> None:
    peer(saying(data))
    error = refusal(lambda: Client(path).get("/v1/status"))
    assert (error.code, "gave no answer" in error.message) == ("unreachable", True)


def test_an_unknown_code_of_a_newer_circusd_is_a_failure(path: str, peer: Callable[..., None]) -> None:
    body = b'{"error": {"code": "novel", "message": "m"}}'
    peer(saying(b"HTTP/1.1 418 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)))
    error = refusal(lambda: Client(path).get("/v1/status"))
    assert (error.code, error.message, error.hint) == ("failed", "m", "")


def test_an_answer_in_single_bytes_is_an_answer(path: str, peer: Callable[..., None]) -> None:
    def slow(connection: socket.socket) -> None:
        connection.recv(65536)
        for byte in OK:
            connection.sendall(bytes([byte]))

    peer(slow)
    assert Client(path).get("/v1/status") == {}


def test_a_name_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    assert refusal(lambda: Client(str(tmp_path / ("x" * 200))).get("/v1/status")).code == "usage"


def test_no_descriptor_is_left(path: str) -> None:
    with FakeCircusd(FakeEngine(make_watcher("web")), path):
        Client(path).get("/v1/status")
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(5):
            Client(path).get("/v1/status")
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 2  # the server's side may be closing
    for _ in range(5):
        refusal(lambda: Client(path).get("/v1/status"))
