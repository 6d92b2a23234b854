"""The feed of events: everybody who listens reads the same ring, each at his own pace.

The idea: nobody has a queue. A listener is a number, that of the event that he was given last; one that is too slow
finds the ring gone on, and is told how many events he missed. So a hundred listeners who do not read cost nothing.

An id is ``START-NUMBER``: START names this life of circusd, NUMBER counts its events from 1. Whoever comes back with an
id goes on behind it; with an id of an earlier circusd he hears all that this one still has.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence

from circus.bus import RING_LENGTH, Bus, Event
from circus.control import sse
from circus.errors import CircusError

#: Each has a connection, that is a descriptor and some 30 KB; as many may follow logs (`following`). The doors have
#: room for all of these, and for orders beside them.
MAX_LISTENERS = 256

#: Events that are handed over in one piece; a client that does not take them lets the ring go on meanwhile.
BATCH = 64

#: Of one request; more would be looked through for every event.
MAX_TOPICS = 100

#: Longer than any id.
MAX_ID = 40

#: After so many events of which a listener wanted none he is told how far he is, so that he does not seem to have
#: missed them when he comes back.
TELL_EVERY = RING_LENGTH // 2

#: To tell one listener takes about a tenth of a millisecond. So the loop has time left for orders, however many listen
#: and whatever happens; one who listens alone is told at once.
PAUSE_OF_EACH_S = 0.0003

MISSED = "missed"


def topic_of(event: Event) -> str:
    """``watcher.NAME.EVENT``, NAME in lower case and without spaces, as the ancestors' subscribers expect it."""
    if not event.watcher:
        return f"circusd.{event.name}"
    return f"watcher.{event.watcher.lower().replace(' ', '_')}.{event.name}"


class Feed:
    """``started_at`` is wall clock and tells this circusd from the others of its name."""

    def __init__(self, bus: Bus, started_at: float) -> None:
        self._bus = bus
        self._start = str(int(started_at * 1000))
        self._bells: set[asyncio.Event] = set()
        self._is_closed = False
        self._rung_at = float("-inf")
        self._later: asyncio.TimerHandle | None = None
        bus.subscribe(self._on_event)

    @property
    def listeners(self) -> int:
        return len(self._bells)

    def close(self) -> None:
        """Everybody is given what there is, and then let go."""
        self._is_closed = True
        self._ring_all()

    def listen(
        self,
        topics: Sequence[str] = (),
        *,
        last_id: str = "",
        since: float | None = None,
        sees: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[bytes]:
        """Events whose topic begins with one of ``topics``, for ever, as server-sent events.

        From now on; or those behind ``last_id``; or those that happened after ``since`` (wall clock).
        With ``sees`` only those of watchers for whose names it is true.

        Raises: CircusError limit, bad-request; at once, not when it is iterated.
        """
        if len(self._bells) >= MAX_LISTENERS:
            raise CircusError("limit", f"{MAX_LISTENERS} listen already", "end some of them, or share one's output")
        if len(topics) > MAX_TOPICS:
            raise CircusError("bad-request", f"more than {MAX_TOPICS} topics", "listen to all, and choose yourself")
        position, is_another = self._position(last_id, since)
        return self._read(tuple(topics) or ("",), sees, position, is_another=is_another)

    def _position(self, last_id: str, since: float | None) -> tuple[int, bool]:
        """The number behind which to begin; whether the id is one of another circusd."""
        if last_id:
            start, _, number = last_id.rpartition("-")
            if len(last_id) > MAX_ID or not (start.isdecimal() and number.isdecimal()):
                raise CircusError(
                    "bad-request", f"{last_id[:MAX_ID]!r} is no id of an event", "give one that was heard"
                )
            if start != self._start or int(number) > self._bus.published:
                return 0, True
            return int(number), False
        if since is not None:
            recent = self._bus.recent
            first = next((index for index, event in enumerate(recent) if event.at >= since), len(recent))
            return self._bus.published - len(recent) + first, False
        return self._bus.published, False

    async def _read(
        self, topics: tuple[str, ...], sees: Callable[[str], bool] | None, position: int, *, is_another: bool
    ) -> AsyncIterator[bytes]:
        bell = asyncio.Event()
        if len(self._bells) >= MAX_LISTENERS:
            return
        self._bells.add(bell)
        told = position
        try:
            yield self._tell_missed(position, None) if is_another else sse.render(self._id(position))
            while True:
                bell.clear()
                oldest = self._bus.published - len(self._bus.recent)
                if position < oldest:
                    missed, position = oldest - position, oldest
                    yield self._tell_missed(position, missed)
                    continue  # the ring may have gone on while that was taken
                if position < self._bus.published:
                    news = list(itertools.islice(self._bus.recent, position - oldest, position - oldest + BATCH))
                    chosen = [
                        self._render(number, event)
                        for number, event in enumerate(news, position + 1)
                        if topic_of(event).startswith(topics)
                        and (sees is None or (event.watcher != "" and sees(event.watcher)))
                    ]
                    position += len(news)
                    if not chosen and position - told >= TELL_EVERY:
                        chosen = [sse.render(self._id(position))]
                    if chosen:
                        told = position
                        yield b"".join(chosen)
                elif self._is_closed:
                    return
                else:
                    await bell.wait()
        finally:
            self._bells.discard(bell)

    def _id(self, number: int) -> str:
        return f"{self._start}-{number}"

    def _render(self, number: int, event: Event) -> bytes:
        said = {
            "topic": topic_of(event),
            "watcher": event.watcher,
            "event": event.name,
            "message": {"time": event.at, **event.fields},
        }
        # A name of a file that is no text (surrogates) passes, too: one such event must not end every listener.
        return sse.render(self._id(number), json.dumps(said, default=str).encode("ascii"))

    def _tell_missed(self, number: int, missed: int | None) -> bytes:
        """None: nobody knows how many, for it was another circusd that said them."""
        return sse.render(self._id(number), json.dumps({"missed": missed}).encode("ascii"), MISSED)

    def _on_event(self, _event: Event) -> None:
        """At once, unless many were told just now: then soon, together with what comes until then."""
        if not self._bells or self._later is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._rung_at + len(self._bells) * PAUSE_OF_EACH_S
        if loop.time() >= due:
            self._ring_all()
        else:
            self._later = loop.call_at(due, self._ring_all)

    def _ring_all(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._bells:
            self._rung_at = asyncio.get_running_loop().time()
        for bell in self._bells:
            bell.set()
