"""What processes use of the machine, with what the hook extended_stats adds.

The machine is looked at in a thread, once for all processes and for all who ask meanwhile; each look is remembered in
the samples. The hook gets a copy, so that one that does not come back changes nothing later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from circus import clock, procfs, stats
from circus.engine.samples import MIN_GAP_S, Samples, Use
from circus.procfs import Row

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: Deeper structures of a hook are shown as text.
MAX_DEPTH = 8


class Look(NamedTuple):
    """All processes of the machine, by pid, at that moment (wall clock)."""

    at: float
    rows: Mapping[int, Row]


class Figures:
    """Nobody looks unless somebody asks, or `stats_interval` says how often."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.samples = Samples()
        self._looking: asyncio.Task[Look] | None = None
        self._next: asyncio.Task[Look] | None = None
        self.interval_s = 0.0
        self._repeating: asyncio.Task[None] | None = None

    async def look(self) -> Look:
        """Begun after it was asked for; all who ask while one is under way share the next one."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._look(self._looking))
        return await asyncio.shield(self._next)

    async def _look(self, before: asyncio.Task[Look] | None) -> Look:
        if before is not None:
            await asyncio.wait([before])
        self._looking, self._next = self._next, None
        try:
            look = await asyncio.to_thread(_look)
        finally:
            if self._looking is asyncio.current_task():
                self._looking = None  # nobody keeps a row of each process of the machine
        uses = []
        for process in self._engine.lives.hosted:
            row = look.rows.get(process.pid)
            # What has ended waits for its parent, and another process may have its number.
            if row is not None and row.state not in "ZX" and row.start_ticks == process.start_ticks:
                uses.append(Use(process.slot, process.pid, row.cpu_ticks / procfs.TICKS_S, row.resident_bytes))
        self.samples.add(look.at, uses)
        return look

    def repeat(self, interval_s: float) -> None:
        """Look so often from now on; 0: only when somebody asks."""
        if interval_s == self.interval_s:
            return
        self.close()
        self.interval_s = interval_s
        if interval_s > 0:
            self._repeating = asyncio.get_running_loop().create_task(self._repeat(interval_s))

    async def _repeat(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(max(interval_s, MIN_GAP_S))
            try:
                await self.look()
            except OSError as error:
                log.warning("what processes use could not be looked at: %s", error)

    def close(self) -> None:
        if self._repeating is not None:
            self._repeating.cancel()
            self._repeating = None


def _look() -> Look:
    return Look(clock.wall(), procfs.rows())


async def of_watchers(
    engine: Engine, watchers: Iterable[str], pid: int | None, *, extended: bool
) -> dict[str, dict[str, object]]:
    """watcher -> pid -> facts, or a sentence where the process has gone; for ``pid`` only, if given."""
    asked = {
        watcher: [each for each in engine.lives.hosted.of_watcher(watcher) if pid is None or each.pid == pid]
        for watcher in watchers
    }
    pids = [each.pid for processes in asked.values() for each in processes]
    infos: dict[int, stats.Info | str] = {}
    if pids:
        look = await engine.figures.look()
        infos = await asyncio.to_thread(stats.tell, pids, look.rows)
    found: dict[str, dict[str, object]] = {}
    for watcher, processes in asked.items():
        found[watcher] = {}
        for process in processes:
            info: object = infos[process.pid]
            if isinstance(info, dict):
                info.update(started=process.started_at, wid=process.slot.wid)
                if extended:
                    given = dict(info)
                    await engine.run_hook(watcher, "extended_stats", pid=process.pid, stats=given)
                    info = {str(key): plain(value) for key, value in given.copy().items()}
            found[watcher][str(process.pid)] = info
    return found


async def of_daemons(circusd: int, papa: int) -> dict[str, dict[str, object] | str]:
    """circusd's own figures, and the kernel's, by their pids; without the processes below them."""
    daemons = {"circusd": circusd, "papa": papa}
    return {name: await asyncio.to_thread(stats.read, pid, with_children=False) for name, pid in daemons.items()}


def plain(value: object, depth: int = MAX_DEPTH) -> object:
    """``value`` in the types that JSON has."""
    if value is None or isinstance(value, str | int | float):
        return value
    if depth and isinstance(value, dict):
        return {str(key): plain(each, depth - 1) for key, each in value.copy().items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [plain(each, depth - 1) for each in tuple(value)]
    return str(value)
