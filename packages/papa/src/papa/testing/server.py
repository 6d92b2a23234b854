"""A fake kernel behind real sockets, for programs that speak to it in bytes: the blocking client, other languages.

One idea: one thread owns the fake kernel; connections are served there through `papa.wire.session`, exactly the
bytes of the real kernel, and a test reaches the kernel with `call`, which runs in that thread too.
"""

from __future__ import annotations

import concurrent.futures
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from papa import fdpass
from papa.errors import PapaError
from papa.testing.kernel import FakeKernel
from papa.testing.line import Line
from papa.wire.messages import Request
from papa.wire.session import Answer, Close, ServerSession

T = TypeVar("T")

RECV_SIZE = 64 * 1024

#: A test that hangs shall say where.
CALL_TIMEOUT_S = 10.0


class _Served:
    """One connection: its session, its line, and what waits to be sent."""

    def __init__(self, sock: socket.socket, server: FakeServer) -> None:
        self.socket = sock
        self.session = ServerSession()
        self.line: Line = server.kernel.open_line(lambda: None, self._on_end)
        self.unsent: deque[tuple[bytes, list[int]]] = deque()
        self.is_ending = False

    def _on_end(self) -> None:
        self.is_ending = True


class FakeServer:
    """Serves a `FakeKernel` to anybody who takes a connection with `open_connection`.

    With the family AF_INET connections are of TCP, which carries no descriptors.
    """

    def __init__(self, kernel: FakeKernel, *, family: socket.AddressFamily = socket.AF_UNIX) -> None:
        self.kernel = kernel
        self._family = family
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._calls: deque[tuple[Callable[[], Any], concurrent.futures.Future[Any]]] = deque()
        self._served: set[_Served] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="papa fake kernel", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def open_connection(self, endpoint: object = None, **_: object) -> socket.socket:  # noqa: ARG002
        """A connected socket; takes the arguments of `papa.client.launch.open_connection` and needs none."""
        ours, theirs = socket.socketpair() if self._family == socket.AF_UNIX else _tcp_pair()
        theirs.setblocking(False)
        try:
            self.call(lambda: self._serve(theirs))
        except PapaError:
            ours.close()
            theirs.close()
            raise
        return ours

    def call(self, function: Callable[[], T]) -> T:
        """Run the function in the thread of the kernel; its result, or what it raised."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._calls.append((function, future))
        self._wake_writer.send(b"x")
        return future.result(CALL_TIMEOUT_S)

    def hang_up(self) -> None:
        """End every connection, as a kernel does that is killed and starts again."""
        self.call(self._drop_all)

    def close(self) -> None:
        """End the thread and the connections; the kernel stays with the caller."""
        if not self._is_closed:
            self.call(self._stop)
            self._thread.join(CALL_TIMEOUT_S)
            for sock in (self._wake_reader, self._wake_writer):
                sock.close()
            self._selector.close()

    # -- in the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            for key, ready in self._selector.select():
                if key.data is None:
                    self._wake_reader.recv(RECV_SIZE)
                    self._run_calls()
                elif key.data in self._served:
                    self._serve_ready(key.data, ready)

    def _run_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - it belongs to the caller of `call`
                future.set_exception(error)
                continue
            self._send_events()  # before the caller goes on: what it caused is on its way
            future.set_result(result)

    def _stop(self) -> None:
        self._is_closed = True
        self._drop_all()

    def _drop_all(self) -> None:
        for served in list(self._served):
            self._drop(served)

    def _serve(self, sock: socket.socket) -> None:
        served = _Served(sock, self)
        self._served.add(served)
        self._selector.register(sock, selectors.EVENT_READ, served)
        self._send(served, served.session.greeting())

    def _drop(self, served: _Served) -> None:
        self._served.discard(served)
        self._selector.unregister(served.socket)
        served.socket.close()
        for _, fds in served.unsent:
            fdpass.close_all(fds)
        self.kernel.close_line(served.line)

    def _serve_ready(self, served: _Served, ready: int) -> None:
        try:
            if ready & selectors.EVENT_WRITE:
                self._flush(served)
            if ready & selectors.EVENT_READ:
                data = served.socket.recv(RECV_SIZE)
                served.session.feed(data)
                while (item := served.session.next()) is not None:
                    self._carry_out(served, item)
                if not data:
                    served.is_ending = True
        except OSError:
            served.is_ending = True
        if served.is_ending and served in self._served:
            self._drop(served)

    def _carry_out(self, served: _Served, item: Request | Answer | Close) -> None:
        if not isinstance(item, Request):
            self._send(served, item.data)
            served.is_ending = served.is_ending or isinstance(item, Close)
            return
        try:
            reply = self.kernel.perform(served.line, item.op, item.args)
        except PapaError as error:
            self._send(served, served.session.refuse(item, error))
        else:
            fds = reply.fds
            if self._family != socket.AF_UNIX:
                fdpass.close_all(fds.values())
                fds = {}
            data = served.session.reply(item, reply.ok, fds=list(fds), body=reply.body)
            self._send(served, data, list(fds.values()))
        self._send_events()

    def _send_events(self) -> None:
        for served in self._served:
            while served.line.events:
                name, fields = served.line.events.popleft()
                self._send(served, served.session.event(name, fields))

    def _send(self, served: _Served, data: bytes, fds: list[int] | None = None) -> None:
        if data:
            served.unsent.append((data, fds or []))
            self._flush(served)
        else:
            fdpass.close_all(fds or [])

    def _flush(self, served: _Served) -> None:
        """Send what the peer takes; a dead peer is noticed when it is read from."""
        try:
            while served.unsent:
                data, fds = served.unsent[0]
                sent = fdpass.send_with_fds(served.socket, data, fds)
                fdpass.close_all(fds)
                served.unsent[0] = (data[sent:], [])
                if sent == len(data):
                    served.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            while served.unsent:
                fdpass.close_all(served.unsent.popleft()[1])
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if served.unsent else 0)
        self._selector.modify(served.socket, events, served)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]
