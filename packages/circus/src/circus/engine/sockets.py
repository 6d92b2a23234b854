"""The configured sockets: always held by the kernel, whoever outlives whom.

Opening is idempotent: a socket that is there with the same options is used as it is, so that connections wait in
its backlog while circusd is away. One that is there with other options is *stale*: it is used as it is until it is
renewed. To renew it the old one must go first where both have one port; then those who listen on it as well, its
users, must have ended before. Where the new one cannot be opened the old one is opened again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from typing import Any

from circus.config.model import SocketConfig
from circus.engine.link import UNANSWERED
from circus.engine.names import Names
from circus.errors import CircusError
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

log = logging.getLogger("circus.engine")

#: Of a socket's row: what it was opened with.
_OPENED_WITH = ("name", "family", "type", "host", "port", "path", "backlog", "umask", "interface", "reuseport")


class SocketSet:
    """``rows``: the configuration's name -> what the kernel says of it."""

    def __init__(self, kernel: AsyncPapa, names: Names, config_path: str) -> None:
        self._kernel = kernel
        self._names = names
        self._meta = {"circusd": names.circusd, "config": config_path}
        self.configs: dict[str, SocketConfig] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    async def open(self, configs: Iterable[SocketConfig]) -> list[SocketConfig]:
        """Open what is missing; those that are there with other options, which stay as they are.

        Raises:
            CircusError: one could not be opened; those opened by this call are closed again.
            PapaError: lost or timeout; the call may be made again.
        """
        stale: list[SocketConfig] = []
        opened: list[str] = []
        for config in configs:
            try:
                row = await self._listen(config)
                self.rows[config.name] = row or await self._row(config.name)
            except PapaError as error:
                if error.code in UNANSWERED:
                    raise
                await self.close(opened)
                raise _in_our_words(config, error) from error
            except CircusError:
                await self.close(opened)
                raise
            if row is None:
                stale.append(config)
                self.configs.setdefault(config.name, config)
                continue
            if not row.get("existing"):
                opened.append(config.name)
            self.configs[config.name] = config
        return stale

    def must_be_free(self, config: SocketConfig) -> bool:
        """Whether the new socket can only be opened when nobody listens on the old one any more."""
        row = self.rows[config.name]
        if config.family == "unix" or row["family"] == "unix":
            return False
        return bool(config.port == row["port"] and not (config.so_reuseport and row.get("reuseport")))

    async def check(self, configs: Iterable[SocketConfig]) -> None:
        """See that those can be opened that need not be free first.

        Raises:
            CircusError: one cannot be opened.
        """
        for config in configs:
            is_same_file = config.family == "unix" and config.path == self.rows[config.name].get("path")
            if is_same_file or self.must_be_free(config):
                continue
            spec = await self._spec(config)
            spec["name"] += "~"
            try:
                await self._kernel.listen(**spec)
            except PapaError as error:
                raise _in_our_words(config, error) from error
            await self._remove(spec["name"])

    async def renew(self, configs: Iterable[SocketConfig]) -> None:
        """Close and open anew.

        Raises:
            CircusError: one could not be opened; as far as that can be done all are again as they were.
        """
        before: list[tuple[SocketConfig, dict[str, Any]]] = []
        for config in configs:
            name = config.name
            before.append((self.configs[name], self.rows[name]))
            try:
                spec = await self._spec(config)
                await self._remove(spec["name"])
                self.rows[name] = await self._kernel.listen(**spec)
            except (PapaError, CircusError) as error:
                for old, row in before:
                    await self._put_back(old, row)
                if isinstance(error, PapaError):
                    raise _in_our_words(config, error) from error
                raise
            self.configs[name] = config
            log.info("socket %s changed in the configuration: opened anew", name)

    async def open_again(self) -> None:
        """After the kernel was lost: what it does not hold any more is opened anew.

        Raises:
            PapaError: lost or timeout; the call may be made again.
        """
        for config in list(self.configs.values()):
            try:
                row = await self._listen(config)
                self.rows[config.name] = row or await self._row(config.name)
            except (PapaError, CircusError) as error:
                if error.code in UNANSWERED:
                    raise
                log.error("socket %s could not be opened again: %s", config.name, error.message)

    async def close(self, names: Iterable[str]) -> None:
        for name in names:
            await self._remove(self._names.socket(name))
            self.configs.pop(name, None)
            self.rows.pop(name, None)

    async def close_forgotten(self) -> None:
        """Those of an earlier circusd of this configuration, which the file does not have any more."""
        known = {self._names.socket(name) for name in self.configs}
        for row in await self._kernel.list("sockets", self._names.pattern):
            if row["name"] not in known and row.get("meta") == self._meta:
                log.info("socket %s is not in the configuration any more: closed", row["name"])
                await self._remove(row["name"])

    async def _put_back(self, config: SocketConfig, row: dict[str, Any]) -> None:
        spec = {key: row[key] for key in _OPENED_WITH if row.get(key) is not None}
        spec.update(blocking=config.blocking, meta=self._meta)
        if config.family == "unix":
            spec["replace"] = True
        try:
            await self._remove(row["name"])
            self.rows[config.name] = await self._kernel.listen(**spec)
        except PapaError as error:
            log.error("socket %s could not be opened again as it was: %s", config.name, error)
        self.configs[config.name] = config

    async def _remove(self, kernel_name: str) -> None:
        try:
            await self._kernel.remove("sockets", names=[kernel_name])
        except PapaError as error:
            if error.code != "not-found":
                raise

    async def _listen(self, config: SocketConfig) -> dict[str, Any] | None:
        """The socket's row; None when it is there with other options."""
        try:
            return await self._kernel.listen(**await self._spec(config))
        except PapaError as error:
            if error.code == "exists" and await self._is_held(config.name):
                return None
            raise

    async def _is_held(self, name: str) -> bool:
        return bool(await self._kernel.list("sockets", self._names.socket(name)))

    async def _row(self, name: str) -> dict[str, Any]:
        rows = await self._kernel.list("sockets", self._names.socket(name))
        return rows[0] if rows else {}

    async def _spec(self, config: SocketConfig) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "name": self._names.socket(config.name),
            "family": config.family,
            "type": config.type,
            "blocking": config.blocking,
            "meta": self._meta,
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


def _in_our_words(config: SocketConfig, error: PapaError) -> CircusError:
    return CircusError("operation-failed", f"socket {config.name}: {error.message}", error.hint)
