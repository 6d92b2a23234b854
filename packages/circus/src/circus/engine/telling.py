"""Notifiers of the configuration: there as long as it has some, and imported only then."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.engine.engine import Engine
    from circus.notify.notifiers import Notifiers


class Telling:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._notifiers: Notifiers | None = None

    def configure(self) -> None:
        """As the configuration says now."""
        configs = self._engine.config.notifiers
        if self._notifiers is None and configs:
            self._notifiers = self._open()
        if self._notifiers is not None:
            self._notifiers.configure(configs)

    def _open(self) -> Notifiers:
        from circus.notify.messages import Sender
        from circus.notify.notifiers import Notifiers
        from circus.notify.ways import Place

        engine = self._engine
        sender = Sender(engine.name, socket.gethostname(), f"{int(engine.started_at * 1000):x}")
        place = Place(engine.environ, engine.working_dir, engine.umask)
        return Notifiers(engine.bus, sender, place, engine.publish)

    def shown(self) -> Mapping[str, Mapping[str, object]]:
        """Name -> where it leads to, and counters."""
        return {} if self._notifiers is None else self._notifiers.shown()

    def troubles(self) -> list[str]:
        return [] if self._notifiers is None else self._notifiers.troubles()

    async def test(self, name: str) -> tuple[str, float]:
        """See Notifiers. Raises: CircusError not-found."""
        if self._notifiers is None:
            hint = "write a section [notifier:NAME], and `circusctl reloadconfig`"
            raise CircusError("not-found", f"notifier {name!r} not found", hint)
        return await self._notifiers.test(name)

    async def close(self) -> None:
        if self._notifiers is not None:
            await self._notifiers.close()
            self._notifiers = None
