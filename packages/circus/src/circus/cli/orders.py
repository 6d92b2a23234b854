"""Commands of circusctl that change something: orders to watchers, and to circusd itself."""

from __future__ import annotations

import contextlib
import shlex

from circus.cli.asking import (
    are_several,
    ask_each,
    begun_lines,
    find_names,
    name_argument,
    names_arguments,
    number_of,
    split_pids,
    wait_arguments,
)
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from circus.cli.asking import Answer, Daemon, Orders

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

_SIGNAL = """\
Nothing is sent unless all names and pids are found.

  circusctl signal web HUP
  circusctl signal web 4711 4712 USR1
  circusctl signal web db 'worker-*' HUP"""

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
    names_arguments(parser, nargs="*", what="watchers or patterns, in any case; without any: all")
    wait_arguments(parser)


def reload_arguments(parser: argparse.ArgumentParser) -> None:
    order_arguments(parser)
    parser.add_argument("--terminate", action="store_true", help="end the old processes before new ones start")
    parser.add_argument("--sequential", action="store_true", help="replace the processes one by one")


def change_arguments(parser: argparse.ArgumentParser) -> None:
    what = "watchers or patterns, in any case; then by how many (default: 1)"
    names_arguments(parser, metavar="NAME|N", what=what)
    wait_arguments(parser)


def numprocesses_arguments(parser: argparse.ArgumentParser) -> None:
    what = "watchers or patterns, in any case, without any: all; then how many they have from now on"
    names_arguments(parser, nargs="*", metavar="NAME|COUNT", what=what)
    wait_arguments(parser)


def signal_arguments(parser: argparse.ArgumentParser) -> None:
    what = "watchers or patterns, or one and pids of it; then the signal: 15, TERM, SIGTERM, RTMIN+1"
    names_arguments(parser, metavar="NAME|PID|SIGNAL", what=what)
    parser.add_argument("--children", action="store_true", help="to the children, and not to the process itself")
    parser.add_argument("--recursive", action="store_true", help="to all that descend from it, too")
    parser.add_argument("--childpid", metavar="PID", type=int, help="to this descendant alone")
    parser.epilog = _SIGNAL


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
    names_arguments(parser)
    parser.add_argument(
        "--nostop", action="store_true", help="leave its processes running in papa, nobody's from then on"
    )
    wait_arguments(parser)
    parser.epilog = _RM


def kill_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser, metavar="NAME|PID", what="watchers or patterns, or one and pids of it")
    parser.add_argument("--signum", metavar="SIGNAL", help="in place of the stop signal: 15, TERM, SIGTERM, RTMIN+1")
    parser.add_argument(
        "--graceful_timeout", metavar="S", type=_seconds, help="seconds until SIGKILL, in place of its own"
    )
    wait_arguments(parser)
    parser.epilog = _KILL


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) < float("inf"):
            return seconds
    import argparse  # for who has mistyped it

    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


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
            body["names"] = find_names(daemon, args.names, args.match) if is_regex else args.names
            body["match"] = "simple" if is_regex else args.match
        if verb == "reload":
            body |= {"graceful": not args.terminate, "sequential": args.sequential}
        return daemon.order(verb, body=body)

    return run


def give_change(sign: int) -> Callable[[Daemon, argparse.Namespace], Answer]:
    def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
        given, by = _count_of(args.names)
        delta = sign * (1 if by is None else by)
        return _change(daemon, args, given, {"delta": delta, "wait": args.wait})

    return run


def _change(daemon: Daemon, args: argparse.Namespace, given: list[str], body: dict[str, object]) -> Answer:
    names = find_names(daemon, given, args.match)
    orders: Orders = {name: (("watchers", name, "count"), body) for name in names}
    return daemon.order_each(orders, are_several=are_several(given, args.match, names))


def _count_of(words: list[str]) -> tuple[list[str], int | None]:
    """Names, and the number behind them: a word alone is a name."""
    last = words[-1] if len(words) > 1 else ""
    count = number_of(last.removeprefix("-"))
    if count is None:
        return words, None
    return words[:-1], -count if last.startswith("-") else count


def give_numprocesses(daemon: Daemon, args: argparse.Namespace) -> Answer:
    given, count = _count_of(args.names)
    if count is not None:
        return _change(daemon, args, given, {"count": count, "wait": args.wait})
    if given:
        return ask_each(daemon, given, args.match, lambda name: _number_of(daemon, name))
    return {"numprocesses": sum(watcher["numprocesses"] for watcher in daemon.get("status")["watchers"])}


def _number_of(daemon: Daemon, name: str) -> Answer:
    watcher = daemon.get("status", name)
    return {"numprocesses": watcher["numprocesses"], "watcher_name": watcher["name"]}


def give_signal(daemon: Daemon, args: argparse.Namespace) -> Answer:
    *words, signum = args.names
    if not words:
        raise CircusError("usage", "SIGNAL is missing", "see `circusctl signal --help`")
    body: dict[str, object] = {"signum": signum, "children": args.children, "recursive": args.recursive}
    body["childpid"] = args.childpid
    return _order_processes(daemon, args.match, words, "signal", body)


def _order_processes(daemon: Daemon, match: str, words: list[str], verb: str, body: dict[str, object]) -> Answer:
    """An order for each watcher, or for each process of one. Raises: CircusError not-found, before any is given."""
    given, pids = split_pids(words, verb)
    names = find_names(daemon, given, match)
    if not pids:
        orders: Orders = {name: (("watchers", name, verb), {**body, "pid": None}) for name in names}
        return daemon.order_each(orders, are_several=are_several(given, match, names))
    if len(names) > 1:
        raise CircusError("usage", "pids are those of one watcher", "name it, in place of a pattern")
    name = names[0]
    if len(pids) > 1:
        known = daemon.get("watchers", name)["pids"]
        for pid in pids:
            if pid not in known:
                listed = ", ".join(map(str, known[:10])) or "none"
                raise CircusError("not-found", f"{name}: {pid} is none of its processes", f"its pids: {listed}")
    orders = {str(pid): (("watchers", name, verb), {**body, "pid": pid}) for pid in pids}
    return daemon.order_each(orders, are_several=len(pids) > 1)


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
    return daemon.order("watchers", args.name, "add", body=body)


def give_rm(daemon: Daemon, args: argparse.Namespace) -> Answer:
    names = find_names(daemon, args.names, args.match)
    body: dict[str, object] = {"nostop": args.nostop, "wait": args.wait}
    orders: Orders = {name: (("watchers", name, "remove"), body) for name in names}
    return daemon.order_each(orders, are_several=are_several(args.names, args.match, names))


def give_kill(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body: dict[str, object] = {"signum": args.signum, "wait": args.wait, "graceful_timeout": args.graceful_timeout}
    return _order_processes(daemon, args.match, args.names, "kill", body)


def give_set(daemon: Daemon, args: argparse.Namespace) -> Answer:
    keys, values = args.pairs[::2], args.pairs[1::2]
    if len(keys) != len(values):
        raise CircusError("usage", f"{keys[-1]} has no value", "write KEY VALUE [KEY VALUE ...]")
    if len({*keys}) != len(keys):
        raise CircusError("usage", "an option is given twice", "give each once")
    return daemon.order(
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
    return daemon.order("reloadconfig", body=body)


def give_waiting(verb: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, args: daemon.order(verb, body={"wait": args.wait})


# Lines -------------------------------------------------------------------------------------------------------


def number_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    """Of several watchers below their names, unless it is a line for each."""
    if "answers" in answer:
        return [line for name, each in answer["answers"].items() for line in _number_of_one(each, f"{name}: ")]
    return _number_of_one(answer, "")


def _number_of_one(answer: Answer, name: str) -> list[str]:
    number = answer.get("numprocesses")
    return [*begun_lines(answer), f"{name}{'ok' if number is None else number}"]


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
