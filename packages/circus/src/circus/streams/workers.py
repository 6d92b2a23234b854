"""Threads that touch the disk, one for each file system, so that a hung disk hangs only its own.

The idea: plain daemon threads with a queue. A pool of `concurrent.futures` would wait at the end of the program for
a thread that a dead NFS server holds; these are left behind. An idle thread sleeps in its queue and costs nothing.
Results that come while the loop is busy are one wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: A call that takes as long holds up who waits behind it no longer.
HANG_S = 0.05


@dataclass(frozen=True, slots=True)
class _Job:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    call: Callable[[], Any]
    after: Callable[[], None] | None

    def finish(self, result: object, error: Exception | None) -> None:
        if self.after is not None:
            self.after()
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Worker:
    """One thread; `run` gives its results back to the loop in the order of the calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[tuple[_Job, object, Exception | None]] = deque()
        self._is_told = False
        self._start()

    def run(self, call: Callable[[], T], after: Callable[[], None] | None = None) -> asyncio.Future[T]:
        """``after`` is called from the loop when the thread has done with it, also if nobody waits any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Job(loop, future, call, after))
        return future

    def stop(self) -> None:
        """The thread ends when it has done what it was given; nobody waits for it."""
        self._queue.put(None)

    def _start(self) -> None:
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            result, error = None, None
            try:
                result = job.call()
            except Exception as caught:  # noqa: BLE001 - handed over to whoever waits
                error = caught
            self._done.append((job, result, error))
            if not self._is_told:
                self._is_told = True
                # A closed loop waits for nothing any more, but what comes behind may be the close of a file.
                with contextlib.suppress(RuntimeError):
                    job.loop.call_soon_threadsafe(self._deliver)
            del job, result, error

    def _deliver(self) -> None:
        """In the loop. What is done from here on tells it again."""
        self._is_told = False
        while self._done:
            job, result, error = self._done.popleft()
            job.finish(result, error)


class Opener(Worker):
    """A thread for calls that have nothing to do with each other: while one of them hangs another thread goes on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._threads = 1
        self._finished = self._finished_before = 0
        self._look: asyncio.TimerHandle | None = None

    def run(self, call: Callable[[], T], after: Callable[[], None] | None = None) -> asyncio.Future[T]:
        if self._look is None:
            self._look_later()
        return super().run(call, after)

    def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for _ in range(self._threads):
            super().stop()

    def _look_later(self) -> None:
        self._finished_before = self._finished
        self._look = asyncio.get_running_loop().call_later(HANG_S, self._relieve)

    def _relieve(self) -> None:
        if self._queue.empty():
            self._look = None
            return
        if self._finished == self._finished_before:
            # As many as there are: behind hundreds that hang the next one waits for some looks, not for hundreds.
            for _ in range(min(self._threads, self._queue.qsize())):
                self._threads += 1
                self._start()
        self._look_later()

    def _deliver(self) -> None:
        self._finished += len(self._done)
        super()._deliver()
        if self._look is not None and self._queue.empty():
            self._look.cancel()
            self._look = None


class Workers:
    """The threads by what they touch: ``dev:N`` for a file system, or a device's path."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[Worker, int]] = {}
        self._opener: Opener | None = None

    def take(self, key: str) -> Worker:
        """The worker of that key; give it back with `give_back`."""
        worker, users = self._workers.get(key) or (Worker(f"circus-{key}"), 0)
        self._workers[key] = (worker, users + 1)
        return worker

    def give_back(self, key: str) -> None:
        worker, users = self._workers[key]
        if users > 1:
            self._workers[key] = (worker, users - 1)
        else:
            del self._workers[key]
            worker.stop()

    def run_alone(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run one call that may hang without holding anybody else."""
        if self._opener is None:
            self._opener = Opener("circus-open")
        return self._opener.run(call)

    def close(self) -> None:
        """What opens files ends; workers that were taken are given back by who took them."""
        if self._opener is not None:
            self._opener.stop()
            self._opener = None
