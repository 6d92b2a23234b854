"""From what people write about users and limits to the numbers that the kernel takes.

The kernel reads no file of the system, so names are looked up here, by its client.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
from collections.abc import Mapping
from typing import Any

from papa.errors import Error


def identity(user: int | str | None, group: int | str | None) -> dict[str, Any]:
    """The fields uid, gid and groups of a spawn: a user alone brings its primary and its other groups.

    Raises: Error when a user or group is not known.
    """
    fields: dict[str, Any] = {}
    gid = None if group is None or group == "" else _group(group)
    if user is not None and user != "":
        account = _account(user)
        gid = account.pw_gid if gid is None else gid
        fields["uid"] = account.pw_uid
        fields["groups"] = os.getgrouplist(account.pw_name, gid)
    if gid is not None:
        fields["gid"] = gid
    return fields


def limits(rlimits: Mapping[str, int]) -> dict[str, list[int]]:
    """``{"nofile": 64}`` as the kernel takes it, soft and hard alike.

    Raises: Error when a limit is not known or no number.
    """
    fields = {}
    for name, value in rlimits.items():
        key = str(name).lower()
        if not hasattr(resource, "RLIMIT_" + key.upper()):
            raise Error(f'Unknown rlimit "{name}"')
        limit = number(f"rlimit {name}", value)
        fields[key] = [limit, limit]
    return fields


def number(what: str, value: int | str) -> int:
    """A number that may be written as text, as papa 1.x took it. Raises: Error that says which one is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Error(f"{what}: must be a number, not {value!r}") from None


def _account(user: int | str) -> pwd.struct_passwd:
    try:
        if isinstance(user, int) or user.isdecimal():
            return pwd.getpwuid(int(user))
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        kind = "user id" if isinstance(user, int) or user.isdecimal() else "user name"
        raise Error(f"{str(user)!r} is not a valid {kind}") from None


def _group(group: int | str) -> int:
    if isinstance(group, int) or group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise Error(f"No such group: {group!r}") from None
