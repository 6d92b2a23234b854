"""circus-top without a terminal, before a circusd without processes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input

from circus.cli.columns import width_of
from circus.control.client import Client
from circus.testing.circusd import FakeCircusd, FakeEngine
from circus.tui.app import CircusTop
from circus.tui.lister import Bar, Lister

#: However busy the machine is.
BOUND_S = 60.0

SMALL, LARGE = (80, 24), (120, 40)


class Stage:
    def __init__(self, app: CircusTop, pilot: Pilot[None], path: str) -> None:
        self.app, self.path = app, path
        self._pilot = pilot

    @property
    def text(self) -> str:
        """All that stands on the screen, and below its dialogs."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        found: list[str] = []
        for screen in self.app.screen_stack:
            for widget in screen.query("*"):
                match widget:
                    case Bar():
                        found.append(widget.text)
                    case Lister():
                        found += widget.texts()
                    case Input():
                        found.append(widget.value)
        return found

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def until(self, fact: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + BOUND_S
        while not fact():
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.text}"
            await asyncio.sleep(0.01)

    async def sees(self, *texts: str) -> None:
        """Until all of them stand there, and all of it fits."""
        await self.until(lambda: all(text in self.text for text in texts), " and ".join(texts))
        width = self.app.size.width
        assert not [line for line in self.lines() if width_of(line.rstrip()) > width]

    async def misses(self, text: str) -> None:
        await self.until(lambda: text not in self.text, f"{text} is gone")


def play(
    engine: FakeEngine,
    path: str,
    scenario: Callable[[Stage, FakeCircusd], Awaitable[None]],
    *,
    size: tuple[int, int] = SMALL,
    endpoint: str = "",
) -> None:
    """``scenario`` in front of ``engine``."""
    with FakeCircusd(engine, path) as circusd:
        play_alone(path, lambda stage: scenario(stage, circusd), size=size, endpoint=endpoint)


def play_alone(
    path: str, scenario: Callable[[Stage], Awaitable[None]], *, size: tuple[int, int] = SMALL, endpoint: str = ""
) -> None:
    """Without a circusd, but for those that ``scenario`` makes. No thread of the screen is left."""

    async def run() -> None:
        app = CircusTop(Client(path), endpoint=endpoint)
        async with app.run_test(size=size) as pilot:
            await scenario(Stage(app, pilot, path))

    asyncio.run(run())
    for thread in threading.enumerate():
        if thread.name.startswith("circus-top"):
            thread.join(BOUND_S)
            assert not thread.is_alive()
