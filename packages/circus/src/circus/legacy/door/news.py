"""What is published at an address: to each subscriber what begins as he has asked for.

Nothing is rendered for nobody: whoever publishes is told when the first subscription has come, and when the last has
gone. A subscriber who does not take what he is sent misses what comes meanwhile, as it is with ZMQ.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from circus.legacy.door import zmtp
from circus.legacy.door.wire import MAX_UNSENT, Peer

log = logging.getLogger("circus.door")

#: Of one peer; the ancestors' programs have one or a few.
MAX_SUBSCRIPTIONS = 1_000

#: Longer than the topic of any watcher.
MAX_TOPIC = 512


@dataclass(slots=True)
class _Subscriber:
    topics: set[bytes] = field(default_factory=set)
    missed: int = 0


class Publisher:
    """``on_interest`` is called with True when somebody wants something, with False when nobody does any more."""

    kind = "PUB"
    peers = frozenset(("SUB", "XSUB"))

    def __init__(self, on_interest: Callable[[bool], None]) -> None:
        self._on_interest = on_interest
        self._subscribers: dict[Peer, _Subscriber] = {}

    @property
    def is_wanted(self) -> bool:
        return bool(self._subscribers)

    def publish(self, topic: str, payload: Mapping[str, object]) -> None:
        """Two parts: the topic, and what it is about as JSON."""
        name, data = topic.encode("utf-8", "backslashreplace"), b""
        for peer, subscriber in list(self._subscribers.items()):
            if not name.startswith(tuple(subscriber.topics)):
                continue
            if peer.unsent > MAX_UNSENT:
                if not subscriber.missed:
                    log.warning("a subscriber takes nothing, and misses what happens peer=%d", peer.number)
                subscriber.missed += 1
                continue
            if subscriber.missed:
                log.warning("a subscriber has missed %d messages peer=%d", subscriber.missed, peer.number)
                subscriber.missed = 0
            data = data or zmtp.message((name, json.dumps(payload, default=str).encode("ascii")))
            peer.send(data)

    # Of the listener ----------------------------------------------------------------------------------------

    def on_said(self, peer: Peer, said: zmtp.Message | zmtp.TooLarge | zmtp.Subscription) -> None:
        if isinstance(said, zmtp.Message):
            found = zmtp.subscription_of(said.frames)
            if found is None:
                return  # what an XSUB says besides
            said = found
        if isinstance(said, zmtp.TooLarge) or len(said.topic) > MAX_TOPIC:
            raise zmtp.NotSpoken("it subscribes to what is no topic")
        topics = self._subscribers[peer].topics if peer in self._subscribers else set()
        if not said.is_wanted:
            topics.discard(said.topic)
            if not topics:
                self.on_gone(peer)
            return
        if len(topics) >= MAX_SUBSCRIPTIONS and said.topic not in topics:
            raise zmtp.NotSpoken(f"it has more than {MAX_SUBSCRIPTIONS} subscriptions")
        topics.add(said.topic)
        if peer not in self._subscribers:
            was_wanted = self.is_wanted
            self._subscribers[peer] = _Subscriber(topics)
            if not was_wanted:
                self._on_interest(True)

    def on_taken(self, peer: Peer) -> None:
        """It hears from now on."""

    def on_gone(self, peer: Peer) -> None:
        if self._subscribers.pop(peer, None) is not None and not self._subscribers:
            self._on_interest(False)
