"""Carries out a plan of changes to the configuration: sockets are opened first and closed last.

Everything that can be refused is tried before the first watcher is touched. Watchers that did not change are not
touched at all. What a person ordered by hand stays, unless the file changed the very thing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from circus.config.diff import ConfigPlan, changes_of_circus
from circus.config.model import CircusConfig, WatcherConfig
from circus.engine import bound, leftovers, renewal
from circus.engine.changing import Change, Decided
from circus.engine.policy import policy_of
from circus.errors import CircusError
from circus.hooks import HookSet
from circus.supervise import events
from circus.supervise.actions import Finish
from circus.supervise.states import WatcherPolicy

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

Makes = Callable[[int], events.Order]


async def begin(engine: Engine, decided: Decided, turn: Change) -> asyncio.Task[None]:
    """Bring ``engine`` from its configuration to what was decided.

    What can be refused is tried first; then everything is decided, and the task that is returned carries it out. It
    raises CircusError operation-failed, after all was changed: not every watcher has got where it shall be.

    With ``keys`` new processes come before the old ones go. With ``nostop`` the processes of a removed watcher are left
    alone.

    Raises:
        CircusError: a hook cannot be found or a socket cannot be opened: nothing was changed.
    """
    new, plan = decided.new, decided.plan
    watchers = {config.name: config for config in new.watchers}
    changed = {config.name: restart for config, restart, _ in plan.change}
    hooks = {name: HookSet.of(watchers[name]) for name in (*plan.add, *changed)}
    stopped = await _open_sockets(engine, new, plan)

    log.info("configuration changed %s", str(plan).replace("\n", "; "))
    engine.rolls.begin(plan, new.path)
    before, engine.config = engine.config, new
    engine.telling.configure()
    engine.figures.repeat(new.stats_interval_s)
    engine.memory.remember_edits(decided.edits, new.path)
    engine.memory.reconcile({config.name: config.numprocesses for config in new.watchers})

    async def carry_out() -> None:
        await engine.keeper.kept()  # before anything is done about it
        finishes = await _give_orders(engine, decided, turn, watchers, hooks)
        if again := tuple(sorted(stopped & watchers.keys())):
            finishes += await _settle(engine, [partial(events.Start, names=again)])
        await engine.sockets.close(engine.rolls.keep_sockets(plan, before))
        engine.demand.look_again()
        await engine.keeper.kept()
        _tell_failures(finishes)

    return asyncio.create_task(carry_out())


def _tell_failures(finishes: Iterable[Finish]) -> None:
    """Raises: CircusError operation-failed."""
    failed = [finish for finish in finishes if not finish.ok]
    told = [finish.error for finish in failed if "failed" in finish.detail]  # what was taken back
    if in_force := [finish.error for finish in failed if "failed" not in finish.detail]:
        told.insert(0, f"the new configuration is in force, but: {'; '.join(in_force)}")
    if told:
        hint = "`circusctl status -v` shows the state now, `circusctl reloadconfig --plan` what is not in force"
        raise CircusError("operation-failed", "\n".join(told), hint)


def needing_restart(started: CircusConfig, now: CircusConfig) -> str:
    """What ``[circus]`` says by now that only another circusd will obey; a sentence, or nothing."""
    names = [change.name for change in changes_of_circus(started, now) if change.restart]
    if not names:
        return ""
    return f"[circus] {', '.join(names)} changed in the file: in force after a restart of circusd"


async def _open_sockets(engine: Engine, new: CircusConfig, plan: ConfigPlan) -> set[str]:
    """The watchers that had to be stopped for it."""
    configs = {config.name: config for config in new.sockets}
    stale = await engine.sockets.open([configs[name] for name in (*plan.sockets_add, *plan.sockets_change)])
    if not stale:
        return set()
    try:
        return await renewal.renew(engine, stale)
    except BaseException:
        await engine.sockets.close(plan.sockets_add)
        raise


async def _give_orders(
    engine: Engine,
    decided: Decided,
    turn: Change,
    watchers: dict[str, WatcherConfig],
    hooks: dict[str, HookSet],
) -> list[Finish]:
    plan, keys = decided.plan, decided.keys

    def adopt(name: str) -> WatcherPolicy:
        config = watchers[name]
        engine.add_config(config, hooks[name])
        engine.lives.groups.limit_all(name)
        engine.probing.ask_anew(name)
        return policy_of(config, engine.memory.count(name, config.numprocesses))

    async def change(config: WatcherConfig, restart: bool) -> list[Finish]:
        policy, name = adopt(config.name), config.name
        may_go_back = engine.rolls.may_go_back(name)

        def make(op: int) -> events.Order:
            if not may_go_back:
                engine.changes.release(turn, name)
            return events.ChangeWatcher(op, policy, restart=restart, graceful=bool(keys), keys=keys)

        finish = await engine.order(make)
        if may_go_back:
            async with engine.changes.deciding:  # it may replace the configuration that is in force
                engine.rolls.end(name, finish, is_by_hand=bool(keys))
        return [finish]

    async def add(name: str) -> list[Finish]:
        policy = adopt(name)
        start = policy.autostart and not engine.memory.is_stopped(name)
        if leftovers.has_any(engine, name):
            finishes = [await engine.order(partial(events.AddWatcher, policy=policy, start=False))]
            return [*finishes, *await leftovers.take_back(engine, name, start=start)]

        def make(op: int) -> events.Order:
            engine.changes.release(turn, name)
            return events.AddWatcher(op, policy, start=start)

        return [await engine.order(make)]

    async def start(added: list[str]) -> list[Finish]:
        """What depends on others, or is depended on, and what it needs; all of it is known by now."""
        stopped = {name for name in watchers if engine.memory.is_stopped(name)}
        wanted = {name for name in added if watchers[name].autostart} - stopped
        wanted |= bound.needed_by(watchers.values(), wanted, without=stopped)
        known = engine.fleet.watchers  # another change may have removed some
        names = tuple(sorted(name for name in wanted if name in known and not known[name].wants_up))
        return [await engine.order(partial(events.Start, names=names, resumes=True))] if names else []

    # A watcher that only changes its spelling has the same names in the kernel: the old one must have gone.
    taken = {engine.names.process(name, 1) for name in plan.add}
    renamed = [name for name in plan.remove if engine.names.process(name, 1) in taken]
    downwards = bound.upwards(engine.configs.values(), plan.remove)[::-1]  # who depends on others ends before them
    removed = [*downwards, *(name for name in plan.remove if name not in downwards)]
    finishes = await _remove(engine, renamed)
    new_bound = [name for name in bound.upwards(watchers.values(), plan.add) if not leftovers.has_any(engine, name)]
    for name in new_bound:
        finishes.append(await engine.order(partial(events.AddWatcher, policy=adopt(name), start=False)))
    settled = await asyncio.gather(
        *(change(config, restart) for config, restart, _ in plan.change),
        _remove(engine, [name for name in removed if name not in renamed], nostop=decided.nostop),
        *(add(name) for name in plan.add if name not in new_bound),
        start(new_bound),
    )
    return [*finishes, *chain.from_iterable(settled)]


async def _remove(engine: Engine, names: Iterable[str], *, nostop: bool = False) -> list[Finish]:
    names = list(names)
    finishes = await _settle(engine, [partial(events.RemoveWatcher, name=name, nostop=nostop) for name in names])
    for name, finish in zip(names, finishes, strict=True):
        if finish.ok:
            if nostop:
                await leftovers.let_go(engine, name)
            engine.forget_config(name)
            engine.memory.forget(name)
            engine.annals.forget(name)
    return finishes


async def _settle(engine: Engine, orders: Iterable[Makes]) -> list[Finish]:
    return list(await asyncio.gather(*map(engine.order, orders)))
