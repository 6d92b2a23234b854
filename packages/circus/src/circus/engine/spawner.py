"""Asks the kernel for a process until it is known what became of the question.

The one idea: each attempt carries a token of its own, which stands in the process's row. When the reply is missing
(the connection broke, or the kernel did not answer in time) the rows tell whether the process was started. Nothing is
started twice, and nothing that was started is forgotten, however often the kernel goes away in between.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from circus.config.model import WatcherConfig
from circus.engine.link import UNANSWERED
from circus.errors import CircusError
from circus.supervise.states import SlotKey
from papa.client.reply import Reply
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine


#: What is told under this name: a kernel that does not know all of a specification.
OLD_KERNEL = "old kernel"


class Spawner:
    def __init__(self, engine: Engine) -> None:
        self.under_way: set[str] = set()  # tokens of attempts that somebody here waits for
        self._engine = engine
        self._numbers = itertools.count(1)
        self._base = f"{os.getpid()}-{os.urandom(6).hex()}"

    async def spawn(self, slot: SlotKey, config: WatcherConfig) -> Reply:
        """Row and descriptors of the new process, which may have ended already.

        Raises: CircusError or PapaError; then nothing was started.
        """
        engine = self._engine
        token = f"{self._base}-{next(self._numbers)}"
        self.under_way.add(token)
        group = await engine.lives.groups.make(config, slot, token)
        is_without_bounds, used = False, ""
        try:
            while True:
                await engine.link.wait()
                spec = engine.spawn_spec(slot, token, config)
                if group:
                    spec["meta"]["cgroup"] = group
                if is_without_bounds or OLD_KERNEL in engine.troubles:
                    spec.pop("bounds", None)
                try:
                    reply = await engine.kernel.spawn(**spec)
                except PapaError as error:
                    if error.code == "bad-request" and "bounds" in spec:
                        is_without_bounds = True  # refused for that or for something else, which this attempt tells
                        continue
                    if error.code not in UNANSWERED:
                        raise await self._in_our_words(slot, error) from error
                    await engine.link.wait_to_ask_again(error)
                else:
                    if reply.ok.get("existing") and not self._is_lost_child(reply.ok):
                        reply.close_fds()
                        raise _taken(reply.ok)
                    if is_without_bounds:
                        engine.troubles[OLD_KERNEL] = (
                            "papa is older than this circusd and does not know buffer, overflow and stall of streams: "
                            "`papa upgrade`, then restart those watchers and circusd"
                        )
                    used = reply.ok["meta"].get("cgroup", "")
                    return reply
                if (found := await self._find(token)) is not None:
                    used = group
                    return found
        finally:
            self.under_way.discard(token)
            if group != used:
                await engine.lives.groups.remove(group)

    async def _find(self, token: str) -> Reply | None:
        """The process of an attempt whose reply never came. The kernel answers in order: no row, no process."""
        engine = self._engine
        while True:
            try:
                for row in await engine.kernel.list("processes"):
                    if row["meta"].get("token") == token:
                        return await engine.kernel.attach(row["id"], owner=engine.names.prefix, fds=True)
                return None
            except PapaError as error:
                if error.code not in UNANSWERED:
                    raise
                await engine.link.wait_to_ask_again(error)

    def _is_lost_child(self, row: dict[str, Any]) -> bool:
        """An equal process that a circusd of this configuration asked for, and died before it heard of it."""
        meta = row["meta"]
        is_ours = (meta.get("circusd"), meta.get("config")) == (self._engine.name, self._engine.config.path)
        return is_ours and self._engine.lives.hosted.by_id(row["id"]) is None

    async def _in_our_words(self, slot: SlotKey, error: PapaError) -> CircusError | PapaError:
        if error.code != "exists":
            return error
        name = self._engine.names.process(*slot)
        try:
            rows = [row for row in await self._engine.kernel.list("processes", name) if row["running"]]
        except PapaError:
            return error
        return _taken(rows[0]) if rows else error


def _taken(row: dict[str, Any]) -> CircusError:
    config = row["meta"].get("config")
    return CircusError(
        "conflict",
        f"papa hosts a process named {row['name']} already: pid {row['pid']}, "
        + (f"started for {config}" if config else "not started by a circusd")
        + "; end it, or give this circusd a name of its own ([circus] name)",
    )
