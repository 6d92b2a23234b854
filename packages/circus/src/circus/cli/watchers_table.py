"""The table of watchers: what is wrong comes first, with its reason below it. Pure but for the time zone."""

from __future__ import annotations

from circus.cli import render
from circus.cli.columns import Cell, table, wrapped
from circus.cli.painting import NOTHING, head, state_cell
from circus.cli.render import duration, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from circus.cli.asking import Answer
    from circus.cli.terminal import Terminal

#: Pids that a row has room for; the others are counted.
MAX_PIDS = 4


def status_table(status: Answer, terminal: Terminal, now: float, *, is_verbose: bool = False) -> list[str]:
    """Those that are not as they should be come first; what is wrong stands below them, and at the end who they are."""
    heads = ("NAME", "STATE", "PROCESSES", "PIDS", "UPTIME")
    rows: list[Sequence[str]] = []
    below: list[list[str]] = []
    troubled = {each["name"]: _is_troubled(each) for each in status["watchers"]}
    for watcher in sorted(status["watchers"], key=lambda each: (not troubled[each["name"]], each["name"])):
        rows.append(_watcher_row(watcher, terminal, now))
        lines = _lines_of(watcher, status, terminal, now, is_verbose=is_verbose)
        below.append(lines)
        for slot in watcher["slots"] if is_verbose else ():
            rows.append(_slot_row(watcher["name"], slot, terminal, now))
            note = _note(slot)
            below.append(_painted([f"    {note}"], terminal, "yellow") if note else [])
    lines = table(heads, rows, width=terminal.columns, right=("PROCESSES", "UPTIME"), paint=head(terminal))
    told = lines[:1]
    for line, more in zip(lines[1:], below, strict=True):
        told += [line, *more]
    return told + _end(status, troubled, terminal, is_verbose=is_verbose)


def brief(watcher: Answer) -> str:
    """``active 1/2: web.2 backoff: no such program``, without times."""
    up = sum(slot["state"] == "running" for slot in watcher["slots"])
    told = [
        f"{watcher['name']}.{slot['wid']} {slot['state']}" + (f": {note}" if (note := _note(slot)) else "")
        for slot in watcher["slots"]
        if slot["state"] in ("backoff", "fatal") or (slot["state"] == "running" and slot["reason"])
    ]
    text = f"{watcher['state']} {up}/{watcher.get('numprocesses', '?')}"
    return f"{text}: {'; '.join(map(one_line, told))}" if told else text


def _watcher_row(watcher: Answer, terminal: Terminal, now: float) -> list[str]:
    pids = [slot["pid"] for slot in watcher["slots"] if slot["pid"] is not None]
    up = sum(slot["state"] == "running" for slot in watcher["slots"])
    wanted = watcher.get("numprocesses")  # which the ancestors do not tell
    is_short = watcher["wants_up"] and wanted is not None and up < wanted and not watcher.get("job")
    count = Cell(f"{up}/{wanted}", lambda text: terminal.paint(text, *(("yellow",) if is_short else ())))
    started = [slot["started_at"] for slot in watcher["slots"] if slot["pid"] and slot["started_at"] is not None]
    more = f" +{len(pids) - MAX_PIDS}" if len(pids) > MAX_PIDS else ""
    return [
        one_line(watcher["name"]),
        state_cell(watcher["state"], terminal),
        NOTHING if wanted is None else count,
        " ".join(map(str, pids[:MAX_PIDS])) + more or NOTHING,
        duration(now - max(started)) if started else NOTHING,
    ]


def _slot_row(name: str, slot: Answer, terminal: Terminal, now: float) -> list[str]:
    lived = slot["pid"] is not None and slot["started_at"] is not None
    return [
        f"  {one_line(name)}.{slot['wid']}",
        state_cell(slot["state"], terminal),
        "",
        NOTHING if slot["pid"] is None else str(slot["pid"]),
        duration(now - slot["started_at"]) if lived else NOTHING,
    ]


def _note(slot: Answer) -> str:
    """What is to be said of a process besides its state."""
    health = slot.get("health", "")
    told = [slot["reason"], health if health not in slot["reason"] else "", slot.get("said", "")]
    if not slot["reason"] and slot["pid"] is None and slot["last_status"] is not None:
        told[0] = render.ending(slot["last_status"])
    return "; ".join(one_line(each) for each in told if each)


def _is_troubled(watcher: Answer) -> bool:
    """It is to be up and is not, or not as it should be; or it was given up."""
    job = watcher.get("job")
    about_jobs = list(render.job_lines(job)) if job is not None else []
    told = [line for line in render.slot_lines(watcher, 0.0) if line not in about_jobs]
    return bool(told) and (watcher["wants_up"] or watcher["state"] != "stopped" or bool(watcher["reason"]))


def _lines_of(watcher: Answer, status: Answer, terminal: Terminal, now: float, *, is_verbose: bool) -> list[str]:
    name, job = watcher["name"], watcher.get("job")
    about_jobs = list(render.job_lines(job)) if job is not None else []
    # Slots have rows of their own in a verbose table.
    shown = {**watcher, "slots": []} if is_verbose else watcher
    told = [line for line in render.slot_lines(shown, now) if line not in about_jobs]
    lines = _painted(about_jobs, terminal, "dim") + _painted(told, terminal, "yellow")
    if is_verbose:
        differing = render.differing_lines(status["drift"].get(name), status.get("by_hand", {}).get(name))
        lines += _painted([*differing, *render.output_lines(status.get("output", {}).get(name, {}))], terminal, "cyan")
    return lines


def _painted(lines: Iterable[str], terminal: Terminal, style: str) -> list[str]:
    """Indented lines, wrapped below themselves."""
    told = []
    for line in lines:
        text = line.lstrip()
        indent = " " * (len(line) - len(text))
        parts = wrapped(text, max(terminal.columns - len(indent) - 2, 20))
        told += [
            f"{indent}{'  ' if at else ''}{terminal.paint(part, style)}"
            for at, part in enumerate(parts)
        ]  # fmt: skip
    return told


def _end(status: Answer, troubled: dict[str, bool], terminal: Terminal, *, is_verbose: bool) -> list[str]:
    told = []
    if is_verbose:
        by_hand = status.get("by_hand", {})
        told += [f"{one_line(by_hand[name])}: {one_line(name)}" for name in sorted(by_hand.keys() - troubled.keys())]
        told += [f"foreign: {render.foreign_text(foreign)}" for foreign in status["foreign"]]
    lines = _painted(told, terminal, "cyan")
    bad = [one_line(name) for name, is_bad in sorted(troubled.items()) if is_bad]
    if len(troubled) > 1:
        text = f"{len(troubled)} watchers, all as they should be"
        if bad:
            text = f"{len(troubled)} watchers, {len(bad)} not as they should be: {', '.join(bad)}"
        lines += _painted([text], terminal, "yellow" if bad else "dim")
    return lines
