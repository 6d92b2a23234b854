"""A plugin's ear where there is no control socket: events from the ancestors' address, by ZMQ.

What is published while nobody is connected is lost, and nobody tells; a circusd that goes and comes is found again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from circus.errors import CircusError
from circus.legacy import zmq_client
from circus.plugins.hearing import RETRY_FIRST_S, RETRY_LAST_S
from circus.plugins.loop import Loop

if TYPE_CHECKING:
    import zmq.asyncio

log = logging.getLogger("circus.plugins")

#: Who has not spoken by then has something said of him.
HANDSHAKE_S = 10.0


class WireEar:
    """``find`` says where events come from; it may block, and raise CircusError until circusd is there.

    ``is_wanted`` is asked until then; when it is not, ``on_unwanted`` is called, and no more happens. ``on_open`` is
    called once, when they begin to come, ``on_event`` with topic and message of each; ``on_failed`` when none can come.
    """

    def __init__(
        self,
        loop: Loop,
        find: Callable[[], str],
        *,
        is_wanted: Callable[[], bool],
        on_unwanted: Callable[[], None],
        on_failed: Callable[[Exception], None],
        on_open: Callable[[], None],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        zmq_client.library()
        self._loop = loop
        self._find = find
        self._is_wanted = is_wanted
        self._on_unwanted = on_unwanted
        self._on_failed = on_failed
        self._on_open = on_open
        self._on_event = on_event
        self._task: asyncio.Task[None] | None = None
        self._context: zmq.asyncio.Context | None = None

    def open(self) -> None:
        self._task = self._loop.asyncio_loop.create_task(self._hear())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    async def _hear(self) -> None:
        try:
            await self._hear_on()
        except Exception as error:  # noqa: BLE001 - raised by the plugin's start
            self._on_failed(error)

    async def _hear_on(self) -> None:
        import zmq
        import zmq.asyncio

        endpoint = await self._found()
        if endpoint is None:
            self._on_unwanted()
            return
        self._context = zmq.asyncio.Context()
        sock = self._context.socket(zmq.SUB)
        monitor = sock.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        sock.subscribe(b"watcher.")
        zmq_client.connect(sock, endpoint)
        connected = asyncio.ensure_future(monitor.recv_multipart())
        if not (await asyncio.wait([connected], timeout=HANDSHAKE_S))[0]:
            log.warning("who listens at %s publishes nothing; is that the `pubsub_endpoint` of a circusd?", endpoint)
        await connected
        sock.disable_monitor()
        self._on_open()
        while True:
            topic, *rest = await sock.recv_multipart()
            try:
                heard = {"topic": topic.decode(), "message": json.loads(rest[0])}
            except (ValueError, IndexError):
                log.warning("what came from %s is no event: %r", endpoint, topic[:40])
                continue
            self._on_event(heard)

    async def _found(self) -> str | None:
        pause_s, told = RETRY_FIRST_S, ""
        while self._is_wanted():
            try:
                return await asyncio.to_thread(self._find)
            except CircusError as error:
                if error.code == "usage":
                    raise
                if error.message != told:
                    told = error.message
                    log.warning("%s; trying again", told)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_LAST_S)
        return None
