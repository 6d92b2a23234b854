"""The first screen: all watchers and their slots, what is wrong before what is well."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.widget import Widget

from circus.cli.render import one_line
from circus.tui import orders, painting
from circus.tui.boards import Board, Page
from circus.tui.choosing import SORTS, Choice
from circus.tui.dialogs import Ask, Entry, Palette
from circus.tui.explaining import Why
from circus.tui.lister import Bar, Lister
from circus.tui.logs import Logs
from circus.tui.orders import Target
from circus.tui.painting import Layout, Line
from circus.tui.rows import Row

_SORT_KEYS = dict(zip("12345", SORTS, strict=True))


class Overview(Board):
    BINDINGS = [
        *((key, f"sort('{sort}')", "") for key, sort in _SORT_KEYS.items()),
        *((action.key, f"order('{action.word}')", "") for action in orders.ACTIONS),
        ("enter,space", "open", ""),
        ("e", "open_all", ""),
        ("g", "flat", ""),
        ("slash", "filter", ""),
        ("escape", "clear_filter", ""),
        ("l", "log", ""),
        ("w", "why", ""),
        ("W", "warnings", ""),
        ("colon,ctrl+p", "palette", ""),
        ("question_mark,f1", "help", ""),
        ("q", "app.quit", ""),
    ]
    keys = "l log  w why  r restart  s stop  c scale  / filter  : all  ? help  q quit"

    def __init__(self) -> None:
        super().__init__(Lister(self._paint))
        self._choice_bar, self._head, self._details = Bar(), Bar(), (Bar(), Bar())
        self.choice = Choice()
        self._rows: list[Row] = []
        self._layout = Layout.of(80, 0)

    def body(self) -> Iterable[Widget]:
        yield self._choice_bar
        yield self._head
        yield self.lister
        yield from self._details

    @property
    def row(self) -> Row | None:
        """The one at the cursor."""
        return self._rows[self.lister.cursor] if self._rows else None

    # What is shown ------------------------------------------------------------------------------------------

    def show_state(self) -> None:
        super().show_state()
        row = self.row
        self._rows = self.choice.rows(self.top.watching.groups)
        names = [len(row.name) + 2 * (row.wid is not None) for row in self._rows]
        self._layout = Layout.of(self.size.width, max(names, default=0))
        self.lister.show(len(self._rows), self._place(row) if row is not None else None)
        self._note_row()
        self._head.show(painting.head_line(self._layout))

    def _place(self, wanted: Row) -> int | None:
        """Where this row stands now."""
        return next((at for at, row in enumerate(self._rows) if row.key == wanted.key), None)

    def on_lister_moved(self) -> None:
        self._note_row()

    def _note_row(self) -> None:
        row = self.row
        for bar, line in zip(self._details, painting.detail_lines(row, self.size.width), strict=True):
            bar.show(line)
        choice, (first, last) = self.choice, self.lister.shown
        said = f" by {choice.sort}{' (reversed)' if choice.is_reversed else ''}"
        said += ", processes" if choice.is_flat else ", watchers"
        filtered = f"  filter: {choice.filter} (Esc: none)" if choice.filter else ""
        self._choice_bar.show(((f"{said}  {first}-{last} of {len(self._rows)}", "dim"), (filtered, "yellow")))

    def _paint(self, at: int, _width: int, is_at_cursor: bool) -> Line:
        row = self._rows[at]
        is_below = row.wid is not None and not self.choice.is_flat
        return painting.row_line(
            row, self._layout, time.time(), levels=self.top.levels, is_below=is_below, is_at_cursor=is_at_cursor
        )

    def action_sort(self, key: str) -> None:
        self.choice.sort_by(key)
        self.show_state()

    def action_open(self) -> None:
        if (row := self.row) is not None and not self.choice.is_flat:
            self.choice.toggle(row.watcher)
            # One of its processes is perhaps not shown any more.
            self.lister.go_to(next(at for at, each in enumerate(self._rows) if each.watcher == row.watcher))
            self.show_state()

    def action_open_all(self) -> None:
        self.choice.is_all_open = not self.choice.is_all_open
        self.show_state()

    def action_flat(self) -> None:
        self.choice.is_flat = not self.choice.is_flat
        self.show_state()

    def action_filter(self) -> None:
        def line_of(said: str) -> str:
            self.choice.filter = said
            self.show_state()
            return f"{len(self._rows)} found"

        was = self.choice.filter

        def on_end(said: str | None) -> None:
            self.choice.filter = was if said is None else said.strip()
            self.show_state()

        question = "words that stand in name, state, reason or pid"
        self.app.push_screen(Ask(question, was, line_of), on_end)

    def action_clear_filter(self) -> None:
        self.choice.filter = ""
        self.show_state()

    # What is done -------------------------------------------------------------------------------------------

    def action_order(self, word: str) -> None:
        if (row := self.row) is not None:
            self.top.give(orders.BY_WORD[word], Target(row.watcher, row.pid if row.wid is not None else None))

    def action_log(self) -> None:
        if (row := self.row) is not None:
            self.app.push_screen(Logs(row.watcher, row.wid))

    def action_why(self) -> None:
        if (row := self.row) is not None:
            self.app.push_screen(Why(row.watcher, row.wid))

    def action_warnings(self) -> None:
        status = self.top.watching.status or {}
        told = [((f" {one_line(each)}", ""),) for each in status.get("warnings", ())]
        title = "What circusd warns of: circusctl status -v"
        self.app.push_screen(Page(title, told or [((" nothing", ""),)]))

    def action_help(self) -> None:
        self.app.push_screen(Page("Keys", [((f" {line}", ""),) for line in HELP.splitlines()]))

    def action_palette(self) -> None:
        def on_end(word: str | None) -> None:
            if word in orders.BY_WORD:
                self.action_order(word)
            elif word is not None:
                getattr(self, f"action_{word}")()

        self.app.push_screen(Palette(self._entries()), on_end)

    def _entries(self) -> list[Entry]:
        name, found = "", []
        if (row := self.row) is not None:
            name = row.watcher
            target = Target(name, row.pid if row.wid is not None else None)
            found = [
                Entry(action.word, action.about, self._line(action, target), KEY_NAMES.get(action.key, action.key))
                for action in orders.ACTIONS
            ]
        line = self.top.line
        return [
            *found,
            Entry("log", "what it writes", line("logs", "-f", name), "l"),
            Entry("why", "why it is as it is", line("why", name), "w"),
            Entry("warnings", "what circusd warns of", line("status", "-v"), "W"),
            Entry("filter", "only rows with these words", "", "/"),
            Entry("flat", "processes, or watchers", "", "g"),
            Entry("open_all", "all processes below their watchers", "", "e"),
            Entry("help", "all keys", "", "?"),
        ]

    def _line(self, action: orders.Action, target: Target) -> str:
        example = {"numprocesses": "1", "signal": action.usual}.get(action.word, "")
        shown = orders.order(action, target, said=example, endpoint=self.top.endpoint).line
        return shown.removesuffix(example) + ("N" if action.word == "numprocesses" else example)


KEY_NAMES = {"plus": "+", "minus": "-"}

HELP = """\
up down PageUp PageDown Home End   move
Enter, Space   a watcher's processes below it, or not       e  those of all
g              processes instead of watchers, and back      /  only rows with these words
1 2 3 4 5      sort by trouble, cpu, memory, age, name; again: the other way round

l  what it writes     w  why it is as it is     W  what circusd warns of

r  restart            R  reload                 s  stop              S  start
c  scale              +  one process more       -  one process less
k  send a signal      K  end processes          At a process (Enter shows them): to it alone.
:  all commands, each with the line of circusctl that does the same

Nothing is ordered before you have seen that line and said y.

CPU% is of one processor; the curves are of the last 16 s. NAME.2 is the process in place 2.
q  leave; nothing that circusd looks after notices it."""
