"""How processes are asked whether they are ready or healthy, and what they say of themselves: edges, one way a file.

A way that fails raises `NotSo`, with a reason for people. Who is asked, when, and what follows is not known here.
"""

from __future__ import annotations

from typing import NamedTuple


class NotSo(Exception):
    """Not ready, or not healthy; the text says why, and whom was asked. ``said``: the end of what a command printed."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


class Said(NamedTuple):
    """What a process says of itself in one datagram of sd_notify(3)."""

    is_ready: bool = False
    is_beat: bool = False  # of its watchdog
    is_alarm: bool = False
    text: str | None = None  # for people
    more_s: float | None = None  # that it needs to start


#: A status is shown in one line.
MAX_TEXT = 200

#: Nobody may ask for more at once; who needs it asks again.
MAX_MORE_S = 86400.0

_WORDS = {"RELOADING=1": "reloading", "STOPPING=1": "stopping"}


def understand(data: bytes) -> Said:
    """Lines that mean nothing here are left out, whatever is in them."""
    said = Said()
    for line in data.decode(errors="replace").split("\n"):
        key, _, value = line.partition("=")
        match key:
            case "READY" if value == "1":
                said = said._replace(is_ready=True)
            case "WATCHDOG" if value in ("1", "trigger"):
                said = said._replace(is_beat=value == "1" or said.is_beat, is_alarm=value != "1" or said.is_alarm)
            case "STATUS":
                said = said._replace(text=tidy(value))
            case "RELOADING" | "STOPPING" if line in _WORDS and said.text is None:
                said = said._replace(text=_WORDS[line])
            case "EXTEND_TIMEOUT_USEC" if value.isascii() and value.isdecimal() and len(value) <= 20:
                said = said._replace(more_s=min(int(value) / 1e6, MAX_MORE_S))
    return said


def tidy(text: str) -> str:
    """One line of what a program says, with nothing in it that a terminal would obey."""
    shown = "".join(each if each.isprintable() else " " for each in text[: 4 * MAX_TEXT]).strip()
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 3] + "..."
