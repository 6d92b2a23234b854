"""circusd's doors over TCP, which a configuration asks for by `api.listen`: HTTP under TLS for who has a token.

A door that cannot be opened (its port is taken, its address not there yet, its certificate unreadable) is said in the
log and in every status, and tried again, ever more seldom; circusd goes on without it.

Connections are accepted here and not by asyncio, so that each one counts from its first moment: one that never agrees
on TLS has a place and a time, too (`places`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from circus.config.doors import split_address
from circus.config.model import CircusConfig
from circus.control import keepalive, server, tls
from circus.control.auditing import Auditing
from circus.control.doorman import Doorman
from circus.control.keyring import Keyring
from circus.control.places import Place, Places
from circus.control.server import Connection
from circus.errors import CircusError
from circus.streams.workers import run_aside

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("circus.control")

#: Connections that wait to be accepted; and so many are accepted before something else has its turn.
BACKLOG = 128
BATCH = 16

#: For all that TLS needs, and for its goodbye.
HANDSHAKE_S = 10.0
GOODBYE_S = 1.0

#: Between two attempts to open a door, each twice as long as the one before, up to the last.
RETRY_S = 1.0
MAX_RETRY_S = 60.0

#: A start does not wait longer for doors: names are looked up, a certificate is made.
SETTLE_S = 10.0

#: Who takes nothing of an answer, or has vanished in the middle of one, gives his place back after it, too: the system
#: asks after him only when nothing is on its way.
TAKE_S = 120

#: Where no descriptor is left for a connection.
PAUSE_S = 1.0


class TcpDoors:
    """All doors of a configuration; ``troubles`` is where what is wrong with one is told, by a name for it."""

    def __init__(
        self,
        app: ASGIApp,
        config: CircusConfig,
        keyring: Keyring,
        auditing: Auditing,
        *,
        directory: Path,
        troubles: MutableMapping[str, str],
    ) -> None:
        self._config = config
        self._directory = directory
        self._keyring = keyring
        self._troubles = troubles
        self._places = Places()
        listened = [split_address(address)[0] for address in config.api_listen]
        doorman = Doorman(app, keyring, auditing, hosts=[*config.api_hosts, *listened], rate=config.api_rate)
        self._http = server.config_of(doorman)
        self._state = ServerState()
        self._certificate: tls.Certificate | None = None
        self._doors: dict[str, _Door] = {}
        self._loading = asyncio.Lock()
        self._opening: set[asyncio.Task[None]] = set()
        self._tried: list[asyncio.Future[None]] = []  # once at least

    def addresses(self) -> list[str]:
        scheme = "https" if self._config.api_tls else "http"
        return [f"{scheme}://{door.address}" for door in self._doors.values()]

    def fingerprint(self) -> str:
        is_own = self._config.api_tls and not self._config.api_certificate
        return self._certificate.fingerprint if is_own and self._certificate is not None else ""

    @property
    def connections(self) -> int:
        return len(self._places)

    async def start(self) -> None:
        """Begins to open them, and waits for the first attempts, though not for ever."""
        self._keyring.on_end = self._places.end
        for address in self._config.api_listen:
            tried = asyncio.get_running_loop().create_future()
            self._tried.append(tried)
            task = asyncio.get_running_loop().create_task(self._try_on(address, tried))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        await self.settled()

    async def settled(self) -> None:
        if self._tried:
            await asyncio.wait(self._tried, timeout=SETTLE_S)

    async def close(self) -> None:
        for task in self._opening:
            task.cancel()
        for door in self._doors.values():
            door.close()
        self._doors.clear()
        agreeing = [place.task for place in self._places if place.transport is None and place.task is not None]
        for each in agreeing:
            each.cancel()
        if agreeing:
            await asyncio.wait(agreeing)
        await server.close(self._state)

    # Opening ------------------------------------------------------------------------------------------------

    async def _try_on(self, address: str, tried: asyncio.Future[None]) -> None:
        pause_s = RETRY_S
        try:
            while not await self._try(address):
                if not tried.done():
                    tried.set_result(None)
                await asyncio.sleep(pause_s)
                pause_s = min(MAX_RETRY_S, pause_s * 2)
        finally:
            if not tried.done():
                tried.set_result(None)

    async def _try(self, address: str) -> bool:
        name = f"api {address}"
        try:
            if self._config.api_tls:
                await self._load_certificate()
            door = await self._open(address)
        except CircusError as error:
            trouble = f"nobody can ask at {address}: {error.message} ({error.hint})"
            if self._troubles.get(name) != trouble:
                self._troubles[name] = trouble
                log.warning("%s; it is tried again, ever more seldom", trouble)
            return False
        self._troubles.pop(name, None)
        self._doors[address] = door
        said = f" sha256={self.fingerprint()}" if self.fingerprint() else ""
        log.info("the API listens at %s://%s%s", "https" if self._config.api_tls else "http", door.address, said)
        return True

    async def _load_certificate(self) -> None:
        """Raises: CircusError failed."""
        async with self._loading:
            if self._certificate is None:
                self._certificate = await self._make_certificate()

    async def _make_certificate(self) -> tls.Certificate:
        path, key = self._config.api_certificate, self._config.api_key
        if not path:
            hosts = {split_address(address)[0] for address in self._config.api_listen} | set(self._config.api_hosts)
            path = await tls.own(self._directory, self._config.name, sorted(hosts))
        certificate = tls.Certificate(path, key or path, self._on_certificate)
        await certificate.load()
        return certificate

    def _on_certificate(self, trouble: str) -> None:
        self._troubles.pop("api certificate", None)
        if trouble:
            self._troubles["api certificate"] = trouble

    async def _open(self, address: str) -> _Door:
        """Raises: CircusError failed."""
        host, port = split_address(address)

        def look_up() -> list[Any]:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)

        try:
            found = await run_aside("circus-names", look_up)
            family, kind, _, _, where = found[0]
            if not self._config.api_tls and not ipaddress.ip_address(where[0]).is_loopback:
                raise CircusError(
                    "failed", f"{where[0]} is no loopback address, and api.tls is off", "write api.tls = on"
                )
            sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(where)
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise CircusError("failed", error.strerror or str(error), "see api.listen") from None
        return _Door(sock, self._accept)

    # Connections --------------------------------------------------------------------------------------------

    def _accept(self, sock: socket.socket, peer: str) -> None:
        host = str(sock.getsockname()[0]).partition("%")[0]
        place, gone = self._places.take(peer, host)
        if gone is not None:
            gone.abort()
        place.task = asyncio.get_running_loop().create_task(self._serve(place, sock))

    async def _serve(self, place: Place, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = None
            if self._certificate is not None:
                context = await self._certificate.context()
            more = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": GOODBYE_S} if context else {}
            await loop.connect_accepted_socket(
                lambda: _TcpConnection(self._http, self._state, place), sock, ssl=context, **more
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            # Whoever does not speak TLS has heard so from it; who was dropped for another one has not to be told.
            if place.transport is not None:
                place.transport.abort()
            place.leave()
            sock.close()


class _Door:
    """A listening socket; ``accept`` is given each connection and who it is from."""

    def __init__(self, sock: socket.socket, accept: Callable[[socket.socket, str], None]) -> None:
        self._sock = sock
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self.address = written(sock.getsockname())
        self._listen()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(BATCH):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection is accepted at %s: %s", self.address, error.strerror or error)
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(PAUSE_S, self._listen)
                return
            sock.setblocking(False)
            try:
                self._accept(sock, str(peer[0]))
            except OSError:  # it has gone already
                sock.close()


class _TcpConnection(Connection):
    """Of somebody of whom nothing is known yet."""

    def __init__(self, config: Config, state: ServerState, place: Place) -> None:
        super().__init__(config, state, {"place": place})
        self._place = place

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._place.transport = transport
        with contextlib.suppress(OSError):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keepalive.ask_after(sock)
            if (option := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, TAKE_S * 1000)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._place.leave()


def written(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host = address[0]
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
