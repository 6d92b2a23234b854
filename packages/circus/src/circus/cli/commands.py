"""The commands of circusctl: for each its words, its question to circusd and its lines.

A command is three functions in one table: arguments, run, lines. `run` answers with what circusd answered
(that is what --json prints), once or again and again; `lines` says it
for people. Errors are raised as CircusError; the caller prints them.
"""

from __future__ import annotations

import re
import time

from circus.cli import listen, render
from circus.control.client import Client, target
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Answer = dict[str, Any]


class Daemon:
    """The circusd that a command line means; ``is_bounded``: the user gave --timeout, so it bounds orders
    too.
    """

    def __init__(self, client: Client, *, is_bounded: bool) -> None:
        self._client = client
        self._is_bounded = is_bounded

    def get(self, *path: str, query: dict[str, str] | None = None) -> Answer:
        return self._client.get(target(*path, query=query))

    @property
    def client(self) -> Client:
        return self._client

    def post(self, *path: str, body: dict[str, object]) -> Answer:
        return self._client.post(target(*path), body, is_bounded=self._is_bounded)


class Command:
    """``fails`` says whether an answer, though there is one, ends circusctl with the status of a failure."""

    __slots__ = ("arguments", "fails", "help", "lines", "name", "run")

    def warnings(self, answer: Answer, args: argparse.Namespace) -> list[str]:
        """For standard error. They stay the same for weeks, so only a verbose status lists them."""
        told = [f"warning: {warning}" for warning in answer.get("warnings", ())]
        if len(told) > 1 and not getattr(args, "verbose", False):
            return [told[0], f"warning: and {len(told) - 1} more; see `circusctl status -v`"]
        return told

    def __init__(
        self,
        name: str,
        help: str,
        run: Callable[[Daemon, argparse.Namespace], Answer | Iterator[Answer]],
        lines: Callable[[Answer, argparse.Namespace], Iterable[str]],
        arguments: Callable[[argparse.ArgumentParser], None],
        fails: Callable[[Answer], bool] = lambda _answer: False,
    ) -> None:
        self.name, self.help, self.run, self.lines, self.arguments = name, help, run, lines, arguments
        self.fails = fails


# Arguments --------------------------------------------------------------------------------------------------


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    return


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a watcher, in any case")


def _optional_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a watcher, in any case; without it: all")


def _wait(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--waiting", dest="wait", action="store_true", default=True, help="wait for the end (default)")
    group.add_argument("--no-wait", dest="wait", action="store_false", help="return when it has begun")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    _optional_name(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="every process, what drifted, what is foreign")


def _order_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="watchers or patterns; without any: all")
    parser.add_argument(
        "--match",
        choices=("glob", "simple", "regex"),
        default="glob",
        help="how NAME is read (default: glob)",
    )
    _wait(parser)


def _reload_arguments(parser: argparse.ArgumentParser) -> None:
    _order_arguments(parser)
    parser.add_argument("--terminate", action="store_true", help="end the old processes before new ones start")
    parser.add_argument("--sequential", action="store_true", help="replace the processes one by one")


def _change_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("by", metavar="N", nargs="?", type=int, default=1, help="by how many (default: 1)")
    _wait(parser)


def _numprocesses_arguments(parser: argparse.ArgumentParser) -> None:
    _optional_name(parser)
    parser.add_argument("count", metavar="COUNT", nargs="?", type=int, help="have so many from now on")
    _wait(parser)


def _signal_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process of the watcher")
    parser.add_argument("signum", metavar="SIGNAL", help="15, TERM, SIGTERM, RTMIN+1")
    parser.add_argument("--children", action="store_true", help="to the children instead")
    parser.add_argument("--recursive", action="store_true", help="to all that descend from them instead")


def _stats_arguments(parser: argparse.ArgumentParser) -> None:
    _optional_name(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process of the watcher")
    parser.add_argument("--extended", action="store_true", help="with what the extended_stats hook adds")


def _get_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("keys", metavar="KEY", nargs="+", help="options of the watcher")


def _reloadconfig_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was changed")
    _wait(parser)


# Questions --------------------------------------------------------------------------------------------------


def _status(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.get("status", args.name) if args.name else daemon.get("status")


def _list(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.get("watchers", args.name) if args.name else daemon.get("watchers")


def _order(verb: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
        body: dict[str, object] = {"wait": args.wait}
        if args.names:
            is_regex = args.match == "regex"
            body["names"] = _matching(daemon, args.names) if is_regex else args.names
            body["match"] = "simple" if is_regex else args.match
        if verb == "reload":
            body |= {"graceful": not args.terminate, "sequential": args.sequential}
        return daemon.post(verb, body=body)

    return run


def _matching(daemon: Daemon, patterns: list[str]) -> list[str]:
    """Regular expressions are tried here: one that never ends hangs its author, not circusd."""
    known = daemon.get("watchers")["watchers"]
    try:
        found = [name for name in known if any(re.match(pattern, name.lower()) for pattern in patterns)]
    except re.error as error:
        raise CircusError("usage", f"{error.pattern!r} is no regular expression: {error}") from None
    if not found:
        raise CircusError("not-found", f"no watcher matches {', '.join(patterns)}", f"there are: {', '.join(known)}")
    return found


def _change(sign: int) -> Callable[[Daemon, argparse.Namespace], Answer]:
    def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
        return daemon.post("watchers", args.name, "count", body={"delta": sign * args.by, "wait": args.wait})

    return run


def _numprocesses(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if args.count is not None:
        return daemon.post("watchers", args.name, "count", body={"count": args.count, "wait": args.wait})
    if args.name:
        watcher = daemon.get("status", args.name)
        return {"numprocesses": watcher["numprocesses"], "watcher_name": watcher["name"]}
    return {"numprocesses": sum(watcher["numprocesses"] for watcher in daemon.get("status")["watchers"])}


def _numwatchers(daemon: Daemon, _args: argparse.Namespace) -> Answer:
    return {"numwatchers": len(daemon.get("watchers")["watchers"])}


def _signal(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body = {"signum": args.signum, "pid": args.pid, "children": args.children, "recursive": args.recursive}
    return daemon.post("watchers", args.name, "signal", body=body)


def _stats(daemon: Daemon, args: argparse.Namespace) -> Answer:
    query = {} if args.name is None else {"name": args.name}
    if args.pid is not None:
        query["pid"] = str(args.pid)
    if args.extended:
        query["extended"] = "true"
    return daemon.get("stats", query=query)


def _options(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.get("watchers", args.name, "options")


def _get(daemon: Daemon, args: argparse.Namespace) -> Answer:
    answer = _options(daemon, args)
    for key in args.keys:
        if key not in answer["options"]:
            raise CircusError(
                "not-found",
                f"{answer['name']}: {key!r} option not found",
                f"`circusctl options {args.name}` lists them",
            )
    return {"name": answer["name"], "options": {key: answer["options"][key] for key in args.keys}}


def _query(*path: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, _args: daemon.get(*path)


def _waiting(verb: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, args: daemon.post(verb, body={"wait": args.wait})


# Lines ------------------------------------------------------------------------------------------------------


def _ok(_answer: Answer, _args: argparse.Namespace) -> list[str]:
    return ["ok"]


def _status_lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    if not args.name:
        return render.status_lines(answer, time.time(), is_verbose=args.verbose)
    bare: list[str] = [answer["state"]]
    return [*bare, *render.slot_lines(answer, time.time(), is_verbose=True)] if args.verbose else bare


def _list_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return [",".join(map(str, answer["pids"] if "pids" in answer else answer["watchers"]))]


def _number_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    number = answer.get("numprocesses")
    return ["ok" if number is None else str(number)]


def _version_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    import circus

    return [
        f"circusctl {circus.__version__}",
        f"circusd {answer['version']} (name {answer['name']}, pid {answer['pid']})",
    ]


def _reloadconfig_lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    return [*(answer["text"].splitlines() if args.verbose else ()), "ok"]


# ------------------------------------------------------------------------------------------------------------

_TABLE = (
    Command("status", "state of the watchers", _status, _status_lines, _status_arguments),
    Command("list", "names of the watchers, or pids of one", _list, _list_lines, _optional_name),
    Command("start", "start watchers", _order("start"), _ok, _order_arguments),
    Command("stop", "stop watchers", _order("stop"), _ok, _order_arguments),
    Command("restart", "stop watchers, then start them", _order("restart"), _ok, _order_arguments),
    Command("reload", "replace the processes gracefully", _order("reload"), _ok, _reload_arguments),
    Command("incr", "more processes", _change(1), _number_lines, _change_arguments),
    Command("decr", "fewer processes", _change(-1), _number_lines, _change_arguments),
    Command(
        "numprocesses",
        "number of processes; or set it",
        _numprocesses,
        _number_lines,
        _numprocesses_arguments,
    ),
    Command(
        "numwatchers",
        "number of watchers",
        _numwatchers,
        lambda answer, _: [str(answer["numwatchers"])],
        _no_arguments,
    ),
    Command("signal", "send a signal to processes", _signal, _ok, _signal_arguments),
    Command(
        "stats",
        "memory, cpu and age of processes",
        _stats,
        lambda answer, _: render.stats_lines(answer),
        _stats_arguments,
    ),
    Command(
        "options",
        "options of a watcher",
        _options,
        lambda answer, _: render.options_lines(answer["options"]),
        _name,
    ),
    Command(
        "get",
        "single options of a watcher",
        _get,
        lambda answer, _: render.options_lines(answer["options"]),
        _get_arguments,
    ),
    Command(
        "listsockets",
        "sockets of this circusd",
        _query("sockets"),
        lambda answer, _: render.sockets_lines(answer),
        _no_arguments,
    ),
    Command("listen", "print events as they happen", listen.run, listen.lines, listen.arguments),
    Command(
        "reloadconfig",
        "read the configuration again, and follow it",
        _waiting("reloadconfig"),
        _reloadconfig_lines,
        _reloadconfig_arguments,
    ),
    Command("quit", "end circusd; watchers with use_papa go on", _waiting("quit"), _ok, _wait),
    Command("shutdown", "stop all watchers, then end circusd", _waiting("shutdown"), _ok, _wait),
    Command("version", "versions of circusctl and circusd", _query("version"), _version_lines, _no_arguments),
)

COMMANDS = {command.name: command for command in _TABLE}

_EDIT = "change the configuration file, then `circusctl reloadconfig`"

#: Commands of the ancestors that are not here, and what to do instead.
ELSEWHERE = {
    "add": _EDIT,
    "rm": _EDIT,
    "set": _EDIT,
    "kill": "`circusctl signal NAME [PID] KILL` sends a signal; `circusctl restart NAME` stops in good order",
    "dstats": "`circusctl version` tells the pid of circusd, for ps and top",
    "globaloptions": "`circusctl version` tells which circusd it is; its configuration file has the options",
}
