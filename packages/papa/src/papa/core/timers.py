"""Timers: deadlines in a heap.

The one idea: cancelling only marks a timer, and the mark is found when the timer would come due, so both
arming and cancelling are cheap; when more than half of a large heap is marked, the heap is built anew, so
that it never holds more than twice the live timers. Time is an argument, in seconds of one monotonic clock.
"""

from __future__ import annotations

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: A heap smaller than this is not worth building anew.
_SMALL = 64


class Timer:
    """One deadline; it fires once, or is cancelled."""

    __slots__ = ("_timers", "action", "deadline", "is_armed", "order")

    def __init__(self, timers: Timers, deadline: float, order: int, action: Callable[[], None]) -> None:
        self._timers = timers
        self.deadline = deadline
        self.order = order
        self.action = action
        self.is_armed = True

    def __lt__(self, other: Timer) -> bool:
        return (self.deadline, self.order) < (other.deadline, other.order)

    def cancel(self) -> None:
        """It never fires. Cancelling again, or after it fired, does nothing."""
        if self.is_armed:
            self.is_armed = False
            self._timers._forget_one()

    def fire(self) -> None:
        """Run the action of a timer that ``due`` returned, unless it was cancelled since."""
        if self.is_armed:
            self.is_armed = False
            self._timers._forget_one()
            self.action()


class Timers:
    """All deadlines of one loop."""

    __slots__ = ("_heap", "_live", "_order")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._live = 0
        self._order = 0

    def __len__(self) -> int:
        """Timers that are armed."""
        return self._live

    def arm(self, deadline: float, action: Callable[[], None]) -> Timer:
        """*action* runs once ``now`` has reached *deadline*."""
        self._order += 1
        timer = Timer(self, deadline, self._order, action)
        heapq.heappush(self._heap, timer)
        self._live += 1
        return timer

    def next_deadline(self) -> float | None:
        """The earliest deadline, or None when nothing is armed (then there is nothing to wake up for)."""
        while self._heap and not self._heap[0].is_armed:
            heapq.heappop(self._heap)
        return self._heap[0].deadline if self._heap else None

    def due(self, now: float) -> list[Timer]:
        """Take out what is due, the earliest first, equal deadlines in the order of arming; ``fire`` each.

        An action may cancel a timer of the same batch; what it arms waits for the next call, even if it is
        due.
        """
        ripe: list[Timer] = []
        while self._heap and self._heap[0].deadline <= now:
            ripe.append(heapq.heappop(self._heap))
        return ripe

    def _forget_one(self) -> None:
        self._live -= 1
        if len(self._heap) > _SMALL and len(self._heap) > 2 * self._live:
            self._heap = [timer for timer in self._heap if timer.is_armed]
            heapq.heapify(self._heap)
