"""How a sink fares: it works, it fails and is tried again, or its disk does not answer at all.

The idea: news are told once, when they are news; what was told last is ``failure``. Whoever must not wait for a sink
asks for that.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from circus.streams import workers

#: A failing sink is tried again after this, doubling to the last.
RETRY_FIRST_S = 1.0
RETRY_LAST_S = 30.0


class Health:
    """``on_trouble`` hears (kind, fields), ``on_failing`` whenever it turns out that waiting is no use."""

    def __init__(self, on_trouble: Callable[[str, dict[str, object]], None], on_failing: Callable[[], None]) -> None:
        self.failure: OSError | None = None
        self._on_trouble = on_trouble
        self._on_failing = on_failing
        self._poke = asyncio.Event()
        self._retry_s = RETRY_FIRST_S

    def poke(self) -> None:
        """Whoever waits here looks again at once."""
        self._poke.set()

    def works(self) -> None:
        if self.failure is not None:
            self.failure, self._retry_s = None, RETRY_FIRST_S
            self._on_trouble("sink_recovered", {})

    def fails(self, error: OSError, retry_in_s: float | None = None) -> None:
        """``retry_in_s``: None when it is not tried again, or answers when it can."""
        is_news = self.failure is None or self.failure.errno != error.errno
        self.failure = error
        if is_news:
            reason = error.strerror or str(error)
            self._on_trouble("sink_failed", {"reason": reason, "retry_in_s": retry_in_s})
        self._on_failing()

    def hangs(self) -> None:
        self.fails(unanswered())

    async def back_off(self, error: OSError) -> None:
        self.fails(error, self._retry_s)
        await self.pause(self._retry_s)
        self._retry_s = min(self._retry_s * 2, RETRY_LAST_S)

    async def pause(self, seconds: float) -> None:
        """Until that has passed, or somebody pokes."""
        self._poke.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._poke.wait()
        except TimeoutError:
            pass


def unanswered() -> OSError:
    """What is said of a disk that hangs."""
    return OSError(errno.ETIMEDOUT, f"has not answered for {workers.UNANSWERED_S:g} s")
