"""Commands of circusctl that only ask: status, list, stats, options, get, versions."""

from __future__ import annotations

import time

from circus import nearest
from circus.cli import render
from circus.cli.asking import name_argument, optional_name
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from circus.cli.asking import Answer, Daemon


# Arguments ---------------------------------------------------------------------------------------------------


def status_arguments(parser: argparse.ArgumentParser) -> None:
    optional_name(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="every process, what drifted, what is foreign")


def stats_arguments(parser: argparse.ArgumentParser) -> None:
    optional_name(parser)
    parser.add_argument("pid", metavar="PID", nargs="?", type=int, help="only this process of the watcher")
    parser.add_argument("--extended", action="store_true", help="with what the extended_stats hook adds")


def exit_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("-n", dest="count", metavar="N", type=int, default=10, help="the last N (default: 10)")


def get_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("keys", metavar="KEY", nargs="+", help="options of the watcher")
    _reveal_argument(parser)


def options_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    _reveal_argument(parser)


def _reveal_argument(parser: argparse.ArgumentParser) -> None:
    what = "with the values of the environment and of what may be secret, if you may see them"
    parser.add_argument("--reveal", action="store_true", help=what)


# Questions ---------------------------------------------------------------------------------------------------


def ask_status(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if not args.name:
        return daemon.get("status")
    watcher = daemon.get("status", args.name)
    if not args.verbose:
        return watcher
    whole = daemon.get("status")
    # A circusd that was started before an upgrade does not tell what is by hand.
    told = {key: whole.get(key, {}).get(watcher["name"], "") for key in ("drift", "by_hand")}
    return {**watcher, **told, "output": whole.get("output", {}).get(watcher["name"], {})}


def ask_list(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.get("watchers", args.name) if args.name else daemon.get("watchers")


def ask_numwatchers(daemon: Daemon, _args: argparse.Namespace) -> Answer:
    return {"numwatchers": len(daemon.get("watchers")["watchers"])}


def ask_stats(daemon: Daemon, args: argparse.Namespace) -> Answer:
    query = {} if args.name is None else {"name": args.name}
    if args.pid is not None:
        query["pid"] = str(args.pid)
    if args.extended:
        query["extended"] = "true"
    return daemon.get("stats", query=query)


def ask_exits(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if args.count < 1:
        raise CircusError("usage", f"-n {args.count} is no number of ends", "1 is the latest one")
    answer = daemon.get("watchers", args.name, "exits")
    return {**answer, "exits": answer["exits"][-args.count :]}


def ask_options(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.get("watchers", args.name, "options", query={"reveal": "true"} if args.reveal else None)


def globaloptions_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("option", metavar="OPTION", nargs="?", help="only this one")


def ask_globaloptions(daemon: Daemon, args: argparse.Namespace) -> Answer:
    options = daemon.get("options")["options"]
    if args.option is None:
        return {"options": options}
    if args.option not in options:
        hint = nearest.hint(args.option, options, f"there are: {', '.join(sorted(options))}")
        raise CircusError("not-found", f"{args.option!r} option not found", hint)
    return {"options": {args.option: options[args.option]}}


def ask_get(daemon: Daemon, args: argparse.Namespace) -> Answer:
    answer = ask_options(daemon, args)
    for key in args.keys:
        if key not in answer["options"]:
            hint = nearest.hint(key, answer["options"], f"`circusctl options {args.name}` lists them")
            raise CircusError("not-found", f"{answer['name']}: {key!r} option not found", hint)
    return {"name": answer["name"], "options": {key: answer["options"][key] for key in args.keys}}


# Lines -------------------------------------------------------------------------------------------------------


def status_lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    if not args.name:
        return render.status_lines(answer, time.time(), is_verbose=args.verbose)
    bare: list[str] = [answer["state"]]
    if not args.verbose:
        return bare
    differing = render.differing_lines(answer["drift"], answer["by_hand"])
    output = render.output_lines(answer["output"])
    return [*bare, *differing, *render.slot_lines(answer, time.time(), is_verbose=True), *output]


def exit_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return render.exit_lines(answer) if answer["exits"] else ["none is known"]


def list_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return [",".join(map(str, answer["pids"] if "pids" in answer else answer["watchers"]))]


def version_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    import circus

    return [
        f"circusctl {circus.__version__}",
        f"circusd {answer['version']} (name {answer['name']}, pid {answer['pid']})",
        *(f"listening at {address}" for address in answer.get("listening", ())),
    ]
