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
from circus.engine.changing import Decided
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
    told = _told(engine, names)
    if is_dry or not told:
        return told
    orders: list[Callable[[int], events.Order]] = []

    async def decide() -> Decided:
        nonlocal told
        told = _told(engine, names)
        return await _decide(engine, list(told), orders)

    work = await engine.changes.begin(map(engine.changes.key, told), decide, reconfigure.begin)
    for name, what in told.items():
        log.info("%s is as the file has it again, forgotten: %s", name, "; ".join(what))
    errors = []
    try:
        await asyncio.shield(work)
    except CircusError as error:
        errors.append(error.message)
    errors += [finish.error for finish in await asyncio.gather(*map(engine.order, orders)) if not finish.ok]
    if errors:
        raise CircusError("operation-failed", f"what was ordered by hand is forgotten, but: {'; '.join(errors)}")
    return told


def _told(engine: Engine, names: Iterable[str] | None) -> dict[str, list[str]]:
    told = shown.remembered(engine)
    if names is None:
        return told
    meant = {name.lower() for name in names}
    return {name: what for name, what in told.items() if name.lower() in meant}


async def _decide(engine: Engine, names: list[str], orders: list[Callable[[int], events.Order]]) -> Decided:
    """``orders``: to be given when the new configuration is in force; they are known when it has begun."""
    memory, folded = engine.memory, {name.lower() for name in names}
    edits = amend.without(engine.edits, folded)
    stays = [name for name in engine.configs if name.lower() in folded and name not in engine.edits.added]
    new = await filing.amended(engine, edits, {*stays, *(engine.edits.removed.keys() & folded)})
    failed = {name for name in stays if memory.standing(name) is not None}
    stopped = {name for name in stays if memory.is_stopped(name)}
    configs = {config.name: config for config in new.watchers}

    def begun() -> None:
        for name in names:
            memory.forget(name)
            engine.unheeded.pop(name, None)
        orders.extend(
            partial(events.SetCount, name=name, count=configs[name].numprocesses)
            for name in stays
            if engine.fleet.watchers[name].policy.numprocesses != configs[name].numprocesses
        )
        wanted = {name for name in stopped if configs[name].autostart}
        wanted |= {name for name in failed if engine.fleet.watchers[name].wants_up}
        if wanted:
            orders.append(partial(events.Start, names=tuple(sorted(wanted))))

    return Decided(new, diff(engine.config, new), edits, begun=begun)
