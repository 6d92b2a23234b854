"""Patience: what all connections together make the kernel hold, which each of them could make large.

The one idea: a connection may hold much for a moment, a request that is still coming or an answer that is still being
read; many that stand still may not. So of those that hold much the one that has stood still for longest is cut off as
soon as all together hold too much. Who goes on, however slowly, stands behind all who do not.

What a single connection may hold is bounded by papa.kernel.server and papa.wire.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.kernel.server import Connection

#: Several of the largest requests and answers at once; the parent of all services must not grow until it is killed.
MAX_TOGETHER = 64 << 20

#: Up to this much each may hold for ever: a line that somebody types. Of as many as may connect it is 16 MiB.
SMALL = 1 << 16


class Patience:
    """Who holds much, the one first that has stood still for longest."""

    __slots__ = ("_held", "_together")

    def __init__(self) -> None:
        self._held: dict[Connection, int] = {}
        self._together = 0

    def note(self, connection: Connection, held: int) -> Connection | None:
        """``connection`` holds so much now. Returns whom to cut off, if anybody: call again when that is done."""
        before = self._held.get(connection, 0)
        now = held if held > SMALL else 0
        if now < before:
            # It went on: a request is whole, or something was read.
            del self._held[connection]
        if now:
            self._held[connection] = now
        self._together += now - before
        return next(iter(self._held)) if self._together > MAX_TOGETHER else None
