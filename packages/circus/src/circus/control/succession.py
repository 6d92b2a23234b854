"""How circusd is replaced by another program in its own process, as `ops` ask for it; who does it is not known here.

The idea: orders are held while circusd waits for a moment in which none is under way, and no longer than a client
waits for a sign of life. Then everybody who has not been heard is told to ask again at once, and finds the successor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from circus.errors import CircusError

#: Clients give up after 5 s without a sign of life.
HOLD_S = 2.0


#: With an answer to what was not done, and will be if it is asked again.
AGAIN = {"retry-after": "0"}


class Rehearsed(NamedTuple):
    """What the successor has said of itself in a child that changed nothing: its version, its Python, where its code
    is; and what is odd."""

    version: str
    python: str
    path: str
    warnings: list[str]


class Succession(Protocol):
    async def rehearse(self, to: str) -> Rehearsed:
        """Whether the program that ``to`` names (see `UpgradeRequest`) can take over. Raises: CircusError."""

    async def succeed(self, operation: str) -> None:
        """Let it take over; the order's id goes along. It is the end of this program, so it does not return.

        Raises: CircusError, when circusd leaves already.
        """


class NoSuccession:
    """In another program, whose code and end are its own."""

    async def rehearse(self, to: str) -> Rehearsed:  # noqa: ARG002
        raise _embedded()

    async def succeed(self, operation: str) -> None:  # noqa: ARG002
        raise _embedded()


def _embedded() -> CircusError:
    return CircusError(
        "conflict",
        "this circusd lives inside another program, and is upgraded with it",
        "restart that program: what uses papa goes on meanwhile",
    )


class TurnedAway(CircusError):
    """Nothing was done; who asks again at once is heard by the successor."""

    def __init__(self) -> None:
        super().__init__("unavailable", "circusd is being replaced by another version", "ask again: nothing was done")


class Admission:
    """Whether new orders are taken."""

    def __init__(self) -> None:
        self.inside = 0
        self._empty = asyncio.Event()
        self._held: asyncio.Future[None] | None = None
        self._is_over = False

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Waits while orders are held; one that is let in is under way until it is answered. Raises: TurnedAway."""
        while self._held is not None and not self._is_over:
            await asyncio.shield(self._held)
        if self._is_over:
            raise TurnedAway
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            if not self.inside:
                self._empty.set()

    async def emptied(self, timeout_s: float) -> None:
        """Nobody is inside, or ``timeout_s`` have passed."""
        self._empty.clear()
        if self.inside and timeout_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def hold(self) -> None:
        if self._held is None:
            self._held = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.set_result(None)

    def end(self) -> None:
        """Whoever waits is turned away, and whoever comes."""
        self._is_over = True
        self.release()
