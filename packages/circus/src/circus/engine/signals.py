"""A signal that somebody sends by hand: to processes of a watcher, to those below them, or to both.

No wish turns by it and no hook is asked: what the processes make of it is met as any other end. To end them in good
order is the cores' business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from circus import procfs
from circus.engine.lives import send_signal
from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.engine.engine import Engine


async def send(
    engine: Engine,
    name: str,
    signum: int,
    *,
    pid: int | None,
    childpid: int | None,
    children: bool,
    recursive: bool,
) -> int:
    """How many got it.

    To the processes of the watcher, or the one with ``pid``. ``children``: to their children and not to them;
    ``recursive``: to all that descend from them, too; ``childpid``: to that descendant alone.

    Raises: CircusError not-found, when there is no such process; forbidden.
    """
    hosted = engine.lives.hosted.of_watcher(engine.config_of(name).name)
    if pid is not None:
        hosted = [process for process in hosted if process.pid == pid]
        if not hosted:
            raise CircusError("not-found", f"watcher {name!r} has no process {pid}")
    if not children and childpid is None:
        return sum([await send_signal(process, signum, whole_tree=recursive) for process in hosted])
    look = procfs.descendants if recursive or childpid is not None else procfs.children
    below = [child for process in hosted for child in await asyncio.to_thread(look, process.pid)]
    if childpid is not None:
        below = [child for child in below if child.pid == childpid]
        if not below:
            raise CircusError(
                "not-found", f"{name}: no process {childpid} descends from it", "`circusctl stats` lists them"
            )
    for child in below:
        procfs.send_signal(child, signum)
    return len(below)
