"""Waiting for the ends of processes that are not our children, by descriptors, without polling."""

from __future__ import annotations

import asyncio
import contextlib
import os

from circus import procfs

#: So many of a tree are waited for at a time, each by a descriptor; when they have gone, all of it is looked at again.
MAX_WATCHED = 32

#: Where the system has no descriptors of processes, somebody else's child is looked at so often.
LOOK_S = 1.0

#: When the first one has gone, the others get so long to go before all is looked at again.
SETTLE_S = 0.05


async def wait(rows: list[procfs.Row], changed: asyncio.Event, settle_s: float = SETTLE_S) -> None:
    """Until some of them have gone, and the others had ``settle_s`` to go; until all have; or until ``changed``."""
    rows = rows[:MAX_WATCHED]
    loop = asyncio.get_running_loop()
    watched = {fd for row in rows if (fd := procfs.hold(row)) >= 0}
    if not watched:  # they have gone meanwhile, or the system has no such descriptors
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), LOOK_S if _is_there(rows) else 0)
        return
    timer: list[asyncio.TimerHandle] = []

    def let_go(fd: int) -> None:
        loop.remove_reader(fd)
        os.close(fd)
        watched.discard(fd)

    def gone(fd: int) -> None:
        let_go(fd)
        if not watched:
            changed.set()
        elif not timer:
            timer.append(loop.call_later(settle_s, changed.set))

    if len(watched) < len(rows):  # some have gone already
        timer.append(loop.call_later(settle_s, changed.set))
    for fd in watched:
        loop.add_reader(fd, gone, fd)
    try:
        await changed.wait()
    finally:
        for each in timer:
            each.cancel()
        for fd in list(watched):
            let_go(fd)


def _is_there(rows: list[procfs.Row]) -> bool:
    return any((now := procfs.row(row.pid)) is not None and now.start_ticks == row.start_ticks for row in rows)
