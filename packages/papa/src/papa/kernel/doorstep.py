"""The doorstep: what strangers make the kernel say, which is said a few times and then counted.

The one idea: kernel.log is cut to its newer half when it is large (papa.kernel.system), so it cannot fill a disk; but
whoever can knock could wash everything else out of it. So of each kind of line that a peer can cause only the first
few in a period are written, and then one that tells how many there were.
"""

from __future__ import annotations

import time

from papa.kernel import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.kernel.loop import Loop

#: Lines of one kind in one period: enough to see who it is. A day of floods of all kinds is less than the log holds.
MOST_LINES, PERIOD_S = 5, 600.0


class Doorstep:
    """The log, for what peers cause. There are as many kinds as there are places in the code that tell one."""

    __slots__ = ("_counts", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        #: Of the kinds that were told in this period of theirs.
        self._counts: dict[str, int] = {}

    def tell(self, kind: str, text: str) -> None:
        """Logs ``kind: text``, or counts it."""
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        if count == 1:
            self._loop.call_at(time.monotonic() + PERIOD_S, lambda: self._sum_up(kind))
        if count <= MOST_LINES:
            system.log(f"{kind}: {text}")

    def _sum_up(self, kind: str) -> None:
        more = self._counts.pop(kind) - MOST_LINES
        if more > 0:
            system.log(f"{kind}: {more} times more within {PERIOD_S:g} s")
