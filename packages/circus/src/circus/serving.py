"""What circusd is, wherever it lives: an engine and the doors to it, in a process of its own or in another program's.

What belongs to a process as a whole (signals, title, umask, limits, logging) does not belong here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from circus import clock
from circus.config.model import CircusConfig
from circus.control import access, audit
from circus.control.claim import Claim
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.server import ControlServer
from circus.engine import memory
from circus.engine.engine import Engine
from circus.engine.startup import Inherited
from circus.legacy import door
from papa.client import scope
from papa.client.aio import AsyncPapa

if TYPE_CHECKING:
    from circus.control.tcp import TcpDoors
    from circus.legacy.door.gate import Gate

log = logging.getLogger("circus")

#: A kernel that has to be started first, on a busy machine.
CONNECT_S = 20.0


async def connect(config: CircusConfig) -> AsyncPapa:
    """The kernel that ``config`` means; it is started if there is none. Raises: PapaError."""
    return await AsyncPapa.connect(config.papa_endpoint, client=f"circusd {config.name}", timeout_s=CONNECT_S)


class Left(NamedTuple):
    """For a successor in the same process: since when nobody is answered (monotonic), orders (`Operations.pack`), and
    what was told of processes."""

    began: float
    operations: dict[str, Any]
    inherited: Inherited


class Serving:
    """``start``, and ``close`` in any case. It wants to end when ``engine.may_leave`` is set.

    ``mine`` is the name that it has, which the caller releases in the end. ``started_at`` is that of a predecessor in
    this process, whose life goes on (wall clock).
    """

    def __init__(
        self,
        config: CircusConfig,
        mine: Claim,
        kernel: AsyncPapa,
        keeps: memory.Memory | None = None,
        *,
        started_at: float | None = None,
    ) -> None:
        keeps = keeps or memory.Memory(memory.state_directory(config.name))
        self.engine = Engine(config, kernel, keeps, environ=os.environ)
        if started_at is not None:
            self.engine.started_at = started_at
        self._trail = _trail(config, self.engine.state_directory)
        self.ops = Ops(self.engine, self._trail)
        app, auditing = make_app(self.ops), self.ops.auditing
        self._control = ControlServer(app, mine, auditing, members=access.members_of(config), hosts=config.api_hosts)
        self._tcp: TcpDoors | None = None
        if config.api_listen:
            from circus.control.tcp import TcpDoors  # for who asks for it

            directory, troubles = Path(self.engine.state_directory), self.engine.troubles
            self._tcp = TcpDoors(app, config, self.ops.keyring, auditing, directory=directory, troubles=troubles)
            self.ops.doors = self._tcp
        self._old_door: Gate | None = None
        _look_for_shared_service(self.engine)

    async def start(self) -> None:
        """Raises: CircusError, PapaError."""
        await self.engine.start()
        keyring = self.ops.keyring
        await asyncio.to_thread(keyring.load)
        if keyring.trouble:
            self.engine.troubles["tokens"] = keyring.trouble
        await self._control.start()
        if self._tcp is not None:
            await self._tcp.start()
        self._old_door = await door.opened(self.engine, self.ops)

    async def hand_over(self) -> Left:
        """In place of `close`, for a successor in this process: nothing is given back, and whoever asks meanwhile waits
        for it."""
        await self.engine.prepare_to_hand_over()
        began = clock.monotonic()
        self.ops.upgrades.admission.end()
        self.ops.close()
        doors = [each.close() for each in (self._tcp, self._old_door) if each is not None]
        try:
            await asyncio.gather(self._control.pause(), *doors)
            orders = self.ops.register.pack()
            await self.ops.end()
            await self.ops.keyring.close()
        finally:
            inherited = await self.engine.hand_over()
            self._trail.close()
        return Left(began, orders, inherited)

    async def close(self) -> None:
        self.ops.close()
        doors = [each.close() for each in (self._tcp, self._old_door) if each is not None]
        try:
            await asyncio.gather(self._control.close(), *doors)
            await self.ops.end()
            await self.ops.keyring.close()
        finally:  # whatever a door does: what was written must be committed
            await self.engine.close()
            self._trail.close()


def _trail(config: CircusConfig, directory: str) -> audit.Trail:
    if config.audit_file == audit.OFF:
        return audit.Trail()
    path = config.audit_file or os.path.join(directory, audit.NAME)
    return audit.Trail(path, max_bytes=config.audit_max_bytes, backup_count=config.audit_backup_count)


def _look_for_shared_service(engine: Engine) -> None:
    """A kernel that could not leave the service of systemd in which circusd runs: said in the log and by status."""
    service = scope.service_of()
    pid = engine.kernel.hello["pid"]
    if service and scope.service_of(pid) == service:
        unit = service.rpartition("/")[2]
        trouble = f"papa (pid {pid}) is inside {unit}, whose stop ends all programs unless it has KillMode=process"
        engine.troubles["service"] = trouble
        log.warning("%s; the kernel.log of papa says why", trouble)
