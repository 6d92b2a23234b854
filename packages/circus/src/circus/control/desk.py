"""Threads in which files are read for clients: few, and one at a time for each place: a hung disk hangs only its own.

The idea: who asks for a place where somebody reads already waits for him, and not for others. A thread that does not
come back is left behind (a daemon thread, as in `streams.workers`), and does not count, as long as there are not too
many of these.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from circus.errors import CircusError
from circus.streams.workers import Worker

T = TypeVar("T")

#: Threads that read at once: they share one interpreter with circusd itself.
MAX_THREADS = 4

#: With those that do not come back.
MAX_HUNG_THREADS = 16

#: Calls that wait for a thread; a client has one.
MAX_WAITING = 512

#: Within this time a disk answers, or whoever asks is told that it does not.
ANSWER_S = 10.0


class Desk:
    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._running: dict[str, float] = {}  # place -> since when
        self._idle: Worker | None = None
        self._is_closed = False

    @property
    def threads(self) -> int:
        """That are in a call now."""
        return len(self._running)

    async def run(self, place: str, call: Callable[[], T]) -> T:
        """What ``call`` answers; calls with one ``place`` are made one after the other.

        Raises: what it raises; CircusError limit, unavailable when it does not come back in time.
        """
        if self._is_closed:
            raise CircusError("unavailable", "circusd leaves", "ask again when it is back")
        if len(self._waiting) >= MAX_WAITING:
            raise CircusError("limit", f"{MAX_WAITING} wait already for files to be read", "ask again in a moment")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, call, answer))
        self._begin_next()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            answer.cancel()
            raise CircusError(
                "unavailable", f"{place}: no answer within {ANSWER_S:g} s", "its disk hangs, or is very busy"
            ) from None
        except asyncio.CancelledError:
            answer.cancel()
            raise

    def close(self) -> None:
        """What waits is not begun; nobody waits for what was."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft()[2].cancel()
        if self._idle is not None:
            self._idle.stop()
            self._idle = None

    def _has_room(self) -> bool:
        hung = sum(time.monotonic() - since > ANSWER_S for since in self._running.values())
        return len(self._running) - hung < MAX_THREADS and len(self._running) < MAX_HUNG_THREADS

    def _begin_next(self) -> None:
        put_back = deque[tuple[str, Callable[[], Any], asyncio.Future[Any]]]()
        while self._waiting and self._has_room():
            place, call, answer = self._waiting.popleft()
            if answer.done():
                continue
            if place in self._running:
                put_back.append((place, call, answer))
            else:
                self._begin(place, call, answer)
        self._waiting.extendleft(reversed(put_back))

    def _begin(self, place: str, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        worker, self._idle = self._idle or Worker("circus-read"), None
        self._running[place] = time.monotonic()

        def is_back() -> None:
            del self._running[place]
            if self._is_closed or self._idle is not None:
                worker.stop()
            else:
                self._idle = worker
            self._begin_next()

        def tell(done: asyncio.Future[Any]) -> None:
            if answer.done():
                done.exception()  # nobody waits for it
            elif (error := done.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        worker.run(call, is_back).add_done_callback(tell)
