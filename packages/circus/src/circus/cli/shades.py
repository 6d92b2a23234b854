"""What goes by at a terminal, line by line: a colour for each name, times in the background, nothing that it obeys."""

from __future__ import annotations

import re
import time

from circus.cli.render import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from circus.cli.terminal import Terminal

#: Red and dim have a meaning of their own.
_COLOURS = ("cyan", "green", "magenta", "blue", "yellow")

#: Colours, which programs write into their output, and an end of them.
_SGR = re.compile(r"(\x1b\[[0-9;]{0,20}m)")
_PLAIN = "\x1b[0m"


def colour_of(name: str) -> str:
    """Always the same for a name; those of neighbours (web.1, web.2) differ."""
    number = 0
    for letter in name:
        number = (number * 31 + ord(letter)) % 2**32
    return _COLOURS[number % len(_COLOURS)]


def clock(at: float, now: float) -> str:
    """To the millisecond; with the date, where it is not of today."""
    local = time.localtime(at)
    text = f"{time.strftime('%H:%M:%S', local)}.{int(at * 1000) % 1000:03}"
    return text if local[:3] == time.localtime(now)[:3] else f"{time.strftime('%Y-%m-%d', local)} {text}"


def harmless(text: str, terminal: Terminal) -> str:
    """As a program wrote it, with its colours where there are any, and without all else that a terminal obeys."""
    parts = _SGR.split(text)
    shown = [
        (part if terminal.has_colour else "")
        if at % 2
        else "".join(
            letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in part
        )
        for at, part in enumerate(parts)
    ]
    return "".join(shown) + (_PLAIN if len(parts) > 1 and terminal.has_colour else "")


def log_line(terminal: Terminal, at: float | None, watcher: str, wid: int, stream: str, text: str) -> str:
    """``21:05:31.123 web.1 ! text``: ``!`` is of standard error. ``at`` None: nobody knows when."""
    name = one_line(f"{watcher}.{wid}" if wid else watcher)
    told = [terminal.paint("--:--:--.---" if at is None else clock(at, time.time()), "dim")]
    told += [terminal.paint(name, colour_of(name))] if name else []
    told.append(terminal.paint("!", "bold", "red") if stream == "stderr" else "|")
    return f"{' '.join(told)} {harmless(text, terminal)}"
