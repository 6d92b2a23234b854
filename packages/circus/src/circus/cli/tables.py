"""What people at a terminal see of an answer: tables with coloured states. Imported for them alone.

A function for each command: (answer, args) -> lines, or None where the command's own lines say it better. Nothing is
told here that ``--json`` has not.
"""

from __future__ import annotations

import time

from circus.cli import render, watchers_table
from circus.cli.columns import Cell, table
from circus.cli.painting import NOTHING, head, state_cell
from circus.cli.render import duration, moment, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from circus.cli.asking import Answer
    from circus.cli.terminal import Terminal

    Draw = Callable[[Answer, argparse.Namespace], list[str] | None]


def plain_table(
    args: argparse.Namespace,
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    wraps: bool = True,
) -> list[str]:
    """``rows`` made harmless; None and "" are shown as nothing. The last column is wrapped, or cut."""
    terminal: Terminal = args.terminal
    body = [[_text(value) for value in row] for row in rows]
    return table(heads, body, width=terminal.columns, right=right, paint=head(terminal), wraps=wraps)


def _text(value: object) -> str:
    if isinstance(value, Cell):
        return value
    return NOTHING if value is None or value == "" else one_line(value)


def _each(answer: Answer) -> Iterable[tuple[str, Answer]]:
    """The answers about several watchers, or the one."""
    if "answers" in answer:
        yield from answer["answers"].items()
    else:
        yield answer.get("name", ""), answer


def _is_of_many(answer: Answer) -> bool:
    return "answers" in answer


# Watchers and processes --------------------------------------------------------------------------------------


def status(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    if "lines" in answer:  # of who looks on
        return None
    whole = answer if "watchers" in answer else _whole(answer)
    return watchers_table.status_table(whole, args.terminal, time.time(), is_verbose=args.verbose)


def _whole(watcher: Answer) -> Answer:
    """Of one watcher, as of all."""
    name = watcher["name"]
    told = {key: {name: watcher[key]} for key in ("drift", "by_hand", "output") if watcher.get(key)}
    return {"drift": {}, "foreign": [], **told, "watchers": [watcher]}


def names_or_pids(answer: Answer, args: argparse.Namespace) -> list[str]:
    if "watchers" in answer:
        return plain_table(args, ("NAME",), [(name,) for name in answer["watchers"]])
    rows = [(name, pid) for name, each in _each(answer) for pid in each["pids"] or [None]]
    return plain_table(args, ("NAME", "PID"), rows, right=("PID",))


def stats(answer: Answer, args: argparse.Namespace) -> list[str]:
    heads = ("WATCHER", "PID", "CPU%", "MEM%", "RSS", "VIRT", "TIME", "AGE", "USER", "COMMAND")
    rows: list[list[object]] = []
    for watcher, infos in answer["infos"].items():
        for pid, info in infos.items():
            if not isinstance(info, dict):
                rows.append([watcher, pid, *[None] * 7, info])
                continue
            rows.append([watcher, *_figures(info)])
            rows += [
                ["", *_figures(child, "  ")]
                if isinstance(child, dict)
                else [*[""] * 9, Cell(f"  {one_line(child)}", str)]
                for child in info.get("children", ())
            ]
            for line in render.added_lines(info):
                rows.append([*[""] * 9, Cell(f"  {line.strip()}", str)])
    # What is empty belongs to the row above it.
    shown = [[each if each == "" or isinstance(each, Cell) else _text(each) for each in row] for row in rows]
    terminal: Terminal = args.terminal
    return table(heads, shown, width=terminal.columns, right=heads[1:8], paint=head(terminal), wraps=True)


def _figures(info: Answer, indent: str = "") -> list[object]:
    age = info.get("age")
    return [
        info.get("pid"),
        *(info.get(key) for key in ("cpu", "mem", "mem_info1", "mem_info2", "ctime")),
        duration(age) if isinstance(age, int | float) else age,
        info.get("username"),
        Cell(indent + one_line(info.get("cmdline", "")), str),
    ]


def daemon_stats(answer: Answer, args: argparse.Namespace) -> list[str]:
    heads = ("PROGRAM", "PID", "CPU%", "MEM%", "RSS", "VIRT", "TIME", "AGE", "USER", "COMMAND")
    rows = [
        [name, *_figures(info)] if isinstance(info, dict) else [name, *[None] * 8, info]
        for name, info in (("circusd", answer["info"]), ("papa", answer["papa"]))
    ]
    return plain_table(args, heads, rows, right=heads[1:8])


def exits(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    rows = [
        (moment(each["at"]), f"{name}.{each['wid']}", each["pid"], duration(each["ran_s"]), each["reason"])
        for name, told in _each(answer)
        for each in told["exits"]
    ]
    if not rows:
        return None
    return plain_table(args, ("ENDED", "PROCESS", "PID", "AFTER", "HOW"), sorted(rows), right=("PID", "AFTER"))


def runs(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    rows: list[Sequence[object]] = []
    for name, told in _each(answer):
        if told["job"] is None:
            return None
        rows += [(name, *_run_row(run, args.terminal)) for run in told["runs"]]
        if told["job"]["next_run"] is not None:
            rows.append((name, moment(told["job"]["next_run"]), "next", None, None, None))
    return plain_table(args, ("JOB", "DUE", "STATE", "PID", "TOOK", "WHY"), rows, right=("PID", "TOOK"))


def _run_row(run: Answer, terminal: Terminal) -> list[object]:
    has_ended = run["started_at"] is not None and run["ended_at"] is not None
    why = [f"{run['count']} of them" if run["count"] > 1 else "", "by hand" if run["by_hand"] else ""]
    why.append(run["reason"] if run["state"] != "done" else "")
    took = duration(run["ended_at"] - run["started_at"]) if has_ended else None
    return [moment(run["due"]), state_cell(run["state"], terminal), run["pid"], took, "; ".join(filter(None, why))]


# Options and sockets -----------------------------------------------------------------------------------------


def options(answer: Answer, args: argparse.Namespace) -> list[str]:
    rows = [
        (name, key, render.plain(told["options"][key]))
        for name, told in _each(answer)
        for key in sorted(told["options"])
    ]
    if _is_of_many(answer):
        return plain_table(args, ("WATCHER", "OPTION", "VALUE"), rows)
    return plain_table(args, ("OPTION", "VALUE"), [row[1:] for row in rows])


def sockets(answer: Answer, args: argparse.Namespace) -> list[str]:
    rows = [
        (render.descriptor(row), row["name"], row.get("backlog"), render.place(row))
        for row in sorted(answer["sockets"], key=render.descriptor)
    ]
    return plain_table(args, ("FD", "NAME", "BACKLOG", "ADDRESS"), rows, right=("FD", "BACKLOG"))


# Orders, tokens, notifiers, the trail ------------------------------------------------------------------------


def operations(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    """Of one there are lines."""
    from circus.cli import operations as told

    if not answer.get("operations"):
        return None
    rows = [
        (
            each["id"],
            moment(each["begun_at"]),
            state_cell(each["state"], args.terminal),
            each["by"],
            told.what(each) + told.trouble(each),
        )
        for each in answer["operations"]
    ]
    return plain_table(args, ("ID", "BEGUN", "STATE", "BY", "WHAT"), rows)


def token_list(answer: Answer, args: argparse.Namespace) -> list[str]:
    now = time.time()
    heads = ("ID", "NAME", "ROLE", "AGE", "BY", "EXPIRES", "USED", "MAY")
    rows = []
    for each in answer["tokens"]:
        expires = None if each["expires"] is None else f"in {duration(each['expires'] - now)}"
        used = None if each["last_used"] is None else f"{duration(now - each['last_used'])} ago"
        may = ", ".join(each["verbs"]) if each["verbs"] is not None else "all of its role"
        may += "" if each["watchers"] == ["*"] else f" of {', '.join(each['watchers'])}"
        age = duration(now - each["created"])
        rows.append((each["id"], each["name"], each["role"], age, each["by"], _expiry(each, expires, args), used, may))
    return plain_table(args, heads, rows, right=("AGE",))


def _expiry(token: Answer, text: str | None, args: argparse.Namespace) -> str | None:
    return Cell("expired", lambda text: args.terminal.paint(text, "red")) if token["expired"] else text


def notifiers(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    counts = ("sent", "waiting", "collapsed", "dropped", "failed")
    rows = [
        (name, *(each[key] for key in counts), each["target"] + (f": {each['error']}" if each["error"] else ""))
        for name, each in answer["notifiers"].items()
    ]
    if not rows:
        return None
    heads = ("NAME", *(key.upper() for key in counts), "TARGET")
    return plain_table(args, heads, rows, right=heads[1:6])


def audit(answer: Answer, args: argparse.Namespace) -> list[str] | None:
    from circus.cli import audit as told

    if not answer["entries"]:
        return None
    rows = [told.row(entry, lambda word: state_cell(word, args.terminal)) for entry in answer["entries"]]
    return plain_table(args, ("TIME", "WHO", "FROM", "RESULT", "MS", "WHAT"), rows, right=("MS",))


def version(answer: Answer, args: argparse.Namespace) -> list[str]:
    import circus

    rows = [
        ("circusctl", circus.__version__, None, None, None),
        ("circusd", answer["version"], answer["name"], answer["pid"], ", ".join(answer.get("listening", ()))),
    ]
    return plain_table(args, ("PROGRAM", "VERSION", "NAME", "PID", "LISTENING"), rows, right=("PID",))


OF: dict[str, Draw] = {
    "status": status,
    "list": names_or_pids,
    "stats": stats,
    "dstats": daemon_stats,
    "options": options,
    "globaloptions": options,
    "get": options,
    "exits": exits,
    "runs": runs,
    "listsockets": sockets,
    "operations": operations,
    "token list": token_list,
    "notify list": notifiers,
    "audit": audit,
    "version": version,
}
