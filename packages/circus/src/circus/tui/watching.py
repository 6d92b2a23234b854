"""Keeps what is shown up to date, for as long as the screen is there, over every end of circusd.

The idea: the event stream says when something has happened, and only then circusd is asked for its state; what
processes use is looked at every two seconds, and only while it is shown. Where circusd is away, the last picture stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from circus.errors import CircusError
from circus.tui import rows, sparks
from circus.tui.link import Link
from circus.tui.rows import Group
from circus.tui.sparks import History

#: Between two looks at what processes use.
SAMPLE_S = 2.0

#: Events that follow one another faster are told together.
GAP_S = 0.5

#: Not all that a status tells has an event of its own.
REFRESH_S = 10.0

#: Between two attempts to find circusd: the first pause, and the longest one.
FIRST_PAUSE_S, MOST_PAUSE_S = 0.2, 5.0


class Watching:
    """``status`` is the last one that was heard. ``away_since`` (wall clock): circusd does not answer, and ``trouble``
    says why; None: it does. ``on_change`` is called when any of it is new."""

    def __init__(self, link: Link, *, on_change: Callable[[], None], is_shown: Callable[[], bool]) -> None:
        self._link, self._on_change, self._is_shown = link, on_change, is_shown
        self.status: dict[str, Any] | None = None
        self.groups: list[Group] = []
        self.away_since: float | None = None
        self.trouble = ""
        self._history = History()
        self._falls: rows.Falls = {}
        self._happened = asyncio.Event()
        self._pause_s = FIRST_PAUSE_S

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._stay()
            except* CircusError as errors:
                first = errors.exceptions[0]
                self.trouble = first.message if isinstance(first, CircusError) else str(first)
            self.away_since = self.away_since or time.time()
            self._on_change()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, MOST_PAUSE_S)

    async def _stay(self) -> None:
        """Raises: CircusError, in a group, when circusd is away or refuses."""
        self._happened.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._keep_status())
            tasks.create_task(self._keep_samples())

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._link.listen("events")) as events:
            async for _ in events:
                self._happened.set()
        raise CircusError("unreachable", "circusd has left")

    async def _keep_status(self) -> None:
        """Begun by the listening, so that nothing happens between the two."""
        await self._happened.wait()
        while True:
            self._happened.clear()
            self.status = await self._link.get("status")
            self._history.keep(rows.slot_keys(self.status))
            self.away_since, self._pause_s = None, FIRST_PAUSE_S
            self._draw()
            await asyncio.sleep(GAP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._happened.wait()

    async def _keep_samples(self) -> None:
        await self._happened.wait()
        while True:
            if self._is_shown():
                query = {"look": "true", "since": repr(self._history.latest_at), "limit": str(sparks.LENGTH)}
                answer = await self._link.get("stats", "history", query=query)
                self._history.add(answer["samples"])
                self._draw()
            await asyncio.sleep(SAMPLE_S)

    def _draw(self) -> None:
        if self.status is not None:
            self.groups = rows.groups(self.status, self._history, self._falls, time.monotonic())
            self._on_change()
