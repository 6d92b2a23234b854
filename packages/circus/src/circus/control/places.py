"""The places of TCP: who has one, from the moment a connection is accepted until it is gone.

A stranger has not shown a token yet. There is room for few of them, and whoever came first has to go when another one
comes: who has a token shows it at once, so nobody who only sits there can keep him out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from circus import clock

#: Connections that have shown a token: of programs that follow events or logs, mostly. The control socket has its own;
#: and fewer than may listen (`events.MAX_LISTENERS`), so that there somebody always may, too.
MAX_KNOWN = 224

#: Connections that have shown none, those included with whom TLS is not agreed on yet.
MAX_STRANGERS = 64


class Place:
    """``address`` is the peer's; ``host`` is our own address, as the peer asked for it."""

    def __init__(self, places: Places, address: str, host: str) -> None:
        self.address = address
        self.host = host
        self.token = ""  # the id of the one that was shown last
        self.task: asyncio.Task[None] | None = None  # that agrees on TLS
        self.transport: asyncio.Transport | None = None
        self._places = places
        self._end: asyncio.TimerHandle | None = None
        self._is_streaming = False

    def show(self, token: str) -> bool:
        """Be known by it; False: there is no room for more who are."""
        if not self.token and not self._places.know(self):
            return False
        self.token = token
        return True

    def stream(self, expires: float | None) -> None:
        """An answer without an end has begun: it has one when its token ends."""
        self._is_streaming = True
        if expires is not None:
            left = max(0.0, expires - clock.wall())
            self._end = asyncio.get_running_loop().call_later(left, self.abort)

    def stop_streaming(self) -> None:
        self._is_streaming = False
        if self._end is not None:
            self._end.cancel()
            self._end = None

    @property
    def is_streaming(self) -> bool:
        return self._is_streaming

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()

    def leave(self) -> None:
        """The connection is gone. Twice is once."""
        self.stop_streaming()
        self._places.leave(self)


class Places:
    def __init__(self) -> None:
        self._strangers: dict[Place, None] = {}  # in the order of their coming
        self._known: set[Place] = set()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def __iter__(self) -> Iterator[Place]:
        yield from tuple(self._strangers)
        yield from tuple(self._known)

    def take(self, address: str, host: str) -> tuple[Place, Place | None]:
        """A place, and who has to go for it."""
        gone = next(iter(self._strangers)) if len(self._strangers) >= MAX_STRANGERS else None
        if gone is not None:
            del self._strangers[gone]
        place = Place(self, address, host)
        self._strangers[place] = None
        return place, gone

    def know(self, place: Place) -> bool:
        if len(self._known) >= MAX_KNOWN:
            return False
        self._strangers.pop(place, None)
        self._known.add(place)
        return True

    def leave(self, place: Place) -> None:
        self._strangers.pop(place, None)
        self._known.discard(place)

    def end(self, token: str) -> None:
        """Answers without an end that go to who has shown this token end now."""
        for place in self:
            if place.token == token and place.is_streaming:
                place.abort()
