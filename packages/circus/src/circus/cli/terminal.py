"""What stands at the other end of standard output: a terminal with columns and colours, or a file, a pipe, a script.

Scripts get the ancestors' lines, whatever the width; people at a terminal get tables. Colours are eight codes that
every terminal has: whoever only prints need not import rich for them.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

WHEN = ("auto", "always", "never")

#: As terminals were made, and what is assumed of one that does not say.
COLUMNS = 80

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class Terminal:
    """``columns`` of characters; ``is_there``: people read it; ``has_colour``; ``has_tables`` instead of lines."""

    __slots__ = ("columns", "has_colour", "has_tables", "is_there")

    def __init__(
        self,
        *,
        is_there: bool = False,
        columns: int = COLUMNS,
        has_colour: bool = False,
        has_tables: bool = False,
    ) -> None:
        self.is_there, self.columns, self.has_colour = is_there, columns, has_colour
        self.has_tables = is_there or has_tables

    def paint(self, text: str, *styles: str) -> str:
        """``text`` in ``styles`` (bold, dim, and the names of colours), where there is colour."""
        if not self.has_colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def find(when: str = "auto", stream: TextIO | None = None, *, has_tables: bool = False) -> Terminal:
    """The one at ``stream``, which is standard output unless said. ``when`` there is colour: one of ``WHEN``.

    ``has_tables`` wants tables also where none is: into a pager, whose terminal standard error knows.

    NO_COLOR (of any value but none) and TERM=dumb turn colours off where ``when`` does not say.
    """
    stream = stream or sys.stdout
    is_there = is_terminal(stream)
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    has_colour = when == "always" or (when == "auto" and is_there and not is_plain)
    at = stream if is_there or not has_tables else sys.stderr
    return Terminal(is_there=is_there, columns=columns(at), has_colour=has_colour, has_tables=has_tables)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def columns(stream: TextIO | None = None) -> int:
    """As COLUMNS in the environment says, else as the terminal does."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size((stream or sys.stdout).fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS
