"""How far a reload may go at a time, as files write it. Pure."""

from __future__ import annotations

import re

#: By which way new options reach processes that run.
UPDATES = ("restart", "roll")

#: More than this in one watcher is a slip of the keyboard, and so is a share above ten times all of them.
MAX_NUMBER = 10_000
MAX_PERCENT = 1000


def parse_bound(text: str) -> int | str | None:
    """A number of processes, or a share of them (`25%`)."""
    written = text.strip()
    if not written:
        return None
    found = re.fullmatch(r"([0-9]{1,6})\s*(%?)", written)
    if found is None or int(found[1]) > (MAX_PERCENT if found[2] else MAX_NUMBER):
        raise ValueError("is neither a number of processes nor a share of them; write for example 1 or 25%")
    number = int(found[1])
    return f"{number}%" if found[2] and number else number


def parse_update(text: str) -> str:
    folded = text.strip().lower()
    if folded not in UPDATES:
        raise ValueError(f"is no way to bring new options; write {' or '.join(UPDATES)}")
    return folded
