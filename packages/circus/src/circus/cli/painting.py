"""Words in the colours of what they say, as tables have them."""

from __future__ import annotations

from circus.cli.columns import Cell
from circus.cli.render import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from circus.cli.terminal import Terminal

#: The colour of a word that says how something fares.
COLOURS = {
    **dict.fromkeys(("active", "running", "done", "ok", "sent", "healthy"), ("green",)),
    **dict.fromkeys(("starting", "stopping", "waiting", "backoff", "under way"), ("yellow",)),
    **dict.fromkeys(("stopped", "exited", "skipped"), ("dim",)),
    **dict.fromkeys(("fatal", "failed", "unhealthy"), ("bold", "red")),
}

#: Stands where there is nothing to be said.
NOTHING = "-"


def state_cell(state: str, terminal: Terminal) -> Cell:
    """A word in its colour."""
    styles = COLOURS.get(state, ())
    return Cell(one_line(state), lambda text: terminal.paint(text, *styles))


def head(terminal: Terminal) -> Callable[[str], str]:
    return lambda text: terminal.paint(text, "bold")
