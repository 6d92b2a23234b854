"""What a notifier says: one message, and its forms, as JSON and as variables of an environment. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from circus.bus import Event

#: Receivers refuse more, as a rule; the fields of an event are left out where they would make it longer.
MAX_BYTES = 32 * 1024

#: Of the sentence for people.
MAX_TEXT = 500

#: The event of a message that somebody has asked for.
TEST = "test"


@dataclass(frozen=True, slots=True)
class Sender:
    """Which circusd speaks. ``start`` tells its lives from each other."""

    circusd: str
    host: str
    start: str


@dataclass(frozen=True, slots=True)
class Message:
    """``count`` equal events, the first at ``first_at``; ``event`` is the latest. ``number`` is one of its notifier."""

    number: int
    event: Event
    count: int = 1
    first_at: float = 0.0

    @property
    def is_test(self) -> bool:
        return self.event.name == TEST


def text_of(message: Message, sender: Sender) -> str:
    """One line for people."""
    event = message.event
    if message.is_test:
        what = "a test"
    else:
        about = [f"{key}={value}" for key, value in event.fields.items() if key in _TELLING and value not in (None, "")]
        what = " ".join([event.watcher, event.name, *about]).strip()
    if message.count > 1:
        what += f" ({message.count} times since {_clock(message.first_at)})"
    line = f"{sender.circusd} on {sender.host}: {what}"
    shown = "".join(letter if letter.isprintable() else " " for letter in line)
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 3]}..."


#: The fields of events that a person asks for first.
_TELLING = ("reason", "error", "name", "path", "bytes", "wid")


def as_json(message: Message, sender: Sender, *, notifier: str, attempt: int, missed: int) -> bytes:
    """The same at each attempt, but for ``attempt`` and ``missed``, the messages before it that did not get through."""
    event = message.event
    said = {
        "id": f"{sender.start}-{notifier}-{message.number}",
        "notifier": notifier,
        "circusd": sender.circusd,
        "host": sender.host,
        "event": event.name,
        "watcher": event.watcher,
        "at": event.at,
        "text": text_of(message, sender),
        "count": message.count,
        "first_at": message.first_at or event.at,
        "missed": missed,
        "attempt": attempt,
        "fields": dict(event.fields),
    }
    body = _rendered(said)
    return body if len(body) <= MAX_BYTES else _rendered({**said, "fields": {}})


def _rendered(said: Mapping[str, object]) -> bytes:
    # A name of a file that is no text (surrogates) passes, too.
    return json.dumps(said, default=str).encode("ascii")


def as_variables(message: Message, sender: Sender, *, notifier: str, missed: int) -> dict[str, str]:
    """For a command that does not read JSON."""
    event = message.event
    said = {
        "CIRCUS_NOTIFIER": notifier,
        "CIRCUS_NAME": sender.circusd,
        "CIRCUS_EVENT": event.name,
        "CIRCUS_WATCHER": event.watcher,
        "CIRCUS_TEXT": text_of(message, sender),
        "CIRCUS_COUNT": str(message.count),
        "CIRCUS_MISSED": str(missed),
    }
    return {key: text.replace("\0", " ") for key, text in said.items()}


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%SZ")
