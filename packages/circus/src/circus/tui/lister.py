"""The one widget of circus-top: lines one below the other, of which only those are made that can be seen.

The idea: a line is compared with the one that stands there, and only what differs is written to the terminal. So a
screen of five hundred processes costs as much as one of twenty, also over a slow line.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from circus.tui.painting import Line


class Bar(Widget):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.line: Line = ()

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.line)

    def show(self, line: Line) -> None:
        if line != self.line:
            self.line = line
            self.refresh()

    def render_line(self, _y: int) -> Strip:
        return _strip(self.line, self.rich_style, self.size.width)


class Lister(Widget, can_focus=True):
    """``paint`` makes the line of a number, for a width, and is told whether it stands at the cursor."""

    BINDINGS = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "go(0)", show=False),
        Binding("end", "go(-1)", show=False),
    ]

    class Moved(Message):
        """The cursor stands at another line."""

    class AtTop(Message):
        """Somebody wants to go above the first line."""

    def __init__(self, paint: Callable[[int, int, bool], Line], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._paint = paint
        self._drawn: list[tuple[Line, bool]] = []
        self.count = self.cursor = self.top = 0

    def show(self, count: int, cursor: int | None = None) -> None:
        """There are so many lines now, and the cursor stands at one of them."""
        self.count = count
        self.cursor = max(0, min(self.cursor if cursor is None else cursor, count - 1))
        self._follow_cursor()
        self._redraw()

    def go_to(self, cursor: int) -> None:
        before = self.cursor
        self.show(self.count, cursor)
        if self.cursor != before:
            self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        if step < 0 and self.cursor == 0:
            self.post_message(self.AtTop())
        self.go_to(self.cursor + step)

    def action_page(self, step: int) -> None:
        self.action_move(step * max(1, self.size.height - 1))

    def action_go(self, index: int) -> None:
        self.go_to(index if index >= 0 else self.count - 1)

    @property
    def shown(self) -> tuple[int, int]:
        """The first and the last of the lines that can be seen, from 1."""
        return min(self.top + 1, self.count), min(self.top + self.size.height, self.count)

    def _follow_cursor(self) -> None:
        height = max(1, self.size.height)
        self.top = min(self.top, self.cursor, max(0, self.count - height))
        self.top = max(self.top, self.cursor - height + 1)

    def _redraw(self) -> None:
        fresh = [self._line(y) for y in range(self.size.height)]
        old, self._drawn = self._drawn, fresh
        if len(old) != len(fresh):
            self.refresh()
            return
        changed = [Region(0, y, self.size.width, 1) for y, line in enumerate(fresh) if line != old[y]]
        if changed:
            self.refresh(*changed)

    def _line(self, y: int) -> tuple[Line, bool]:
        at = self.top + y
        if at >= self.count:
            return (), False
        return self._paint(at, self.size.width, at == self.cursor), at == self.cursor

    def on_resize(self) -> None:
        self._follow_cursor()
        self._drawn = []
        self._redraw()

    def render_line(self, y: int) -> Strip:
        line, is_at_cursor = self._drawn[y] if y < len(self._drawn) else ((), False)
        return _strip(line, self.rich_style + _CURSOR if is_at_cursor else self.rich_style, self.size.width)

    def texts(self) -> list[str]:
        """The lines that can be seen, without their styles."""
        return ["".join(text for text, _ in line) for line, _ in self._drawn]


_CURSOR = Style(reverse=True)


def _strip(line: Line, base: Style, width: int) -> Strip:
    strip = Strip([Segment(text, base + Style.parse(style)) for text, style in line])
    return strip.adjust_cell_length(width, base)
