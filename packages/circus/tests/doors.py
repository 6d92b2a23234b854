"""The ancestors' door over an engine without processes, in a thread; and peers that speak its wire by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any

import zmq
from tests.house import wait_for

from circus.config.model import CircusConfig
from circus.control.ops import Ops
from circus.legacy.door import zmtp
from circus.legacy.door.gate import Gate
from circus.legacy.door.wire import Listener
from circus.testing.circusd import FakeEngine

#: An answer takes milliseconds; machines may be busy.
ANSWER_S = 50


class Door:
    """``with Door(engine, folder) as door``: three ipc addresses in ``folder``, unless ``options`` say others."""

    def __init__(self, engine: FakeEngine, folder: Path, **options: Any) -> None:
        addresses = {name: f"ipc://{folder}/{name}" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint")}
        self.config = CircusConfig(**{**addresses, **options})
        self.engine = engine
        self.troubles: dict[str, str] = {}
        self.loop = asyncio.new_event_loop()
        self.gate: Gate
        self._leave = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self.context = zmq.Context()
        self._socks: list[zmq.Socket[bytes]] = []
        self._left: list[object] = []  # tasks after the end
        self._failure: BaseException | None = None

    def __enter__(self) -> Door:
        self._thread.start()
        assert self._is_up.wait(ANSWER_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for sock in self._socks:
            sock.close(0)
        self.context.term()

    def close(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._leave.set)
            self._thread.join(ANSWER_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure
        assert self._left == []

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # raised in the thread of the test
            self._failure = error
        finally:
            self._is_up.set()

    async def _serve(self) -> None:
        ops = Ops(self.engine)
        self.gate = Gate(self.config, self.engine.bus, ops, self.troubles)
        await self.gate.open()
        self._is_up.set()
        await self._leave.wait()
        await self.gate.close()
        await ops.end()
        self._left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    def call(self, function: Any) -> Any:
        """What ``function`` returns on the loop of the door."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(ANSWER_S)

    def listener(self, option: str = "endpoint") -> Listener:
        text = getattr(self.config, option)
        return next(each for each in self.gate._listeners if each.address.text == text)

    def peers(self, option: str = "endpoint") -> int:
        return len(self.listener(option).peers)

    def dealer(self, kind: int = zmq.DEALER) -> Peer:
        peer = Peer(self.context, kind, self.listener().place)
        self._socks.append(peer.sock)
        return peer

    def subscriber(self, option: str, *topics: str) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self.context.socket(zmq.SUB)
        self._socks.append(sock)
        sock.set(zmq.RCVTIMEO, ANSWER_S * 1000)
        sock.connect(self.listener(option).place)
        for topic in topics:
            sock.subscribe(topic)
        return sock

    def raw(self, option: str = "endpoint") -> socket.socket:
        """A connection that has said nothing yet."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(ANSWER_S)
        sock.connect(getattr(self.config, option).removeprefix("ipc://"))
        return sock

    def speaking(self, option: str = "endpoint", kind: str = "DEALER") -> socket.socket:
        """One that is through with its greeting."""
        sock = self.raw(option)
        sock.sendall(zmtp.GREETING + zmtp.ready(kind))
        wanted = len(zmtp.GREETING) + len(zmtp.ready("ROUTER" if option == "endpoint" else "PUB"))
        while wanted:
            data = sock.recv(wanted)
            assert data, "the door closed the connection"
            wanted -= len(data)
        return sock


class Peer:
    """A socket that gives orders."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, place: str) -> None:
        self.sock = context.socket(kind)
        self.sock.set(zmq.RCVTIMEO, ANSWER_S * 1000)
        self.sock.set(zmq.SNDTIMEO, ANSWER_S * 1000)
        self.sock.connect(place)

    def send(self, *frames: bytes) -> None:
        self.sock.send_multipart(frames)

    def say(self, command: object, number: object = 1, **properties: object) -> None:
        self.send(json.dumps({"id": number, "command": command, "properties": properties}).encode())

    def hear(self) -> dict[str, Any]:
        reply = json.loads(self.sock.recv_multipart()[-1])
        assert isinstance(reply.pop("time"), float)
        return reply

    def ask(self, command: object, number: object = 1, **properties: object) -> dict[str, Any]:
        self.say(command, number, **properties)
        return self.hear()


def ended(sock: socket.socket) -> bool:
    """Whether the other side has closed, with whatever it said before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    sock.close()
    return True


__all__ = ["ANSWER_S", "Door", "Peer", "ended", "wait_for"]
