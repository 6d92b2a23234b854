"""Sockets that changed in the file: made anew with as little harm as can be.

Whoever listens on the old one holds its port. So a new one on the same port is opened while its users are stopped; any
other is opened first, and its users are told to restart afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from circus.config import expand
from circus.config.model import SocketConfig
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.actions import Finish
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


def users_of(engine: Engine, sockets: Iterable[SocketConfig]) -> set[str]:
    """The watchers whose commands name one of ``sockets``, or that inherit all."""
    wanted = {each.name for each in sockets}
    known = engine.sockets.configs.values()
    return {name for name, config in engine.configs.items() if wanted.intersection(expand.sockets_used(config, known))}


def joined(finish: Finish) -> set[str]:
    """The watchers that an order has taken along."""
    found = finish.detail.get("joined", {})
    return set(found) if isinstance(found, dict) else set()


async def renew(engine: Engine, sockets: Sequence[SocketConfig]) -> set[str]:
    """Make ``sockets`` anew; the watchers that were stopped for it and are to be started again.

    Raises:
        CircusError, PapaError: one cannot be opened; sockets and watchers are as they were.
    """
    await engine.sockets.check(sockets)
    blocked = [each for each in sockets if engine.sockets.must_be_free(each)]
    concerned = users_of(engine, blocked)
    views = [view for view in engine.fleet.snapshot() if view.name in concerned]
    users = {view.name for view in views if view.wants_up}
    listening = users | {view.name for view in views if any(slot.pid is not None for slot in view.slots)}
    if listening:
        log.info("stopped, as they listen on sockets that are to be opened anew: %s", ", ".join(sorted(listening)))
        finish = await engine.order(partial(events.Stop, names=tuple(sorted(listening))), is_by_hand=False)
        users |= joined(finish)
    try:
        await engine.sockets.renew(sockets)
    except BaseException:
        if users:
            engine.give(partial(events.Start, names=tuple(sorted(users))))
        raise
    finally:
        engine.demand.look_again()
    return users


async def renew_at_start(engine: Engine, sockets: Sequence[SocketConfig], users: tuple[str, ...]) -> None:
    """As ``renew``, for what was changed while circusd was away; ``users`` run with the old ones, or are to start."""
    try:
        users = tuple(sorted({*users, *await renew(engine, sockets)}))
    except (CircusError, PapaError) as error:
        engine.troubles["sockets"] = f"{error.message}; it stays as it was before the change of the file"
        log.error("%s", engine.troubles["sockets"])
    if users:
        engine.give(partial(events.Restart, names=users))
