"""Addresses of the ancestors' door, as ``endpoint`` and its like write them: what they mean, and who could reach them.

Pure; what is at an address is not asked here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from circus.config.model import CircusConfig, Finding
from circus.config.read import Section

#: Those that circusd opens if they are written, and only then.
OPTIONS = ("endpoint", "pubsub_endpoint", "stats_endpoint")

FORMS = "write tcp://127.0.0.1:PORT or ipc:///PATH"


@dataclass(frozen=True, slots=True)
class Address:
    """``path`` for ipc, in which a leading @ names no file; else ``host``, an address in numbers, and ``port`` (0: the
    system chooses)."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_ipc(self) -> bool:
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """Whether only this machine gets there."""
        return self.is_ipc or ipaddress.ip_address(self.host).is_loopback

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host


def parse(text: str) -> Address:
    """Raises: ValueError, which says why this is no such address."""
    kind, colon, place = text.strip().partition("://")
    if not colon or kind not in ("tcp", "ipc"):
        raise ValueError("is no address of ZMQ")
    if kind == "ipc":
        if place in ("", "*", "@") or "\0" in place:
            raise ValueError("names no path")
        return Address(text, path=place)
    host, colon, port = place.rpartition(":")
    if not colon or not (port == "*" or (port.isascii() and port.isdecimal() and int(port) < 1 << 16)):
        raise ValueError("has no port")
    if host in ("*", ""):
        host = "0.0.0.0"  # noqa: S104 - read from a file; whether it is opened is asked elsewhere
    elif host == "localhost":
        host = "127.0.0.1"
    try:
        number = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("names no address in numbers") from None
    return Address(text, host=str(number), port=0 if port == "*" else int(port))


def address_of(config: CircusConfig, option: str) -> Address | None:
    """What is opened for one of OPTIONS; None: nothing, and `check` says why."""
    text: str | None = getattr(config, option)
    try:
        address = parse(text) if text else None
    except ValueError:
        return None
    if address is None or not (address.is_local or config.zmq_open_to_network):
        return None
    return address


def check(config: CircusConfig, section: Section) -> Iterator[Finding]:
    """No error: files have had such lines for years, and their programs do not need this door."""
    for option in OPTIONS:
        text: str | None = getattr(config, option)
        if not text:
            continue
        place, closed = section.place(option), f"[circus]: {option} = {text!r} is not opened"
        try:
            address = parse(text)
        except ValueError as error:
            yield Finding(*place, f"{closed}: it {error}", FORMS, "warning")
            continue
        if not (address.is_local or config.zmq_open_to_network):
            what = f"{closed}: other machines would reach it, and it knows no authentication"
            yield Finding(
                *place, what, "write 127.0.0.1; or, where that is meant, zmq.open_to_network = true", "warning"
            )
        elif option == "endpoint" and not address.is_ipc:
            who = "whoever is on this machine" if address.is_local else "whoever reaches it from any machine"
            what = f"[circus]: {who} gives orders to this circusd at {text}: it knows no authentication"
            hint = "ipc:///PATH is for circusd's own user alone; circusctl needs neither"
            yield Finding(*place, what, hint, "warning")
