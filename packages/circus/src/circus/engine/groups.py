"""A control group for each life of the watchers that want one (`cgroup = true`), where papa may have some.

It is made before the process is asked for, and its path stands in the process's row, so that the next circusd finds it;
who is spawned is put into it as soon as the kernel has answered. It goes when nobody is in it any more. Where no group
can be had the watcher runs without, and `circusctl status` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from circus import cgroups
from circus.engine import ceilings
from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.config.model import WatcherConfig
    from circus.engine.engine import Engine
    from circus.engine.hosted import Hosted
    from circus.supervise.states import SlotKey

log = logging.getLogger("circus.engine")

#: What is told under this name.
TROUBLE = "control groups"


class Groups:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._base = ""  # the last one that was found
        self._left: set[str] = set()  # somebody was in it still

    async def make(self, config: WatcherConfig, slot: SlotKey, token: str) -> str:
        """Its directory; empty when there is none. ``token`` belongs to this life alone."""
        if not config.cgroup:
            return ""
        engine = self._engine
        try:
            path = await asyncio.to_thread(self._make, slot, token)
        except CircusError as error:
            if TROUBLE not in engine.troubles:
                log.warning("%s; %s", error.message, error.hint)
            engine.troubles[TROUBLE] = f"{error.message}: {config.name} runs without ({error.hint})"
            return ""
        engine.troubles.pop(TROUBLE, None)
        return path

    def _make(self, slot: SlotKey, token: str) -> str:
        self._base = cgroups.find_base(self._engine.kernel.hello["pid"])
        path = cgroups.directory_of(self._base, self._engine.name, slot.watcher, slot.wid, token)
        cgroups.create(path)
        return path

    async def fill(self, path: str, pid: int) -> None:
        """Put the process into it that the kernel has just started."""
        if path:
            try:
                await asyncio.to_thread(cgroups.add, path, pid)
            except CircusError as error:
                log.warning("pid=%d is in no control group of its own: %s", pid, error.message)
                self._engine.troubles[TROUBLE] = error.message

    async def limit(self, hosted: Hosted) -> None:
        """Bring the bounds of its group to what its watcher says now."""
        config = self._engine.configs.get(hosted.slot.watcher)
        if not hosted.cgroup or hosted.has_exited or config is None:
            return
        wanted, troubles, key = ceilings.files_of(config.limits), self._engine.troubles, f"limits of {config.name}"
        why = await asyncio.to_thread(ceilings.write, hosted.cgroup, self._engine.name, wanted)
        if not why or hosted.has_exited:
            troubles.pop(key, None)
            return
        told = f"{config.name}: {', '.join(wanted)} cannot be set: {why}; it runs without"
        if troubles.get(key) != told:
            log.warning("%s", told)
        troubles[key] = told

    def limit_all(self, watcher: str) -> None:
        """Its options have changed."""
        for hosted in self._engine.lives.hosted.of_watcher(watcher):
            self._engine.begin(self.limit(hosted))

    async def remove(self, path: str) -> None:
        """The life is over; a group with somebody in it goes with a later one."""
        if path:
            self._left.add(path)
            self._left -= await asyncio.to_thread(_remove_all, frozenset(self._left))

    async def tidy(self) -> None:
        """Remove empty ones that a circusd which is gone has left, and the directory that has them all, if it may."""
        if any(config.cgroup for config in self._engine.configs.values()) or self._base:
            await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        with contextlib.suppress(CircusError, OSError):
            base = self._base or cgroups.find_base(self._engine.kernel.hello["pid"])
            place = os.path.dirname(cgroups.directory_of(base, self._engine.name, ""))
            for name in os.listdir(place):
                # It ends with the token, and that begins with the pid of the circusd that made it.
                maker = name.rpartition(".")[2].partition("-")[0]
                if maker == str(os.getpid()) or (maker.isdecimal() and not os.path.exists(f"/proc/{maker}")):
                    cgroups.remove(os.path.join(place, name))
            cgroups.leave(base, self._engine.name)


def _remove_all(paths: frozenset[str]) -> set[str]:
    return {path for path in paths if cgroups.remove(path)}
