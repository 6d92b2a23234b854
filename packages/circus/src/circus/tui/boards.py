"""What all screens have: who answers, at the top; what became of orders, and the keys, at the bottom."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from circus.tui import painting
from circus.tui.lister import Bar, Lister
from circus.tui.painting import Line
from circus.tui.rows import FIRST_QUIET

if TYPE_CHECKING:
    from circus.tui.app import CircusTop


class Board(Screen[None]):
    """``keys`` says which there are; ``lister`` is what has the keys."""

    keys = ""

    def __init__(self, lister: Lister) -> None:
        super().__init__()
        self.lister = lister
        self._summary, self._message, self._keys = Bar(), Bar(), Bar()

    @property
    def top(self) -> CircusTop:
        return cast("CircusTop", self.app)

    def compose(self) -> ComposeResult:
        yield self._summary
        yield from self.body()
        yield self._message
        yield self._keys

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def on_mount(self) -> None:
        self._keys.show(((f" {self.keys}", "dim"),))
        self.lister.focus()
        self.show_state()

    def on_resize(self) -> None:
        self.show_state()

    def show_state(self) -> None:
        """What circusd says, or that it is away; and the message."""
        watching, width, now = self.top.watching, self.size.width, time.time()
        line: Line = ((" circus-top ", "bold reverse"), (" circusd has not answered yet", ""))
        if watching.away_since is not None:
            since = time.strftime("%H:%M:%S", time.localtime(watching.away_since))
            text = f" circusd is away since {since}; it is looked for. {watching.trouble}"
            line = ((f"{text:{width}}", "bold reverse red"),)
        elif watching.status is not None:
            troubled = sum(group.head.trouble < FIRST_QUIET for group in watching.groups)
            line = painting.summary_line(watching.status, troubled, now, width)
        self._summary.show(painting.cut(line, width))
        self._message.show(painting.cut(self.top.message, width))


class Page(Board):
    """Lines to read. ``title`` says what they are about."""

    BINDINGS = [("escape", "app.pop_screen", "back"), ("q", "app.pop_screen", "back")]
    keys = "up down: move  Esc: back"

    def __init__(self, title: str, lines: Iterable[Line] = ()) -> None:
        super().__init__(Lister(lambda at, width, _: painting.cut(self._lines[at], width)))
        self._title = Bar()
        self._title.show(((f" {title}", "bold"),))
        self._lines = list(lines)

    def body(self) -> Iterable[Widget]:
        yield self._title
        yield self.lister

    def on_mount(self) -> None:
        super().on_mount()
        self.show_lines(self._lines)

    def show_lines(self, lines: list[Line]) -> None:
        self._lines = lines
        self.lister.show(len(lines))
