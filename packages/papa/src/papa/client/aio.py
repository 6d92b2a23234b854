"""The kernel's client for asyncio: one connection, requests answered by id, events pushed, descriptors received.

One idea: the socket is driven by ``loop.add_reader`` and ``recvmsg``, because asyncio's transports drop the
descriptors (SCM_RIGHTS) that come along. Nothing runs while nothing happens: the writer is registered only while
bytes wait, a request's timeout is one timer that ends with it, and the only task is the one that reconnects.

What the bytes mean stands in `papa.client.calls`; how a kernel is found and started in `papa.client.launch`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Self

from papa import fdpass
from papa.client import launch
from papa.client.asking import Asking
from papa.client.calls import Answer, Calls
from papa.client.reply import Reply
from papa.errors import PapaError

__all__ = ["AsyncPapa", "Reply"]

#: One recvmsg: a burst of notices fits, and a body is taken in sixteen turns at most.
RECV_SIZE = 64 * 1024

#: Bytes that may wait to be sent; past it the kernel is not reading and a request fails instead of piling up.
MAX_UNSENT = 16 * 1024 * 1024

#: Reconnecting: at once, because a kernel that was killed serves again after some 40 ms, then ever slower.
BACKOFF_FIRST_S = 0.02
BACKOFF_LAST_S = 1.0

Events = Callable[[str, dict[str, Any]], None]


class AsyncPapa(Asking):
    """A connection to the kernel that comes back by itself.

    After a loss ``on_lost`` is called, every request under way and every new one fails with code ``lost``, and the
    connection is made again. Then ``on_back`` is called: the kernel knows the new connection as nobody's owner, so
    the caller must attach every process again (``attach(..., owner=...)``); what happened meanwhile is in the rows.

    ``on_event`` gets ("exit" | "output" | "eof", the event's fields) from the loop, in order. An exception in a
    callback goes to the loop's exception handler and does not harm the connection.
    """

    def __init__(self, endpoint: str | int | None, *, client: str, autostart: bool, timeout_s: float) -> None:
        self.hello: dict[str, Any] = {}
        self.on_event: Events | None = None
        self.on_lost: Callable[[], None] | None = None
        self.on_back: Callable[[], None] | None = None
        self._endpoint = endpoint
        self._client = client
        self._autostart = autostart
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._calls = Calls()
        self._waiters: dict[int, asyncio.Future[Reply]] = {}
        self._unsent = bytearray()
        self._is_greeted = False
        self._is_closed = False
        self._fault = ""
        self._reconnecting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "connected" if self.is_connected else "lost, reconnecting"
        return f"<AsyncPapa of {self._client} to kernel {self.hello.get('pid')}: {state}>"

    @classmethod
    async def connect(
        cls,
        endpoint: str | int | None = None,
        *,
        client: str,
        autostart: bool = True,
        timeout_s: float = 10.0,
    ) -> Self:
        """Connect to the kernel of ``endpoint``, and start it if none runs and ``autostart`` is set.

        ``timeout_s`` is for connecting and, unless told otherwise, for each request.

        Raises: PapaError unreachable; lost, when kernels kept going away for ``timeout_s``.
        """
        self = cls(endpoint, client=client, autostart=autostart, timeout_s=timeout_s)
        deadline = self._loop.time() + timeout_s
        while True:
            try:
                await self._open()
                return self
            except PapaError as error:
                # A kernel that was just leaving, or was killed: nothing was asked of it yet.
                if error.code != "lost" or self._loop.time() > deadline:
                    raise
                await asyncio.sleep(BACKOFF_FIRST_S)

    @property
    def is_connected(self) -> bool:
        """Whether a request would be sent now."""
        return self._is_greeted

    # -- requests ------------------------------------------------------------------------------------------

    async def request(self, op: str, *, timeout_s: float | None = None, **args: Any) -> Reply:
        """Ask the kernel; the reply. The descriptors in it are the caller's.

        Raises: PapaError with the kernel's code; lost, when the connection is not there or ends before the reply
        (the kernel may or may not have done it); timeout, after ``timeout_s`` (default: the connection's).
        """
        if not self._is_greeted:
            raise self._lost_error(op)
        return await self._ask(op, args, self._timeout_s if timeout_s is None else timeout_s)

    def post(self, op: str, **args: Any) -> None:
        """Send a one-way request; silently nothing while not connected (its matter died with the connection)."""
        if self._is_greeted:
            self._send(self._calls.post(op, args))

    async def close(self) -> None:
        """End the connection for good; requests under way fail with code lost, ``on_lost`` is not called."""
        self._is_closed = True
        task, self._reconnecting = self._reconnecting, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._flush()
        self._drop()

    # -- one request ---------------------------------------------------------------------------------------

    async def _ask(self, op: str, args: dict[str, Any], timeout_s: float) -> Reply:
        number, data = self._calls.request(op, args)
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiters[number] = waiter
        timer = self._loop.call_later(timeout_s, self._expire, waiter, op, timeout_s)
        try:
            self._send(data)
            return await waiter
        except asyncio.CancelledError:
            # The reply may stand in the future already: nobody else would close its descriptors.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().close_fds()
            raise
        finally:
            timer.cancel()
            self._waiters.pop(number, None)

    def _expire(self, waiter: asyncio.Future[Reply], op: str, timeout_s: float) -> None:
        if not waiter.done():
            waiter.set_exception(
                PapaError(
                    f"the kernel did not answer {op} within {timeout_s:g} s",
                    code="timeout",
                    hint="it may still carry it out; papa status shows whether the kernel answers at all",
                )
            )

    def _lost_error(self, what: str, why: str = "", *, code: str = "lost") -> PapaError:
        state = "the connection is closed" if self._is_closed else "the connection to the kernel was lost"
        reason = f" ({why})" if why else ""
        return PapaError(f"{what}: {state}{reason}", code=code, hint="ask again once the connection is back")

    # -- bytes ---------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise self._lost_error("send")
        if len(self._unsent) + len(data) > MAX_UNSENT:
            raise PapaError(
                f"{len(self._unsent)} bytes wait to be sent: the kernel does not read",
                code="limit",
                hint="wait for replies before sending more",
            )
        if not self._unsent:
            # What is asked in one turn of the loop goes together: a message by itself wakes the kernel.
            self._loop.call_soon(self._flush)
        self._unsent += data

    def _flush(self) -> None:
        if self._socket is None or not self._unsent:
            return
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The reader sees the end as well, after the replies that still lie in the socket.
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._flush)
        else:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        if self._socket is None:
            return
        try:
            data, fds, _ = fdpass.recv_with_fds(self._socket, RECV_SIZE, fdpass.MAX_FDS)
            outcomes = self._calls.receive(data, fds)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(f"cannot receive: {error}")
            return
        except PapaError as error:
            self._lose(error.message, code="unreachable" if error.code == "unreachable" else "lost")
            return
        for outcome in outcomes:  # also when a callback closes the connection: replies hold descriptors
            if isinstance(outcome, Answer):
                self._resolve(outcome)
            elif outcome.name == "fault":
                self._fault = str(outcome.fields.get("message"))
            else:
                self._tell(self.on_event, outcome.name, outcome.fields)
        if not data:
            self._lose(self._fault or "the kernel closed it")

    def _resolve(self, answer: Answer) -> None:
        waiter = self._waiters.pop(answer.number, None)
        if waiter is None or waiter.done():
            answer.close_fds()
        elif answer.error is not None:
            waiter.set_exception(answer.error)
        elif answer.reply is not None:
            waiter.set_result(answer.reply)

    def _tell(self, callback: Callable[..., None] | None, *args: Any) -> None:
        if callback is None or self._is_closed:
            return
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - one callback's fault must not end the connection
            self._loop.call_exception_handler({"message": "a callback of AsyncPapa failed", "exception": error})

    # -- the connection ------------------------------------------------------------------------------------

    async def _open(self) -> None:
        opened = self._loop.run_in_executor(None, self._connect)
        try:
            connection = await asyncio.shield(opened)
        except asyncio.CancelledError:
            opened.add_done_callback(_close_late)
            raise
        connection.setblocking(False)
        self._socket = connection
        self._calls = Calls()
        self._fault = ""
        self._loop.add_reader(connection, self._on_readable)
        try:
            self._send(self._calls.opening())
            reply = await self._ask("hello", {"client": self._client}, self._timeout_s)
        except BaseException:
            self._drop()
            raise
        self.hello = reply.ok
        self._is_greeted = True

    def _connect(self) -> socket.socket:
        return launch.open_connection(self._endpoint, autostart=self._autostart, timeout_s=self._timeout_s)

    def _drop(self, why: str = "", *, code: str = "lost") -> None:
        """Let go of the socket and fail what waits for it."""
        self._is_greeted = False
        connection, self._socket = self._socket, None
        if connection is not None:
            self._loop.remove_reader(connection)
            self._loop.remove_writer(connection)
            connection.close()
        self._unsent.clear()
        self._calls.close()
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(self._lost_error("no reply", why, code=code))

    def _lose(self, why: str, *, code: str = "lost") -> None:
        was_greeted = self._is_greeted
        self._drop(why, code=code)
        if was_greeted and not self._is_closed:
            self._reconnecting = self._loop.create_task(self._reconnect())
            self._tell(self.on_lost)

    async def _reconnect(self) -> None:
        pause_s = BACKOFF_FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._open()
            except PapaError:
                pause_s = min(pause_s * 2, BACKOFF_LAST_S)
            else:
                break
        self._reconnecting = None
        self._tell(self.on_back)


def _close_late(opened: asyncio.Future[socket.socket]) -> None:
    """A connection that came after nobody wanted it any more."""
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
