"""Whoever waits for the streams to get somewhere: told to look again whenever something has got on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiters:
    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait_until(self, is_met: Callable[[], bool], timeout_s: float) -> None:
        """At most ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_met():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiting.discard(waiter)
        except TimeoutError:
            pass

    def tell(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
