"""How circusd leaves: what has to end ends first; then what was taken is written, and what nobody needs is given back.

Every step has a bound. A kernel that is away or stopped reports no ends of processes; when it does not answer for
``GIVE_UP_S``, circusd leaves without it, and the next circusd takes over what runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from circus import clock
from circus.engine import startup
from circus.engine.startup import Inherited
from circus.supervise import events
from circus.supervise.states import WatcherState
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: At the end circusd waits this long for log files to take what was written; the kernel keeps the rest.
FLUSH_S = 10.0

#: Nobody is answered meanwhile; what is not written by then is written by the successor.
HAND_OVER_S = 1.0

#: A kernel that was killed is back within a second, on a busy machine within a few.
GIVE_UP_S = 10.0
LOOK_S = 1.0

#: A kernel that hosts something else stays. But a log whose last source has just gone may still have told the kernel
#: where it stands, after it was asked to forget that.
EXIT_TRIES = 5
EXIT_PAUSE_S = 0.05


async def end(engine: Engine, make: Callable[[int], events.Order]) -> None:
    """Give the order that ends everything and wait until circusd may leave."""
    order = asyncio.create_task(engine.order(make))
    answered_at = clock.monotonic()
    try:
        while not (await asyncio.wait({order}, timeout=LOOK_S))[0]:
            if await engine.link.answers():
                answered_at = clock.monotonic()
            elif clock.monotonic() - answered_at > GIVE_UP_S:
                log.error("papa does not answer: circusd leaves without it; the next one takes over what runs")
                engine.may_leave.set()
                return
        order.result()
    finally:
        order.cancel()
    left = Counter(process.slot.watcher for process in engine.lives.hosted if not process.has_exited)
    for watcher, count in sorted(left.items()):
        log.info("%s left running in papa processes=%d", watcher, count)


async def close(engine: Engine) -> None:
    """Write and commit what was taken, give back what nobody needs, let go of the rest."""
    if await engine.link.answers():
        await engine.pump.flush(FLUSH_S)
        await engine.lives.settled(FLUSH_S)
        try:
            await _tidy(engine)
        except PapaError as error:
            log.warning("the kernel could not be tidied up: %s", error)
    await engine.lives.groups.tidy()
    await _let_go(engine)


async def prepare(engine: Engine) -> None:
    """For a successor in this process: nothing more is started, and what was taken of output is written and committed.
    Queries may still be answered."""
    if await engine.link.answers():
        await engine.executor.hold(HAND_OVER_S)
        await engine.lives.settled(HAND_OVER_S)
        await engine.pump.let_go([each.kernel_id for each in engine.lives.hosted], HAND_OVER_S)


async def hand_over(engine: Engine) -> Inherited:
    """As `close`, but nothing is given back: a successor goes on in this process with all that runs."""
    engine.drain()
    hosted = list(engine.lives.hosted)
    left = Inherited(
        frozenset(each.kernel_id for each in hosted),
        frozenset(each.kernel_id for each in hosted if each.has_exited),
        {each.name for each in engine.fleet.snapshot() if each.state is WatcherState.ACTIVE},
    )
    await _let_go(engine)
    return left


async def _let_go(engine: Engine) -> None:
    engine.executor.close()
    engine.jobs.close()
    engine.demand.close()
    engine.trees.close()
    engine.sampler.close()
    engine.figures.close()
    await engine.pictures.close()
    engine.probing.close()
    engine.notices.close()
    engine.lives.close()
    await engine.link.close()
    await engine.pump.close()
    await engine.telling.close()
    await engine.kernel.close()
    await engine.keeper.close()


async def _tidy(engine: Engine) -> None:
    """Give back what nobody needs: our sockets and values when nothing of ours is left, then the kernel itself.

    A process that ended but whose output is not yet where it belongs is kept for the next circusd.
    """
    rows = await startup.our_rows(engine)
    sockets = engine.sockets
    if any(row["running"] for row in rows):
        if engine.notices.is_open and not engine.probing.is_any_expected():
            await engine.notices.remove()
        await sockets.close([name for name, config in sockets.configs.items() if not config.use_papa])
        return
    await sockets.close(list(sockets.configs))
    await engine.notices.remove()
    held = {row["id"]: sum(each["head"] - each["acked"] for each in row["streams"].values()) for row in rows}
    own = {row["id"] for row in rows if row["meta"].get("config") == engine.config.path}
    if silent := [number for number, size in held.items() if number in own and not size]:
        # What they had started lives on and has their pipes; it is none of ours, and nobody is left to hear it.
        await engine.kernel.request("remove", what="processes", ids=silent)
    if kept := len(rows) - len(silent):
        log.warning(
            "papa keeps %d bytes of output of %d ended processes for the next circusd", sum(held.values()), kept
        )
        return
    for _ in range(EXIT_TRIES):
        values = await engine.kernel.list("values", engine.names.pattern)
        if values:
            await engine.kernel.commit(values={row["name"]: None for row in values})
        try:
            await engine.kernel.request("exit")
        except PapaError as error:
            if error.code not in ("busy", "lost"):
                raise
            if error.code == "busy":
                await asyncio.sleep(EXIT_PAUSE_S)
                continue
        return
