"""Carries out a plan of changes to the configuration: sockets are opened first and closed last.

Watchers that did not change are not touched. What a person ordered by hand stays, unless the file changed the very
thing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from circus.config.diff import ConfigPlan
from circus.config.model import CircusConfig, WatcherConfig
from circus.engine.policy import policy_of
from circus.hooks import HookSet
from circus.supervise import events
from circus.supervise.states import WatcherPolicy

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


async def apply(engine: Engine, new: CircusConfig, plan: ConfigPlan) -> None:
    """Bring ``engine`` from its configuration to ``new``.

    Raises:
        CircusError: a hook cannot be found or a socket cannot be opened; nothing was changed.
    """
    watchers = {config.name: config for config in new.watchers}
    changed = {config.name: restart for config, restart, _ in plan.change}
    for name in [*plan.add, *changed]:
        HookSet(name, watchers[name].hooks)
    sockets = {config.name: config for config in new.sockets}
    await engine.sockets.open([sockets[name] for name in (*plan.sockets_add, *plan.sockets_change)])

    log.info("configuration read again %s", str(plan).replace("\n", "; "))
    engine.config = new
    orders: list[Callable[[int], events.Order]] = [partial(events.RemoveWatcher, name=name) for name in plan.remove]
    for name, restart in changed.items():
        policy = _adopt_config(engine, watchers[name])
        orders.append(partial(events.ChangeWatcher, policy=policy, restart=restart))
    for name in plan.add:
        policy = _adopt_config(engine, watchers[name])
        orders.append(partial(events.AddWatcher, policy=policy, start=policy.autostart))
    await asyncio.gather(*map(engine.order, orders))
    for name in plan.remove:
        engine.forget_config(name)
        engine.memory.forget(name)
    await engine.sockets.close(list(plan.sockets_remove))


def _adopt_config(engine: Engine, config: WatcherConfig) -> WatcherPolicy:
    engine.add_config(config)
    return policy_of(config, engine.memory.count(config.name, config.numprocesses))
