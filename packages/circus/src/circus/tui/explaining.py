"""Why a watcher is as it is: what circusctl why says, for as long as it is looked at."""

from __future__ import annotations

import argparse
import asyncio
import re

from circus.cli import why
from circus.errors import AWAY, CircusError
from circus.tui.boards import Page
from circus.tui.logs import Logs
from circus.tui.painting import Line

#: Between two questions: circusd looks through logs for the lines before each end.
AGAIN_S = 5.0

#: Ends that are told.
EXITS = 10

#: Stand around a style and what is painted in it; no text that is shown has any of them.
_STYLE, _TEXT, _END = "\x1b", "\x1e", "\x1f"
_PAINTED = re.compile(f"{_STYLE}(.*?){_TEXT}(.*?){_END}")


class Why(Page):
    """``wid`` None: of all processes of the watcher."""

    keys = "up down: move  l: its log  Esc: back"
    BINDINGS = [("l", "log", "")]

    def __init__(self, watcher: str, wid: int | None) -> None:
        self._watcher, self._wid = watcher, wid
        super().__init__(f"circusctl why {watcher}" + (f".{wid}" if wid is not None else ""))

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._keep())

    def action_log(self) -> None:
        self.app.push_screen(Logs(self._watcher, self._wid))

    async def _keep(self) -> None:
        while True:
            try:
                self.show_lines(await self._ask())
            except CircusError as error:
                if error.code not in AWAY:  # while it is away the screen says so
                    self.show_lines([((f" {error.message}", "red"),), ((f" {error.hint}", ""),)])
            await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> list[Line]:
        query = {"exits": str(EXITS)} | ({} if self._wid is None else {"wid": str(self._wid)})
        answer = await self.top.link.get("watchers", self._watcher, "why", query=query)
        asked = argparse.Namespace(count=EXITS, terminal=_Terminal(self.size.width - 2))
        return [((" ", ""), *_pieces(line)) for line in why.lines(answer, asked)]


class _Terminal:
    """As `cli.terminal` has it, of which lines are made that can be taken apart again."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def paint(self, text: str, *styles: str) -> str:
        return f"{_STYLE}{' '.join(styles)}{_TEXT}{text}{_END}"


def _pieces(line: str) -> Line:
    plain, *painted = _PAINTED.split(line)
    rest = zip(painted[0::3], painted[1::3], painted[2::3], strict=True)
    return (plain, ""), *(piece for style, text, behind in rest for piece in ((text, style), (behind, "")))
