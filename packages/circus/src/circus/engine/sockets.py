"""The configured sockets: always held by the kernel, whoever outlives whom.

Opening is idempotent: a socket that is there with the same options is used as it is, so that connections wait in
its backlog while circusd is away.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any

from circus.config.model import SocketConfig
from circus.engine.names import Names
from circus.errors import CircusError
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

log = logging.getLogger("circus.engine")


class SocketSet:
    """``rows``: the configuration's name -> what the kernel says of it."""

    def __init__(self, kernel: AsyncPapa, names: Names) -> None:
        self._kernel = kernel
        self._names = names
        self.configs: dict[str, SocketConfig] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    def kernel_names(self) -> dict[str, str]:
        return {name: self._names.socket(name) for name in self.configs}

    async def open(self, configs: Sequence[SocketConfig]) -> set[str]:
        """Open what is missing; the names of those that were there with other options and were made anew.

        Raises:
            CircusError: one could not be opened; those opened by this call are closed again.
        """
        changed: set[str] = set()
        opened: list[str] = []
        for config in configs:
            try:
                row = await self._listen(config, changed)
            except PapaError as error:
                await self._close(opened)
                raise CircusError("operation-failed", f"socket {config.name}: {error.message}", error.hint) from error
            if not row.get("existing"):
                opened.append(config.name)
            self.configs[config.name], self.rows[config.name] = config, row
        return changed

    async def open_again(self) -> None:
        """After the kernel was lost: what it does not hold any more is opened anew."""
        for config in list(self.configs.values()):
            try:
                self.rows[config.name] = await self._listen(config, set())
            except PapaError as error:
                if error.code == "lost":
                    raise
                log.error("socket %s could not be opened again: %s", config.name, error)

    async def close(self, names: Sequence[str]) -> None:
        await self._close(names)
        for name in names:
            self.configs.pop(name, None)
            self.rows.pop(name, None)

    async def _close(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                await self._kernel.remove("sockets", names=[self._names.socket(name)])
            except PapaError as error:
                if error.code != "not-found":
                    raise

    async def _listen(self, config: SocketConfig, changed: set[str]) -> dict[str, Any]:
        spec = await self._spec(config)
        try:
            return await self._kernel.listen(**spec)
        except PapaError as error:
            if error.code != "exists":
                raise
        log.info("socket %s changed in the configuration: opened anew", config.name)
        changed.add(config.name)
        await self._kernel.remove("sockets", names=[spec["name"]])
        return await self._kernel.listen(**spec)

    async def _spec(self, config: SocketConfig) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "name": self._names.socket(config.name),
            "family": config.family,
            "type": config.type,
            "blocking": config.blocking,
        }
        if config.type in ("stream", "seqpacket"):
            spec["backlog"] = config.backlog
        if config.family == "unix":
            spec.update(path=config.path, umask=config.umask, replace=config.replace)
        else:
            spec.update(host=await _resolve(config), port=config.port)
            if config.so_reuseport:
                spec["reuseport"] = True
            if config.interface:
                spec["interface"] = config.interface
        return spec


async def _resolve(config: SocketConfig) -> str:
    """The first address of the host's name; the kernel itself asks no name server."""
    family = socket.AF_INET6 if config.family == "inet6" else socket.AF_INET
    try:
        found = await asyncio.get_running_loop().getaddrinfo(config.host, config.port, family=family)
    except OSError as error:
        raise CircusError(
            "operation-failed", f"socket {config.name}: host {config.host!r} has no address: {error.strerror}"
        ) from None
    return str(found[0][4][0])
