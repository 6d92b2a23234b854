"""A plugin's ear: events from the circusd that there is, over every restart of it.

Nothing is asked while nothing happens. When circusd has gone it is looked for again, at a growing distance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from circus.control import endpoints
from circus.control.client import Client
from circus.control.listening import Listening
from circus.errors import CircusError
from circus.plugins.loop import Loop

log = logging.getLogger("circus.plugins")

#: Between two looks for a circusd, doubling to the last.
RETRY_FIRST_S = 0.1
RETRY_LAST_S = 2.0


class Ear:
    """``on_event`` gets each event as `Listening` has it, ``on_open`` is called once, when events begin to come.

    ``since``: events that happened before are not heard (wall clock).
    """

    def __init__(
        self,
        loop: Loop,
        endpoint: str,
        *,
        since: float,
        on_open: Callable[[], None],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._loop = loop
        self._client = Client(endpoints.resolve(endpoint))
        self._since = since
        self._on_open = on_open
        self._on_event = on_event
        self._listening: Listening | None = None
        self._last_id = ""
        self._pause_s = RETRY_FIRST_S
        self._told = ""
        self._is_closed = False

    def open(self) -> None:
        if self._is_closed:
            return
        is_first = not self._last_id
        try:
            since = self._since if is_first else None
            self._listening = Listening(self._client, ["watcher."], last_id=self._last_id, since=since)
        except CircusError as error:
            if error.message != self._told:
                self._told = error.message
                log.warning("%s; trying again", error.message)
            self._loop.call_later(self._pause_s, self.open)
            self._pause_s = min(self._pause_s * 2, RETRY_LAST_S)
            return
        self._pause_s, self._told = RETRY_FIRST_S, ""
        if is_first:
            self._on_open()
        self._loop.asyncio_loop.add_reader(self._listening.fileno(), self._take)
        self._take()  # what came with the answer

    def close(self) -> None:
        self._is_closed = True
        self._drop()

    def _drop(self) -> None:
        if self._listening is not None:
            self._loop.asyncio_loop.remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None

    def _take(self) -> None:
        if self._listening is None:
            return
        try:
            heard = self._listening.receive()
        except CircusError as error:
            log.info("%s; waiting for the next", error.message)
            self._drop()
            self._loop.call_later(self._pause_s, self.open)
            return
        self._last_id = self._listening.last_id
        for event in heard:
            if not self._is_closed:
                self._on_event(event)
