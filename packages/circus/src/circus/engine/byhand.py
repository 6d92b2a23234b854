"""Orders that change what the configuration says: options that are set, watchers that are added and removed.

They are understood, checked and carried out as edits of the file would be, and kept over a restart until the file
itself says something else. One that cannot be carried out changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from circus.config import amend
from circus.config.amend import Edits
from circus.config.diff import diff
from circus.config.model import CircusConfig
from circus.config.plan import Plan
from circus.engine import filing, leftovers, planning, reconfigure
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.actions import Finish

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


async def set_options(
    engine: Engine, watcher: str, given: Mapping[str, str], on_begun: Callable[[], None]
) -> list[str]:
    """Set options, as a file would write them; warnings about what was set.

    ``on_begun``: it was found good, and goes on.

    Raises:
        CircusError: a value is wrong: nothing was changed. Or operation-failed, after all was changed:
            the watcher has not got where it shall be.
    """
    async with engine.reloading:
        name = _known(engine, watcher)
        texts = dict(given)
        edits = _with_options(engine, name, texts)
        new = await filing.amended(engine, edits, [name])
        count = None
        if "numprocesses" in texts:
            # A wish of its own, as by incr and decr.
            count = next(each.numprocesses for each in new.watchers if each.name == name)
            del texts["numprocesses"]
            edits = _with_options(engine, name, texts)
            new = await filing.amended(engine, edits, [name])
        log.info("%s set by hand: %s", name, ", ".join(given))
        work = await _begin(engine, new, edits, keys=tuple(texts))
    on_begun()
    await asyncio.shield(work)
    if count is not None:
        finish = await engine.order(partial(events.SetCount, name=name, count=count))
        if not finish.ok:
            raise CircusError("operation-failed", f"numprocesses of {name} is set, but: {finish.error}")
    return _warnings(new, name)


async def add_watcher(
    engine: Engine, name: str, texts: Mapping[str, str], on_begun: Callable[[], None], *, start: bool
) -> tuple[Finish | None, list[str]]:
    """Add a watcher as a file would write it, or, without options, the one of the file that was removed by hand.

    The end of its start, if it was started; and warnings. ``on_begun``: as in set_options.

    Raises:
        CircusError: the name is taken or an option is wrong: nothing was changed. Or operation-failed: see
            reconfigure.begin.
    """
    async with engine.reloading:
        name = name.strip()
        for other in engine.configs:
            if engine.names.process(other, 1) == engine.names.process(name, 1):
                hint = f"`circusctl set {other} ...` changes it"
                raise CircusError("conflict", f"watcher {other!r} exists already", hint)
        edits = engine.edits
        if texts:
            edits = amend.with_watcher(edits, name, texts)
        elif name.lower() in edits.removed:
            edits = amend.as_in_file(edits, name)
        else:
            raise CircusError("bad-request", f"{name}: cmd is missing", "give the program and its arguments")
        new = await filing.amended(engine, edits, [name])
        name = next(each.name for each in new.watchers if each.name.lower() == name.lower())
        start = start or (not texts and next(each.autostart for each in new.watchers if each.name == name))
        log.info("%s added by hand", name)
        engine.memory.remember_stopped({name}, stopped=True)
        work = await _begin(engine, new, edits)
    on_begun()
    await asyncio.shield(work)
    finish = await engine.order(partial(events.Start, names=(name,))) if start else None
    return finish, _warnings(new, name)


async def remove_watcher(engine: Engine, name: str, *, nostop: bool) -> None:
    """Stop a watcher, or leave what it has to itself, and know it no more.

    Raises:
        CircusError: see reconfigure.begin.
    """
    async with engine.reloading:
        name = _known(engine, name)
        assert engine.config.document is not None
        edits = amend.without_watcher(engine.config.document, engine.edits, name)
        new = await filing.amended(engine, edits, [])
        log.info("%s removed by hand", name)
        if nostop:
            leftovers.remember(engine, [name])
        work = await _begin(engine, new, edits, nostop=nostop)
    await asyncio.shield(work)


def _known(engine: Engine, name: str) -> str:
    """Its name as written, unless it is on its way out."""
    found = engine.config_of(name).name
    if found not in (each.name for each in engine.config.watchers):
        raise CircusError("not-found", f"watcher {found!r} is being removed", "wait until it has stopped")
    return found


async def _begin(
    engine: Engine, new: CircusConfig, edits: Edits, *, keys: tuple[str, ...] = (), nostop: bool = False
) -> asyncio.Task[None]:
    """Decide it, and let it go on while others give their orders: a stop may take minutes."""
    work = await reconfigure.begin(engine, new, diff(engine.config, new), edits, keys=keys, nostop=nostop)
    engine.changes.add(work)
    work.add_done_callback(engine.changes.discard)
    return work


def _warnings(config: CircusConfig, name: str) -> list[str]:
    """What is odd about what was ordered of this watcher."""
    made = [each for each in config.warnings if each.file == amend.BY_HAND and each.what.startswith(f"{name}: ")]
    return [f"{each.what} ({each.hint})" for each in made]


def _with_options(engine: Engine, name: str, texts: Mapping[str, str]) -> Edits:
    assert engine.config.document is not None
    return amend.with_options(engine.config.document, engine.edits, name, texts)


async def reloadconfig(engine: Engine, expected: str | None, on_begun: Callable[[Plan], None]) -> Plan:
    """Read the file again and do what its changes need; a wrong file changes nothing.

    With ``expected``, only if that is still the id of the plan. ``on_begun``: as in set_options.

    Raises:
        ConfigInvalid: with every problem of the file.
        CircusError: conflict, when the world has moved: nothing was changed. See also reconfigure.begin.
    """
    async with engine.reloading:
        if engine.changes:
            await asyncio.wait(engine.changes)  # the file may bring back what is about to go
        planned = await planning.draw_up(engine)
        if expected is not None:
            engine.plans.check(expected, planned, planning.world_of(engine))
        work = await reconfigure.begin(engine, planned.filed.config, planned.plan.changes, planned.filed.edits)
        heed(engine, planned.filed)
        engine.rolls.forget_refused()  # what is refused once more is told anew
        on_begun(planned.plan)
        await work
        return planned.plan


async def at_start(engine: Engine) -> None:
    """Lay what was ordered under earlier circusds over the configuration, before anything is looked at."""
    filed = await asyncio.to_thread(filing.in_force, engine, engine.config, engine.edits)
    heed(engine, filed)
    engine.config = engine.rolls.recall(filed.config)
    engine.memory.remember_edits(filed.edits, engine.config.path)


def heed(engine: Engine, filed: filing.Filed) -> None:
    """It is what counts from now on."""
    for name in filed.overruled:
        log.info("%s is as the file has it again", name)
    for why in filed.unheeded.values():
        log.warning("%s", why)
    engine.unheeded = filed.unheeded
