"""Tokens, by which callers over TCP are known: what one is, and the book of those that count. Pure.

A token is ``ct_ID_SECRET``: the id finds it, the secret proves it. The secret is 256 bits of the system's randomness,
and the book has its SHA-256 alone. A slow hash, as passwords need, would help nobody: it makes guessing dear, and among
2**256 there is nothing to guess; for each request it would only cost circusd the time that an attacker wants to take.

What a token may is its role's verbs or some of them, for watchers of some names, until a moment. The book is a value
for its reader: who stores it is another room (`keyring`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

import msgspec

from circus import nearest
from circus.control.caller import ALL, ROLES, Caller
from circus.errors import CircusError

#: Of one circusd: each is a few hundred bytes in a file that is read whole, and a line for somebody to look through.
MAX_TOKENS = 1_000

MAX_NAME = 64
MAX_PATTERNS = 100
MAX_PATTERN = 256

#: Bytes of a secret and of an id; both are written in hexadecimal digits.
SECRET_BYTES = 32
ID_BYTES = 6

#: When a token was used is known so exactly, on the disk.
COARSE_S = 3600.0

#: Raised when an older circusd would misunderstand what is written.
VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_TOKEN = re.compile(rf"ct_([0-9a-f]{{{2 * ID_BYTES}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")

#: What is compared with where there is no such token, so that both take the same time.
_NOBODY = hashlib.sha256(b"").hexdigest()


class Token(msgspec.Struct, frozen=True):
    """``verbs`` None: all of its role. ``by``: who has made it. Times are wall clock."""

    id: str
    name: str
    sha256: str
    role: str
    verbs: tuple[str, ...] | None
    watchers: tuple[str, ...]
    created: float
    by: str = ""
    expires: float | None = None
    last_used: float | None = None

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def allowed(self) -> frozenset[str]:
        verbs = ROLES.get(self.role, frozenset())
        return verbs if self.verbs is None else verbs & frozenset(self.verbs)

    def caller(self, origin: str) -> Caller:
        return Caller(f"token {self.name}", origin, self.allowed(), self.watchers, self.id)


class _File(msgspec.Struct):
    version: int
    tokens: list[Token] = []


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants to have; ``expires_in`` in seconds, None: never."""

    name: str
    role: str
    verbs: Sequence[str] | None = None
    watchers: Sequence[str] | None = None
    expires_in: float | None = None


class Book:
    """Tokens by id."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = {token.id: token for token in tokens}

    def __len__(self) -> int:
        return len(self._tokens)

    def listed(self) -> list[Token]:
        """In the order in which they were made."""
        return sorted(self._tokens.values(), key=lambda token: (token.created, token.id))

    def get(self, id: str) -> Token | None:
        return self._tokens.get(id)

    def with_token(self, token: Token) -> Book:
        return Book([*self._tokens.values(), token])

    def make(self, wish: Wish, caller: Caller, *, now: float, id: bytes, secret: bytes) -> tuple[Book, Token, str]:
        """The book with another token, that token, and its text, which nobody can tell again.

        Raises: CircusError: bad-request, forbidden when it could do more than ``caller``, conflict, limit.
        """
        verbs, watchers = _checked(wish)
        token = Token(
            id=id.hex(),
            name=wish.name,
            sha256=hashlib.sha256(secret).hexdigest(),
            role=wish.role,
            verbs=verbs,
            watchers=watchers,
            created=now,
            by=caller.name,
            expires=None if wish.expires_in is None else now + wish.expires_in,
        )
        self._check_not_more(token, caller, now)
        if more := sorted(token.allowed() - caller.verbs):
            raise CircusError(
                "forbidden",
                f"{caller.name} may not {', '.join(more)}, and can make no token that may",
                "give verbs that you have, by --verb",
            )
        kept = [each for each in self._tokens.values() if each.name != wish.name or not each.has_expired(now)]
        if any(each.name == wish.name for each in kept):
            raise CircusError(
                "conflict", f"there is a token {wish.name!r} already", "revoke it first, or choose another name"
            )
        if len(kept) >= MAX_TOKENS:
            kept = [each for each in kept if not each.has_expired(now)]
        if len(kept) >= MAX_TOKENS:
            raise CircusError("limit", f"there are {MAX_TOKENS} tokens already", "revoke those that nobody uses")
        return Book([*kept, token]), token, f"ct_{token.id}_{secret.hex()}"

    def without(self, which: str) -> tuple[Book, Token]:
        """Raises: CircusError not-found."""
        for token in self._tokens.values():
            if which in (token.id, token.name):
                return Book(each for each in self._tokens.values() if each is not token), token
        known = [token.name for token in self._tokens.values()]
        hint = nearest.hint(which[:MAX_NAME], known, "`circusctl token list` has them all")
        raise CircusError("not-found", f"there is no token {which[:MAX_NAME]!r}", hint)

    def proven(self, text: str, now: float) -> Token | None:
        """The token whose text this is, if it counts at ``now``."""
        match = _TOKEN.fullmatch(text)
        token = self._tokens.get(match[1]) if match else None
        secret = bytes.fromhex(match[2]) if match else b""
        is_right = hmac.compare_digest(
            hashlib.sha256(secret).hexdigest(), token.sha256 if token is not None else _NOBODY
        )
        return token if is_right and token is not None and not token.has_expired(now) else None

    def used(self, id: str, now: float) -> Book | None:
        """The book in which this stands; None: it is known exactly enough already."""
        token = self._tokens.get(id)
        if token is None or (token.last_used is not None and 0 <= now - token.last_used < COARSE_S):
            return None
        return self.with_token(msgspec.structs.replace(token, last_used=now))

    def _check_not_more(self, token: Token, caller: Caller, now: float) -> None:
        """A token that ends makes none that goes on: whoever has it would have it for ever."""
        own = self._tokens.get(caller.token)
        if caller.token and (own is None or own.has_expired(now)):
            raise CircusError("unauthorized", f"{caller.name} counts no more", "ask an admin for another token")
        if own is None or own.expires is None:
            return
        if token.expires is None or token.expires > own.expires:
            left = max(0, int(own.expires - now))
            raise CircusError(
                "forbidden",
                f"{caller.name} counts for {left} more seconds, and can make no token that counts longer",
                f"give --expires {left}s or less",
            )

    def to_bytes(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(_File(VERSION, self.listed())), indent=1) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Book:
        """Raises: ValueError, when it is damaged or of a newer circusd."""
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version > VERSION:
                raise ValueError(f"version {version} is newer than {VERSION}")
            return cls(msgspec.json.decode(data, type=_File).tokens[:MAX_TOKENS])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"it is damaged: {error}") from None


class _Version(msgspec.Struct):
    version: int


def _checked(wish: Wish) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    if len(wish.name) > MAX_NAME or not _NAME.fullmatch(wish.name):
        raise CircusError(
            "bad-request",
            f"{wish.name[:MAX_NAME]!r} cannot be the name of a token",
            f"write at most {MAX_NAME} letters, digits, dots and dashes",
        )
    role = ROLES.get(wish.role)
    if role is None:
        raise CircusError("bad-request", f"there is no role {wish.role[:40]!r}", f"roles are {', '.join(ROLES)}")
    verbs = None if wish.verbs is None else tuple(dict.fromkeys(wish.verbs))
    for verb in verbs if verbs is not None else ():
        if verb not in role:
            raise CircusError(
                "bad-request",
                f"{verb[:40]!r} is no verb of the role {wish.role}",
                f"it has {', '.join(sorted(role))}",
            )
    if verbs == ():
        raise CircusError("bad-request", "a token without a verb can do nothing", "leave `verbs` out for all of a role")
    watchers = ALL if wish.watchers is None else tuple(dict.fromkeys(wish.watchers))
    if not 0 < len(watchers) <= MAX_PATTERNS or any(not 0 < len(each) <= MAX_PATTERN for each in watchers):
        raise CircusError(
            "bad-request",
            "the patterns of watchers are none, too many, or too long",
            f"give 1 to {MAX_PATTERNS}, each of at most {MAX_PATTERN} characters",
        )
    return verbs, watchers
