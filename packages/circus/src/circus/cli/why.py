"""`circusctl why`: on one screen, why a watcher is as it is, and what to expect of it."""

from __future__ import annotations

import time

from circus.cli.columns import cut, wrapped
from circus.cli.render import duration, moment, one_line
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

    from circus.cli.asking import Answer, Daemon

    #: Text in the styles that are named, where there is colour.
    Paint = Callable[..., str]

_EPILOG = """\
  circusctl why web        wanted and seen, who ordered it, what it waits for, the last ends,
                           what has changed since it ran well, the next attempt
  circusctl why web.2      of the second process alone
  circusctl why web -n 3   with three ends

Exit status: 0 it is as it is wanted, 1 it is not (or not yet)."""

#: Of names in front of what is said.
_MARGIN = 9


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[.WID]", help="a watcher, in any case; or one of its processes")
    parser.add_argument("-n", dest="count", metavar="N", type=int, default=10, help="the last N ends (default: 10)")
    parser.epilog = _EPILOG


def ask(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if not 0 <= args.count <= 50:
        raise CircusError("usage", f"-n {args.count} is no number of ends", "from 0 to 50: so many are remembered")
    query = {"exits": str(args.count)}
    name, _, wid = args.name.rpartition(".")
    try:  # a name may end in a dot and digits
        return daemon.get("watchers", args.name, "why", query=query)
    except CircusError as error:
        if error.code != "not-found" or not (name and wid.isdecimal() and len(wid) < 10 and int(wid)):
            raise
    return daemon.get("watchers", name, "why", query={**query, "wid": wid})


def is_not_well(answer: Answer) -> int:
    return not answer["well"]


# Lines -------------------------------------------------------------------------------------------------------


def lines(answer: Answer, args: argparse.Namespace) -> Iterator[str]:
    page = _Page(args.terminal.columns, args.terminal.paint)
    now = time.time()
    is_well = answer["well"]
    verdict = "is as it is wanted" if is_well else "is not as it is wanted"
    yield f"{page.paint(answer['name'], 'bold')} {page.paint(verdict, 'green' if is_well else 'red')}"
    yield from page.told("wanted", *_wanted(answer["wanted"]))
    yield from page.told("state", *_state(answer))
    yield from page.told("waits", *(_wait(each, answer["name"], now) for each in answer["waits"]))
    yield from page.told("orders", *(_operation(each) for each in answer["operations"]))
    yield from page.told("next", *_next(answer["next"], now))
    yield from page.told("options", *_changes(answer))
    if args.count:
        yield from _ends(answer, page)


class _Page:
    """Of ``columns``: what is said stands behind its name, and is wrapped."""

    def __init__(self, columns: int, paint: Paint) -> None:
        self.columns, self.paint = max(columns, 40), paint

    def told(self, name: str, *said: str) -> Iterator[str]:
        head = self.paint(f"{name:<{_MARGIN}}", "dim")
        for line in (line for each in said for line in self.wrapped(each, _MARGIN)):
            yield f"{head}{line}"
            head = " " * _MARGIN

    def wrapped(self, text: str, margin: int) -> list[str]:
        """What goes on in the next line stands a little further right, and is one thing with what is before."""
        indent = " " * (len(text) - len(text.lstrip()))
        first, *rest = wrapped(one_line(text), self.columns - margin - len(indent))
        more = wrapped(" ".join(rest), self.columns - margin - len(indent) - 2) if rest else []
        return [f"{indent}{first}", *(f"{indent}  {line}" for line in more)]


def _wanted(wanted: Answer) -> Iterator[str]:
    count = wanted["numprocesses"]
    what = f"up, {count} {'process' if count == 1 else 'processes'}" if wanted["up"] else "down"
    order = wanted["order"]
    if wanted["source"] == "order":
        yield f"{what}: {_order(order) if order else wanted['reason']}"
    else:
        place = f" ({_place(wanted)})" if wanted["file"] else ""
        who = "circusd: " if wanted["source"] == "circusd" else ""
        yield f"{what}: {who}{wanted['reason']}{place}"
        if order is not None:
            yield f"the last order was another one: {_order(order)}"
    if wanted["count_order"] is not None:
        yield f"{count} in place of {wanted['in_file']}: {_order(wanted['count_order'])}"


def _order(order: Answer) -> str:
    who = f"by {order['by']} ({order['origin']})" if order["by"] else "by circusd itself, or a signal to it"
    along = ", taken along with others" if order["along"] else ""
    return f"{order['what']} {who}, {moment(order['at'])}{along}"


def _place(place: Any) -> str:
    return f"{place['file']}:{place['line']}" if place["line"] else str(place["file"])


def _state(answer: Answer) -> Iterator[str]:
    counts = ", ".join(f"{count} {state}" for state, count in answer["counts"].items()) or "no process"
    yield f"{answer['state']}: {counts}"
    for said in (answer["reason"], answer["drift"]):
        if said:
            yield said
    for slot in answer["slots"]:
        who = f"{answer['name']}.{slot['wid']}"
        if slot["health"] == "unhealthy":
            yield f"{who} is unhealthy: {slot['reason'].removeprefix('unhealthy: ')}"
        if slot["said"]:
            yield f"{who} says: {slot['said']}"


def _wait(wait: Answer, name: str, now: float) -> str:
    who = f"{name}.{wait['wid']}: " if wait["wid"] is not None else ""
    since = f", since {duration(now - wait['since'])}" if wait["since"] is not None else ""
    until = f"; {_at(wait['until'], now)}: {wait['then']}" if wait["until"] is not None else ""
    return f"{who}{wait['what']}{since}{until}"


def _at(at: float, now: float) -> str:
    left = f"in {duration(at - now)}" if at >= now else f"{duration(now - at)} ago"
    return f"at {moment(at)} ({left})"


def _operation(each: Answer) -> str:
    return f"{each['id']} {each['what']} by {each['by']} ({each['origin']}), under way since {moment(each['begun_at'])}"


def _next(coming: Answer, now: float) -> Iterator[str]:
    if coming["at"] is not None:
        yield f"{_at(coming['at'], now)}: {coming['what']}"
    elif coming["what"]:
        yield coming["what"]


def _changes(answer: Answer) -> Iterator[str]:
    if answer["ran_well"] is None:
        yield "it has never run well, as far as is remembered"
        return
    if not answer["changes"]:
        yield f"as they were when it ran well ({moment(answer['ran_well'])})"
        return
    yield f"changed since it ran well ({moment(answer['ran_well'])}):"
    for each in answer["changes"]:
        place = f" ({_place(each)})" if each["file"] else ""
        yield f"  {each['option']}: {_difference(each)}{place}"
    if answer["last_set"] is not None:
        yield f"by hand: {_order(answer['last_set'])}"
    if answer["last_reload"] is not None:
        yield f"by the file: {_order(answer['last_reload'])}"


def _difference(cause: Answer) -> str:
    old, new = cause["old"], cause["new"]
    if old is None or new is None:
        what = "new" if old is None else "gone"
        return what if cause["hidden"] else f"{what}, {old if new is None else new}"
    return "has another value" if cause["hidden"] else f"{old} -> {new}"


def _ends(answer: Answer, page: _Page) -> Iterator[str]:
    if not answer["exits"]:
        yield from page.told("ends", "none is known")
        return
    yield page.paint("ends, the latest last:", "dim")
    if answer["lines_missing"]:
        yield f"  their output is not known: {one_line(answer['lines_missing'])}"
    for each in answer["exits"]:
        end = each["exit"]
        how = one_line(end["reason"])
        is_bad = not end["ordered"] and end["status"] != 0
        head = f"{moment(end['at'])} {answer['name']}.{end['wid']} pid {end['pid']} after {duration(end['ran_s'])}:"
        yield from (page.paint(line, "red") if is_bad else line for line in page.wrapped(f"{head} {how}", 0))
        if "usage" in end:
            yield page.paint(f"  {_usage(end['usage'])}", "dim")
        for line in each["lines"]:
            yield f"  | {cut(one_line(line['text']), page.columns - 4)}"


def _usage(usage: Answer) -> str:
    cpu = f"cpu {usage['user_s']:.2f} s user, {usage['system_s']:.2f} s system"
    faults = f", {usage['major_faults']} pages from a disk" if usage["major_faults"] else ""
    return f"{cpu}; memory at most {usage['max_rss'] / 2**20:.1f} MB{faults}"
