from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from circus import clock
from circus.config.model import CircusConfig
from circus.control import doorman, events, following, keepalive, places, seldom, selfsigned, server, tcp, tls
from circus.control.audit import Trail
from circus.control.auditing import Auditing
from circus.control.caller import OWNER
from circus.control.keyring import Keyring
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.tcp import TcpDoors
from circus.control.tokens import Token, Wish
from circus.testing.circusd import FakeEngine, make_watcher

Answer = tuple[int, dict[str, str], Any]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "circusd.pem"
    path.write_bytes(selfsigned.make("test", ["127.0.0.1"]))
    return path


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, target: str = "/v1/version", *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        given = {line.partition(":")[0].lower() for line in headers}
        lines = [f"{method} {target} HTTP/1.1", *headers]
        if "host" not in given:
            lines.append("Host: localhost")
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        found = dict(line.split(": ", 1) for line in head[1:] if line)
        text = await self.reader.readexactly(int(found["content-length"])) if "content-length" in found else b"null"
        return int(head[0].split()[1]), found, json.loads(text)

    async def ended(self) -> bool:
        try:
            return await self.reader.read() == b""
        except (ConnectionError, ssl.SSLError):
            return True


class World:
    def __init__(self, doors: TcpDoors, ops: Ops, engine: FakeEngine, troubles: dict[str, str]) -> None:
        self.doors, self.ops, self.engine, self.troubles = doors, ops, engine, troubles
        self._peers: list[Peer] = []

    @property
    def port(self) -> int:
        (address,) = [each for each in self.doors.addresses() if "//127.0.0.1:" in each]
        return int(address.rpartition(":")[2])

    async def connect(self, *, is_safe: bool = True) -> Peer:
        context = None
        if is_safe:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context)))
        return self._peers[-1]

    async def token(self, role: str = "admin", **wish: Any) -> tuple[Token, str]:
        token, text = await self.ops.keyring.create(Wish(**{"name": role, "role": role, **wish}), OWNER)
        return token, f"Authorization: Bearer {text}"

    async def fact(self, holds: Callable[[], Any]) -> None:
        while not holds():
            await asyncio.sleep(0.01)

    async def leave(self) -> None:
        for peer in self._peers:
            peer.writer.transport.abort()


Scenario = Callable[[World], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path, pem: Path) -> Play:
    """Runs a scenario against doors of their own, and sees to it that they leave nothing."""

    def run(scenario: Scenario, **options: Any) -> None:
        async def whole() -> None:
            engine = FakeEngine(make_watcher("web", 2), make_watcher("db"))
            engine.state_directory = str(tmp_path)
            ops = Ops(engine)
            config = CircusConfig(
                **{"api_listen": ("127.0.0.1:0",), "api_certificate": str(pem), "api_key": str(pem), **options}
            )
            troubles: dict[str, str] = {}
            doors = TcpDoors(make_app(ops), config, ops.keyring, ops.auditing, directory=tmp_path, troubles=troubles)
            ops.doors = doors
            await doors.start()
            world = World(doors, ops, engine, troubles)
            try:
                await scenario(world)
            finally:
                ops.close()
                await doors.close()
                await world.leave()
                await ops.keyring.close()
            await world.fact(lambda: doors.connections == 0)
            assert doors.addresses() == []

        asyncio.run(asyncio.wait_for(whole(), 100))

    return run


def test_a_token_is_served_as_often_as_it_asks(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        peer = await world.connect()
        for _ in range(3):
            status, headers, answer = await peer.ask("/v1/version", bearer)
            assert (status, answer["listening"]) == (200, [f"https://127.0.0.1:{world.port}"])
            assert not [name for name in headers if "cookie" in name or name.startswith("access-control")]
        status, _, answer = await peer.ask("/v1/watchers/web/stop", bearer, method="POST", body=b"{}")
        assert (status, answer["op"]) == (200, 1)

    play(scenario)


def test_without_a_token_that_counts_nothing_is_told_and_the_connection_ends(play: Play) -> None:
    async def scenario(world: World) -> None:
        for headers in ((), ("Authorization: Bearer ct_x",), ("Authorization: Basic YTpi",)):
            peer = await world.connect()
            status, found, answer = await peer.ask("/v1/nonsense", *headers)
            assert (status, found["www-authenticate"]) == (401, 'bearer realm="circusd"')
            assert list(answer["error"]) == ["code", "message", "hint"]
            assert answer["error"]["code"] == "unauthorized"
            assert await peer.ended()

    play(scenario)


def test_what_a_token_may_not_is_forbidden_and_what_it_does_not_see_is_not_there(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token("operator", watchers=["w*"], verbs=["see", "stop"])
        peer = await world.connect()
        assert (await peer.ask("/v1/watchers", bearer))[2] == {"watchers": ["web"]}
        assert (await peer.ask("/v1/watchers/db/stop", bearer, method="POST", body=b"{}"))[0] == 404
        assert (await peer.ask("/v1/watchers/web/start", bearer, method="POST", body=b"{}"))[0] == 403
        assert (await peer.ask("/v1/tokens", bearer))[0] == 403
        assert (await peer.ask("/v1/watchers/web/stop", bearer, method="POST", body=b"{}"))[0] == 200

    play(scenario)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v1/version", ("Host: evil.example.org",), 403),
        ("/v1/version", ("Host: x",), 403),
        ("/v1/version", ("Host: 127.0.0.2",), 403),
        ("/v1/version", ("Host: 127.0.0.1:1",), 200),
        ("/v1/version", ("Host: shop.example.org",), 200),
        ("/v1/version", ("Origin: https://evil.example.org",), 403),
        ("/v1/version", ("Sec-Fetch-Site: cross-site",), 403),
        ("/v1/version?token=ct_x", (), 400),
        ("/v1/version?access_token=ct_x", (), 400),
    ],
)
def test_what_no_request_may_be_is_refused_with_a_token_too(
    play: Play, target: str, headers: tuple[str, ...], status: int
) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        assert (await (await world.connect()).ask(target, bearer, *headers))[0] == status

    play(scenario, api_hosts=("shop.example.org",))


def test_who_tries_tokens_is_told_to_wait_and_keeps_nobody_out(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)  # however long it takes, no try comes back

    async def scenario(world: World) -> None:
        for _ in range(doorman.FAILURES):
            assert (await (await world.connect()).ask("/v1/version", "Authorization: Bearer x"))[0] == 401
        status, headers, answer = await (await world.connect()).ask("/v1/version", "Authorization: Bearer x")
        assert (status, answer["error"]["code"]) == (429, "limit")
        assert 0 < int(headers["retry-after"]) <= doorman.FAILURE_S
        _, bearer = await world.token()
        assert (await (await world.connect()).ask("/v1/version", bearer))[0] == 200

    with caplog.at_level(logging.WARNING):
        play(scenario)
    told = [each for each in caplog.records if "a request was refused address=127.0.0.1" in each.message]
    assert len(told) == seldom.BURST


def test_a_token_that_asks_too_often_is_told_to_wait(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        peer = await world.connect()
        found = [await peer.ask("/v1/version", bearer) for _ in range(3)]
        while found[-1][0] == 200:  # a machine may be so slow that a drop comes back
            found.append(await peer.ask("/v1/version", bearer))
        assert [status for status, _, _ in found[:2]] == [200, 200]
        status, headers, answer = found[-1]
        assert (status, headers["retry-after"], answer["error"]["code"]) == (429, "1", "limit")

    play(scenario, api_rate=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_is_needed_of_1_2_at_least(play: Play) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect(is_safe=False)
        peer.writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in await peer.reader.read()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", world.port, ssl=old)

    play(scenario)


def test_plain_http_is_spoken_where_it_is_said_in_so_many_words(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        peer = await world.connect(is_safe=False)
        status, _, answer = await peer.ask("/v1/version", bearer)
        assert (status, answer["listening"]) == (200, [f"http://127.0.0.1:{world.port}"])

    play(scenario, api_tls=False)


def test_plain_http_is_not_opened_at_a_name_that_leads_elsewhere(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_args: object, **_options: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("0.0.0.0", 0))]

    async def scenario(world: World) -> None:
        assert "no loopback address" in world.troubles["api localhost:0"]
        assert world.doors.addresses() == []

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    play(scenario, api_tls=False, api_listen=("localhost:0",))


def test_strangers_who_only_sit_there_keep_nobody_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_STRANGERS", 3)

    async def scenario(world: World) -> None:
        silent = [await world.connect(is_safe=False) for _ in range(10)]  # who never agree on TLS
        waiting = [await world.connect() for _ in range(3)]  # who do, and ask nothing
        _, bearer = await world.token()
        peer = await world.connect()
        assert (await peer.ask("/v1/version", bearer))[0] == 200
        for each in silent:
            assert await each.ended()
        assert await waiting[0].ended()
        more = [await world.connect(is_safe=False) for _ in range(10)]
        assert (await peer.ask("/v1/version", bearer))[0] == 200  # who is known stays
        assert await more[0].ended()
        assert world.doors.connections <= 4

    play(scenario)


def test_connections_with_tokens_have_a_bound(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_KNOWN", 2)

    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        known = [await world.connect() for _ in range(2)]
        for peer in known:
            assert (await peer.ask("/v1/version", bearer))[0] == 200
        status, headers, _ = await (await world.connect()).ask("/v1/version", bearer)
        assert (status, headers["retry-after"]) == (429, "1")
        assert (await known[0].ask("/v1/version", bearer))[0] == 200

    play(scenario)


def test_who_never_agrees_on_tls_or_sends_his_request_byte_by_byte_is_dropped(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HANDSHAKE_S", 0.3)
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.3)

    async def scenario(world: World) -> None:
        silent = await world.connect(is_safe=False)
        assert await silent.ended()
        await world.fact(lambda: world.doors.connections == 0)

    play(scenario)

    async def plain(world: World) -> None:
        slow = await world.connect(is_safe=False)
        slow.writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nX: ")

        async def drip() -> None:
            while True:
                slow.writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await slow.ended()
        dripping.cancel()

    play(plain, api_tls=False)


async def _following(world: World, shown: str) -> Peer:
    peer = await world.connect()
    assert (await peer.ask("/v1/events", shown))[0] == 200
    assert b"id:" in await peer.reader.readuntil(b"\n\n")
    return peer


async def _following_for_a_while(world: World) -> tuple[Token, str, Peer]:
    """With a token that ends while it follows; a machine may be so slow that it has ended before anything is told."""
    for number, left_s in enumerate((0.3, 3.0, 30.0)):
        token, bearer = await world.token(name=f"short{number}", expires_in=left_s)
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            return token, bearer, await _following(world, bearer)
    raise AssertionError("nobody can follow for 30 s")


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_stream_ends_with_its_token_and_others_go_on(play: Play, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(clock, "wall", lambda: now)

    async def scenario(world: World) -> None:
        nonlocal now
        stays = await _following(world, (await world.token("viewer"))[1])
        if how == "revoked":
            token, bearer = await world.token()
            gone = await _following(world, bearer)
            await world.ops.keyring.revoke(token.id, OWNER)
        else:
            token, bearer, gone = await _following_for_a_while(world)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await gone.reader.read()
        now += 100
        assert (await (await world.connect()).ask("/v1/version", bearer))[0] == 401
        assert not stays.reader.at_eof()
        assert world.ops.listeners == 1

    play(scenario)


def test_a_stream_does_not_begin_whose_token_ends_meanwhile(tmp_path: Path) -> None:
    async def whole() -> list[str]:
        keyring = Keyring(tmp_path)
        token, text = await keyring.create(Wish("deploy", "viewer"), OWNER)
        sent: list[str] = []

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await keyring.revoke(token.id, OWNER)
            await send({"type": "http.response.body", "body": b"secret", "more_body": True})

        async def send(message: Message) -> None:
            sent.append(message["type"])

        class Transport(asyncio.Transport):
            def abort(self) -> None:
                sent.append("abort")

        place, _ = places.Places().take("127.0.0.1", "127.0.0.1")
        place.transport = Transport()
        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {text}".encode())]
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": headers,
            "query_string": b"",
            "scheme": "http",
        }
        asked = doorman.Doorman(app, keyring, Auditing(Trail(), 0.0))
        await asked({**scope, "state": {"place": place}}, None, send)  # type: ignore[arg-type]
        await keyring.close()
        return sent

    assert asyncio.run(whole()) == ["http.response.start", "abort"]


def test_an_order_is_not_carried_out_whose_token_ends_before_all_of_it_is_there(play: Play) -> None:
    async def scenario(world: World) -> None:
        token, bearer = await world.token()
        peer = await world.connect()
        peer.writer.write(
            f"POST /v1/stop HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert b" 100 " in await peer.reader.readuntil(b"\r\n\r\n")
        await world.ops.keyring.revoke(token.id, OWNER)
        peer.writer.write(b"{}")
        assert b" 401 " in await peer.reader.readline()
        assert world.engine.heard == []

    play(scenario)


def test_whoever_listens_over_tcp_leaves_room_for_listeners_at_the_control_socket() -> None:
    assert min(events.MAX_LISTENERS, following.MAX_FOLLOWERS) > places.MAX_KNOWN


def test_strangers_do_not_fill_the_log(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)  # however long it takes, no more lines are due
    upgrade = b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

    async def scenario(world: World) -> None:
        for sent, status in ((b"nonsense\r\n\r\n", b"400"), (upgrade, b"401")):
            for _ in range(2 * seldom.BURST):
                peer = await world.connect()
                peer.writer.write(sent)
                assert (await peer.reader.readline()).split()[1] in (status, b"429")

    play(scenario)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == seldom.BURST
    assert {each.name for each in warnings} == {"circus.control"}


def test_a_token_may_revoke_itself_and_is_told_so(play: Play) -> None:
    async def scenario(world: World) -> None:
        token, bearer = await world.token()
        peer = await world.connect()
        status, _, answer = await peer.ask(f"/v1/tokens/{token.id}/revoke", bearer, method="POST", body=b"{}")
        assert (status, answer["revoked"]["name"]) == (200, "admin")
        assert (await peer.ask("/v1/version", bearer))[0] == 401

    play(scenario)


def test_a_token_that_is_made_over_the_api_is_told_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        peer = await world.connect()
        body = json.dumps({"name": "ci", "role": "viewer", "verbs": ["see"], "expires_in": 60}).encode()
        status, _, made = await peer.ask("/v1/tokens", bearer, method="POST", body=body)
        assert status == 200
        assert (made["about"]["by"], made["listening"]) == ("token admin", world.doors.addresses())
        listed = (await peer.ask("/v1/tokens", bearer))[2]
        assert [row["name"] for row in listed["tokens"]] == ["admin", "ci"]
        assert made["token"].rpartition("_")[2] not in json.dumps(listed)
        assert (await peer.ask("/v1/version", f"Authorization: Bearer {made['token']}"))[0] == 200

    play(scenario)


def test_a_taken_port_is_said_and_tried_again(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tcp, "RETRY_S", 0.01)
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"

    async def scenario(world: World) -> None:
        assert "Address already in use" in world.troubles[f"api {address}"]
        assert world.doors.addresses() == []
        taken.close()
        await world.fact(world.doors.addresses)
        assert world.troubles == {}
        _, bearer = await world.token()
        assert (await (await world.connect()).ask("/v1/version", bearer))[0] == 200

    with taken, caplog.at_level(logging.INFO):
        play(scenario, api_listen=(address,))
    assert len([each for each in caplog.records if "nobody can ask at" in each.message]) == 1


def test_a_renewed_certificate_counts_for_the_next_connection_and_a_broken_one_does_not(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    path = tmp_path / "renewed.pem"
    path.write_bytes(selfsigned.make("first", []))

    def shown(peer: Peer) -> bytes:
        found: bytes = peer.writer.get_extra_info("ssl_object").getpeercert(True)
        return found

    async def scenario(world: World) -> None:
        first = await world.connect()
        path.write_bytes(b"nonsense")
        assert shown(await world.connect()) == shown(first)
        assert "the one before goes on" in world.troubles["api certificate"]
        path.write_bytes(selfsigned.make("second", []))
        assert shown(await world.connect()) != shown(first)
        assert world.troubles == {}
        path.unlink()
        await world.connect()
        _, bearer = await world.token()
        assert (await first.ask("/v1/version", bearer))[0] == 200

    play(scenario, api_certificate=str(path), api_key=str(path))


def test_a_certificate_that_is_not_there_is_said(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "RETRY_S", 0.01)
    path = tmp_path / "later.pem"

    async def scenario(world: World) -> None:
        assert "No such file" in world.troubles["api 127.0.0.1:0"]
        path.write_bytes(selfsigned.make("later", []))
        await world.fact(world.doors.addresses)
        assert world.troubles == {}

    play(scenario, api_certificate=str(path), api_key=str(path))


def test_who_has_vanished_is_asked_for_by_the_system(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        await (await world.connect()).ask("/v1/version", bearer)
        (place,) = world.doors._places
        assert place.transport is not None
        sock = place.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == keepalive.IDLE_S
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    play(scenario)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such bound")
def test_who_takes_nothing_of_an_answer_has_no_place_for_ever(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        await (await world.connect()).ask("/v1/version", bearer)
        (place,) = world.doors._places
        assert place.transport is not None
        sock = place.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == tcp.TAKE_S * 1000

    play(scenario)


def test_doors_that_are_closed_end_streams_and_handshakes(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        await world.connect(is_safe=False)
        peer = await world.connect()
        assert (await peer.ask("/v1/events", bearer))[0] == 200

    play(scenario)


def test_several_doors_are_open_at_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, bearer = await world.token()
        assert len({*world.doors.addresses()}) == 2
        assert (await (await world.connect()).ask("/v1/version", bearer))[0] == 200

    play(scenario, api_listen=("127.0.0.1:0", "127.0.0.2:0"))


def test_a_look_up_that_hangs_holds_up_no_quit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked, answered, look_up = threading.Event(), threading.Event(), threading.Event(), socket.getaddrinfo

    def hanging(*args: Any, **more: Any) -> Any:
        asked.set()
        released.wait(30)
        answered.set()
        return look_up(*args, **more)

    async def whole() -> None:
        engine = FakeEngine(make_watcher("web"))
        ops, config = Ops(engine), CircusConfig(api_listen=("127.0.0.1:0",), api_tls=False)
        doors = TcpDoors(make_app(ops), config, ops.keyring, ops.auditing, directory=tmp_path, troubles={})
        starting = asyncio.create_task(doors.start())
        while not asked.is_set():
            await asyncio.sleep(0.01)
        starting.cancel()
        await doors.close()

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    asyncio.run(whole())
    assert not answered.is_set()
    released.set()
    assert answered.wait(30)
