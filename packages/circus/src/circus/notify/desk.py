"""What a notifier has to tell, when, and how often it tries: one of them. Pure; time is given.

The same event of the same watcher is told of once in ``every_s``. The first one at once; what comes in the meantime is
counted, and told of together when the time is over. So a crash loop is a message a minute with a number in it.

One message is under way at a time. One that fails is tried again after pauses that grow, and those behind it wait: they
are told in order. The queue has a bound, at which the oldest goes. How many did not get through, because they were
dropped or because all attempts failed, stands in the next message that does.
"""

from __future__ import annotations

import fnmatch
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from circus.bus import SERIOUS, Event
from circus.config.model import NotifierConfig
from circus.notify.messages import TEST, Message

#: No pause between two attempts is longer, whoever wishes it.
MAX_PAUSE_S = 300.0

#: Pairs of watcher and event of which it is known when they were told of; of the one that was told of longest ago it is
#: forgotten then, and told of what was counted.
MAX_KNOWN = 1000

#: Events about notifiers, of which no notifier tells: there would be no end.
OWN = "notify_"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of an attempt. ``error`` is empty when it got through; ``is_final``: another one would be no better."""

    error: str = ""
    is_final: bool = False
    retry_after_s: float = 0.0


@dataclass(slots=True)
class Known:
    """An event that was told of: until when no other one like it is, and what came since."""

    until: float
    count: int = 0
    first_at: float = 0.0
    latest: Event | None = None


@dataclass(slots=True)
class Desk:
    config: NotifierConfig
    sent: int = 0
    failed: int = 0  # all attempts did
    dropped: int = 0
    collapsed: int = 0  # events that had no message of their own
    missed: int = 0  # since the last message that got through
    error: str = ""  # of the last attempt
    attempt: int = 0  # at the message that is under way, or comes next
    is_busy: bool = False
    is_leaving: bool = False  # everything is tried once more, without pauses
    _queue: deque[Message] = field(default_factory=deque)
    _tests: deque[Message] = field(default_factory=deque)
    _known: OrderedDict[tuple[str, str], Known] = field(default_factory=OrderedDict)
    _at_hand: Message | None = None  # taken out of the queue
    _not_before: float = 0.0
    _number: int = 0

    @property
    def waiting(self) -> int:
        """Messages that have not got through yet."""
        return len(self._queue) + (self._at_hand is not None) + len(self._tests)

    @property
    def untold(self) -> int:
        """Events that are counted, and told of later."""
        return sum(known.count for known in self._known.values())

    def wants(self, event: Event) -> bool:
        if event.name.startswith(OWN):
            return False
        patterns = self.config.events or SERIOUS
        if event.name not in patterns and not any(fnmatch.fnmatchcase(event.name, each) for each in patterns):
            return False
        if "*" in self.config.watchers:
            return True
        listed = event.fields.get("watchers")
        names = [event.watcher] if event.watcher else [str(name) for name in listed] if isinstance(listed, list) else []
        return any(
            fnmatch.fnmatchcase(name.casefold(), pattern.casefold())
            for name in names
            for pattern in self.config.watchers
        )

    def hear(self, event: Event, now: float) -> None:
        self._forget_old(now)
        key = event.watcher, event.name
        known = self._known.get(key)
        if known is not None and (now < known.until or known.count):
            known.count += 1
            known.first_at = known.first_at or event.at
            known.latest = event
            self.collapsed += 1
            return
        if self.config.every_s:
            self._remember(key, now)
        self._put(event)

    def test(self, at: float) -> Message:
        """To be sent before all others, once."""
        self._number += 1
        message = Message(self._number, Event(at, "", TEST))
        self._tests.append(message)
        return message

    def withdraw(self, message: Message) -> None:
        """A test that nobody waits for any more."""
        if message in self._tests:
            self._tests.remove(message)

    def take(self, now: float) -> Message | None:
        """The message to send now; ``settle`` is to follow."""
        self._tell_collapsed(now)
        if self.is_busy:
            return None
        if self._tests:
            self.is_busy = True
            return self._tests.popleft()
        if self._at_hand is None and self._queue:
            self._at_hand, self.attempt, self._not_before = self._queue.popleft(), 0, 0.0
        if self._at_hand is None or now < self._not_before:
            return None
        self.is_busy = True
        self.attempt += 1
        return self._at_hand

    def settle(self, message: Message, outcome: Outcome, now: float, *, told_missed: int) -> bool:
        """Whether it is given up now. ``told_missed`` is what the message said of those before it."""
        self.is_busy = False
        if not message.is_test:
            self.error = outcome.error
        if not outcome.error:
            self.missed -= told_missed
            self.sent += 1
        elif message.is_test:
            return False
        elif not outcome.is_final and not self.is_leaving and self.attempt <= self.config.retries:
            pause_s = self.config.backoff_s * 2.0 ** min(self.attempt - 1, 30)
            self._not_before = now + min(max(pause_s, outcome.retry_after_s), MAX_PAUSE_S)
            return False
        else:
            self.failed += 1
            self.missed += message.count
        if not message.is_test:
            self._at_hand = None
        return bool(outcome.error)

    def due(self, now: float) -> float | None:
        """When there is something to do that nobody else brings about."""
        times = [known.until for known in self._known.values() if known.count]
        if self._at_hand is not None and not self.is_busy:
            times.append(self._not_before)
        return max(min(times), now) if times else None

    def leave(self) -> None:
        """circusd ends: what was counted is told of now, and nothing is tried twice."""
        self.is_leaving = True
        self._not_before = 0.0
        for known in self._known.values():
            if known.count:
                self._tell(known)

    def _remember(self, key: tuple[str, str], now: float) -> None:
        self._known.pop(key, None)
        self._known[key] = Known(now + self.config.every_s)
        if len(self._known) > MAX_KNOWN:
            oldest, known = next(iter(self._known.items()))
            if known.count:
                self._tell(known)
            del self._known[oldest]

    def _forget_old(self, now: float) -> None:
        while self._known:
            key, known = next(iter(self._known.items()))
            if known.until > now or known.count:
                return
            del self._known[key]

    def _tell_collapsed(self, now: float) -> None:
        for key, known in list(self._known.items()):
            if known.count and known.until <= now:
                self._tell(known)
                self._remember(key, now)

    def _tell(self, known: Known) -> None:
        assert known.latest is not None
        self._put(known.latest, known.count, known.first_at)
        known.count, known.first_at, known.latest = 0, 0.0, None

    def _put(self, event: Event, count: int = 1, first_at: float = 0.0) -> None:
        self._number += 1
        self._queue.append(Message(self._number, event, count, first_at or event.at))
        while len(self._queue) > self.config.queue:
            self.missed += self._queue.popleft().count
            self.dropped += 1
