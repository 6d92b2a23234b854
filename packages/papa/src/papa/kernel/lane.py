"""A lane: descriptors with little to say each, which may be looked at together.

The one idea: a thousand processes that write a line now and then wake a kernel a thousand times a second, and to wake
up costs more than to take the line. So they have an epoll of their own within the loop's. While it wakes the loop
often, and for little, it is looked at every few milliseconds instead; what came meanwhile waits in its pipe. Who writes
seldom, or much, is served at once.

Where there is no epoll, everything stays with the loop.
"""

from __future__ import annotations

import select
import time

from papa.kernel.loop import MAX_EVENTS, READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from papa.core.timers import Timer
    from papa.kernel.loop import Loop

#: From one look to the next, while there is always something. Lines bear a time that is so much later at most.
GAP_S = 0.005

#: So many looks within this time are often: beyond it they take a hundredth of a core or more.
OFTEN_LOOKS = 32
OFTEN_S = 0.1

#: This much of each descriptor that was ready is no little: it would fill its pipe in a few gaps.
MUCH_BYTES = 8 << 10


class Lane:
    """See the module. Descriptors are watched for reading only."""

    __slots__ = ("_bytes", "_epoll", "_looks", "_loop", "_ready", "_since", "_timer", "_watches")

    def __init__(self, loop: Loop, tier: str) -> None:
        self._loop = loop
        self._epoll = None if tier == "portable" else select.epoll()
        self._watches: dict[int, Callable[[int], None]] = {}
        #: What is ready in this look and was not served yet: a number that is forgotten meanwhile may be another's.
        self._ready: dict[int, int] = {}
        self._bytes = 0
        self._looks = 0
        self._since = 0.0
        #: Set while it is looked at every few milliseconds.
        self._timer: Timer | None = None
        if self._epoll is not None:
            loop.watch(self._epoll.fileno(), READ, self._on_ready)

    def watch(self, fd: int, callback: Callable[[int], None]) -> None:
        """Calls ``callback(what is ready)`` when there is something to read, or the last writer is gone."""
        if self._epoll is None:
            self._loop.watch(fd, READ, callback)
            return
        self._epoll.register(fd, READ)
        self._watches[fd] = callback

    def forget(self, fd: int) -> None:
        """Leaves ``fd`` alone; must come before its close. One that is not watched is fine."""
        if self._epoll is None:
            self._loop.forget(fd)
        elif self._watches.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._ready.pop(fd, None)

    def took(self, size: int) -> None:
        """A callback took so many bytes."""
        self._bytes += size

    def close(self) -> None:
        if self._epoll is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._loop.forget(self._epoll.fileno())
        self._epoll.close()

    def _on_ready(self, _ready: int) -> None:
        is_little = self._look()
        now = time.monotonic()
        if now - self._since > OFTEN_S:
            self._looks, self._since = 0, now
        self._looks += 1
        if self._looks >= OFTEN_LOOKS and is_little:
            assert self._epoll is not None
            self._loop.forget(self._epoll.fileno())
            self._timer = self._loop.call_at(now + GAP_S, self._on_gap_over)

    def _on_gap_over(self) -> None:
        if self._look():
            self._timer = self._loop.call_at(time.monotonic() + GAP_S, self._on_gap_over)
            return
        assert self._epoll is not None
        self._timer = None
        self._looks = 0
        self._loop.watch(self._epoll.fileno(), READ, self._on_ready)

    def _look(self) -> bool:
        """Serves what is ready; whether that was something, and little."""
        assert self._epoll is not None
        self._bytes = 0
        ready = self._ready = dict(self._epoll.poll(0, MAX_EVENTS))
        count = len(ready)
        for fd, events in tuple(ready.items()):
            if fd in ready:
                self._loop.contain(self._watches[fd], events)
        return count > 0 and self._bytes < count * MUCH_BYTES
