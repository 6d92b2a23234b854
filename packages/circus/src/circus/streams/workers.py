"""Threads that touch the disk, one for each file system, so that a hung disk hangs only its own.

The idea: plain daemon threads with a queue. A pool of `concurrent.futures` would wait at the end of the program for
a thread that a dead NFS server holds; these are left behind. An idle thread sleeps in its queue and costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


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
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], T], after: Callable[[], None] | None = None) -> asyncio.Future[T]:
        """``after`` is called from the loop when the thread has done with it, also if nobody waits any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Job(loop, future, call, after))
        return future

    def stop(self) -> None:
        """The thread ends when it has done what it was given; nobody waits for it."""
        self._queue.put(None)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            result, error = None, None
            try:
                result = job.call()
            except Exception as caught:  # noqa: BLE001 - handed over to whoever waits
                error = caught
            # A closed loop waits for nothing any more, but what comes behind may be the close of a file.
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(job.finish, result, error)
            del job, result, error


class Workers:
    """The threads by what they touch: ``dev:N`` for a file system, or a device's path."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[Worker, int]] = {}

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

    async def run_alone(self, call: Callable[[], T]) -> T:
        """Run one call in a thread of its own: it may hang without holding anybody else."""
        worker = Worker("circus-open")
        try:
            return await worker.run(call)
        finally:
            worker.stop()
