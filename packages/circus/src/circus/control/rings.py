"""The latest lines of a watcher that somebody follows, for all who do. Pure but for the bells that it rings."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from circus.control import loglines
from circus.logbook.pages import MAX_TEXT, shortened
from circus.logbook.reading import Line

#: Of all watchers that are followed, in bytes of lines, each its share; as they are sent they are about twice as large.
MAX_BYTES = 4 << 20
MAX_BYTES_OF_WATCHER = 256 << 10
MIN_BYTES_OF_WATCHER = 2 * MAX_TEXT

#: Of one watcher.
MAX_LINES = 4096

#: What an item costs besides its line.
_ITEM_BYTES = 200


@dataclass(slots=True, eq=False)
class Item:
    """A line; without one so many bytes of the watcher's output were passed over here. ``places``: of the ring's logs,
    behind it."""

    line: Line | None
    missed: int
    places: tuple[int, ...]
    sent: bytes = b""

    @property
    def size(self) -> int:
        return _ITEM_BYTES + (len(self.line.data) if self.line is not None else 0)


@dataclass(slots=True, eq=False)
class Ring:
    """``count``: so many items ever; ``gone``: of these are not here any more."""

    watcher: str
    items: deque[Item] = field(default_factory=deque)
    count: int = 0
    places: dict[str, int] = field(default_factory=dict)  # by log; none goes
    places_gone: dict[str, int] = field(default_factory=dict)  # those before the first item that is here
    bells: set[asyncio.Event] = field(default_factory=set)
    users: int = 0
    begun: asyncio.Task[None] | None = None
    _size: int = 0

    @property
    def gone(self) -> int:
        return self.count - len(self.items)

    def add(self, line: Line | None, missed: int, rings: int) -> None:
        """``rings``: so many share the room."""
        if line is not None:
            line = shortened(line)
            self.places[line.log] = line.end
        item = Item(line, missed, tuple(self.places.values()))
        self.items.append(item)
        self.count += 1
        self._size += item.size
        room = max(MIN_BYTES_OF_WATCHER, min(MAX_BYTES_OF_WATCHER, MAX_BYTES // max(1, rings)))
        while len(self.items) > 1 and (self._size > room or len(self.items) > MAX_LINES):
            oldest = self.items.popleft()
            self._size -= oldest.size
            self.places_gone = self.places_of(oldest)

    def tell(self) -> None:
        for bell in self.bells:
            bell.set()

    def places_of(self, item: Item) -> dict[str, int]:
        return dict(zip(self.places, item.places, strict=False))

    def sent(self, item: Item) -> bytes:
        """As it is sent, to whomever."""
        if not item.sent:
            places = self.places_of(item)
            if item.line is not None:
                item.sent = loglines.said(places, item.line)
            else:
                item.sent = loglines.missed(places, bytes=item.missed)
        return item.sent
