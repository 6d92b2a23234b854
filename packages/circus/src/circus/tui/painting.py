"""Rows as lines of a given width, each made of pieces of text with a style. Pure.

The idea: a terminal of 80 columns is the measure. Wider ones get longer names and, beside the figures, why a row stands
where it does; at 80 columns that is told of the row at the cursor alone, and of rows that have no figures. All that is
told by a colour is told by a word, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from circus.cli.columns import cut as shortened
from circus.cli.columns import width_of, wrapped
from circus.cli.render import duration, one_line
from circus.tui import sparks
from circus.tui.rows import FIRST_QUIET, Row, Trouble

#: A text in a style of rich, which has the sixteen colours of every terminal.
Span = tuple[str, str]
Line = tuple[Span, ...]

_STYLES = {
    Trouble.FAILED: "bold red",
    Trouble.BACKOFF: "red",
    Trouble.SHAKY: "red",
    Trouble.BLOCKED: "yellow",
    Trouble.UNHEALTHY: "yellow",
    Trouble.UNREADY: "yellow",
    Trouble.DRIFTED: "magenta",
    Trouble.LEFT: "magenta",
    Trouble.CHANGING: "cyan",
    Trouble.WELL: "green",
    Trouble.DOWN: "dim",
}

_STATE, _PROCESS, _CPU, _MEMORY, _AGE = 10, 9, 6, 7, 6
_FIXED = 1 + 1 + _STATE + 1 + _PROCESS + _CPU + 1 + sparks.LENGTH + 1 + _MEMORY + 1 + sparks.LENGTH + 1 + _AGE
_LEAST_NAME, _MOST_NAME = 10, 32

#: A reason that is cut shorter says nothing.
_LEAST_WHY = 16

#: A curve of processor time is at least as high as a fifth of a processor: what a process idles is no mountain.
_LEAST_CPU = 20.0


class Layout(NamedTuple):
    """Of a width: how long a name may be, and how long a reason; 0: there is no room for one."""

    width: int
    name: int
    why: int

    @classmethod
    def of(cls, width: int, longest_name: int) -> Layout:
        spare = width - _FIXED
        name = max(_LEAST_NAME, min(longest_name, _MOST_NAME, spare))
        why = spare - name - 1
        return cls(width, name if why >= _LEAST_WHY else max(_LEAST_NAME, spare), why if why >= _LEAST_WHY else 0)


def head_line(layout: Layout) -> Line:
    text = f" {'NAME':{layout.name}} {'STATE':{_STATE}}{'PID':>{_PROCESS}} {'CPU%':>{_CPU}}{'':{sparks.LENGTH + 1}}"
    text += f" {'MEMORY':>{_MEMORY}}{'':{sparks.LENGTH + 1}} {'AGE':>{_AGE}}{' WHY' if layout.why else ''}"
    return ((text[: layout.width], "bold"),)


def row_line(row: Row, layout: Layout, now: float, *, levels: str, is_below: bool, is_at_cursor: bool = False) -> Line:
    """``now`` is wall clock; ``is_below``: of the watcher above; ``levels`` are the characters of curves (`sparks`)."""
    name = one_line(row.name)
    if is_below:
        name = f"  {name}"
    style, is_quiet = _STYLES[row.trouble], row.trouble >= FIRST_QUIET
    spans: list[Span] = [
        (">" if is_at_cursor else " ", "bold"),
        (fit(name, layout.name) + " ", "" if is_quiet else "bold"),
        (f"{row.state:{_STATE}.{_STATE}}", style),
    ]
    if row.pid is None and row.up == 0 and row.why:
        spans.append((f" {one_line(row.why)}", style))
        return cut(tuple(spans), layout.width)
    process = str(row.pid) if row.wid is not None or row.wanted == row.up == 1 else f"{row.up}/{row.wanted}"
    most_cpu = max((_LEAST_CPU, *row.cpus))
    spans += [
        (f"{process:>{_PROCESS}} ", "" if row.up or row.pid else "dim"),
        (f"{_percent(row.cpu):>{_CPU}} ", ""),
        (sparks.curve(row.cpus, most_cpu, levels), "cyan"),
        (f" {size(row.memory):>{_MEMORY}} ", ""),
        (sparks.curve(row.memories, max(row.memories, default=0.0), levels), "blue"),
        (f" {age(row.started_at, now):>{_AGE}}", ""),
    ]
    if layout.why and row.why:
        spans.append((f" {one_line(row.why)}", style))
    return cut(tuple(spans), layout.width)


def detail_lines(row: Row | None, width: int) -> tuple[Line, Line]:
    """What is told of the row at the cursor."""
    if row is None:
        return (), ()
    name, style = f" {one_line(row.name)}: ", _STYLES[row.trouble]
    why = one_line(row.why) or row.state
    first = wrapped(why, max(1, width - width_of(name)))[0]
    return cut(((name, "bold"), (first, style)), width), cut(((f"   {why[len(first) :].strip()}", style),), width)


def summary_line(status: Mapping[str, Any], troubled: int, now: float, width: int) -> Line:
    """The first line: who answers, and how it fares."""
    slots = sum(len(watcher["slots"]) for watcher in status["watchers"])
    warnings = len(status.get("warnings", ()))
    spans: list[Span] = [
        (" circus-top ", "bold reverse"),
        (f" {one_line(status['name'])} {one_line(status['version'])}", "bold"),
        (f"  {troubled} in trouble" if troubled else "  all well", "bold red" if troubled else "green"),
    ]
    if warnings:
        spans.append((f"  {counted(warnings, 'warning')}", "yellow"))
    counts = f"{counted(len(status['watchers']), 'watcher')}, {counted(slots, 'slot')}"
    tier = one_line(status["kernel"].get("tier", "?"))
    spans.append((f"  {counts}  up {duration(now - status['started_at'])}  papa {tier}", ""))
    return cut(tuple(spans), width)


def cut(line: Line, width: int) -> Line:
    """At most so many columns of it."""
    cut_spans, left = [], width
    for text, style in line:
        if left <= 0:
            break
        piece = clip(text, left)
        cut_spans.append((piece, style))
        left -= width_of(piece)
    return tuple(cut_spans)


def fit(text: str, width: int) -> str:
    """Exactly so many columns."""
    shown = shortened(text, width)
    return shown + " " * (width - width_of(shown))


def clip(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    while width_of(text) > width:
        text = text[:-1]
    return text


def size(count: float | None) -> str:
    """``812K``, ``1.5M``; nothing where it is not known."""
    if count is None:
        return ""
    for unit in "BKMGT":
        if count < 1024 or unit == "T":
            return f"{count:.0f}{unit}" if unit in "BK" or count >= 100 else f"{count:.1f}{unit}"
        count /= 1024
    raise AssertionError


def age(started_at: float | None, now: float) -> str:
    return "" if started_at is None else duration(now - started_at)


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
