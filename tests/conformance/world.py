"""The worlds that the suite runs in: who the kernel is, and how the client speaks to it.

A `Driver` is any client, driven step by step; a `Child` is a hosted process that obeys the test. The tests see
only these two, so each of them says the same of every world.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from papa.client import launch
from papa.client.aio import AsyncPapa
from papa.client.blocking import Connection
from papa.client.output import StreamFiles
from papa.client.remote import RemoteStreams
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakeKernel, FakePapa, FakeServer

#: No claim of this suite takes longer, on however slow a machine.
PATIENCE_S = 30.0
TICK_S = 0.002
FDS = {"out": 1, "err": 2}
CHILD = os.path.join(os.path.dirname(__file__), "child.py")

#: Before a world puts its own in this one's place.
_open_connection = launch.open_connection

Event = tuple[str, dict[str, Any]]


def pattern(size: int) -> bytes:
    """What a child pours: bytes that are different everywhere; the same as in child.py."""
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


class Driver(Protocol):
    """A client."""

    events: list[Event]

    def call(self, op: str, **args: Any) -> Reply: ...
    def post(self, op: str, **args: Any) -> None: ...
    def step(self) -> None: ...
    def close(self) -> None: ...


class LoopDriver:
    """AsyncPapa or its fake, in a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, papa: AsyncPapa | FakePapa) -> None:
        self.events: list[Event] = []
        self._loop = loop
        self._papa = papa
        papa.on_event = lambda name, fields: self.events.append((name, fields))

    def call(self, op: str, **args: Any) -> Reply:
        return self._loop.run_until_complete(self._papa.request(op, **args))

    def post(self, op: str, **args: Any) -> None:
        async def main() -> None:
            self._papa.post(op, **args)

        self._loop.run_until_complete(main())

    def step(self) -> None:
        self._loop.run_until_complete(asyncio.sleep(TICK_S))

    def close(self) -> None:
        self._loop.run_until_complete(self._papa.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class BlockingDriver:
    """The connection of the published client."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: list[Event] = []

    @property
    def events(self) -> list[Event]:
        while self._connection.events:
            event = self._connection.events.popleft()
            self._events.append((event.name, event.fields))
        return self._events

    def call(self, op: str, **args: Any) -> Reply:
        return self._connection.request(op, **args)

    def post(self, op: str, **args: Any) -> None:
        self._connection.post(op, **args)

    def step(self) -> None:
        self._connection.wait(TICK_S)

    def close(self) -> None:
        self._connection.close()


class Child(Protocol):
    """A process that obeys."""

    def write(self, stream: str, data: bytes) -> None: ...
    def pour(self, stream: str, size: int) -> None: ...
    def close(self, stream: str) -> None: ...
    def end(self, status: int) -> None: ...
    def leave(self, status: int) -> None: ...


class FakeChild:
    def __init__(self, kernel: FakeKernel, kernel_id: int, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._kernel = kernel
        self._id = kernel_id
        self._call = call

    def write(self, stream: str, data: bytes) -> None:
        self._call(lambda: self._kernel.write(self._id, stream, data))

    def pour(self, stream: str, size: int) -> None:
        self.write(stream, pattern(size))

    def close(self, stream: str) -> None:
        self._call(lambda: self._kernel.eof(self._id, stream))

    def end(self, status: int) -> None:
        self._call(lambda: self._kernel.end(self._id, status))

    def leave(self, status: int) -> None:
        """It ends, a grandchild goes on with its streams."""
        self._call(lambda: self._kernel.end(self._id, status, keep_open=True))


class RealChild:
    def __init__(self, fifo: str) -> None:
        self._fd = os.open(fifo, os.O_RDWR)  # both: does not wait for the child to open its end

    def _order(self, **order: Any) -> None:
        os.write(self._fd, json.dumps(order).encode() + b"\n")

    def write(self, stream: str, data: bytes) -> None:
        """Small things: the order lies in a FIFO until the child reads it."""
        self._order(do="write", fd=FDS[stream], data=data.decode("latin-1"))

    def pour(self, stream: str, size: int) -> None:
        """So much of the pattern."""
        self._order(do="pour", fd=FDS[stream], size=size)

    def close(self, stream: str) -> None:
        self._order(do="close", fd=FDS[stream])

    def end(self, status: int) -> None:
        if status < 0:
            self._order(do="kill", signal=-status)
        else:
            self._order(do="exit", status=status)

    def leave(self, status: int) -> None:
        self._order(do="leave", status=status)

    def hang_up(self) -> None:
        os.close(self._fd)


class WireFiles(RemoteStreams):
    """What a client has in place of files where no descriptors come: each question is asked."""

    def __init__(self, driver: Driver, row: dict[str, Any]) -> None:
        super().__init__(_Asker(driver), row["id"], tuple(row["streams"]))  # type: ignore[arg-type]
        self._driver = driver

    def dropped(self, stream: str) -> int:
        return self._driver.call("attach", id=self._id).ok["streams"][stream]["dropped"]


class _Asker:
    """As much of a connection as questions need."""

    def __init__(self, driver: Driver) -> None:
        self.request = driver.call


class World:
    """One kernel and the clients of one test."""

    def __init__(self, *, is_tcp: bool) -> None:
        self.drivers: list[Driver] = []
        self.is_tcp = is_tcp
        self._files: list[StreamFiles] = []

    def connect(self) -> Driver:
        driver = self._connect()
        self.drivers.append(driver)
        return driver

    def spawn(self, driver: Driver, name: str = "web", **spec: Any) -> tuple[dict[str, Any], Child]:
        raise NotImplementedError

    def pattern(self, size: int) -> bytes:
        return pattern(size)

    def files(self, driver: Driver, kernel_id: int) -> StreamFiles | WireFiles:
        reply = driver.call("attach", id=kernel_id, fds=True)
        if self.is_tcp:
            assert reply.fds == {}
            return WireFiles(driver, reply.ok)
        if "pid" in reply.fds:
            os.close(reply.fds.pop("pid"))
        files = StreamFiles(reply.fds)
        self._files.append(files)
        return files

    def row(self, driver: Driver, kernel_id: int) -> dict[str, Any]:
        return driver.call("attach", id=kernel_id).ok

    def until(self, claim: Callable[[], Any]) -> None:
        """Let things happen until the claim holds; says what there was when it never does."""
        deadline = time.monotonic() + PATIENCE_S
        while not claim():
            if time.monotonic() > deadline:
                raise AssertionError(f"never came true; events {[driver.events for driver in self.drivers]}")
            for driver in self.drivers:
                driver.step()
            self.pass_time()

    def head(self, driver: Driver, kernel_id: int, stream: str, offset: int) -> None:
        """Wait until the kernel has taken so much."""
        self.until(lambda: self.row(driver, kernel_id)["streams"][stream]["head"] >= offset)

    def pass_time(self) -> None:
        """Where time does not pass by itself."""

    def close(self) -> None:
        for files in self._files:
            files.close()
        for driver in self.drivers:
            driver.close()

    def _connect(self) -> Driver:
        raise NotImplementedError


class FakeWorld(World):
    """The fake kernel: directly, or behind sockets with one of the real clients."""

    def __init__(self, client: str, *, is_tcp: bool) -> None:
        super().__init__(is_tcp=is_tcp)
        self.kernel = FakeKernel()
        family = socket.AF_INET if is_tcp else socket.AF_UNIX
        self.server = FakeServer(self.kernel, family=family) if client != "direct" else None
        self._client = client

    def _call(self, function: Callable[[], Any]) -> Any:
        return function() if self.server is None else self.server.call(function)

    def _connect(self) -> Driver:
        if self._client == "blocking":
            return BlockingDriver(Connection(client="conformance"))
        loop = asyncio.new_event_loop()
        if self._client == "asyncio":
            return LoopDriver(loop, loop.run_until_complete(AsyncPapa.connect(client="conformance")))
        return LoopDriver(loop, FakePapa(self.kernel))

    def spawn(self, driver: Driver, name: str = "web", **spec: Any) -> tuple[dict[str, Any], Child]:
        row = driver.call("spawn", **{"name": name, "argv": ["child"], "env": {}, **spec}).ok
        return row, FakeChild(self.kernel, row["id"], self._call)

    def pass_time(self) -> None:
        self._call(lambda: self.kernel.clock.advance(0.05))
        for driver in self.drivers:
            if isinstance(driver, LoopDriver) and isinstance(driver._papa, FakePapa):
                driver._papa.deliver()

    def close(self) -> None:
        super().close()
        if self.server is not None:
            self.server.close()
        self.kernel.close()


class RealWorld(World):
    """A real kernel with real processes; it serves the whole run, each test leaves it empty."""

    def __init__(self, client: str, directory: str, port: int, *, is_tcp: bool) -> None:
        super().__init__(is_tcp=is_tcp)
        self._client = client
        self._directory = directory
        self._port = port
        self._children: list[RealChild] = []

    def open_connection(self, _endpoint: object = None, **how: Any) -> socket.socket:
        """In the place of papa.client.launch.open_connection, which prefers the unix socket."""
        connection = _open_connection(self._port, **how)
        if self.is_tcp:
            connection.close()
            connection = socket.create_connection(("127.0.0.1", self._port))
        return connection

    def _connect(self) -> Driver:
        if self._client == "blocking":
            return BlockingDriver(Connection(client="conformance"))
        loop = asyncio.new_event_loop()
        return LoopDriver(loop, loop.run_until_complete(AsyncPapa.connect(client="conformance")))

    def spawn(self, driver: Driver, name: str = "web", **spec: Any) -> tuple[dict[str, Any], Child]:
        fifo = os.path.join(self._directory, f"fifo.{len(self._children)}")
        os.mkfifo(fifo)
        child = RealChild(fifo)
        self._children.append(child)
        argv = [sys.executable, "-I", "-S", CHILD, fifo]
        return driver.call("spawn", **{"name": name, "argv": argv, "env": {}, **spec}).ok, child

    def close(self) -> None:
        for child in self._children:
            child.end(0)  # lies in the FIFO for whoever still reads it
        cleaner = BlockingDriver(Connection(client="cleaner"))
        self.drivers.append(cleaner)
        for row in cleaner.call("list", what="processes").ok["items"]:
            try:
                cleaner.call("remove", what="processes", ids=[row["id"]])
            except PapaError as error:
                assert error.code == "not-found"  # removed by the test, and still running
        for what in ("sockets", "values"):
            cleaner.call("remove", what=what, names=["*"])
        self.until(lambda: cleaner.call("list", what="processes").ok["items"] == [])
        for child in self._children:
            child.hang_up()
        super().close()
