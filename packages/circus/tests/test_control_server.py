from __future__ import annotations

import asyncio
import json
import logging
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.control import auth
from circus.control import server as server_module
from circus.control.access import Gate
from circus.control.auditing import Audited
from circus.control.claim import claim
from circus.control.client import Client
from circus.control.ops import Ops
from circus.control.routes import MAX_BODY, make_app
from circus.control.server import ControlServer
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

GET = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"


def post(target: str, body: bytes = b"{}") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes) -> tuple[int, Any]:
        self.writer.write(data)
        return await self.answer()

    async def answer(self) -> tuple[int, Any]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        return int(lines[0].split()[1]), json.loads(await self.reader.readexactly(length))

    async def ended(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


class World:
    def __init__(self, server: ControlServer, engine: FakeEngine, path: str) -> None:
        self.server, self.engine, self.path = server, engine, path
        self._peers: list[Peer] = []

    async def connect(self) -> Peer:
        self._peers.append(Peer(*await asyncio.open_unix_connection(self.path)))
        return self._peers[-1]

    def leave(self) -> None:
        for peer in self._peers:
            peer.close()


Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario against a server on a socket of its own, and sees to it that the server leaves nothing."""

    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            engine = FakeEngine(make_watcher("web", 2))
            held = claim(str(tmp_path / "c.sock"))
            server = ControlServer(make_app(Ops(engine)), held)
            await server.start()
            world = World(server, engine, str(tmp_path / "c.sock"))
            try:
                await scenario(world)
            finally:
                await server.close()
                world.leave()
                is_there = (tmp_path / "c.sock").exists()
                held.release()
            assert server.connections == 0
            assert not is_there

        asyncio.run(asyncio.wait_for(whole(), 50))

    return run


def test_a_connection_serves_several_requests_also_sent_at_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        assert (await peer.ask(GET))[0] == 200
        assert (await peer.ask(GET + post("/v1/watchers/web/stop") + GET))[0] == 200
        assert (await peer.answer())[1]["op"] == 1
        assert (await peer.answer())[1]["name"] == "default"

    play(scenario)


def test_nothing_is_kept_for_who_went_while_he_waited(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        world.engine.gate = asyncio.Event()
        peer = await world.connect()
        told = (await peer.ask(post("/v1/watchers/web/stop", b'{"wait": false}')))[1]
        peer.writer.write(f"GET /v1/operations/{told['operation']}?wait=80000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not world.server._state.tasks:
            await asyncio.sleep(0)
        peer.close()
        while world.server._state.tasks:
            await asyncio.sleep(0.01)
        other = await world.connect()
        waiting = f"GET /v1/operations/{told['operation']}?wait=40 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        other.writer.write(waiting + GET)
        world.engine.gate.set()
        assert (await other.answer())[1]["state"] == "done"
        assert (await other.answer())[1]["name"] == "default"

    play(scenario)


@pytest.mark.parametrize("target", ["/v1/events", "/v1/watchers/web/logs?follow=true"])
def test_a_stream_of_which_only_the_head_is_asked_has_an_end(target: str, play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        peer.writer.write(f"HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await peer.reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head and b"content-type: text/event-stream" in head
        assert (await peer.ask(GET))[1]["name"] == "default"

    play(scenario)


def test_an_idle_server_never_wakes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "KEEP_ALIVE_S", 0.05)

    class Counting(selectors.DefaultSelector):
        turns = 0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            Counting.turns += 1
            return super().select(timeout)

    async def scenario() -> None:
        engine = FakeEngine(make_watcher("web"))
        held = claim(str(tmp_path / "c.sock"))
        server = ControlServer(make_app(Ops(engine)), held)
        await server.start()
        peers = []
        for timeout_s in (0.1, 0.2, 0.3):  # a timer that outlived its connection would be a turn of its own
            monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", timeout_s)
            peers.append(Peer(*await asyncio.open_unix_connection(str(tmp_path / "c.sock"))))
        await peers[0].ask(GET)
        for peer in peers:
            peer.close()
            await peer.writer.wait_closed()
        while server.connections:
            await asyncio.sleep(0)
        before = Counting.turns
        await asyncio.sleep(0.5)
        assert Counting.turns - before <= 2  # our own sleep and what it resumes
        await server.close()
        held.release()

    loop = asyncio.SelectorEventLoop(Counting())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario())


def test_nothing_but_http_is_answered_in_the_form_of_errors_and_ends_the_connection(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        status, body = await peer.ask(b"hello there\r\n\r\n")
        assert (status, body["error"]["code"]) == (400, "bad-request")
        assert await peer.ended()

    play(scenario)


def test_garbage_within_a_body_ends_the_connection_and_nothing_else(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        head = (
            b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert (await peer.ask(head + b"zz\r\n"))[0] == 400
        assert await peer.ended()
        assert world.engine.heard == []
        assert (await (await world.connect()).ask(GET))[0] == 200

    play(scenario)


def test_garbage_after_an_early_refusal_ends_the_connection_without_a_fault(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        head = b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await peer.ask(head))[0] == 404
        peer.writer.write(b"zz\r\n")
        assert await peer.ended()

    with caplog.at_level(logging.ERROR):
        play(scenario)
    assert caplog.records == []


def test_a_head_is_bounded(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        assert (await peer.ask(b"GET /v1/" + b"x" * (2 * server_module.MAX_HEAD)))[0] >= 400
        assert await peer.ended()

    play(scenario)


def test_a_body_that_never_ends_is_refused_at_its_bound(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        head = f"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {10**9}\r\n\r\n"
        status, body = await peer.ask(head.encode() + b" " * (MAX_BODY + 1))
        assert (status, body["error"]["code"]) == (400, "bad-request")
        assert await peer.ended()
        assert world.engine.heard == []

    play(scenario)


@pytest.mark.parametrize("begun", [b"", b"GET /v1/ver", post("/v1/stop", b"{}")[:-1], GET + b"GET"])
def test_a_peer_that_stops_within_a_request_loses_its_place(
    begun: bytes, play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(server_module, "KEEP_ALIVE_S", 0.05)

    async def scenario(world: World) -> None:
        peer = await world.connect()
        peer.writer.write(begun)
        try:
            await peer.reader.read()
        except ConnectionError:
            pass
        while world.server.connections:
            await asyncio.sleep(0.005)
        assert world.engine.heard == []

    play(scenario)


def test_a_long_operation_is_no_stopped_peer(play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.5)

    async def scenario(world: World) -> None:
        world.engine.gate = asyncio.Event()
        peer = await world.connect()
        asyncio.get_running_loop().call_later(0.8, world.engine.gate.set)
        assert (await peer.ask(post("/v1/stop")))[0] == 200

    play(scenario)


def test_connections_are_bounded(play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)

    async def scenario(world: World) -> None:
        first, second = await world.connect(), await world.connect()
        assert (await first.ask(GET))[0] == (await second.ask(GET))[0] == 200
        third = await world.connect()
        assert await asyncio.wait_for(third.ended(), server_module.REQUEST_TIMEOUT_S / 2)
        first.close()
        while world.server.connections > 1:
            await asyncio.sleep(0)
        assert (await (await world.connect()).ask(GET))[0] == 200

    play(scenario)


def test_another_user_is_not_heard(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(auth, "peer_uid", lambda sock: 4242)
            peer = await world.connect()
            peer.writer.write(post("/v1/stop"))
            assert await peer.ended()
        assert world.engine.heard == []
        assert (await (await world.connect()).ask(GET))[0] == 200

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert "uid=4242" in caplog.text


@pytest.fixture
def open_directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="circus-") as directory:
        os.chmod(directory, 0o755)
        yield directory


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_is_not_heard_even_if_the_file_lets_it_in(open_directory: str) -> None:
    path = f"{open_directory}/c.sock"
    engine = FakeEngine(make_watcher("web"))
    code = f"""
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect({path!r})
    try:
        sock.sendall({post("/v1/stop")!r})
        print(sock.recv(100))
    except ConnectionError:
        print(b"")
"""
    with FakeCircusd(engine, path):
        os.chmod(path, 0o666)
        result = subprocess.run(
            ["/usr/bin/env", "python3", "-I", "-S", "-c", code],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            cwd="/",
        )
    if result.returncode in (126, 127):
        pytest.skip("another user cannot run this Python")
    assert result.stdout == b"b''\n", result.stderr
    assert engine.heard == []


def test_the_reply_to_quit_is_sent_before_the_server_leaves(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        world.engine.gate = asyncio.Event()
        peer = await world.connect()
        peer.writer.write(post("/v1/quit"))
        while not world.engine.heard:
            await asyncio.sleep(0)
        closing = asyncio.create_task(world.server.close())
        await asyncio.sleep(0.02)
        assert not closing.done()
        world.engine.gate.set()
        assert (await peer.answer())[0] == 200
        assert await peer.ended()
        await closing

    play(scenario)


def test_who_waits_too_long_at_the_end_is_told_that_circusd_leaves(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 0.02)

    async def scenario(world: World) -> None:
        world.engine.gate = asyncio.Event()
        peer, silent = await world.connect(), await world.connect()
        peer.writer.write(post("/v1/stop"))
        silent.writer.write(post("/v1/stop")[:-1])
        while not world.engine.heard:
            await asyncio.sleep(0)
        await world.server.close()
        status, body = await peer.answer()
        assert (status, body["error"]["code"]) == (503, "unavailable")
        assert await peer.ended()

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert [record for record in caplog.records if record.exc_info] == []


def test_idle_connections_do_not_hold_the_end_up(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a scenario may take.
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 1000.0)
    monkeypatch.setattr(server_module, "FLUSH_TIMEOUT_S", 1000.0)

    async def scenario(world: World) -> None:
        idle, fresh = await world.connect(), await world.connect()
        await idle.ask(GET)
        await world.server.close()
        assert await idle.ended()
        assert await fresh.ended()

    play(scenario)


def test_a_peer_that_does_not_read_its_answer_does_not_hold_the_end_up(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "FLUSH_TIMEOUT_S", 0.02)
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 0.02)

    async def scenario(world: World) -> None:
        world.engine.watchers = {name: make_watcher(name, 5) for name in map(str, range(2000))}
        peer = await world.connect()
        peer.writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.reader.read(1)
        await asyncio.wait_for(world.server.close(), 30)
        assert world.server.connections == 0

    play(scenario)


def test_a_client_that_leaves_does_not_end_its_order(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        world.engine.gate = asyncio.Event()
        peer = await world.connect()
        peer.writer.write(post("/v1/quit"))
        while not world.engine.heard:
            await asyncio.sleep(0)
        peer.close()
        while world.server.connections:
            await asyncio.sleep(0)
        world.engine.gate.set()
        while not world.engine.has_ended:
            await asyncio.sleep(0)

    play(scenario)


def test_a_client_that_leaves_within_its_body_is_no_fault_of_ours(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        peer.writer.write(post("/v1/quit")[:-1])
        await peer.writer.drain()
        peer.close()
        await asyncio.sleep(0.02)
        while world.server.connections:
            await asyncio.sleep(0)
        assert world.engine.heard == []

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert caplog.records == []


def test_a_settled_environment_does_not_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    held = claim(str(tmp_path / "c.sock"))
    app = make_app(Ops(FakeEngine()))
    loaded = ControlServer(app, held)._config.loaded_app
    assert isinstance(loaded, Audited) and isinstance(loaded._app, Gate)  # and nothing else around it
    held.release()


def test_statistics_are_not_imported_for_the_doors() -> None:
    doors = "circus.control.server, circus.control.routes, circus.control.ops"
    code = f"import sys, {doors}; print('circus.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_path_of_a_control_socket_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = str(folder / "c.sock")
    mine = claim(path)
    # The descriptor by which the socket was bound is another's now.
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]

    async def serve() -> None:
        server = ControlServer(make_app(Ops(FakeEngine())), mine)
        await server.start()
        assert (await asyncio.to_thread(Client(path).get, "/v1/version"))["name"] == "default"
        await server.close()

    try:
        asyncio.run(serve())
    finally:
        mine.release()
        for fd in others:
            os.close(fd)
    assert not os.path.exists(path)


def test_the_access_log_of_a_program_that_has_its_own_uvicorn_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, handler = logging.getLogger("uvicorn.access"), logging.NullHandler()
    monkeypatch.setattr(theirs, "handlers", [handler])
    monkeypatch.setattr(theirs, "propagate", True)
    server_module.config_of(make_app(Ops(FakeEngine())))
    assert (theirs.handlers, theirs.propagate) == ([handler], True)
