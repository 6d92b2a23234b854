"""Events for people and programs, inside circusd: published once, kept in a bounded ring, pushed to subscribers.

The engine publishes, the doors subscribe. A subscriber is called from the loop and must not block; one that raises
is logged and goes on being called, for its neighbours' sake. What an event means is decided elsewhere.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

log = logging.getLogger("circus.bus")

#: Enough for a person who comes late to see what led here; about 100 KB.
RING_LENGTH = 512


#: Events that somebody should look at.
SERIOUS = frozenset(
    (
        "fatal", "blocked", "reload_failed", "not_ready", "unhealthy", "flapping", "limit", "hook_failure",
        "sink_failed", "output_dropped", "output_held", "output_doubt", "compress_failed",
        "run_failed", "run_skipped", "notify_failed", "notify_dropped",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """``name`` is the ancestors' word (spawn, reap, kill, start, stop...) or ours; ``at`` is wall clock, UTC."""

    at: float
    watcher: str
    name: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Bus:
    def __init__(self) -> None:
        self.recent: deque[Event] = deque(maxlen=RING_LENGTH)
        self.published = 0  # so many ever: the number of the latest event, from 1
        self._subscribers: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        self.recent.append(event)
        self.published += 1
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber of events failed event=%s", event.name)

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Returns the function that ends the subscription; called twice it is called once."""
        self._subscribers.append(subscriber)

        def end() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return end
