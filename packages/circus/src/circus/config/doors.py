"""Who may come to circusd, and by which doors: the options `api.*` of [circus], and what is wrong with them.

Names of groups and users are the machine's, and looked up through ``Host`` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from circus.config.option import Option, table

if TYPE_CHECKING:
    from circus.config.build import Draft
    from circus.config.model import Finding
    from circus.config.validate import Host

API = table(
    Option("api.viewers", "list", (), "Groups of the system (or `user:NAME`) who may see everything, by the control "
           "socket, which is open to all then; who is none of them is refused.", "restart", field="api_viewers"),
    Option("api.operators", "list", (), "The same, who may besides start, stop, restart, reload, signal and run.",
           "restart", field="api_operators"),
    Option("api.admins", "list", (), "The same, who may do everything, as circusd's own user.", "restart",
           field="api_admins"),
    Option("api.hosts", "list", (), "Names under which circusd is asked, beside its addresses and `localhost`: a "
           "request for another one is refused.", "restart", field="api_hosts"),
)  # fmt: skip

#: Of one list; longer ones are no configuration.
MAX_LISTED = 100

USER = "user:"

_BETWEEN = re.compile(r"[,\s]+")


def parse_list(text: str) -> tuple[str, ...]:
    """Words between commas or white space."""
    words = tuple(word for word in _BETWEEN.split(text) if word)
    if len(words) > MAX_LISTED:
        raise ValueError(f"is too long; write at most {MAX_LISTED} words")
    return words


def check(draft: Draft, host: Host) -> Iterator[Finding]:
    """Everything that several options, or the machine, answer."""
    yield from _check_members(draft, host)


def _check_members(draft: Draft, host: Host) -> Iterator[Finding]:
    config = draft.config
    named = {"api.viewers": config.api_viewers, "api.operators": config.api_operators, "api.admins": config.api_admins}
    first = next((key for key, names in named.items() if names), None)
    if first is None:
        return
    for key, names in named.items():
        for name in names:
            user = name.removeprefix(USER)
            if user != name and not host.has_user(user):
                yield _error(draft, key, f"{key}: there is no user {user}", "write user:NAME")
            elif user == name and not host.has_group(name):
                yield _error(draft, key, f"{key}: there is no group {name}", "write a group, or user:NAME")
    path = (config.control or "").removeprefix("unix://")
    directory = os.path.dirname(path)
    if not path:
        what = f"{first} lets nobody in: the control socket lies in a directory that is closed to others"
        hint = "write control = unix:///run/shop/circus.sock, in a directory that its members may search"
        yield _error(draft, first, what, hint)
    elif host.is_directory(directory) and not host.is_open(directory):
        what = f"{first} lets nobody in: {directory} is closed to others"
        yield _error(draft, first, what, f"chmod 711 {directory}, or chgrp GROUP and chmod 710")


def _error(draft: Draft, key: str, what: str, hint: str) -> Finding:
    from circus.config.model import Finding

    return Finding(*draft.circus.place(key), f"[circus]: {what}", hint)
