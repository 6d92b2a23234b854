"""Why a watcher is as it is: what is wanted and what is, how its processes ended, and what they wrote last."""

from __future__ import annotations

import asyncio
import time

from circus.cli import render
from circus.errors import CircusError
from circus.tui.boards import Page
from circus.tui.painting import Line

#: Between two questions, while it is looked at.
AGAIN_S = 2.0

#: Ends that are listed, the last one first.
MOST_EXITS = 10


class Why(Page):
    def __init__(self, watcher: str) -> None:
        super().__init__(f"why {watcher}")
        self._watcher = watcher

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._keep())

    async def _keep(self) -> None:
        while True:
            try:
                self.show_lines(await self._ask())
            except CircusError as error:
                if error.code not in ("unreachable", "timeout"):  # while it is away the screen says so
                    self.show_lines([((f" {error.message}", "red"),), ((f" {error.hint}", ""),)])
            await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> list[Line]:
        link = self.top.link
        watcher = await link.get("status", self._watcher)
        exits = await link.get("watchers", self._watcher, "exits")
        wanted = "up" if watcher["wants_up"] else "down"
        told = [f"wanted {wanted}, {watcher['numprocesses']} processes; it is {watcher['state']}"]
        told += render.slot_lines(watcher, time.time(), is_verbose=True)
        ends = list(render.exit_lines({"name": watcher["name"], "exits": exits["exits"][-MOST_EXITS:]}))
        told += ["", "how its processes ended, the last one first:", *(f"  {line}" for line in reversed(ends))]
        return [((f" {line}", ""),) for line in told]
