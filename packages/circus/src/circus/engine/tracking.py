"""Which orders to the cores belong to one operation of the doors, so that somebody may follow how far it is.

An operation is a task; what it orders, and the tasks that it begins for that, find its ``Track`` in their context. The
cores know nothing of it. Without a track, as for what circusd orders by itself, nothing is noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from circus.supervise import events
from circus.supervise.fleet import names_in

_TRACK: ContextVar[Track | None] = ContextVar("track", default=None)


class Track:
    """``id`` names the operation, ``watchers`` are those that it concerns, as far as that is known; ``by`` and
    ``origin`` are the caller's, who has ordered ``what``."""

    def __init__(self, id: str, watchers: Iterable[str], what: str = "", by: str = "", origin: str = "") -> None:
        self.id = id
        self.what, self.by, self.origin = what, by, origin
        self.watchers = dict.fromkeys(watchers)
        self.arrived: set[str] = set()  # by orders that have ended
        self.open: dict[int, tuple[str, ...]] = {}  # orders to the cores that have not, and whom they name
        self.behind: tuple[str, ...] = ()  # operations that it waits for before it begins

    def use(self) -> None:
        """For the task that calls it, and those that it begins."""
        _TRACK.set(self)


def current() -> Track | None:
    return _TRACK.get()


def begin(op: int, order: events.Order, end: asyncio.Future[Any]) -> None:
    """Note an order that is under way until ``end`` is known."""
    track = current()
    if track is None:
        return
    track.open[op] = names_in(order) or ()

    def close(_end: asyncio.Future[Any]) -> None:
        names = track.open.pop(op)
        track.arrived.update(names or track.watchers)

    end.add_done_callback(close)
