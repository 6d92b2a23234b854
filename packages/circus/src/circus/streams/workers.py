"""Threads that touch the disk, one for each file system, so that a hung disk hangs only its own.

The idea: plain daemon threads with a queue. A pool of `concurrent.futures` would wait at the end of the program for
a thread that a dead NFS server holds; these are left behind. An idle thread sleeps in its queue and costs nothing.
Results that come while the loop is busy are one wake-up. Whoever waits behind a call that takes longer than
``UNANSWERED_S`` is told so, and waits on: the disk may come back.

A thread bears the name of what it touches for the system, too: the next circusd finds one that outlived this one's
death (`earlier`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: A call that takes as long holds up who waits behind it no longer.
HANG_S = 0.05

#: A thread that has been in one call for so long counts as hung: a sound disk answers in far less, also under load.
UNANSWERED_S = 5.0

#: What the system keeps of a thread's name (TASK_COMM_LEN, proc_pid_comm(5)).
MAX_NAME = 15


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    call: Callable[[], Any]
    after: Callable[[], None] | None
    on_hang: Callable[[], None] | None

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
        self._delivered = 0
        self._is_told = False
        #: Those that are to hear of it when they wait for too long.
        self._patient: dict[_Job, None] = {}
        self._begun_at: float | None = None
        self._is_hung = False
        self._watch: asyncio.TimerHandle | None = None
        self._start()

    def run(
        self,
        call: Callable[[], T],
        after: Callable[[], None] | None = None,
        on_hang: Callable[[], None] | None = None,
    ) -> asyncio.Future[T]:
        """``after`` is called from the loop when the thread has done with it, also if nobody waits any more.

        ``on_hang``: when the thread has been in this call, or in one before it, for UNANSWERED_S.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(loop, future, call, after, on_hang)
        if on_hang is not None:
            self._patient[job] = None
            if self._is_hung:
                loop.call_soon(self._tell, job)
            elif self._watch is None:
                self._watch = loop.call_later(UNANSWERED_S, self._look_whether_it_hangs)
        self._queue.put(job)
        return future

    def stop(self) -> None:
        """The thread ends when it has done what it was given; nobody waits for it."""
        self._queue.put(None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        thread.start()
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/self/task/{thread.native_id}/comm", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, self._name.encode()[:MAX_NAME])
            finally:
                os.close(fd)

    def _look_whether_it_hangs(self) -> None:
        begun_at, now = self._begun_at, time.monotonic()
        self._watch = None
        if begun_at is None or now < begun_at + UNANSWERED_S:
            left_s = UNANSWERED_S if begun_at is None else begun_at + UNANSWERED_S - now
            self._watch = asyncio.get_running_loop().call_later(left_s, self._look_whether_it_hangs)
            return
        self._is_hung = True
        for job in list(self._patient):
            self._tell(job)

    def _tell(self, job: _Job) -> None:
        if job in self._patient and job.on_hang is not None and not job.future.done():
            job.on_hang()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            result, error = None, None
            self._begun_at = time.monotonic()
            try:
                result = job.call()
            except Exception as caught:  # noqa: BLE001 - handed over to whoever waits
                error = caught
            self._begun_at = None
            self._done.append((job, result, error))
            if not self._is_told:
                self._is_told = True
                # A closed loop waits for nothing any more, but what comes behind may be the close of a file.
                try:
                    job.loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    self._is_told = False
                    while self._done:
                        left = self._done.popleft()[0]
                        if left.after is not None:
                            left.after()
            del job, result, error

    def _deliver(self) -> None:
        """In the loop. What is done from here on tells it again."""
        self._is_told = False
        while self._done:
            job, result, error = self._done.popleft()
            self._delivered += 1
            self._patient.pop(job, None)
            self._is_hung = False
            job.finish(result, error)
        if self._watch is not None and not self._patient:
            self._watch.cancel()
            self._watch = None
        elif self._watch is None and self._patient:
            self._watch = asyncio.get_running_loop().call_later(UNANSWERED_S, self._look_whether_it_hangs)


async def run_aside(name: str, call: Callable[[], T]) -> T:
    """What ``call`` answers, from a thread for which nobody waits at the end, as for those of asyncio.to_thread."""
    worker = Worker(name)
    try:
        return await worker.run(call)
    finally:
        worker.stop()


class Opener(Worker):
    """A thread for calls that have nothing to do with each other: while one of them hangs another thread goes on.

    Those that were added end when nothing waits any more.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._threads = 1
        self._asked = self._delivered_before = 0
        self._look: asyncio.TimerHandle | None = None

    def run(
        self,
        call: Callable[[], T],
        after: Callable[[], None] | None = None,
        on_hang: Callable[[], None] | None = None,
    ) -> asyncio.Future[T]:
        if self._look is None:
            self._look_later()
        self._asked += 1
        return super().run(call, after, on_hang)

    def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for _ in range(self._threads):
            super().stop()

    def _look_later(self) -> None:
        self._delivered_before = self._delivered
        self._look = asyncio.get_running_loop().call_later(HANG_S, self._relieve)

    def _relieve(self) -> None:
        if self._queue.empty():
            self._look = None
            return
        if self._delivered == self._delivered_before:
            # As many as there are: behind hundreds that hang the next one waits for some looks, not for hundreds.
            for _ in range(min(self._threads, self._queue.qsize())):
                self._threads += 1
                self._start()
        self._look_later()

    def _deliver(self) -> None:
        super()._deliver()
        if self._look is not None and self._queue.empty():
            self._look.cancel()
            self._look = None
        if self._queue.empty():
            self._relax()

    def _relax(self) -> None:
        """One thread beside those that hang is enough."""
        for _ in range(self._threads - 1 - (self._asked - self._delivered)):
            self._threads -= 1
            super().stop()


class Workers:
    """The threads by what they touch: ``dev:N`` for a file system, or a device's path."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[Worker, int]] = {}
        self._opener: Opener | None = None

    def take(self, key: str) -> Worker:
        """The worker of that key; give it back with `give_back`."""
        worker, users = self._workers.get(key) or (Worker(key), 0)
        self._workers[key] = (worker, users + 1)
        return worker

    def give_back(self, key: str) -> None:
        worker, users = self._workers[key]
        if users > 1:
            self._workers[key] = (worker, users - 1)
        else:
            del self._workers[key]
            worker.stop()

    def run_alone(self, call: Callable[[], T], on_hang: Callable[[], None] | None = None) -> asyncio.Future[T]:
        """Run one call that may hang without holding anybody else; ``on_hang`` when it takes UNANSWERED_S."""
        if self._opener is None:
            self._opener = Opener("circus-open")
        answer = self._opener.run(call)
        if on_hang is not None:
            watch = asyncio.get_running_loop().call_later(UNANSWERED_S, on_hang)
            answer.add_done_callback(lambda _: watch.cancel())
        return answer

    def close(self) -> None:
        """What opens files ends; workers that were taken are given back by who took them."""
        if self._opener is not None:
            self._opener.stop()
            self._opener = None
