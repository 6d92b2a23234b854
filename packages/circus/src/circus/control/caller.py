"""Who asks, and what he may. Pure.

A caller has verbs and patterns of watcher names. Doors make callers (from a peer's uid, a token); whatever is asked of
circusd is asked as one of them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from circus.errors import CircusError

#: What can be allowed; each operation needs one of them.
VIEWER_VERBS = frozenset(("see", "logs", "metrics"))
OPERATOR_VERBS = VIEWER_VERBS | {"start", "stop", "restart", "reload", "count", "signal", "kill", "run"}
#: With `set` and `add` any command can be run as any user that circusd may become.
ADMIN_VERBS = OPERATOR_VERBS | {
    "set", "add", "remove", "forget", "reloadconfig", "quit", "shutdown", "upgrade", "tokens", "notify", "reveal",
}  # fmt: skip

ROLES: Mapping[str, frozenset[str]] = {"viewer": VIEWER_VERBS, "operator": OPERATOR_VERBS, "admin": ADMIN_VERBS}

ALL = ("*",)


@dataclass(frozen=True, slots=True)
class Caller:
    """``name`` and ``origin`` are for people: who (`uid 0`, `token deploy`), and by which way (`unix`, an address).

    ``patterns`` are globs of watcher names, compared without regard to case; other watchers do not exist for him.
    ``token`` is the id of the one that he has shown.
    """

    name: str
    origin: str
    verbs: frozenset[str] = ADMIN_VERBS
    patterns: tuple[str, ...] = ALL
    token: str = ""

    @property
    def sees_all(self) -> bool:
        return "*" in self.patterns

    def sees(self, watcher: str) -> bool:
        if self.sees_all:
            return True
        folded = watcher.casefold()
        return any(fnmatch.fnmatchcase(folded, pattern.casefold()) for pattern in self.patterns)

    def check(self, verb: str, *, whole: bool = False) -> None:
        """``whole``: what is asked concerns more than watchers.

        Raises: CircusError forbidden.
        """
        if verb not in self.verbs:
            raise CircusError(
                "forbidden", f"{self.name} may not {verb}", "ask somebody who may, or for a role that may"
            )
        if whole and not self.sees_all:
            raise CircusError(
                "forbidden",
                f"{self.name} may {verb} only for watchers that match {', '.join(self.patterns)}",
                "this concerns all of circusd",
            )


#: The user whose circusd it is, and root.
OWNER = Caller("owner", "process")
