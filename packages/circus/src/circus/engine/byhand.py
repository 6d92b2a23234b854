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
from circus.engine import filing, leftovers, planning, reconfigure, tracking
from circus.engine.changing import Decided
from circus.engine.remembering import ordered
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
    name, count = _known(engine, watcher), None

    async def decide() -> Decided:
        nonlocal name, count
        name = _known(engine, watcher)
        texts = dict(given)
        edits = _with_options(engine, name, texts)
        new = await filing.amended(engine, edits, [name])
        if "numprocesses" in texts:
            # A wish of its own, as by incr and decr.
            count = next(each.numprocesses for each in new.watchers if each.name == name)
            del texts["numprocesses"]
            edits = _with_options(engine, name, texts)
            new = await filing.amended(engine, edits, [name])

        def before() -> None:
            log.info("%s set by hand: %s", name, ", ".join(given))
            engine.annals.note_order((name,), "set", ordered("set", tracking.current()))

        return Decided(new, diff(engine.config, new), edits, keys=tuple(texts), before=before, begun=on_begun)

    work = await engine.changes.begin({engine.changes.key(name)}, decide, reconfigure.begin)
    await asyncio.shield(work)
    if count is not None:
        finish = await engine.order(partial(events.SetCount, name=name, count=count))
        if not finish.ok:
            raise CircusError("operation-failed", f"numprocesses of {name} is set, but: {finish.error}")
    return _warnings(engine.config, name)


async def add_watcher(
    engine: Engine, name: str, texts: Mapping[str, str], on_begun: Callable[[], None], *, start: bool
) -> tuple[Finish | None, list[str]]:
    """Add a watcher as a file would write it, or, without options, the one of the file that was removed by hand.

    The end of its start, if it was started; and warnings. ``on_begun``: as in set_options.

    Raises:
        CircusError: the name is taken or an option is wrong: nothing was changed. Or operation-failed: see
            reconfigure.begin.
    """
    name, shall_start = name.strip(), start

    async def decide() -> Decided:
        nonlocal name, shall_start
        for other in engine.config.watchers:
            if engine.changes.key(other.name) == engine.changes.key(name):
                hint = f"`circusctl set {other.name} ...` changes it"
                raise CircusError("conflict", f"watcher {other.name!r} exists already", hint)
        edits = engine.edits
        if texts:
            edits = amend.with_watcher(edits, name, texts)
        elif name.lower() in edits.removed:
            edits = amend.as_in_file(edits, name)
        else:
            raise CircusError("bad-request", f"{name}: cmd is missing", "give the program and its arguments")
        new = await filing.amended(engine, edits, [name])
        name = next(each.name for each in new.watchers if each.name.lower() == name.lower())
        autostart = next(each.autostart for each in new.watchers if each.name == name)
        shall_start = start or (not texts and autostart)

        def before() -> None:
            log.info("%s added by hand", name)
            engine.annals.note_order((name,), "set", ordered("add", tracking.current()))
            engine.memory.remember_stopped({name}, stopped=True)

        return Decided(new, diff(engine.config, new), edits, before=before, begun=on_begun)

    work = await engine.changes.begin({engine.changes.key(name)}, decide, reconfigure.begin)
    await asyncio.shield(work)
    finish = await engine.order(partial(events.Start, names=(name,))) if shall_start else None
    return finish, _warnings(engine.config, name)


async def remove_watcher(engine: Engine, name: str, *, nostop: bool) -> None:
    """Stop a watcher, or leave what it has to itself, and know it no more. Who wants it stopped while it is, waits for
    the same end.

    Raises:
        CircusError: see reconfigure.begin.
    """
    under_way = engine.changes.removing(name)
    if under_way is not None and not nostop:
        await asyncio.shield(under_way)
        return
    name = _known(engine, name)

    async def decide() -> Decided:
        found = _known(engine, name)
        assert engine.config.document is not None
        edits = amend.without_watcher(engine.config.document, engine.edits, found)
        new = await filing.amended(engine, edits, [])

        def before() -> None:
            log.info("%s removed by hand", found)
            if nostop:
                leftovers.remember(engine, [found])

        return Decided(new, diff(engine.config, new), edits, nostop=nostop, before=before)

    try:
        work = await engine.changes.begin({engine.changes.key(name)}, decide, reconfigure.begin)
    except CircusError:
        if engine.find(name) is None:
            return  # an order that was given at the same time has removed it
        raise
    await asyncio.shield(work)


def _known(engine: Engine, name: str) -> str:
    """Its name as written, unless it is on its way out."""
    found = engine.config_of(name).name
    if found not in (each.name for each in engine.config.watchers):
        raise CircusError("not-found", f"watcher {found!r} is being removed", "wait until it has stopped")
    return found


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
    plan: Plan

    async def decide() -> Decided:
        nonlocal plan
        planned = await planning.draw_up(engine)
        plan = planned.plan
        if expected is not None:
            engine.plans.check(expected, planned, planning.world_of(engine))

        def begun() -> None:
            heed(engine, planned.filed)
            changed = [new.name for new, _, _ in planned.plan.changes.change]
            order = ordered("reloadconfig", tracking.current())
            engine.annals.note_order((*changed, *planned.plan.changes.add), "reload", order)
            engine.rolls.forget_refused()  # what is refused once more is told anew
            on_begun(planned.plan)

        return Decided(planned.filed.config, plan.changes, planned.filed.edits, begun=begun)

    work = await engine.changes.begin((), decide, reconfigure.begin)
    await asyncio.shield(work)
    return plan


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
