"""One blocking connection to the kernel in frames: ask and wait, collect events on the way.

One idea: the twin of `papa.client.aio` for programs without an event loop; both give their bytes to
`papa.client.calls`. It never reconnects by itself: its owner decides that.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from papa import fdpass
from papa.client import launch
from papa.client.calls import Answer, Calls
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.wire.messages import Event

#: One recvmsg.
RECV_SIZE = 64 * 1024

#: How long a request may take: spawning on a loaded machine, a commit to a slow disk; not for ever.
REPLY_TIMEOUT_S = 30.0

#: Between two attempts to connect when the kernel went away in the middle of one.
CONNECT_AGAIN_S = 0.02


class Connection:
    """A connection that asks one thing at a time. ``events`` are those that came and nobody took yet.

    Not thread-safe.
    """

    def __init__(
        self, endpoint: str | int | None = None, *, client: str, autostart: bool = True, timeout_s: float = 10.0
    ) -> None:
        """Connect, and start the kernel if none runs and ``autostart`` is set.

        Raises: PapaError unreachable; lost, when kernels kept going away for ``timeout_s``.
        """
        self.events: deque[Event] = deque()
        self.hello: dict[str, Any] = {}
        self._answers: dict[int, Answer] = {}
        self._poke: int | None = None
        self._calls = Calls()
        self._socket: socket.socket | None = None
        deadline = time.monotonic() + timeout_s
        while not self.hello:
            try:
                self._open(endpoint, client, autostart, timeout_s)
            except PapaError as error:
                # A kernel that was just leaving, or was killed: nothing was asked of it yet.
                if error.code != "lost" or time.monotonic() > deadline:
                    raise
                time.sleep(CONNECT_AGAIN_S)

    def _open(self, endpoint: str | int | None, client: str, autostart: bool, timeout_s: float) -> None:
        self._calls = Calls()
        self._socket = launch.open_connection(endpoint, autostart=autostart, timeout_s=timeout_s)
        try:
            self._send(self._calls.opening())
            self.hello = self.request("hello", timeout_s=timeout_s, client=client).ok
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether the connection was neither closed nor lost, as far as was seen."""
        return self._socket is not None

    def fileno(self) -> int | None:
        """The socket's descriptor; None without a connection."""
        return None if self._socket is None else self._socket.fileno()

    def request(self, op: str, *, timeout_s: float = REPLY_TIMEOUT_S, **args: Any) -> Reply:
        """Ask and wait for the reply; its descriptors are the caller's.

        Raises: PapaError with the kernel's code; lost; timeout (the connection is closed then, so that a late
        reply cannot be mistaken for another one).
        """
        number, data = self._calls.request(op, args)
        self._send(data)
        return self._await(number, op, timeout_s)

    def post(self, op: str, **args: Any) -> None:
        """Send a one-way request."""
        self._send(self._calls.post(op, args))

    def poke(self) -> None:
        """Make the descriptor readable soon: ask for something whose reply is left in the socket."""
        if self._poke is None:
            self._poke, data = self._calls.request("ping", {})
            self._send(data)

    def settle(self) -> bool:
        """Take the reply to the last poke, so that it makes nobody read again; whether there was one."""
        number, self._poke = self._poke, None
        if number is not None:
            self._await(number, "ping", REPLY_TIMEOUT_S)
        return number is not None

    def wait(self, timeout_s: float | None) -> bool:
        """Take one portion of what comes; False when nothing came in that time (None: wait for ever).

        Raises: PapaError lost.
        """
        return self._receive(timeout_s)

    def drain(self) -> None:
        """Take everything that has come, without waiting.

        Raises: PapaError lost.
        """
        while self._receive(0.0):
            pass

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        self._calls.close()
        for answer in self._answers.values():
            answer.close_fds()
        self._answers.clear()

    def _await(self, number: int, op: str, timeout_s: float) -> Reply:
        deadline = time.monotonic() + timeout_s
        while number not in self._answers:
            if not self._receive(deadline - time.monotonic()):
                self.close()
                raise PapaError(
                    f"the kernel did not answer {op} within {timeout_s:g} s", code="timeout", hint="see papa status"
                )
        answer = self._answers.pop(number)
        if answer.error is not None:
            raise answer.error
        assert answer.reply is not None
        return answer.reply

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise _lost("the connection is closed")
        try:
            self._socket.settimeout(REPLY_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError as error:
            self.close()
            raise _lost(f"cannot send: {error}") from error

    def _receive(self, timeout_s: float | None) -> bool:
        if self._socket is None:
            raise _lost("the connection is closed")
        try:
            self._socket.settimeout(None if timeout_s is None else max(0.0, timeout_s))
            data, fds, _ = fdpass.recv_with_fds(self._socket, RECV_SIZE, fdpass.MAX_FDS)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError as error:
            self.close()
            raise _lost(f"cannot receive: {error}") from error
        try:
            outcomes = self._calls.receive(data, fds)
        except PapaError:
            self.close()
            raise
        if not data:
            self.close()
            raise _lost("the kernel closed the connection")
        for outcome in outcomes:
            if isinstance(outcome, Event):
                self.events.append(outcome)
            else:
                self._answers[outcome.number] = outcome
        return True


def _lost(why: str) -> PapaError:
    return PapaError(f"Lost connection: {why}", code="lost", hint="the next call connects again")
