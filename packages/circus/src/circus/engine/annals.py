"""Who ordered last what a watcher does, and with which options it last ran well; kept over a restart and a reboot.

One line of JSON for each watcher, in a file that is replaced by rename; the keeper brings it to the disk, and nobody
waits for that: what is lost by a crash is an explanation, not a wish. Of options that may be secrets there is a digest
only, under a key of this file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from circus.config.sheets import Sheet
from circus.engine import files

log = logging.getLogger("circus.memory")

NAME = "annals.jsonl"

#: Raised when an older circusd would misunderstand what is written.
FORMAT = 1
#: Some thousand watchers with long commands; what is behind is not read.
MAX_BYTES = 16 << 20
KEY_BYTES = 16

#: What an order is about: whether the watcher is up, how many processes it has, its options by hand, those of the file.
Kind = Literal["wish", "count", "set", "reload"]


@dataclass(frozen=True, slots=True)
class Order:
    """``what`` as in the API; ``by`` and ``origin`` as a caller has them, empty for circusd's own signal (SIGHUP).

    ``along``: it was ordered for others, and this watcher was taken along.
    """

    what: str
    by: str
    origin: str
    at: float
    operation: str = ""
    along: bool = False


@dataclass(frozen=True, slots=True)
class Good:
    """Options with which a watcher ran well, as was found ``at`` (wall clock)."""

    at: float
    options: Sheet


@dataclass(slots=True)
class _Entry:
    orders: dict[str, Order] = field(default_factory=dict)
    good: Good | None = None


class Annals:
    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.trouble = ""
        self.on_change: Callable[[], None] | None = None
        self._entries: dict[str, _Entry] = {}  # by names in lower case
        self._lines: dict[str, bytes] = {}  # as they are written
        self._key = b""
        self._is_changed = False
        self._load()
        if not self._key:
            self._key = os.urandom(KEY_BYTES)
            for entry in self._entries.values():
                entry.good = None

    def digest(self, text: str) -> str:
        """Of what may be a secret: it says that it is the same, and only here."""
        said = text.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(said, key=self._key, digest_size=8).hexdigest()

    def order(self, watcher: str, kind: Kind) -> Order | None:
        entry = self._entries.get(watcher.lower())
        return None if entry is None else entry.orders.get(kind)

    def good(self, watcher: str) -> Good | None:
        entry = self._entries.get(watcher.lower())
        return None if entry is None else entry.good

    def note_order(self, watchers: Iterable[str], kind: Kind, order: Order) -> None:
        for name in watchers:
            self._entries.setdefault(name.lower(), _Entry()).orders[kind] = order
            self._touch(name)

    def note_good(self, watcher: str, good: Good) -> None:
        self._entries.setdefault(watcher.lower(), _Entry()).good = good
        self._touch(watcher)

    def keep(self, watchers: Iterable[str]) -> None:
        """Drop all others, which are not there any more."""
        for name in self._entries.keys() - {each.lower() for each in watchers}:
            self.forget(name)

    def forget(self, watcher: str) -> None:
        if self._entries.pop(watcher.lower(), None) is not None:
            self._touch(watcher)

    def _touch(self, watcher: str) -> None:
        self._lines.pop(watcher.lower(), None)
        self._is_changed = True
        if self.on_change is not None:
            self.on_change()

    # The disk -----------------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        return self._is_changed

    def take(self) -> bytes | None:
        """What is to be written, if anything has changed since it was taken."""
        if not self._is_changed:
            return None
        self._is_changed = False
        for name in self._lines.keys() - self._entries.keys():
            del self._lines[name]
        for name in self._entries.keys() - self._lines.keys():
            self._lines[name] = _line(_to_json(name, self._entries[name]))
        return _line({"format": FORMAT}) + _line({"key": self._key.hex()}) + b"".join(self._lines.values())

    def give_back(self) -> None:
        """It could not be written."""
        self._is_changed = True

    def write(self, content: bytes) -> None:
        """``content`` is on the disk when this returns. Raises: OSError."""
        files.replace_whole(self.path, content)

    def _load(self) -> None:
        try:
            data = files.bounded(self._read)
            damaged = files.take_lines(data, self._take, FORMAT)
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain(f"cannot read {self.path}: {error.strerror}")
        except (ValueError, OverflowError) as error:
            self._complain(f"who ordered what is noted anew: {files.set_aside(self.path, 'newer')} ({error})")
            self._entries = {}
        else:
            if damaged:
                self._complain(f"{self.path}: {damaged} damaged lines are skipped")

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES)

    def _take(self, fields: dict[str, Any]) -> None:
        if "key" in fields:
            self._key = bytes.fromhex(fields["key"])[:KEY_BYTES]
            return
        name, good = str(fields["watcher"]), fields.get("good")
        orders = {str(kind): _order_from(each) for kind, each in fields["orders"].items()}
        self._entries[name] = _Entry(orders, None if good is None else _good_from(good))

    def _complain(self, what: str) -> None:
        self.trouble = what
        log.warning("%s", what)


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _to_json(name: str, entry: _Entry) -> dict[str, Any]:
    orders = {kind: asdict(order) for kind, order in entry.orders.items()}
    return {"watcher": name, "orders": orders, "good": None if entry.good is None else asdict(entry.good)}


def _order_from(fields: Mapping[str, Any]) -> Order:
    what, by, origin = (str(fields[key]) for key in ("what", "by", "origin"))
    return Order(what, by, origin, float(fields["at"]), str(fields["operation"]), along=bool(fields["along"]))


def _good_from(fields: Mapping[str, Any]) -> Good:
    options = {str(name): (str(shown), str(digest)) for name, (shown, digest) in fields["options"].items()}
    return Good(float(fields["at"]), options)
