"""The one loop of the kernel: descriptors, timers, signals, and the fence around each callback.

The one idea: whoever waits for something gives a callback, and a fault in one callback is logged, counted and
contained, because one broken request must not end the parent of all services. There is no tick: without an
event and without a timer the loop sleeps for ever.

Two facts about epoll and poll shape the code. A hang-up is reported whether it was asked for or not, so a
descriptor that shall be left alone for a while must be forgotten, not watched for nothing. And within one
turn a descriptor may be closed and its number given to another, so what was reported for a number is only
delivered to a watch that is older than this turn.

What the callbacks do does not belong here.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from papa.core.timers import Timers
from papa.kernel import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from papa.core.timers import Timer

    class Poller(Protocol):
        def register(self, fd: int, eventmask: int, /) -> None: ...
        def modify(self, fd: int, eventmask: int, /) -> None: ...
        def unregister(self, fd: int, /) -> None: ...


READ = select.POLLIN
WRITE = select.POLLOUT
#: Reported whether asked for or not.
HANGUP = select.POLLHUP | select.POLLERR

#: Events taken in one turn; the rest are reported in the next, so that after_turn work is never put off long.
MAX_EVENTS = 256

#: Longest sleep that is asked of the system: poll(2) takes milliseconds in 32 bits.
MAX_SLEEP_S = 86_400.0


class Loop:
    """See the module. Not re-entrant, one thread."""

    __slots__ = (
        "_after", "_epoll", "_poll", "_poller", "_signals", "_status", "_stopped", "_timers", "_turn", "_wakeup",
        "_watches", "faults",
    )  # fmt: skip

    def __init__(self, tier: str = "full") -> None:
        self._epoll = None if tier == "portable" else select.epoll()
        self._poll = select.poll()
        self._poller: Poller = self._epoll if self._epoll is not None else self._poll
        #: Of each descriptor: the events, whom to call, and since which turn.
        self._watches: dict[int, tuple[int, Callable[[int], None], int]] = {}
        self._timers = Timers()
        self._after: list[Callable[[], None]] = []
        self._signals: dict[int, Callable[[], None]] = {}
        self._wakeup: tuple[int, int] | None = None
        self._turn = 0
        self._status = 0
        self._stopped = False
        self.faults = 0

    # --- descriptors ---------------------------------------------------------------------------------------

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Calls ``callback(what is ready)`` whenever ``fd`` is; with no events on a hang-up or error only."""
        self._poller.register(fd, events)
        self._watches[fd] = events, callback, self._turn

    def change(self, fd: int, events: int) -> None:
        """Waits for other events on a descriptor that is watched; costs nothing if they are the same."""
        before, callback, since = self._watches[fd]
        if before != events:
            self._poller.modify(fd, events)
            self._watches[fd] = events, callback, since

    def forget(self, fd: int) -> None:
        """Leaves ``fd`` alone; must come before its close. One that is not watched is fine."""
        if self._watches.pop(fd, None) is not None:
            self._poller.unregister(fd)

    # --- time ----------------------------------------------------------------------------------------------

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Calls once, at or soon after ``deadline`` (time.monotonic), unless the timer is cancelled."""
        return self._timers.arm(deadline, callback)

    def after_turn(self, callback: Callable[[], None]) -> None:
        """Calls once, when every callback of this turn has run: the place for what is done in batches."""
        self._after.append(callback)

    # --- signals -------------------------------------------------------------------------------------------

    def on_signal(self, signum: int, callback: Callable[[], None]) -> None:
        """Calls from the loop after ``signum`` arrived; several that came together may be one call."""
        if self._wakeup is None:
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            self._wakeup = reader, writer
            # A full pipe wakes the loop as well as a fuller one.
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            self.watch(reader, READ, self._on_wakeup)
        self._signals[signum] = callback
        signal.signal(signum, _take_note)

    def _on_wakeup(self, _ready: int) -> None:
        assert self._wakeup is not None
        for signum in sorted(set(os.read(self._wakeup[0], 4096))):
            callback = self._signals.get(signum)
            if callback is not None:
                self.contain(callback)

    # --- turning -------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Turns until stop(); returns its status."""
        self._stopped = False
        while not self._stopped:
            self.turn()
        return self._status

    def turn(self) -> None:
        """Sleeps until something is due or ready, then does it."""
        self._turn += 1
        for fd, ready in self._wait(self._sleep_s()):
            watch = self._watches.get(fd)
            if watch is not None and watch[2] < self._turn:
                self.contain(watch[1], ready)
        for timer in self._timers.due(time.monotonic()):
            self.contain(timer.fire)
        after, self._after = self._after, []
        for callback in after:
            self.contain(callback)

    def stop(self, status: int = 0) -> None:
        """Ends run() after this turn."""
        self._status = status
        self._stopped = True

    def _sleep_s(self) -> float | None:
        if self._after:
            return 0.0
        deadline = self._timers.next_deadline()
        if deadline is None:
            return None
        return min(max(0.0, deadline - time.monotonic()), MAX_SLEEP_S)

    def _wait(self, sleep_s: float | None) -> list[tuple[int, int]]:
        if self._epoll is not None:
            return self._epoll.poll(-1 if sleep_s is None else sleep_s, MAX_EVENTS)
        # Rounded up: a timer that is due in half a millisecond must not be asked for in a busy loop.
        return self._poll.poll(None if sleep_s is None else int(sleep_s * 1000 + 0.999))

    def contain(self, callback: Callable[..., None], *args: object) -> Exception | None:
        """Calls ``callback(*args)``; a fault in it is logged, counted and returned, and goes no further."""
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - the one place of the kernel
            self.faults += 1
            system.log(f"fault in {getattr(callback, '__qualname__', callback)}; the kernel goes on")
            sys.excepthook(type(error), error, error.__traceback__)
            return error
        return None

    def close(self) -> None:
        """Gives back signals and descriptors of its own; those that are watched belong to their watchers."""
        for signum in self._signals:
            signal.signal(signum, signal.SIG_DFL)
        self._signals.clear()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for fd in self._wakeup:
                self.forget(fd)
                os.close(fd)
            self._wakeup = None
        self._watches.clear()
        if self._epoll is not None:
            self._epoll.close()


def _take_note(_signum: int, _frame: object) -> None:
    """The wake-up descriptor has the signal's number; a handler must exist for it to be written."""
