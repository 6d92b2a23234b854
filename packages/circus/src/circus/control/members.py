"""Who may come in by the unix socket beside circusd's own user and root: users and groups of the system, by role.

Names are looked up once, when circusd starts; who is in a group is what the system says of each peer (SO_PEERGROUPS,
socket(7)), so a person who has left a group is out at the next login, as everywhere else.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Mapping, Sequence

from circus.control.caller import ROLES, Caller

USER = "user:"


class Members:
    """``named``: role -> names of groups, or ``user:NAME``."""

    def __init__(self, named: Mapping[str, Sequence[str]] | None = None) -> None:
        self._uids: dict[int, str] = {}
        self._gids: dict[int, str] = {}
        self.unknown: list[str] = []  # names that the system does not know now
        for role in ROLES:  # a later one may more, and wins
            for name in (named or {}).get(role, ()):
                self._add(name, role)

    def _add(self, name: str, role: str) -> None:
        try:
            if name.startswith(USER):
                user = name[len(USER) :]
                self._uids[int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid] = role
            else:
                self._gids[int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid] = role
        except KeyError:
            self.unknown.append(name)

    @property
    def has_any(self) -> bool:
        return bool(self._uids or self._gids)

    def caller(self, uid: int | None, gids: Iterable[int]) -> Caller | None:
        """Who this peer is; None: nobody who may come in."""
        if uid is None:
            return None
        if uid in (0, os.geteuid()):
            return Caller(f"uid {uid}", "unix")
        roles = {self._gids[gid] for gid in gids if gid in self._gids}
        if uid in self._uids:
            roles.add(self._uids[uid])
        role = next((each for each in reversed(tuple(ROLES)) if each in roles), None)
        return Caller(f"uid {uid}", "unix", ROLES[role]) if role else None
