"""Tokens as operations: made, listed, revoked. What travels, and what is done about it.

Only who may everything about them is asked here; what a token is, and that none makes one that may more than itself, is
decided in `tokens`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from circus.config.quantities import MAX_SECONDS
from circus.control import tokens
from circus.control.caller import Caller
from circus.control.doors import Doors
from circus.control.keyring import Keyring
from circus.control.tokens import Token

_Word = Annotated[str, Meta(min_length=1, max_length=40)]
_Pattern = Annotated[str, Meta(min_length=1, max_length=tokens.MAX_PATTERN)]


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``verbs``: some of the role's, null: all; ``watchers``: patterns of names, null: all; ``expires_in`` in seconds,
    null: never."""

    name: Annotated[str, Meta(min_length=1, max_length=tokens.MAX_NAME)]
    role: Annotated[str, Meta(pattern="^(viewer|operator|admin)$")]
    verbs: Annotated[list[_Word], Meta(min_length=1, max_length=100)] | None = None
    watchers: Annotated[list[_Pattern], Meta(min_length=1, max_length=tokens.MAX_PATTERNS)] | None = None
    expires_in: Annotated[float, Meta(ge=1, le=MAX_SECONDS * 10)] | None = None


class RevokeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


class TokenRow(Struct, frozen=True):
    """``verbs`` null: all of the role. ``by``: who has made it. Times are seconds since 1970; null: never. The last use
    is known to the hour, over a restart of circusd."""

    id: str
    name: str
    role: str
    verbs: list[str] | None
    watchers: list[str]
    created: float
    by: str
    expires: float | None
    last_used: float | None
    expired: bool = False


class TokensAnswer(Struct, frozen=True):
    tokens: list[TokenRow]


class TokenAnswer(Struct, frozen=True):
    """``token`` is told here and never again. ``fingerprint``: the SHA-256 of circusd's own certificate, if it has one;
    ``listening``: where the token is of use."""

    token: str
    about: TokenRow
    listening: list[str]
    fingerprint: str


class RevokedAnswer(Struct, frozen=True):
    revoked: TokenRow


class Grants:
    """A room of `ops`."""

    keyring: Keyring
    doors: Doors
    _caller: Caller

    async def make_token(self, request: TokenRequest) -> TokenAnswer:
        wish = tokens.Wish(request.name, request.role, request.verbs, request.watchers, request.expires_in)
        token, text = await self.keyring.create(wish, self._caller)
        await self.doors.settled()
        return TokenAnswer(text, _row(token, None), self.doors.addresses(), self.doors.fingerprint())

    async def tokens(self) -> TokensAnswer:
        return TokensAnswer([_row(token, used, self.keyring.counts(token.id)) for token, used in self.keyring.listed()])

    async def revoke_token(self, which: str, _request: RevokeRequest) -> RevokedAnswer:
        return RevokedAnswer(_row(await self.keyring.revoke(which, self._caller), None))


def _row(token: Token, last_used: float | None, counts: bool = True) -> TokenRow:
    verbs = None if token.verbs is None else list(token.verbs)
    return TokenRow(
        token.id,
        token.name,
        token.role,
        verbs,
        list(token.watchers),
        token.created,
        token.by,
        token.expires,
        last_used,
        not counts,
    )
