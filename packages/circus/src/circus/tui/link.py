"""Asks circusd without holding up the screen: the blocking client, in threads of its own.

The idea: whom one speaks to, certificates and tokens are the client's matter, as for circusctl; this only waits.
Orders are given without waiting for their end, and streams can be broken off, so that no thread outlives the screen for
longer than a request may take.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from circus.control import sse
from circus.control.client import Client, target
from circus.errors import CircusError

#: Events, a log, some operations that are followed, and requests beside them.
MAX_THREADS = 16

_CHUNK = 64 * 1024

#: The kind of what is no event: from now on nothing is missed.
OPEN = "open"

T = TypeVar("T")


class Heard(NamedTuple):
    """One event of a stream; ``id`` is where to go on behind it."""

    kind: str
    told: dict[str, Any]
    id: str = ""


class Link:
    """Every call raises CircusError, and nothing else."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(MAX_THREADS, "circus-top")

    async def get(self, *path: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        return await self._run(lambda: self._client.get(target(*path, query=query)))

    async def post(self, *path: str, body: dict[str, object]) -> dict[str, Any]:
        return await self._run(lambda: self._client.post(target(*path), body, is_bounded=True))

    async def listen(self, *path: str, query: dict[str, str] | None = None) -> AsyncGenerator[Heard, None]:
        """OPEN once circusd listens, then each event, until circusd ends it. To be closed."""
        sock, data = await self._run(lambda: self._client.open_stream(target(*path, query=query)))
        sock.setblocking(True)
        parser, reading = sse.Parser(), None
        try:
            yield Heard(OPEN, {})
            while True:
                for said in self._parse(parser, data):
                    yield Heard(said.kind, json.loads(said.data), said.last_id)
                reading = self._threads.submit(sock.recv, _CHUNK)
                data = await _result(asyncio.wrap_future(reading))
                if not data:
                    return
        finally:
            _break_off(sock, reading)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _parse(self, parser: sse.Parser, data: bytes) -> list[sse.Said]:
        try:
            return parser.feed(data)
        except ValueError as error:
            raise CircusError("unreachable", f"what answers at {self._client.path} is no circusd: {error}") from None

    async def _run(self, ask: Callable[[], T]) -> T:
        return await _result(asyncio.get_running_loop().run_in_executor(self._threads, ask))


async def _result(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except OSError as error:
        raise CircusError("unreachable", f"circusd says nothing more: {error.strerror or error}") from None


def _break_off(sock: socket.socket, reading: Future[bytes] | None) -> None:
    """A thread that still reads from it reads its end; only then its number is free for others."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    if reading is None:
        sock.close()
    else:
        reading.add_done_callback(lambda _: sock.close())
