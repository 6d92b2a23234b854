"""What an asyncio client can ask of a kernel, by name: thin words over one `request`.

The real client and the fake of `papa.testing` are both this, so that they cannot drift apart.
"""

from __future__ import annotations

import abc
import builtins
from collections.abc import Iterable, Mapping
from typing import Any

from papa.client.reply import Reply, last_key


class Asking(abc.ABC):
    """A connection that can make a request; errors are those of `request`."""

    @abc.abstractmethod
    async def request(self, op: str, *, timeout_s: float | None = None, **args: Any) -> Reply:
        """Ask the kernel; the reply."""

    async def spawn(self, **spec: Any) -> Reply:
        """Start a process, or find the one of that name and an equal spec; ``ok`` is its row."""
        return await self.request("spawn", **spec)

    async def attach(self, kernel_id: int, *, owner: str | None = None, fds: bool = False) -> Reply:
        """The row and, with ``fds``, the descriptors of a process; with ``owner`` its events come here from now on."""
        args: dict[str, Any] = {"id": kernel_id, "fds": fds}
        if owner is not None:
            args["owner"] = owner
        return await self.request("attach", **args)

    async def list(self, what: str, *patterns: str) -> builtins.list[dict[str, Any]]:
        """Rows of "processes", "sockets" or "values" whose name matches; all without a pattern."""
        reply = await self.request("list", what=what, patterns=patterns)
        rows: builtins.list[dict[str, Any]] = reply.ok["items"]
        while reply.ok["more"]:
            reply = await self.request("list", what=what, patterns=patterns, after=last_key(what, rows))
            rows += reply.ok["items"]
        return rows

    async def remove(self, what: str, *, names: Iterable[str] = (), ids: Iterable[int] = ()) -> int:
        """Forget processes, sockets or values by name, pattern or id; how many."""
        reply = await self.request("remove", what=what, names=builtins.list(names), ids=builtins.list(ids))
        return int(reply.ok["removed"])

    async def listen(self, **spec: Any) -> dict[str, Any]:
        """Open a socket that the kernel holds, or find the one of that name and an equal spec; its row."""
        return (await self.request("listen", **spec)).ok

    async def commit(
        self,
        *,
        acks: Iterable[tuple[int, str, int]] = (),
        exits: Iterable[int] = (),
        values: Mapping[str, str | None] | None = None,
        seen: Iterable[tuple[int, int | None, int | None]] = (),
    ) -> None:
        """Acknowledge output (id, stream, offset) and exits and set values in one atomic step; re-arm notices."""
        await self.request(
            "commit",
            acks=builtins.list(acks),
            exits=builtins.list(exits),
            values=dict(values or {}),
            seen=builtins.list(seen),
        )

    async def set(self, name: str, value: str | None) -> None:
        """Keep a value in the kernel; None removes it."""
        await self.request("set", name=name, value=value)

    async def get(self, name: str) -> str | None:
        """The value of that name, or None."""
        value: str | None = (await self.request("get", name=name)).ok["value"]
        return value

    async def status(self) -> dict[str, Any]:
        """What `papa status` shows."""
        return (await self.request("status")).ok
