"""What is asked before something is done: whether to, how many, and which of all commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from circus.errors import CircusError
from circus.tui import painting
from circus.tui.lister import Bar, Lister
from circus.tui.painting import Line


class Confirm(ModalScreen[bool]):
    """``line`` is what circusctl would be told."""

    BINDINGS = [("y", "dismiss(True)", "do it"), ("n,escape,q", "dismiss(False)", "leave it")]

    def __init__(self, about: str, line: str) -> None:
        super().__init__()
        self._about, self._line = about, line

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            for text, style in ((self._about, ""), (self._line, "bold"), ("y: do it   n, Esc: leave it", "dim")):
                bar = Bar()
                bar.show(((f" {text}", style),))
                yield bar


class Ask(ModalScreen[str | None]):
    """``line_of`` makes of what is typed what it will be used for; a CircusError says what is wrong with it."""

    BINDINGS = [("escape", "dismiss(None)", "leave it")]

    def __init__(self, question: str, usual: str, line_of: Callable[[str], str]) -> None:
        super().__init__()
        self._question, self._usual, self._line_of = question, usual, line_of

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Bar(id="question")
            yield Input(self._usual, id="answer", compact=True)
            yield Bar(id="outcome")

    def on_mount(self) -> None:
        self.query_one("#question", Bar).show(((f" {self._question}?  Enter: go on   Esc: leave it", ""),))
        self.on_input_changed()

    def on_input_changed(self) -> None:
        self._try(self.query_one(Input).value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._try(event.value):
            self.dismiss(event.value)

    def _try(self, said: str) -> bool:
        outcome = self.query_one("#outcome", Bar)
        try:
            outcome.show(((f" {self._line_of(said)}", "bold"),))
        except CircusError as error:
            outcome.show(((f" {error.message}: {error.hint}", "red"),))
            return False
        return True


class Entry(NamedTuple):
    """A command: ``word`` is given back; ``line`` is what circusctl would be told, if it can do the same."""

    word: str
    about: str
    line: str = ""
    key: str = ""


class Palette(ModalScreen[str | None]):
    BINDINGS = [("escape", "dismiss(None)", "leave it"), ("up", "move(-1)", ""), ("down", "move(1)", "")]

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = self._found = list(entries)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Input(placeholder="a command: Enter, up, down, Esc", id="answer", compact=True)
            yield Lister(self._paint, id="entries")

    def on_mount(self) -> None:
        self._show()

    def on_resize(self) -> None:
        self._show()

    def on_input_changed(self, event: Input.Changed) -> None:
        words = event.value.lower().split()
        texts = [f"{entry.word} {entry.about} {entry.line}".lower() for entry in self._entries]
        met = [entry for entry, text in zip(self._entries, texts, strict=True) if all(word in text for word in words)]
        # What begins with it is meant before what merely tells of it.
        self._found = sorted(met, key=lambda entry: not entry.word.startswith(event.value.lower()))
        self._show(0)

    def on_input_submitted(self) -> None:
        if self._found:
            self.dismiss(self._found[self.query_one(Lister).cursor].word)

    def action_move(self, step: int) -> None:
        self.query_one(Lister).action_move(step)

    def _show(self, cursor: int | None = None) -> None:
        self.query_one(Lister).show(len(self._found), cursor)

    def _paint(self, at: int, width: int, _is_at_cursor: bool) -> Line:
        entry = self._found[at]
        head = f" {entry.key:>3} {entry.word:13}"
        line = ((head, "bold"), (f"{entry.line}  " if entry.line else "", "cyan"), (entry.about, "dim"))
        return painting.cut(line, width)
