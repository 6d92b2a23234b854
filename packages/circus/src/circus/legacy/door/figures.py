"""The ancestors' feed of statistics: what processes use of the machine, each second while somebody listens.

For all processes the machine is asked once. Names are written as the ancestors' circus-top reads them: in lower case,
and with - for a dot, which it shows as a dot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from circus.control.client import target
from circus.legacy.commands import AsyncCaller
from circus.legacy.door.news import Publisher
from circus.legacy.messages import Ask

log = logging.getLogger("circus.door")

PERIOD_S = 1.0

#: Not known, or a process that has gone meanwhile.
UNKNOWN = "N/A"

Figures = Iterator[tuple[str, dict[str, object]]]


class StatsFeed:
    def __init__(self, caller: AsyncCaller) -> None:
        self.publisher = Publisher(self._on_interest)
        self._caller = caller
        self._task: asyncio.Task[None] | None = None

    async def end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _on_interest(self, is_there: bool) -> None:
        if is_there:
            self._task = asyncio.get_running_loop().create_task(self._go())
        elif self._task is not None:
            self._task.cancel()
            self._task = None

    async def _go(self) -> None:
        loop, has_failed = asyncio.get_running_loop(), False
        while True:
            next_at = loop.time() + PERIOD_S
            try:
                await self._tell()
                has_failed = False
            except Exception as error:
                if not has_failed:  # not each second
                    log.warning("no statistics for their subscribers", exc_info=error)
                has_failed = True
            await asyncio.sleep(next_at - loop.time())

    async def _tell(self) -> None:
        infos = (await self._caller.ask(Ask(target("stats"))))["infos"]
        daemons = await self._caller.ask(Ask(target("dstats")))
        sockets = (await self._caller.ask(Ask(target("sockets"))))["sockets"]
        for topic, figures in (*of_watchers(infos), *of_daemons(daemons), *of_sockets(sockets)):
            self.publisher.publish(topic, figures)


def of_watchers(infos: Mapping[str, Mapping[str, Any]]) -> Figures:
    for name, processes in infos.items():
        shown = name.lower()
        known = {pid: info for pid, info in processes.items() if isinstance(info, Mapping)}
        yield from _of(f"stat.{shown.replace('.', '-')}", shown, known)


def of_daemons(daemons: Mapping[str, Any]) -> Figures:
    known = {
        str(info["pid"]): {**info, "name": name}
        for name, info in (("circusd", daemons.get("info")), ("papa", daemons.get("papa")))
        if isinstance(info, Mapping)
    }
    yield from _of("stat.circus", "circus", known)


def of_sockets(rows: Iterable[Mapping[str, Any]]) -> Figures:
    """Nobody counts who connects: ``reads`` is there for who expects it."""
    addresses = []
    for row in rows:
        address = row.get("path") or f"{row.get('host')}:{row.get('port')}"
        fd = row.get("fileno", -1)
        addresses.append(address)
        yield f"stat.sockets.{fd}", {"fd": fd, "subtopic": fd, "reads": 0, "address": address}
    if addresses:
        yield "stat.sockets", {"addresses": addresses, "reads": 0}


def _of(topic: str, name: str, processes: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Of each process, and of all of them together."""
    for pid, info in processes.items():
        yield f"{topic}.{pid}", {"name": name, **info, "subtopic": int(pid)}
    if processes:
        yield topic, {"name": name, **_together(processes)}


def _together(processes: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    told: dict[str, object] = {"pid": [int(pid) for pid in processes]}
    for key in ("cpu", "mem", "age"):
        values = [info.get(key, UNKNOWN) for info in processes.values()]
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) < len(values):
            told[key] = UNKNOWN
        elif key == "age":
            told[key] = max(numbers)
        else:
            told[key] = sum(numbers) / (len(numbers) if key == "cpu" else 1)
    return told
