"""Back to the file: what people ordered by hand about watchers, and how they have failed, counts no more.

What goes is said, watcher by watcher; it is carried out as the orders that a person would give to undo it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from circus.config import amend
from circus.config.diff import diff
from circus.engine import filing, reconfigure, shown
from circus.errors import CircusError
from circus.supervise import events

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


def known(engine: Engine) -> list[str]:
    """The names, as they are written, of watchers about which anything is remembered or could be."""
    names = list(engine.configs)
    folded = {name.lower() for name in names}
    return names + [name for name in shown.remembered(engine) if name.lower() not in folded]


async def forget(engine: Engine, names: Iterable[str] | None, *, is_dry: bool) -> dict[str, list[str]]:
    """Return these watchers, or all, to what the file says; what was ordered of each of them, in words.

    Raises:
        CircusError: config-invalid, when what the file says is not possible now: nothing was changed. Or
            operation-failed, after all was forgotten: not every watcher has got where it shall be.
    """
    async with engine.reloading:
        if engine.changes and not is_dry:
            await asyncio.wait(engine.changes)
        told = shown.remembered(engine)
        if names is not None:
            meant = {name.lower() for name in names}
            told = {name: what for name, what in told.items() if name.lower() in meant}
        if is_dry or not told:
            return told
        for name, what in told.items():
            log.info("%s is as the file has it again, forgotten: %s", name, "; ".join(what))
        work, orders = await _begin(engine, list(told))
    errors = []
    try:
        await asyncio.shield(work)
    except CircusError as error:
        errors.append(error.message)
    errors += [finish.error for finish in await asyncio.gather(*map(engine.order, orders)) if not finish.ok]
    if errors:
        raise CircusError("operation-failed", f"what was ordered by hand is forgotten, but: {'; '.join(errors)}")
    return told


async def _begin(engine: Engine, names: list[str]) -> tuple[asyncio.Task[None], list[Callable[[int], events.Order]]]:
    """Everything is decided and remembered; the orders to be given when the new configuration is in force."""
    memory, folded = engine.memory, {name.lower() for name in names}
    edits = amend.without(engine.edits, folded)
    stays = [name for name in engine.configs if name.lower() in folded and name not in engine.edits.added]
    new = await filing.amended(engine, edits, {*stays, *(engine.edits.removed.keys() & folded)})
    failed = {name for name in stays if memory.standing(name) is not None}
    stopped = {name for name in stays if memory.is_stopped(name)}
    work = await reconfigure.begin(engine, new, diff(engine.config, new), edits)
    for name in names:
        memory.forget(name)
        engine.unheeded.pop(name, None)
    engine.changes.add(work)
    work.add_done_callback(engine.changes.discard)
    configs = {config.name: config for config in new.watchers}
    orders: list[Callable[[int], events.Order]] = [
        partial(events.SetCount, name=name, count=configs[name].numprocesses)
        for name in stays
        if engine.fleet.watchers[name].policy.numprocesses != configs[name].numprocesses
    ]
    wanted = {name for name in stopped if configs[name].autostart}
    wanted |= {name for name in failed if engine.fleet.watchers[name].wants_up}
    if wanted:
        orders.append(partial(events.Start, names=tuple(sorted(wanted))))
    return work, orders
