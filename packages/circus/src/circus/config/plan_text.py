"""A plan as lines for people, no wider than a terminal; after it was carried out in the past tense. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from circus.config.causes import Cause
from circus.config.plan import Item, Plan

WIDTH = 80
#: More than these that stay as they are are counted, not named.
MAX_KEPT = 20

_DONE = {
    "keep": "kept",
    "live": "changed live",
    "later": "later",
    "restart": "restarted",
    "roll": "rolled",
    "start": "started",
    "add": "added",
    "stop": "stopped",
    "remove": "removed",
    "open": "opened",
    "reopen": "opened anew",
    "close": "closed",
}
_LATER = "in force after a restart of circusd"


def text_of(plan: Plan, *, base: str, is_done: bool) -> str:
    """The whole of it; files below the directory ``base`` are named from there."""
    said = {item.verb: _DONE[item.verb] if is_done else item.verb for item in plan.items}
    column = max(map(len, said.values()), default=0) + 2
    lines: list[str] = []
    for item in plan.items:
        if item.verb != "keep":
            lines += _item_lines(item, said[item.verb], column, base)
    if lines:
        lines += _kept_lines(plan.items, said.get("keep", ""), column)
    else:
        lines.append("nothing changed" if is_done else "nothing changes")
    if plan.by_hand:
        lines.append("not from the file:")
        for name in sorted(plan.by_hand):
            lines += _wrapped(f"{name}: {'; '.join(plan.by_hand[name])}", "  ", "    ")
    return "\n".join(map(_printable, lines))


def _item_lines(item: Item, verb: str, column: int, base: str) -> Iterator[str]:
    name = "[circus]" if item.kind == "circus" else _named(item)
    note = _LATER if item.verb == "later" else item.note
    text = f"{name}: {note}" if note else name
    if not item.causes and item.file:
        text += f" {_place(item.file, item.line, base)}"
    yield from _wrapped(text, f"{verb:<{column}}", " " * (column + 2))
    for cause in item.causes:
        yield from _cause_lines(cause, " " * (column + 2), base)


def _cause_lines(cause: Cause, indent: str, base: str) -> Iterator[str]:
    place = f" {_place(cause.file, cause.line, base)}" if cause.file else ""
    old, new = _word(cause.old), _word(cause.new)
    if cause.is_hidden:
        yield from _wrapped(f"{cause.option}: {_hidden(cause)}{place}", indent, indent + "  ")
    elif cause.old is None and cause.new is None:
        yield from _wrapped(f"{cause.option}{place}", indent, indent + "  ")
    elif cause.old == cause.new:
        yield from _wrapped(f"{cause.option}: {new}, by its variables{place}", indent, indent + "  ")
    elif len(one := f"{indent}{cause.option}: {old} -> {new}{place}") <= WIDTH:
        yield one
    else:
        # One below the other, from the same column.
        at = indent + " " * (len(cause.option) + 2)
        yield from _wrapped(old, f"{indent}{cause.option}: ", at)
        yield from _wrapped(f"{new}{place}", f"{at[:-3]}-> ", at)


def _hidden(cause: Cause) -> str:
    if cause.old is None and cause.new is not None:
        return "new"
    if cause.new is None and cause.old is not None:
        return "gone"
    return "changed"


def _word(value: str | None) -> str:
    return "unset" if value is None else value or '""'


def _place(file: str, line: int, base: str) -> str:
    inner = file.removeprefix(f"{base}/") if base else file
    return f"({inner}:{line})" if line else f"({inner})"


def _kept_lines(items: Iterable[Item], verb: str, column: int) -> list[str]:
    kept = [item for item in items if item.verb == "keep"]
    if not kept:
        return []
    names = [_named(item) for item in kept]
    if len(names) > MAX_KEPT:
        counts = [(sum(item.kind == kind for item in kept), kind) for kind in ("watcher", "socket", "notifier")]
        names = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    return _wrapped(", ".join(names), f"{verb:<{column}}", " " * column)


def _named(item: Item) -> str:
    return item.name if item.kind == "watcher" else f"{item.kind} {item.name}"


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Words that are longer than a line stay whole: they are paths and commands, to be copied."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _printable(line: str) -> str:
    """Without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in line)
