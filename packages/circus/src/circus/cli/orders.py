"""Commands of circusctl that change something: orders to watchers, and to circusd itself."""

from __future__ import annotations

import re
import shlex

from circus import nearest
from circus.cli.asking import begun_lines, name_argument, optional_name, wait_arguments
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from circus.cli.asking import Answer, Daemon

_ADD = """\
Options of circusctl stand before CMD; what is behind it belongs to the program.
Kept over a restart of circusd and by reloadconfig, until `rm`, or until the file
has a watcher of this name. Without CMD: the watcher that `rm` removed, as the file
has it.

  circusctl add --start --option copy_env=true worker /srv/bin/worker --queue mail"""

_RM = """\
A watcher of the file stays away, also over a restart of circusd and reloadconfig,
until its section is changed or `circusctl add NAME` brings it back. What --nostop
leaves is listed as foreign; the next watcher of that name takes it over."""

_KILL = """\
Ends processes as a stop does it (signal, grace, SIGKILL, with the hooks), and
others follow as the watcher's options say; `circusctl stop` keeps it down. Asked
again, the signal is sent again.

  circusctl kill web 4711 --signum INT --graceful_timeout 3"""

_SET = """\
Goes the way of an edit of the file: one wrong value, and nothing is changed. Where
processes must be replaced, new ones are up before the old ones go. Kept over a
restart of circusd until the file itself says something else about that option;
`circusctl status -v` says what is set by hand.

  circusctl set web graceful_timeout 5 stop_signal QUIT
  circusctl set web cmd "/srv/bin/web --threads 8" env LANG=C,TZ=UTC
  circusctl set web stdout_stream.max_bytes 50m
  circusctl set web -- args -v             (a value that begins with a dash)"""


_FORGET = """\
What was ordered by hand counts no more: the number of processes, a stop, options
that were set, watchers that were added (they go) and removed (they come back); nor
do failures: what had given up or waits is started.

  circusctl forget web
  circusctl forget --all --dry-run"""


_RELOADCONFIG = """\
Touches what has changed in the file and nothing else. Verbs of a plan: keep, live
(nothing restarts), restart, roll (by a reload), start, add (without a start), stop,
remove; of sockets: open, reopen, close; later: after a restart of circusd. An id
holds until a file, an order by hand or what runs is not as it was; --apply says
what has moved.

  circusctl reloadconfig --plan
  circusctl reloadconfig --apply 3f2a9c81d07e"""


# Arguments ---------------------------------------------------------------------------------------------------


def order_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="watchers or patterns; without any: all")
    parser.add_argument(
        "--match",
        choices=("glob", "simple", "regex"),
        default="glob",
        help="how NAME is read (default: glob)",
    )
    wait_arguments(parser)


def reload_arguments(parser: argparse.ArgumentParser) -> None:
    order_arguments(parser)
    parser.add_argument("--terminate", action="store_true", help="end the old processes before new ones start")
    parser.add_argument("--sequential", action="store_true", help="replace the processes one by one")


def change_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("by", metavar="N", nargs="?", type=int, default=1, help="by how many (default: 1)")
    wait_arguments(parser)


def numprocesses_arguments(parser: argparse.ArgumentParser) -> None:
    optional_name(parser)
    parser.add_argument("count", metavar="COUNT", nargs="?", type=int, help="have so many from now on")
    wait_arguments(parser)


def signal_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process of the watcher")
    parser.add_argument("signum", metavar="SIGNAL", help="15, TERM, SIGTERM, RTMIN+1")
    parser.add_argument("--children", action="store_true", help="to the children, and not to the process itself")
    parser.add_argument("--recursive", action="store_true", help="to all that descend from it, too")
    parser.add_argument("--childpid", metavar="PID", type=int, help="to this descendant alone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    name = parser.add_argument("name", metavar="NAME [CMD [ARG...]]")
    name.help = "a name for the watcher; its program with arguments, as they are"
    parser.add_argument("--start", action="store_true", help="start it, now and with circusd")
    parser.add_argument(
        "--option", dest="options", metavar="KEY=VALUE", action="append", default=[], help="as in the file; repeat it"
    )
    wait_arguments(parser)
    parser.epilog = _ADD


def rm_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument(
        "--nostop", action="store_true", help="leave its processes running in papa, nobody's from then on"
    )
    wait_arguments(parser)
    parser.epilog = _RM


def kill_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process of the watcher")
    parser.add_argument("--signum", metavar="SIGNAL", help="in place of the stop signal: 15, TERM, SIGTERM, RTMIN+1")
    parser.add_argument(
        "--graceful_timeout", metavar="S", type=float, help="seconds until SIGKILL, in place of its own"
    )
    wait_arguments(parser)
    parser.epilog = _KILL


def set_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("pairs", metavar="KEY VALUE", nargs="+", help="options as in the configuration file")
    wait_arguments(parser)
    parser.epilog = _SET


def forget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="watchers or patterns")
    parser.add_argument("--all", action="store_true", help="all watchers")
    parser.add_argument("--dry-run", action="store_true", help="say what would be forgotten, and change nothing")
    parser.epilog = _FORGET


def reloadconfig_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--plan", action="store_true", help="only say what would be done, and why")
    group.add_argument("--apply", metavar="ID", help="do it only if it is still the plan of this id")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not say what was done: it tells of commands")
    parser.add_argument("-v", "--verbose", action="store_true", help="all new warnings of the file, not only the first")
    wait_arguments(parser)
    parser.epilog = _RELOADCONFIG


# Questions ---------------------------------------------------------------------------------------------------


def give_order(verb: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
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
        # A pattern that is one name is perhaps a slip in it.
        hint = nearest.hint(patterns[0], known, f"there are: {', '.join(known)}")
        raise CircusError("not-found", f"no watcher matches {', '.join(patterns)}", hint)
    return found


def give_change(sign: int) -> Callable[[Daemon, argparse.Namespace], Answer]:
    def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
        return daemon.post("watchers", args.name, "count", body={"delta": sign * args.by, "wait": args.wait})

    return run


def give_numprocesses(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if args.count is not None:
        return daemon.post("watchers", args.name, "count", body={"count": args.count, "wait": args.wait})
    if args.name:
        watcher = daemon.get("status", args.name)
        return {"numprocesses": watcher["numprocesses"], "watcher_name": watcher["name"]}
    return {"numprocesses": sum(watcher["numprocesses"] for watcher in daemon.get("status")["watchers"])}


def give_signal(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body = {"signum": args.signum, "pid": args.pid, "children": args.children, "recursive": args.recursive}
    body["childpid"] = args.childpid
    return daemon.post("watchers", args.name, "signal", body=body)


def give_add(daemon: Daemon, args: argparse.Namespace) -> Answer:
    options = {}
    for option in args.options:
        key, sign, value = option.partition("=")
        if not sign or key in options:
            what = "is given twice" if sign else "has no value"
            raise CircusError("usage", f"--option {key} {what}", "write --option KEY=VALUE for each")
        options[key] = value
    if options and not args.command:
        raise CircusError("usage", "CMD is missing", "see `circusctl add --help`")
    body: dict[str, object] = {"options": options, "start": args.start, "wait": args.wait}
    if args.command:
        body |= {"cmd": args.command[0], "args": args.command[1:]}
    return daemon.post("watchers", args.name, "add", body=body)


def give_rm(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.post("watchers", args.name, "remove", body={"nostop": args.nostop, "wait": args.wait})


def give_kill(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body: dict[str, object] = {"pid": args.pid, "signum": args.signum, "wait": args.wait}
    return daemon.post("watchers", args.name, "kill", body=body | {"graceful_timeout": args.graceful_timeout})


def give_set(daemon: Daemon, args: argparse.Namespace) -> Answer:
    keys, values = args.pairs[::2], args.pairs[1::2]
    if len(keys) != len(values):
        raise CircusError("usage", f"{keys[-1]} has no value", "write KEY VALUE [KEY VALUE ...]")
    if len({*keys}) != len(keys):
        raise CircusError("usage", "an option is given twice", "give each once")
    return daemon.post(
        "watchers", args.name, "set", body={"options": dict(zip(keys, values, strict=True)), "wait": args.wait}
    )


def give_forget(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if bool(args.names) == args.all:
        raise CircusError("usage", "give either names of watchers or --all", "see `circusctl forget --help`")
    body: dict[str, object] = {"dry_run": args.dry_run}
    return daemon.post("forget", body=body | ({} if args.all else {"names": args.names}))


def give_reloadconfig(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body: dict[str, object] = {"wait": args.wait}
    if args.plan:
        body["plan"] = args.verbose = True
    elif args.apply is not None:
        body["apply"] = args.apply
    return daemon.post("reloadconfig", body=body)


def give_waiting(verb: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, args: daemon.post(verb, body={"wait": args.wait})


# Lines -------------------------------------------------------------------------------------------------------


def number_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    number = answer.get("numprocesses")
    return [*begun_lines(answer), "ok" if number is None else str(number)]


def forget_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    told = [f"{name}: {'; '.join(what)}" for name, what in answer["watchers"].items()]
    if answer["dry_run"]:
        return told or ["nothing would be forgotten"]
    return [*(f"forgotten: {line}" for line in told), "ok"]


def reloadconfig_lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    lines: list[str] = answer["text"].splitlines()
    if not args.plan:
        return ["ok"] if args.quiet else [*lines, *begun_lines(answer), "ok"]
    if any(item["verb"] != "keep" for item in answer["items"]):
        endpoint = f"--endpoint {shlex.quote(args.endpoint)} " if args.endpoint else ""
        lines.append(f"to do it: circusctl {endpoint}reloadconfig --apply {answer['id']}")
    return lines
