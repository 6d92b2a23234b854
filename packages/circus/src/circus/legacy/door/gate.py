"""All addresses of the door: opened as the configuration names them, and closed again.

What cannot be opened is said in the log and by the status, and the others are opened all the same: circusd is there for
its programs, not for this.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from circus.bus import Bus, Event
from circus.config import endpoints
from circus.config.model import CircusConfig
from circus.control.caller import Caller
from circus.control.dispatch import dispatch
from circus.control.events import topic_of
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.legacy.door.figures import StatsFeed
from circus.legacy.door.news import Publisher
from circus.legacy.door.orders import Orders
from circus.legacy.door.wire import House, Listener
from circus.legacy.messages import MESSAGE_ERROR, Ask, Refused

log = logging.getLogger("circus.door")


class Gate:
    """``troubles``: what stays closed, and why, for the status."""

    def __init__(self, config: CircusConfig, bus: Bus, ops: Ops, troubles: MutableMapping[str, str]) -> None:
        self._config = config
        self._bus = bus
        self._ops = ops
        self._troubles = troubles
        self._orders = Orders(lambda peer: _Asking(self, peer.who))
        self._stats = StatsFeed(_Asking(self, "subscribers"))
        self._news = Publisher(self._on_interest)
        self._leave_bus: Callable[[], None] | None = None
        self._listeners: list[Listener] = []

    async def open(self) -> None:
        config = self._config
        houses: dict[str, House] = {
            "endpoint": self._orders,
            "pubsub_endpoint": self._news,
            "stats_endpoint": self._stats.publisher,
        }
        for option, house in houses.items():
            if (address := endpoints.address_of(config, option)) is not None:
                await self._open(option, Listener(address, house, owner=_uid_of(config.endpoint_owner)))

    async def close(self) -> None:
        """Commands under way end, or are told that circusd leaves; what is written leaves; all within a bound."""
        for listener in self._listeners:
            listener.stop_listening()
        await asyncio.gather(self._orders.end(), self._stats.end())
        await asyncio.gather(*(listener.close() for listener in self._listeners))
        self._listeners.clear()
        self._on_interest(False)

    async def ask(self, caller: Caller, asked: Ask) -> dict[str, Any]:
        """Raises: CircusError, Refused."""
        self._check_owner(asked)
        answer = await dispatch(self._ops, caller, "GET" if asked.body is None else "POST", *asked)
        return cast("dict[str, Any]", answer)

    def _check_owner(self, asked: Ask) -> None:
        """An owner of the address who is not circusd's own user adds watchers that run as himself, as it always was."""
        owner, address = self._config.endpoint_owner, endpoints.address_of(self._config, "endpoint")
        if owner is None or address is None or not address.is_ipc or asked.body is None:
            return
        if asked.target.startswith("/v1/watchers/") and asked.target.endswith("/add"):
            options = asked.body["options"]
            uid = options.get("uid") if isinstance(options, dict) else None
            if uid is None or _number_of(str(uid)) != _number_of(owner):
                raise Refused(MESSAGE_ERROR, "uid does not match endpoint_owner")

    async def _open(self, option: str, listener: Listener) -> None:
        try:
            await listener.open()
        except CircusError as error:
            self._troubles[option] = f"{option} is closed: {error.message}"
            log.warning("%s is closed: %s", option, error.message)
            return
        self._listeners.append(listener)
        log.info("%s is open at %s for programs of the ancestors", option, listener.place)
        if listener.house is self._orders and not listener.address.is_ipc:
            log.warning("%s knows no authentication: whoever reaches it gives orders", listener.place)

    def _on_interest(self, is_there: bool) -> None:
        """Events are looked at while somebody listens to them."""
        if is_there:
            self._leave_bus = self._bus.subscribe(self._on_event)
        elif self._leave_bus is not None:
            self._leave_bus()
            self._leave_bus = None

    def _on_event(self, event: Event) -> None:
        """The ancestors had none of circusd itself, and their programs look for a watcher in every topic."""
        if event.watcher:
            self._news.publish(topic_of(event), {"time": event.at, **event.fields})


class _Asking:
    """``who`` reaches the door, and so may what circusd's own user may."""

    def __init__(self, gate: Gate, who: str) -> None:
        self._gate = gate
        self._caller = Caller(who, "zmq")

    async def ask(self, asked: Ask) -> dict[str, Any]:
        return await self._gate.ask(self._caller, asked)


def _uid_of(owner: str | None) -> int | None:
    """None: circusd's own user, as for one that is not there."""
    uid = None if owner is None else _number_of(owner)
    return None if uid == os.geteuid() else uid


def _number_of(user: str) -> int | None:
    """None: there is no such user."""
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return None
