"""Processes of a watcher that was removed without a stop: nobody's, until a watcher of that name is there again.

They stay in the kernel with their output, foreign to this circusd and to the next one. A watcher that is added under
their name takes them over as a start of circusd would.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from circus.engine import startup
from circus.supervise import adopt, events
from circus.supervise.actions import Finish
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: A log file that takes nothing for so long keeps nobody waiting.
COMMIT_S = 10.0

NOBODY = "nobody: their watcher was removed, and they were not stopped"


async def let_go(engine: Engine, watcher: str) -> None:
    """The watcher is gone; its processes are listed as foreign from here on."""
    held = engine.lives.hosted.of_watcher(watcher)
    for hosted in held:
        engine.lives.hosted.remove(hosted)  # from here on its end is the kernel's to keep
    ids = {hosted.kernel_id for hosted in held}
    await engine.pump.let_go(ids, COMMIT_S)
    try:
        engine.foreign += [row for row in await startup.our_rows(engine) if row["id"] in ids]
    except PapaError as error:
        log.warning("%s: what is left of it is not listed: %s", watcher, error)
    log.info("%s left running in papa processes=%d", watcher, len(held))


async def take_back(engine: Engine, watcher: str, *, start: bool) -> list[Finish]:
    """What runs under the name of a watcher that was added, and not started, is its own again.

    Raises: PapaError.
    """
    rows = {row["id"]: row for row in await startup.our_rows(engine)}
    survivors = [survivor for row in rows.values() if (survivor := startup.survivor_of(row)) is not None]
    config = engine.config_of(watcher)
    count = engine.fleet.watchers[watcher].policy.numprocesses
    plan = adopt.plan_adoption(
        {watcher: (config.digest, count)},
        [each for each in survivors if engine.lives.hosted.by_id(each.kernel_id) is None],
        config_path=engine.config.path,
    )
    adopted = [*plan.keep, *plan.drifted, *plan.surplus]
    for survivor in adopted:
        reply = await startup.attach(engine, survivor.kernel_id)
        if reply is not None:
            await startup.adopt_process(engine, survivor, reply)
    for survivor in plan.ended:
        if survivor.watcher.lower() == watcher.lower():
            reply = await startup.attach(engine, survivor.kernel_id)
            if reply is not None:
                await startup.settle_ended(engine, survivor, reply)
    ids = {each.kernel_id for each in (*adopted, *plan.ended)}
    engine.foreign = [row for row in engine.foreign if row["id"] not in ids]
    engine.memory.remember_left(engine.memory.left - {watcher.lower()})
    if not adopted and not start:
        return []
    log.info("%s already running processes=%d", watcher, len(adopted))
    return [await engine.order(partial(events.Restart if plan.drifted else events.Start, names=(watcher,)))]


def has_any(engine: Engine, watcher: str) -> bool:
    """Whether something may run under the name of a watcher that is to be added."""
    ours = (row["meta"] for row in engine.foreign if row["meta"]["config"] == engine.config.path)
    return watcher.lower() in engine.memory.left | {meta["watcher"].lower() for meta in ours}


def set_apart(engine: Engine, survivors: Sequence[adopt.Survivor]) -> list[adopt.Survivor]:
    """At a start: those that were left belong to nobody, unless their watcher is there again.

    So do those of a watcher that was added by hand and is not possible now.
    """
    configured = {each.name.lower() for each in engine.config.watchers}
    running = [each for each in survivors if each.running]
    ours = {each.watcher.lower() for each in running if each.config_path == engine.config.path}
    others = {each.watcher.lower() for each in running if each.config_path != engine.config.path}
    engine.memory.remember_left(engine.memory.left & ((ours - configured) | others))
    left = engine.memory.left | ({name.lower() for name in engine.unheeded} - configured)
    return [
        replace(each, config_path=NOBODY) if each.running and each.watcher.lower() in left else each
        for each in survivors
    ]


def remember(engine: Engine, watchers: Iterable[str]) -> None:
    """They are removed without a stop."""
    engine.memory.remember_left(engine.memory.left | {name.lower() for name in watchers})
