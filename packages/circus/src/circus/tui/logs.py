"""What a watcher, or one of its processes, writes and wrote: followed, looked through, and around its last crashes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from textual.widget import Widget
from textual.worker import Worker

from circus.cli.render import moment, one_line
from circus.errors import AWAY, CircusError
from circus.tui import loglines, painting
from circus.tui.boards import Board
from circus.tui.dialogs import Ask
from circus.tui.link import OPEN, Heard
from circus.tui.lister import Bar, Lister
from circus.tui.loglines import LogLines
from circus.tui.painting import Line
from circus.tui.watching import FIRST_PAUSE_S, MOST_PAUSE_S

#: Lines of one question.
PAGE = 500

#: Columns that a long line is moved by.
SHIFT = 20


class Logs(Board):
    """``wid`` None: of all processes of the watcher."""

    BINDINGS = [
        ("escape,q", "app.pop_screen", ""),
        ("f", "follow", ""),
        ("slash", "search", ""),
        ("n", "find(1)", ""),
        ("N", "find(-1)", ""),
        ("x", "crash(1)", ""),
        ("X", "crash(-1)", ""),
        ("left", "shift(-1)", ""),
        ("right", "shift(1)", ""),
    ]
    keys = "f follow  / search  n N next  x X crash  left right  PageUp: older  Esc back"

    def __init__(self, watcher: str, wid: int | None) -> None:
        super().__init__(Lister(self._paint))
        self._title = Bar()
        self._watcher, self._wid = watcher, wid
        self._path = ("watchers", watcher, "logs")
        self._log = LogLines()
        self._older = ""  # where to go on backwards; empty: nothing is older
        self._crash = 0  # counted from the last one; 0: none is shown
        self._shift = 0
        self._following: Worker[None] | None = None
        self._said = ""

    def body(self) -> Iterable[Widget]:
        yield self._title
        yield self.lister

    def on_mount(self) -> None:
        super().on_mount()
        self.action_follow()

    # Following ----------------------------------------------------------------------------------------------

    def action_follow(self) -> None:
        self._crash = 0
        self._begin(self._follow())

    async def _follow(self) -> None:
        """What there is, and then what comes."""
        page = await self._page(order="newest")
        self._log.replace(self._read(page))
        self._older = page["cursor"] if page["more"] else ""
        self._show("follows", len(self._log.lines) - 1)
        cursor, pause_s = page["latest"], FIRST_PAUSE_S
        while True:
            query = self._query(follow="true", cursor=cursor)
            try:
                async with contextlib.aclosing(self.top.link.listen(*self._path, query=query)) as events:
                    async for heard in events:
                        self._hear(heard)
                        cursor, pause_s = heard.id or cursor, FIRST_PAUSE_S
            except CircusError as error:
                if error.code not in AWAY:
                    raise
            # It has left, or lets go of all who follow: the next one knows the cursor, too.
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MOST_PAUSE_S)

    def _hear(self, heard: Heard) -> None:
        if heard.kind == "missed":
            self._append(loglines.gap(self._watcher, heard.told))
        elif heard.kind == "failed":
            raise CircusError("failed", heard.told["message"])
        elif heard.kind != OPEN:
            self._append(loglines.of_answer(self._watcher, heard.told))

    def _append(self, line: loglines.LogLine) -> None:
        """Whoever stands at the end stays there; others keep the line that they look at."""
        cursor = self.lister.cursor
        is_at_end = cursor >= len(self._log.lines) - 1
        gone = self._log.append([line])
        self.lister.show(len(self._log.lines), len(self._log.lines) - 1 if is_at_end else cursor - gone)

    async def on_lister_at_top(self) -> None:
        """Older ones, as somebody wants to see them."""
        if self._older and self._crash == 0:
            try:
                page = await self._page(order="newest", cursor=self._older)
            except CircusError as error:
                self._say(error.message)
                return
            self._older = page["cursor"] if page["more"] else ""
            added = self._log.prepend(self._read(page))
            self.lister.show(len(self._log.lines), self.lister.cursor + max(0, added - 1))

    # Crashes ------------------------------------------------------------------------------------------------

    def action_crash(self, step: int) -> None:
        self._begin(self._show_crash(max(1, self._crash + step)))

    async def _show_crash(self, number: int) -> None:
        """What was written before the ``number``-th last end that nobody had ordered, and just behind it."""
        exits = (await self.top.link.get("watchers", self._watcher, "exits"))["exits"]
        known = [each for each in exits if self._wid in (None, each["wid"])]
        known.sort(key=lambda each: -each["at"])
        crashes = [(place, each) for place, each in enumerate(known, 1) if each["ordered"] is False and each["status"]]
        if len(crashes) < number:
            self._say(f"{len(crashes) or 'no'} crashes are known")
            return
        place, crash = crashes[number - 1]
        page = await self._page(around_exit=str(place))
        self._log.replace(self._read(page))
        self._crash, self._older = number, ""
        # The last line that is not behind it.
        before = [at for at, line in enumerate(self._log.lines) if line.at is not None and line.at <= crash["at"]]
        said = f"crash {number} of {len(crashes)}: {moment(crash['at'])} {self._watcher}.{crash['wid']}"
        self._show(f"{said} {one_line(crash['reason'])}", before[-1] if before else len(self._log.lines) - 1)

    # Looking through ----------------------------------------------------------------------------------------

    def action_search(self) -> None:
        def line_of(said: str) -> str:
            self._log.wanted = said
            count = sum(self._log.is_found(line.text) for line in self._log.lines)
            return f"{painting.counted(count, 'line')} of {len(self._log.lines)}; n: next, N: one before"

        def on_end(said: str | None) -> None:
            self._log.wanted = said or ""
            self._repaint()
            if said:
                self._go_to(self._log.find(self.lister.cursor + 1, -1))

        self.app.push_screen(Ask("a text in these lines", self._log.wanted, line_of), on_end)

    def action_find(self, step: int) -> None:
        self._go_to(self._log.find(self.lister.cursor, step))

    def _go_to(self, at: int | None) -> None:
        if at is None:
            self._say(f"{self._log.wanted!r} is not there" if self._log.wanted else "/ says what to look for")
        else:
            self._show(self._said, at)

    def action_shift(self, step: int) -> None:
        self._shift = max(0, self._shift + step * SHIFT)
        self._repaint()

    # Asking -------------------------------------------------------------------------------------------------

    def _begin(self, work: Any) -> None:
        """In place of what was under way."""
        if self._following is not None:
            self._following.cancel()
        self._following = self.run_worker(self._told(work))

    async def _told(self, work: Any) -> None:
        try:
            await work
        except CircusError as error:
            self._say(f"{error.message}; f: follow again")

    def _query(self, **more: str) -> dict[str, str]:
        return more if self._wid is None else {"instance": str(self._wid), **more}

    async def _page(self, **more: str) -> dict[str, Any]:
        query = self._query(limit=str(PAGE), **more)
        return await self.top.link.get(*self._path, query=query)

    def _read(self, page: dict[str, Any]) -> list[loglines.LogLine]:
        return [loglines.of_answer(self._watcher, told) for told in page["lines"]]

    # What is shown ------------------------------------------------------------------------------------------

    def _show(self, said: str, cursor: int) -> None:
        self._say(said)
        self.lister.show(len(self._log.lines), cursor)

    def _say(self, said: str) -> None:
        self._said = said
        name = self._watcher if self._wid is None else f"{self._watcher}.{self._wid}"
        self._title.show(((f" log of {name}: ", "bold"), (said, "")))

    def _repaint(self) -> None:
        self.lister.show(len(self._log.lines))

    def _paint(self, at: int, width: int, _is_at_cursor: bool) -> Line:
        line = self._log.lines[at]
        return painting.cut(loglines.paint(line, is_found=self._log.is_found(line.text), shift=self._shift), width)
