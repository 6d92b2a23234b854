"""Who may come to circusd, and by which doors: the options `api.*` of [circus], and what is wrong with them.

Names of groups and users are the machine's, and looked up through ``Host`` alone.
"""

from __future__ import annotations

import ipaddress
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
    Option("api.listen", "addresses", (), "Where circusd listens over TCP, for who has a token: `HOST:PORT`, one or "
           "more. Port 0: the system chooses. `circusctl version` tells.", "restart", field="api_listen"),
    Option("api.tls", "flag", True, "Off: plain HTTP, at loopback addresses alone.", "restart", field="api_tls"),
    Option("api.certificate", "text", None, "File with the certificate of `api.listen` and those above it. Default: "
           "one of circusd's own, made once, which clients know by its fingerprint.", "restart",
           field="api_certificate"),
    Option("api.key", "text", None, "File with its key.", "restart", field="api_key"),
    Option("api.rate", "count", 500, "So many requests a token may make over TCP in a second. 0: any number.",
           "restart", field="api_rate"),
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


def parse_addresses(text: str) -> tuple[str, ...]:
    """HOST:PORT between commas or white space, an address of IPv6 in brackets."""
    addresses = parse_list(text)
    for address in addresses:
        try:
            split_address(address)
        except ValueError:
            raise ValueError("is no list of addresses; write HOST:PORT, as in 127.0.0.1:8443, [::1]:8443") from None
    return addresses


def split_address(address: str) -> tuple[str, int]:
    """Host and port. Raises: ValueError."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = ipaddress.IPv6Address(host[1:-1]).compressed
    elif ":" in host or "[" in host:
        raise ValueError(address)
    else:
        host.encode("idna")  # as it is looked up; a label that is empty or too long is a ValueError
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(address)
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether it certainly is; of names only ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check(draft: Draft, host: Host) -> Iterator[Finding]:
    """Everything that several options, or the machine, answer."""
    yield from _check_members(draft, host)
    yield from _check_listening(draft, host)


def _check_listening(draft: Draft, host: Host) -> Iterator[Finding]:
    config = draft.config
    files = {"api.certificate": config.api_certificate, "api.key": config.api_key}
    if not config.api_listen:
        for key in (*files, "api.tls", "api.rate"):
            if key in draft.circus.entries:
                what = f"{key} has no effect: nothing listens over TCP"
                yield _finding(draft, key, what, "write api.listen = 127.0.0.1:8443, or remove it", "warning")
        return
    if not config.api_tls:
        for address in config.api_listen:
            if not is_loopback(split_address(address)[0]):
                what = f"api.tls is off, and {address} is no loopback address: tokens could be read on their way"
                yield _finding(draft, "api.listen", what, "remove api.tls, or listen at 127.0.0.1")
        return
    for key, other in (("api.certificate", "api.key"), ("api.key", "api.certificate")):
        path = files[key]
        if path and not files[other]:
            what = f"{key} without {other}"
            yield _finding(draft, key, what, "write both; they may be the same file")
        elif path and not host.is_file(path):
            yield _finding(draft, key, f"{key}: there is no file {path}", "correct the path")


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
                yield _finding(draft, key, f"{key}: there is no user {user}", "write user:NAME")
            elif user == name and not host.has_group(name):
                yield _finding(draft, key, f"{key}: there is no group {name}", "write a group, or user:NAME")
    path = (config.control or "").removeprefix("unix://")
    directory = os.path.dirname(path)
    if not path:
        what = f"{first} lets nobody in: the control socket lies in a directory that is closed to others"
        hint = "write control = unix:///run/shop/circus.sock, in a directory that its members may search"
        yield _finding(draft, first, what, hint)
    elif host.is_directory(directory) and not host.is_open(directory):
        what = f"{first} lets nobody in: {directory} is closed to others"
        yield _finding(draft, first, what, f"chmod 711 {directory}, or chgrp GROUP and chmod 710")


def _finding(draft: Draft, key: str, what: str, hint: str, severity: str = "error") -> Finding:
    from circus.config.model import Finding

    return Finding(*draft.circus.place(key), f"[circus]: {what}", hint, severity)
