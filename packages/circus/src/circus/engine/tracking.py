"""Which orders to the cores belong to one operation of the doors, so that somebody may follow how far it is.

An operation is a task; what it orders, and the tasks that it begins for that, find its ``Track`` in their context. The
cores know nothing of it. Without a track, as for what circusd orders by itself, nothing is noted.
"""

from __future__ import annotations

from contextvars import ContextVar

_TRACK: ContextVar[Track | None] = ContextVar("track", default=None)


class Track:
    """``id`` names the operation."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.orders: list[int] = []  # to the cores, that have not ended
        self.behind: tuple[str, ...] = ()  # operations that it waits for before it begins

    def use(self) -> None:
        """For the task that calls it, and those that it begins."""
        _TRACK.set(self)


def current() -> Track | None:
    return _TRACK.get()
