"""Of each request: who asked what, from where, how it ended and how long it took, for the audit trail.

The idea: an entry goes along with the request. The door begins it, `dispatch` says which operation it is, and the door
ends it, whatever has become of the request in between. It is written then; an order that takes longer is written
when it begins, too, so that it is known although circusd may not live to see its end.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import msgspec

from circus import clock
from circus.config.masking import MASK
from circus.control import audit
from circus.control.audit import Trail
from circus.control.caller import Caller
from circus.errors import TABLE, CircusError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from circus.control.catalog import Call, Operation

OK = "ok"
UNDER_WAY = "under way"
#: Who asked has gone, or circusd leaves, before there was an answer.
LEFT = "left"

#: An order that takes longer is told of when it begins, too.
SOON_S = 1.0

#: As a person reads it.
_ORDER = ("who", "from", "operation", "watchers", "about", "options", "given")

#: Refused connections that are told of at once, and another one for each of so many seconds; others are counted.
MAX_REFUSALS = 20
REFUSAL_S = 10.0

#: Of what an order is about; more is shown only so far.
MAX_ABOUT = 64
MAX_SHOWN = 15

#: Of a token, what proves it.
_SECRET = re.compile(r"(?<=ct_[0-9a-f]{12}_)[0-9a-f]+")

HEADER = b"x-request-id"
STATE = "audit"

#: Somebody may not: also a query is in the trail then.
_REFUSALS = ("unauthorized", "forbidden", "limit")

#: Where an answer has no code of its own.
_CODES = {status: code for code, (status, _) in reversed(TABLE.items())}


class Entry:
    """One request. ``code`` is that of the error which it ended with."""

    __slots__ = ("_at", "_auditing", "_began", "_fields", "_soon", "code", "id", "is_order")

    def __init__(self, auditing: Auditing, number: str, *, is_order: bool) -> None:
        self._auditing = auditing
        self._at = clock.wall()
        self._began = clock.monotonic()
        self._fields: dict[str, Any] = {}
        self._soon: asyncio.TimerHandle | None = None
        self.id = number
        self.is_order = is_order
        self.code = ""
        if is_order and auditing.trail.path:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._tell_early)

    @property
    def is_known(self) -> bool:
        """Who asks."""
        return "who" in self._fields

    def asked_by(self, caller: Caller) -> None:
        self._fields["who"] = caller.name
        self._fields.setdefault("from", caller.origin)

    def asked_at(self, method: str, path: str) -> None:
        """What it is, as long as nobody knows the operation. By mistake, a whole token is part of it."""
        self._fields["operation"] = f"{method} {_SECRET.sub(MASK, path)[: audit.MAX_NAMED]}"

    def asked_from(self, origin: str) -> None:
        self._fields["from"] = origin

    def asked_for(self, operation: Operation, path: Mapping[str, str]) -> None:
        self._fields["operation"] = operation.id
        if name := path.get("name"):
            self._fields["watchers"] = [name]
        if key := path.get("key"):
            # Longer than any name: by mistake, perhaps a whole token.
            self._fields["about"] = key if len(key) <= MAX_ABOUT else f"{key[:MAX_SHOWN]}..."

    def asked_with(self, call: Call) -> None:
        """Names of watchers and of options, and of what else was given."""
        body = call.body
        if body is None:
            return
        if "watchers" not in self._fields and hasattr(body, "names"):
            self._fields["watchers"] = ["*"] if body.names is None else audit.named(list(body.names))
        options = getattr(body, "options", None)
        if isinstance(options, dict) and options:
            self._fields["options"] = audit.named(_names_of(options))
        if given := _given(body):
            self._fields["given"] = given

    def end(self, result: str) -> None:
        """A query is in the trail only where somebody was refused."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self.is_order or result in _REFUSALS:
            self._tell(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self.end(OK)
        elif isinstance(error, CircusError):
            self.end(error.code)
        else:
            self.end("internal" if isinstance(error, Exception) else LEFT)

    def _tell_early(self) -> None:
        self._soon = None
        self._tell(UNDER_WAY)

    def _tell(self, result: str) -> None:
        took_ms = (clock.monotonic() - self._began) * 1000
        told = {key: self._fields[key] for key in _ORDER if key in self._fields}
        self._auditing.trail.note(
            {"at": self._at, **told, "result": result, "ms": round(took_ms, 3), "request": self.id}
        )


class Auditing:
    """Entries with their numbers, of one life of circusd: ``started_at`` tells them from those of others."""

    def __init__(self, trail: Trail, started_at: float) -> None:
        self.trail = trail
        self._start = f"{int(started_at * 1000):x}"
        self._numbers = itertools.count(1)
        self._refusals_left = float(MAX_REFUSALS)
        self._refused_at = clock.monotonic()
        self._untold = 0

    def begin(self, *, is_order: bool) -> Entry:
        return Entry(self, f"{self._start}-{next(self._numbers)}", is_order=is_order)

    def note_refused(self, who: str, origin: str, why: str) -> None:
        """A connection of which nothing was read. Whoever tries it again and again does not fill the disk."""
        now = clock.monotonic()
        self._refusals_left = min(MAX_REFUSALS, self._refusals_left + (now - self._refused_at) / REFUSAL_S)
        self._refused_at = now
        if self._refusals_left < 1:
            self._untold += 1
            return
        self._refusals_left -= 1
        more = {"more": self._untold} if self._untold else {}
        self._untold = 0
        told = {"at": clock.wall(), "who": who, "from": origin, "operation": "connect", "result": why}
        self.trail.note(told | more)


class Audited:
    """An application behind which every request has an entry, and every answer its number."""

    def __init__(self, app: ASGIApp, auditing: Auditing) -> None:
        self._app = app
        self._auditing = auditing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        entry = state[STATE] = self._auditing.begin(is_order=scope["method"] not in ("GET", "HEAD"))
        entry.asked_at(scope["method"], scope["path"])
        if peer := state.get("peer"):
            entry.asked_from(peer)
        number = (HEADER, entry.id.encode("ascii"))
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), number]}
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            self._complete(entry, scope)
            entry.end(entry.code or (LEFT if not status else OK if status < 400 else _CODES.get(status, "failed")))

    def _complete(self, entry: Entry, scope: Scope) -> None:
        """Who asked, where nothing behind here has said so: who was refused in front, or asked for what is nothing."""
        if not entry.is_known:
            if isinstance(caller := scope["state"].get("caller"), Caller):
                entry.asked_by(caller)
            elif client := scope.get("client"):
                entry.asked_from(str(client[0]))


def of_scope(scope: Scope) -> Entry:
    found = scope.get("state", {}).get(STATE)
    return found if isinstance(found, Entry) else Auditing(Trail(), 0.0).begin(is_order=False)


def _names_of(options: dict[str, Any]) -> list[str]:
    """Also of what is given as an object, as `env`."""
    names: list[str] = []
    for key, value in options.items():
        names += [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]
    return sorted(names)


#: These are told of in other words.
_TOLD = frozenset(("names", "match", "options", "tag"))


def _given(body: msgspec.Struct) -> list[str]:
    """The fields in which it differs from an empty one."""
    return [
        each.name
        for each in msgspec.structs.fields(type(body))
        if each.name not in _TOLD and getattr(body, each.name) != each.default
    ]
