"""Stands before the application at TCP: who asks is known by his token alone, and by nothing that he sends besides.

What no request may be is refused first (`hygiene`), then who shows no token that counts (401), then who asks too often
(429). A token that counts is never refused because of those that do not: whoever tries some keeps nobody out who comes
from the same address.
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circus import clock
from circus.control import hygiene
from circus.control.access import refuse
from circus.control.auditing import Audited, Auditing
from circus.control.keyring import Keyring
from circus.control.limits import Buckets
from circus.control.places import Place
from circus.control.seldom import Seldom
from circus.control.tokens import MAX_TOKENS, Token
from circus.errors import CircusError

#: Of one address: so many tokens that do not count at once, then one in so many seconds. Nobody guesses 256 bits; this
#: spares the log, and tells a program with an old token to calm down.
FAILURES = 10
FAILURE_S = 6.0

#: Addresses that are remembered for it, of IPv6 networks of 64 bits, as one customer has; about 200 KB.
MAX_ADDRESSES = 1_000

#: At once, a token may ask as often as `api.rate` allows for so many seconds.
BURST_S = 2.0

log = logging.getLogger("circus.control")


class _TooOften(CircusError):
    def __init__(self, message: str, hint: str, wait_s: float) -> None:
        super().__init__("limit", message, hint)
        self.wait_s = wait_s


class Doorman:
    """``rate``: requests of one token in a second; 0: any number."""

    def __init__(
        self, app: ASGIApp, keyring: Keyring, auditing: Auditing, *, hosts: Collection[str] = (), rate: int = 0
    ) -> None:
        self._app = Audited(app, auditing)
        self._auditing = auditing
        self._refused = Seldom(log)
        self._keyring = keyring
        self._hosts = frozenset(host.lower() for host in hosts)
        self._rate = Buckets(rate_s=rate, size=rate * BURST_S, places=MAX_TOKENS) if rate else None
        self._failures = Buckets(rate_s=1 / FAILURE_S, size=FAILURES, places=MAX_ADDRESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place: Place = scope["state"]["place"]
        try:
            hygiene.check(
                scope["headers"],
                scope["query_string"],
                hosts=self._hosts | {place.host},
                scheme=scope["scheme"],
                is_local=False,
            )
            token = self._token(scope, place)
        except CircusError as error:
            # Not each of them is in the audit trail: whoever fills it could wash out what he has done before.
            self._auditing.note_refused("nobody", place.address, error.code)
            await refuse(error, scope, receive, send, _headers(error))
            return
        scope["state"]["caller"] = token.caller(place.address)
        scope["state"]["peer"] = place.address

        async def receive_on() -> Message:
            """An order may be sent slowly: who might when it began need not when it is there."""
            message = await receive()
            if message.get("body") and not self._keyring.counts(token.id):
                raise CircusError("unauthorized", f"token {token.name} counts no more", "ask an admin for another one")
            return message

        async def send_on(message: Message) -> None:
            if message.get("more_body"):
                if not self._keyring.counts(token.id):
                    place.abort()
                    return
                if not place.is_streaming:
                    place.stream(token.expires)
            await send(message)

        try:
            await self._app(scope, receive_on, send_on)
        finally:
            place.stop_streaming()

    def _token(self, scope: Scope, place: Place) -> Token:
        """Raises: CircusError unauthorized, limit."""
        now = clock.monotonic()
        try:
            text = hygiene.bearer(scope["headers"])
            token = self._keyring.proven(text) if text is not None else None
            if token is None:
                what = "no token was sent" if text is None else "that token does not count"
                hint = "send Authorization: Bearer TOKEN; an admin makes one by `circusctl token create`"
                raise CircusError("unauthorized", what, hint)
        except CircusError as error:
            self._refused.tell("a request was refused address=%s: %s", place.address, error.message)
            if wait_s := self._failures.take(network(place.address), now):
                raise _TooOften("too many requests without a token that counts", error.hint, wait_s) from None
            raise
        if not place.show(token.id):
            raise _TooOften("there are too many connections with tokens already", "close some that are not used", 1)
        if self._rate is not None and (wait_s := self._rate.take(token.id, now)):
            raise _TooOften(f"token {token.name} asks too often", "ask more slowly, or raise [circus] api.rate", wait_s)
        return token


def network(address: str) -> str:
    """Whom an address belongs to: itself, or the 64 bits that a customer has of IPv6."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return address
    return known.exploded[:19]


def _headers(error: CircusError) -> dict[str, str]:
    if error.code == "unauthorized":
        return {"www-authenticate": 'Bearer realm="circusd"'}
    return {"retry-after": str(math.ceil(error.wait_s))} if isinstance(error, _TooOften) else {}
