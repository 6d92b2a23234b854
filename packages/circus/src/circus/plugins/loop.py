"""The event loop of a plugin: asyncio's, under the names that plugins know from tornado's IOLoop.

A plugin that imports tornado itself gets the same loop there: it is the current one of its thread.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

log = logging.getLogger("circus.plugins")

Callback = Callable[..., Any]


class Loop:
    NONE, READ, WRITE, ERROR = 0, 1, 4, 24

    def __init__(self) -> None:
        self.asyncio_loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.asyncio_loop)
        self._tasks: set[asyncio.Future[Any]] = set()

    # Running ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Until ``stop``."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        self.asyncio_loop.call_soon_threadsafe(self.asyncio_loop.stop)

    def close(self) -> None:
        """What still runs is cancelled."""
        for task in asyncio.all_tasks(self.asyncio_loop):
            task.cancel()
        self.asyncio_loop.call_soon(self.asyncio_loop.stop)
        self.asyncio_loop.run_forever()
        self.asyncio_loop.close()

    def time(self) -> float:
        return time.time()

    # Callbacks ----------------------------------------------------------------------------------------------

    def add_callback(self, callback: Callback, *args: Any, **kwargs: Any) -> None:
        """From any thread."""
        self.asyncio_loop.call_soon_threadsafe(self._run, callback, args, kwargs)

    add_callback_from_signal = add_callback
    spawn_callback = add_callback

    def add_future(self, future: asyncio.Future[Any], callback: Callback) -> None:
        future.add_done_callback(lambda done: self._run(callback, (done,), {}))

    def call_later(self, delay: float, callback: Callback, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        return self.asyncio_loop.call_later(max(0.0, delay), self._run, callback, args, kwargs)

    def call_at(self, when: float, callback: Callback, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        """``when`` is a time as ``time()`` has it."""
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def add_timeout(
        self, deadline: float | timedelta, callback: Callback, *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        if isinstance(deadline, timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        return self.call_at(deadline, callback, *args, **kwargs)

    def remove_timeout(self, timeout: asyncio.TimerHandle) -> None:
        timeout.cancel()

    # Descriptors --------------------------------------------------------------------------------------------

    def add_handler(self, fd: Any, handler: Callback, events: int) -> None:
        """``handler(fd, events)``, as long as there is something to read or room to write."""
        if events & self.READ:
            self.asyncio_loop.add_reader(fd, self._run, handler, (fd, self.READ), {})
        if events & self.WRITE:
            self.asyncio_loop.add_writer(fd, self._run, handler, (fd, self.WRITE), {})

    def update_handler(self, fd: Any, handler: Callback, events: int) -> None:
        self.remove_handler(fd)
        self.add_handler(fd, handler, events)

    def remove_handler(self, fd: Any) -> None:
        self.asyncio_loop.remove_reader(fd)
        self.asyncio_loop.remove_writer(fd)

    def _run(self, callback: Callback, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An exception is logged, and the loop goes on."""
        try:
            result = callback(*args, **kwargs)
        except Exception:
            log.exception("%r failed", callback)
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(result, loop=self.asyncio_loop)
            self._tasks.add(task)
            task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", exc_info=error)


class PeriodicCallback:
    """Calls again and again, ``callback_time`` milliseconds from begin to begin; a call that is late is left out."""

    def __init__(self, callback: Callback, callback_time: float, loop: Loop) -> None:
        self._callback = callback
        self._period_s = callback_time / 1000
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        self.stop()
        self._due = self._loop.asyncio_loop.time()
        self._plan()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def is_running(self) -> bool:
        return self._handle is not None

    def _plan(self) -> None:
        now = self._loop.asyncio_loop.time()
        self._due = max(self._due + self._period_s, now)
        self._handle = self._loop.call_later(self._due - now, self._call)

    def _call(self) -> Any:
        self._plan()
        return self._callback()
