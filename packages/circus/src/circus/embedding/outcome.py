"""What was begun on an arbiter's loop: coroutines await it, other threads wait for its ``result``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from circus.legacy.exc import CallError

log = logging.getLogger("circus")

T = TypeVar("T")

#: Between two looks whether the loop is still there: one that has ended answers nothing.
LOOK_S = 1.0


class Outcome(Generic[T]):
    """It goes on whether or not somebody waits; if nobody does, a failure is logged.

    ``thread`` is that of ``loop``, on which it is worked for.
    """

    def __init__(
        self,
        future: concurrent.futures.Future[T],
        loop: asyncio.AbstractEventLoop | None = None,
        thread: int = 0,
    ) -> None:
        self._future = future
        self._loop = loop
        self._thread = thread
        self._is_awaited = False
        future.add_done_callback(self._tell)

    @classmethod
    def of(cls, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, thread: int) -> Outcome[T]:
        """Raises: CallError, when the loop has ended."""
        try:
            return cls(asyncio.run_coroutine_threadsafe(work, loop), loop, thread)
        except RuntimeError:
            work.close()
            raise CallError("the arbiter does not run") from None

    @classmethod
    def done(cls, value: T) -> Outcome[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_result(value)
        return cls(future)

    def is_done(self) -> bool:
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Waits; not on the arbiter's own loop, which would wait for itself.

        Raises: what the work raises; TimeoutError; CallError, when the arbiter has ended meanwhile.
        """
        if not self._future.done() and threading.get_ident() == self._thread:
            raise RuntimeError("on the arbiter's own loop this is awaited: `await arbiter.stop()`")
        self._is_awaited = True
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LOOK_S if deadline is None else min(LOOK_S, max(0.0, deadline - time.monotonic()))
            concurrent.futures.wait([self._future], left)
            if self._future.cancelled() or (
                not self._future.done() and self._loop is not None and self._loop.is_closed()
            ):
                raise CallError("the arbiter has ended meanwhile")
            if self._future.done():
                return self._future.result()
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError

    def __await__(self) -> Generator[Any, None, T]:
        self._is_awaited = True
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def _tell(self, future: concurrent.futures.Future[T]) -> None:
        if not self._is_awaited and not future.cancelled() and (error := future.exception()) is not None:
            log.warning("%s", str(error).replace("\n", " "))
