"""The gallery: all who watch have one amount of work together in each turn of the loop, however many they are.

The one idea: who wants to look waits in one queue. A turn lets look until enough was shown; the rest, and whoever has
more to see, look in the next turns, between which everybody else is served. So a request waits for one page of
watching, and every viewer of a flood gets an equal part of what the kernel can show.

What a look is, is in papa.kernel.watch.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.kernel.loop import Loop
    from papa.kernel.watch import Watch

#: Shown in one turn, after which no other look begins: a page, which is about 10 ms of work.
TURN_BYTES = 64 * 1024

#: What a look counts at least: it costs about as much as to show this, even when there is nothing new.
LOOK_BYTES = 2 * 1024


class Gallery:
    """The queue. ``spent`` is what this turn has shown so far: a look adds to it."""

    __slots__ = ("_is_due", "_loop", "_queue", "spent")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        #: In the order in which they asked.
        self._queue: dict[Watch, None] = {}
        self._is_due = False
        self.spent = 0

    def look_later(self, watch: Watch) -> None:
        """There may be something new for it: it looks when this turn's callbacks have run, or after others."""
        self._queue[watch] = None
        if not self._is_due:
            self._is_due = True
            self._loop.after_turn(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self.spent = 0
        while self._queue and self.spent < TURN_BYTES:
            watch = next(iter(self._queue))
            del self._queue[watch]
            self.spent += LOOK_BYTES
            self._loop.contain(watch.look)
        if self._queue and not self._is_due:
            self._is_due = True
            self._loop.after_turn(self._turn)
