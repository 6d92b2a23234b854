"""Watchers that start on demand, and whether somebody waits at their sockets.

The idea: the kernel hands out its listeners, and the loop waits for them to become readable. Nothing is accepted here:
the connection waits in its socket for the process that is started now.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from circus import clock
from circus.config import expand
from circus.engine.link import UNANSWERED
from circus.supervise import events
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: A program that ends without having accepted leaves its socket readable: it is not started again at once.
PAUSE_S = 1.0


class Demand:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fds: dict[str, list[int]] = {}  # of each watcher that waits
        self._met_at: dict[str, float] = {}

    def watch(self, watcher: str) -> None:
        """Post Demanded, once, as soon as somebody waits at one of the watcher's sockets."""
        self.forget(watcher)
        fds: list[int] = []
        self._fds[watcher] = fds
        self._engine.begin(self._watch(watcher, fds))

    def forget(self, watcher: str) -> None:
        for fd in self._fds.pop(watcher, ()):
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def is_watching(self, watcher: str) -> bool:
        """Whether the loop waits at a socket of it by now."""
        return bool(self._fds.get(watcher))

    def look_again(self) -> None:
        """The sockets may be others by now."""
        for watcher in list(self._fds):
            self.watch(watcher)

    def close(self) -> None:
        for watcher in list(self._fds):
            self.forget(watcher)

    async def _watch(self, watcher: str, fds: list[int]) -> None:
        """``fds`` are those of this call; another one has others."""
        await asyncio.sleep(max(0.0, self._met_at.get(watcher, -PAUSE_S) + PAUSE_S - clock.monotonic()))
        told = ""
        while self._fds.get(watcher) is fds:
            try:
                opened = await self._open(watcher)
            except PapaError as error:
                if error.code not in (*UNANSWERED, told):
                    told = error.code
                    log.warning("%s does not start on demand yet: %s; trying again", watcher, error.message)
                await self._engine.link.wait_to_ask_again(error)
                continue
            if self._fds.get(watcher) is not fds:
                for fd in opened:
                    os.close(fd)
                return
            fds += opened
            for fd in fds:
                asyncio.get_running_loop().add_reader(fd, self._on_ready, watcher)
            if not fds:
                log.warning("%s: on_demand has no effect: there is no socket at which circusd could wait", watcher)
                self._on_ready(watcher)
            return

    async def _open(self, watcher: str) -> list[int]:
        """The sockets of a watcher at which anybody can wait; over TCP the kernel hands none out.

        Raises: PapaError.
        """
        sockets, config = self._engine.sockets, self._engine.configs[watcher]
        opened: list[int] = []
        try:
            for name in expand.sockets_used(config, sockets.configs.values()):
                row = sockets.rows[name]
                if not row:
                    raise PapaError(f"socket {name} is not open", code="not-found")
                reply = await self._engine.kernel.attach(row["id"], fds=True)
                if sockets.configs[name].so_reuseport:
                    reply.close_fds()  # it holds the port and does not listen
                opened += reply.fds.values()
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        return opened

    def _on_ready(self, watcher: str) -> None:
        self.forget(watcher)
        self._met_at[watcher] = clock.monotonic()
        self._engine.post(events.Demanded(watcher))
