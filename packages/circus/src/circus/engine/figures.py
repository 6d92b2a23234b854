"""What processes use of the machine, with what the hook extended_stats adds.

The machine is asked in a thread, once for all; the hook gets a copy, so that one that does not come back changes
nothing later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from circus import stats

if TYPE_CHECKING:
    from circus.engine.engine import Engine

#: Deeper structures of a hook are shown as text.
MAX_DEPTH = 8


async def of_watchers(
    engine: Engine, watchers: Iterable[str], pid: int | None, *, extended: bool
) -> dict[str, dict[str, object]]:
    """watcher -> pid -> facts, or a sentence where the process has gone; for ``pid`` only, if given."""
    asked = {
        watcher: [each for each in engine.lives.hosted.of_watcher(watcher) if pid is None or each.pid == pid]
        for watcher in watchers
    }
    pids = [each.pid for processes in asked.values() for each in processes]
    infos = await asyncio.to_thread(stats.read_many, pids) if pids else {}
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
