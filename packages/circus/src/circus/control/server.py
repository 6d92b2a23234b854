"""Serves the control API on a claimed unix socket: uvicorn's HTTP/1.1 protocol under asyncio's own server.

The idea: nothing here wakes up by itself. uvicorn.Server looks around ten times a second and is therefore not
used; its protocol class alone is driven by what arrives, and keeps timers only for open connections. A
connection comes to life only after its peer's uid was read. What the answers are is decided in routes and
ops.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, cast

import h11
import msgspec
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from circus.control import auth, schema
from circus.control.access import Gate
from circus.control.audit import Trail
from circus.control.auditing import Audited, Auditing
from circus.control.claim import Claim
from circus.control.members import Members
from circus.control.seldom import Seldom
from circus.control.succession import AGAIN, TurnedAway
from circus.errors import CircusError

log = logging.getLogger("circus.control")

#: What uvicorn says of each request that it does not understand is told in the answer; here it would fill the log, for
#: anybody may send some. What goes wrong on our side is in it.
_quiet = log.getChild("http")
_quiet.setLevel(logging.ERROR)

#: All who may listen to events and follow logs (`events.MAX_LISTENERS` of each), and 128 beside them for orders and
#: queries. Each costs a descriptor, and some 30 KB while it is open.
MAX_CONNECTIONS = 640

#: Those from which on members of groups are refused, so that its owner can always speak to circusd.
MAX_MEMBERS = 576

#: Request line and headers; ours have a few hundred bytes.
MAX_HEAD = 16 * 1024

#: From the first byte we wait for to the end of the request: a peer that stopped must not hold its place.
REQUEST_TIMEOUT_S = 10.0

#: How long an idle connection is kept for another request.
KEEP_ALIVE_S = 5

#: After so many turns of the loop a connection that asyncio has accepted has its protocol.
ACCEPTING_TURNS = 5

#: At the end: for replies under way, then for their bytes to leave.
CLOSE_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 1.0


class ControlServer:
    """``app`` behind ``claim``: ``start``, and ``close``. The name stays the caller's, to be released by him."""

    def __init__(
        self,
        app: ASGIApp,
        claim: Claim,
        auditing: Auditing | None = None,
        *,
        members: Members | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        self._claim = claim
        self._auditing = auditing or Auditing(Trail(), 0.0)
        self._members = members or Members()
        self._refused = Seldom(log)
        self._config = config_of(Audited(Gate(app, hosts), self._auditing))
        self._state = ServerState()
        self._server: asyncio.AbstractServer | None = None
        self._listening = claim.sock

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # From 3.13 on asyncio removes the path at the end, which the claim does, and looks for it at the address that
        # the socket was bound by: that of one with a long path is no longer there (papa.places).
        self._listening = self._claim.sock.dup()  # asyncio closes it, and the claim may outlive this server
        kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await loop.create_unix_server(
            lambda: _UnixConnection(self._config, self._state, self._members, self._auditing, self._refused),
            sock=self._listening,
            **kept,
        )

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    async def close(self) -> None:
        """No new connections; what becomes of the others see below."""
        if self._server is not None:
            self._server.close()
        self._claim.stop_listening()
        await close(self._state)

    async def pause(self) -> None:
        """As `close`, but who comes from now on waits for the successor, who goes on with the claim."""
        if self._server is not None:
            # First of all nobody more is accepted: asyncio drops those whom it has accepted but not yet welcomed.
            asyncio.get_running_loop().remove_reader(self._listening)
            for _ in range(ACCEPTING_TURNS):
                await asyncio.sleep(0)
            self._server.close()
        turn_away(self._state)
        await close(self._state)


def config_of(app: ASGIApp) -> Config:
    config = Config(
        app=app,
        http=Connection,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=True,  # False would end that of a program in which we are embedded; ours is in `Connection`
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
        timeout_keep_alive=KEEP_ALIVE_S,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    config.load()
    return config


def turn_away(state: ServerState) -> None:
    """Whoever has connected and was not heard yet is told to ask again."""
    for connection in list(state.connections):
        cast("Connection", connection).turn_away()


async def close(state: ServerState) -> None:
    """Replies under way are sent, within CLOSE_TIMEOUT_S. Who waits longer is told that circusd leaves."""
    for connection in list(state.connections):
        connection.shutdown()
    if tasks := set(state.tasks):
        await asyncio.wait(tasks, timeout=FLUSH_TIMEOUT_S)
        for connection in list(state.connections):
            cast("Connection", connection).give_up_stream()
        _, late = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=FLUSH_TIMEOUT_S)
    open_connections = [cast("Connection", connection) for connection in state.connections]
    if open_connections:
        await asyncio.wait([connection.gone for connection in open_connections], timeout=FLUSH_TIMEOUT_S)
    late_connections = [connection for connection in open_connections if not connection.gone.done()]
    for connection in late_connections:
        connection.transport.abort()
    if late_connections:
        await asyncio.wait([connection.gone for connection in late_connections])


class Connection(H11Protocol):
    """uvicorn's protocol, and what it leaves open: how long a request may take, and when a connection is gone."""

    def __init__(self, config: Config, state: ServerState, app_state: dict[str, object]) -> None:
        super().__init__(config, state, app_state)
        self.logger, self.access_log = _quiet, False
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget_deadline()
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or self._has_whole_request():
            self._forget_deadline()
        else:
            self._await_request()

    def give_up_stream(self) -> None:
        """An answer that comes in parts, to a client who does not take them, has no end to wait for."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()

    def turn_away(self) -> None:
        """Before its first request; one that is open for another one is closed, as at any time."""
        if self.cycle is None and not self.transport.is_closing():
            self._refuse(TurnedAway(), AGAIN)

    def send_400_response(self, msg: str) -> None:
        """For bytes that are no HTTP: the same form of error as for all others."""
        self._refuse(CircusError("bad-request", msg, "speak HTTP/1.1"), {})

    def _refuse(self, error: CircusError, more: Mapping[str, str]) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        answer = schema.ErrorAnswer(schema.ErrorBody(error.code, error.message, error.hint))
        body = msgspec.json.encode(answer)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *more.items(),
        ]
        status = HTTPStatus(error.http_status)
        response: list[h11.Event] = [
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in response:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _has_whole_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _await_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _UnixConnection(Connection):
    """Of somebody whom the system knows, and who may enter."""

    def __init__(
        self, config: Config, state: ServerState, members: Members, auditing: Auditing, refused: Seldom
    ) -> None:
        super().__init__(config, state, {})
        self._members = members
        self._auditing = auditing
        self._refused = refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        peer = transport.get_extra_info("socket")
        uid = auth.peer_uid(peer)
        caller = self._members.caller(uid, auth.peer_groups(peer) if self._members.has_any else ())
        if caller is None:
            self._refused.tell("a client was refused uid=%s", uid)
            self._auditing.note_refused(f"uid {uid}", auth.peer_name(peer), "forbidden")
            transport.abort()
        elif len(self.connections) >= (MAX_CONNECTIONS if auth.may_enter(uid) else MAX_MEMBERS):
            self._refused.tell("a client was refused connections=%d", len(self.connections))
            self._auditing.note_refused(f"uid {uid}", auth.peer_name(peer), "limit")
            transport.abort()
        else:
            self.app_state = {"caller": caller, "peer": auth.peer_name(peer)}
            super().connection_made(transport)
