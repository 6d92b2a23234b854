"""The ancestors' door in circusd: their commands, events and statistics, for their own programs, by ZMQ's wire.

The idea: the wire (ZMTP 3, rfc.zeromq.org/spec/23) is small, and what serves it as root must have bounds for strangers:
of messages and their parts, of subscriptions, of connections, of what nobody takes. So it is spoken here on asyncio's
own sockets. Nothing wakes up, and no thread is there.

`zmtp` is what comes and goes as bytes (pure), `wire` who is connected, `orders`, `news` and `figures` are the three
addresses, `gate` is all of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from circus.config import endpoints

if TYPE_CHECKING:
    from circus.control.ops import Ops
    from circus.engine.engine import Engine
    from circus.legacy.door.gate import Gate

log = logging.getLogger("circus.door")


async def opened(engine: Engine, ops: Ops) -> Gate | None:
    """The door of this circusd, open; None where the configuration names no address, and nothing is imported."""
    if not any(endpoints.address_of(engine.config, option) for option in endpoints.OPTIONS):
        return None
    from circus.legacy.door.gate import Gate

    gate = Gate(engine.config, engine.bus, ops, engine.troubles)
    await gate.open()
    return gate
