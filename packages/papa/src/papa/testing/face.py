"""The face of `papa.client.aio.AsyncPapa` on a fake kernel, with the strings that a test pulls.

One idea: what a manager calls is what it calls on the real client, with the same replies, errors and events; what
a test calls besides (`write`, `end`, `lose`...) plays the processes and the connection. Events come from the
running loop, never from inside the call that causes them, as on the real client.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from papa.client.asking import Asking
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing.clock import FakeClock
from papa.testing.kernel import FakeKernel
from papa.testing.line import Line


class FakePapa(Asking):
    """A connection to a `FakeKernel`; alone it makes its own kernel, and ``with FakePapa() as papa`` removes it."""

    def __init__(
        self, kernel: FakeKernel | None = None, *, client: str = "fake", clock: FakeClock | None = None
    ) -> None:
        self.kernel = kernel or FakeKernel(clock=clock)
        self.client = client
        self.on_event: Callable[[str, dict[str, Any]], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self.on_back: Callable[[], None] | None = None
        self._is_closed = False
        self._line: Line | None = None
        self.hello: dict[str, Any] = {}
        self._connect()

    def __repr__(self) -> str:
        return f"<FakePapa of {self.client}: {'connected' if self.is_connected else 'lost'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._hang_up()
        self.kernel.close()

    # -- the face of AsyncPapa -----------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether a request would be sent now."""
        return self._line is not None

    async def request(self, op: str, *, timeout_s: float | None = None, **args: Any) -> Reply:  # noqa: ARG002
        """See `papa.client.aio.AsyncPapa.request`; the reply comes in a later turn of the loop."""
        line = self._line
        if line is None:
            raise self._lost_error(op)
        try:
            reply = self.kernel.perform(line, op, args)
        except PapaError:
            await asyncio.sleep(0)
            raise
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            reply.close_fds()
            raise
        if self._line is not line and op != "exit":
            reply.close_fds()
            raise self._lost_error(op)
        return reply

    def post(self, op: str, **args: Any) -> None:
        """See `papa.client.aio.AsyncPapa.post`."""
        if self._line is not None:
            try:
                self.kernel.perform(self._line, op, args).close_fds()
            except PapaError:
                return  # a one-way request is not answered, not even on error

    async def close(self) -> None:
        """End this connection; the kernel and its files stay."""
        self._is_closed = True
        self._hang_up()

    # -- the processes, played by the test -----------------------------------------------------------------

    @property
    def clock(self) -> FakeClock:
        """The kernel's clock."""
        return self.kernel.clock

    @property
    def spawns(self) -> builtins.list[dict[str, Any]]:
        """The arguments of every spawn that started a process, in order."""
        return self.kernel.spawns

    @property
    def commits(self) -> builtins.list[dict[str, Any]]:
        """The arguments of every commit that was accepted, in order."""
        return self.kernel.commits

    def write(self, which: int | str, stream: str, data: bytes) -> int:
        """The process writes ``data``; the stream's head afterwards."""
        return self.kernel.write(which, stream, data)

    def end(
        self,
        which: int | str,
        status: int = 0,
        *,
        keep_open: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """The process ends (a negative status is a signal); with ``keep_open`` a grandchild holds its streams."""
        self.kernel.end(which, status, keep_open=keep_open, facts=facts)

    def eof(self, which: int | str, stream: str | None = None) -> None:
        """The last writer of the stream (None: of every stream) is gone."""
        self.kernel.eof(which, stream)

    def fail_next_spawn(self, error: PapaError) -> None:
        """The next spawn fails with this error; called again, the one after it too."""
        self.kernel.spawn_errors.append(error)

    def drop_oldest(self, which: int | str, stream: str, count: int) -> None:
        """Force a gap of ``count`` bytes at the stream's low-water mark."""
        self.kernel.drop_oldest(which, stream, count)

    def knock(self, name: str) -> None:
        """Somebody connects to a socket."""
        self.kernel.knock(name)

    def answer(self, name: str) -> None:
        """Whoever serves a socket accepts all who wait there."""
        self.kernel.answer(name)

    def row(self, which: int | str) -> dict[str, Any]:
        """The process's row; by id even when its name was lost."""
        return self.kernel.row(which)

    def rows(self) -> builtins.list[dict[str, Any]]:
        """Every process's row."""
        return self.kernel.rows()

    # -- the connection, played by the test ----------------------------------------------------------------

    def lose(self) -> None:
        """The connection ends: what waits fails, ``on_lost`` is called; nothing comes back until `come_back`."""
        if self._line is not None:
            self._hang_up()
            if self.on_lost is not None:
                self.on_lost()

    def come_back(self) -> None:
        """Connected again, as nobody's owner: ``on_back`` is called."""
        if self._line is None and not self._is_closed:
            self._connect()
            if self.on_back is not None:
                self.on_back()

    def restart_client(self, client: str | None = None) -> FakePapa:
        """The manager dies without a word, a new one connects: its face. The kernel's state stays."""
        self._is_closed = True
        self._hang_up()
        return FakePapa(self.kernel, client=client or self.client)

    def deliver(self) -> None:
        """Hand the queued events over now; with a running loop they come by themselves."""
        while self._line is not None and self._line.events:
            name, fields = self._line.events.popleft()
            if self.on_event is not None:
                self.on_event(name, fields)

    # -- inside --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._line = self.kernel.open_line(self._on_queued, self._on_end)
        self.hello = self.kernel.perform(self._line, "hello", {"client": self.client}).ok

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self.kernel.close_line(line)

    def _on_queued(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a synchronous test calls deliver
        loop.call_soon(self.deliver)

    def _on_end(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self.lose)
        except RuntimeError:
            self.lose()

    def _lost_error(self, what: str) -> PapaError:
        state = "the connection is closed" if self._is_closed else "the connection to the kernel was lost"
        return PapaError(f"{what}: {state}", code="lost", hint="ask again once the connection is back")
