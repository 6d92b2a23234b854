"""The lines of a log that are on the screen: as many as a bound says, looked through in both directions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from circus.cli.render import moment
from circus.tui.painting import Line

#: Some screens full, and some megabytes at most.
MAX_LINES = 5000


class LogLine(NamedTuple):
    """``who`` is WATCHER.WID, or the watcher where nobody knows more. ``is_mark``: circusd wrote it."""

    at: float | None
    who: str
    stream: str
    text: str
    is_mark: bool = False


def of_answer(watcher: str, told: Mapping[str, Any]) -> LogLine:
    instance = told.get("instance")
    who = watcher if instance is None else f"{watcher}.{instance}"
    return LogLine(told.get("at"), who, told.get("stream", ""), _harmless(told["text"]), bool(told.get("mark")))


def _harmless(text: str) -> str:
    """Without what a terminal would obey; as it was indented."""
    return "".join(char if char.isprintable() else " " for char in text.expandtabs(4)).rstrip()


def gap(watcher: str, told: Mapping[str, Any]) -> LogLine:
    """In place of what was missed."""
    lost = f"{told['lines']} lines" if "lines" in told else f"{told.get('bytes', 'some')} bytes"
    return LogLine(None, watcher, "", f"[{lost} were too fast to be shown]", True)


class LogLines:
    """``lines``, the oldest first; ``dropped`` so many of them since the beginning."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.wanted = ""

    def replace(self, lines: Iterable[LogLine]) -> None:
        self.lines = list(lines)[-MAX_LINES:]

    def append(self, lines: Iterable[LogLine]) -> int:
        """Returns how many of the oldest ones went for it."""
        self.lines += lines
        over = max(0, len(self.lines) - MAX_LINES)
        del self.lines[:over]
        return over

    def prepend(self, lines: Iterable[LogLine]) -> int:
        """Older ones, as far as there is room; returns how many."""
        fitting = list(lines)
        fitting = fitting[max(0, len(fitting) + len(self.lines) - MAX_LINES) :]
        self.lines[:0] = fitting
        return len(fitting)

    def find(self, start: int, step: int) -> int | None:
        """The next line with ``wanted`` in it, from behind ``start`` on: later ones with ``step`` 1, earlier with -1.
        In small letters a text means large ones, too."""
        end = len(self.lines) if step > 0 else -1
        return next(
            (at for at in range(min(start, len(self.lines)) + step, end, step) if self.is_found(self.lines[at].text)),
            None,
        )

    def is_found(self, text: str) -> bool:
        if not self.wanted:
            return False
        return self.wanted in (text.lower() if self.wanted.islower() else text)


def paint(line: LogLine, *, is_found: bool, shift: int = 0) -> Line:
    """Its time, who wrote it, and the text from its column ``shift`` on."""
    at = moment(line.at).partition(" ")[2] if line.at is not None else " " * 8
    style = "magenta" if line.is_mark else "yellow" if line.stream == "stderr" else ""
    text = (line.text[shift:], "reverse" if is_found else style)
    return (f"{at} ", "dim"), (f"{line.who} ", "cyan"), ("! " if line.stream == "stderr" else "", "yellow"), text
