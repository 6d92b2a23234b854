"""Commands of circusctl that only ask: status, list, stats, options, get, versions."""

from __future__ import annotations

import time

from circus import nearest
from circus.cli import render
from circus.cli.asking import ask_each, each_lines, find_names, names_arguments, split_pids
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from circus.cli.asking import Answer, Daemon

#: Parts of a status that are told by the names of watchers.
_BY_NAME = ("drift", "by_hand", "output", "survivors")

_STATUS = """\
With -f a terminal shows it in place; into a pipe go lines of what changes. Also while circusd is away.

  circusctl status
  circusctl status -v web 'worker-*'
  circusctl status -f"""

# Arguments ---------------------------------------------------------------------------------------------------


def status_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser, nargs="*", what="watchers or patterns, in any case; without any: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="every process, what drifted, what is foreign")
    parser.add_argument("-f", "--follow", action="store_true", help="go on, until Ctrl-C (status 130)")
    parser.epilog = _STATUS


def list_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser, nargs="*", what="the pids of these watchers; without any: the names of all")


def stats_arguments(parser: argparse.ArgumentParser) -> None:
    what = "watchers, or one and pids of it; without any: all"
    names_arguments(parser, nargs="*", metavar="NAME|PID", what=what)
    parser.add_argument("--extended", action="store_true", help="with what the extended_stats hook adds")


def exit_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser)
    parser.add_argument("-n", dest="count", metavar="N", type=int, default=10, help="the last N (default: 10)")


def get_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a watcher or a pattern, in any case")
    parser.add_argument("keys", metavar="KEY", nargs="+", help="options of the watcher")
    _reveal_argument(parser)


def options_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser)
    _reveal_argument(parser)


def _reveal_argument(parser: argparse.ArgumentParser) -> None:
    what = "with the values of the environment and of what may be secret, if you may see them"
    parser.add_argument("--reveal", action="store_true", help=what)


# Questions ---------------------------------------------------------------------------------------------------


def ask_status(daemon: Daemon, args: argparse.Namespace) -> Answer | Iterator[Answer]:
    if args.follow:
        # Imported for who looks on.
        from circus.cli import following

        return following.run(daemon, args)
    if not args.names:
        return daemon.get("status")
    names = find_names(daemon, args.names, args.match)
    if names == args.names and len(names) == 1:
        return _status_of(daemon, names[0], is_verbose=args.verbose)
    return only(daemon.get("status"), names)


def find_all(daemon: Daemon, given: list[str], match: str) -> list[str]:
    """As `find_names`, also one name as its watcher writes it."""
    names = find_names(daemon, given, match)
    return [daemon.get("watchers", names[0])["name"]] if names == given and len(names) == 1 else names


def _status_of(daemon: Daemon, name: str, *, is_verbose: bool) -> Answer:
    watcher = daemon.get("status", name)
    if not is_verbose:
        return watcher
    whole = daemon.get("status")
    # A circusd that was started before an upgrade does not tell what is by hand.
    told = {key: whole.get(key, {}).get(watcher["name"], "") for key in ("drift", "by_hand")}
    return {**watcher, **told, "output": whole.get("output", {}).get(watcher["name"], {})}


def only(status: Answer, names: list[str]) -> Answer:
    """What a status tells of these watchers."""
    chosen = {
        key: {name: status.get(key, {})[name] for name in names if name in status.get(key, {})} for key in _BY_NAME
    }
    watchers = [watcher for watcher in status["watchers"] if watcher["name"] in names]
    return {**status, **chosen, "watchers": watchers, "foreign": []}


def ask_list(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if not args.names:
        return daemon.get("watchers")
    return ask_each(daemon, args.names, args.match, lambda name: daemon.get("watchers", name))


def ask_numwatchers(daemon: Daemon, _args: argparse.Namespace) -> Answer:
    return {"numwatchers": len(daemon.get("watchers")["watchers"])}


def ask_stats(daemon: Daemon, args: argparse.Namespace) -> Answer:
    query = {"extended": "true"} if args.extended else {}
    given, pids = split_pids(args.names, "stats")
    if not given:
        return daemon.get("stats", query=query)
    names = find_names(daemon, given, args.match)
    if pids and len(names) > 1:
        raise CircusError("usage", "pids are those of one watcher", "name it, in place of a pattern")
    infos: dict[str, dict[str, object]] = {}
    for name in names:
        for pid in pids or (None,):
            asked = {"name": name, **query} if pid is None else {"name": name, "pid": str(pid), **query}
            for watcher, found in daemon.get("stats", query=asked)["infos"].items():
                infos.setdefault(watcher, {}).update(found)
    return {"infos": infos}


def ask_exits(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if args.count < 1:
        raise CircusError("usage", f"-n {args.count} is no number of ends", "1 is the latest one")

    def ask(name: str) -> Answer:
        answer = daemon.get("watchers", name, "exits")
        return {**answer, "exits": answer["exits"][-args.count :]}

    return ask_each(daemon, args.names, args.match, ask)


def ask_options(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return ask_each(daemon, args.names, args.match, lambda name: _options_of(daemon, name, args))


def _options_of(daemon: Daemon, name: str, args: argparse.Namespace) -> Answer:
    return daemon.get("watchers", name, "options", query={"reveal": "true"} if args.reveal else None)


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
    def ask(name: str) -> Answer:
        answer = _options_of(daemon, name, args)
        for key in args.keys:
            if key not in answer["options"]:
                hint = nearest.hint(key, answer["options"], f"`circusctl options {name}` lists them")
                raise CircusError("not-found", f"{answer['name']}: {key!r} option not found", hint)
        return {"name": answer["name"], "options": {key: answer["options"][key] for key in args.keys}}

    return ask_each(daemon, [args.name], "glob", ask)


# Lines -------------------------------------------------------------------------------------------------------


def status_lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    if "lines" in answer:  # of who looks on
        told: list[str] = answer["lines"]
        return told
    if "watchers" in answer:
        return render.status_lines(answer, time.time(), is_verbose=args.verbose)
    bare: list[str] = [answer["state"]]
    if not args.verbose:
        return bare
    differing = render.differing_lines(answer["drift"], answer["by_hand"])
    output = render.output_lines(answer["output"])
    return [*bare, *differing, *render.slot_lines(answer, time.time(), is_verbose=True), *output]


def exit_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    """Lines have the name in them."""
    told = [line for each in answer.get("answers", {"": answer}).values() for line in render.exit_lines(each)]
    return told or ["none is known"]


def list_lines(answer: Answer, _args: argparse.Namespace) -> Iterator[str]:
    if "answers" in answer:
        for name, each in answer["answers"].items():
            yield f"{name}: {_commas(each)}"
    else:
        yield _commas(answer)


def _commas(answer: Answer) -> str:
    return ",".join(map(str, answer["pids"] if "pids" in answer else answer["watchers"]))


def options_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return each_lines(answer, lambda each: render.options_lines(each["options"]))


def version_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    import circus

    return [
        f"circusctl {circus.__version__}",
        f"circusd {answer['version']} (name {answer['name']}, pid {answer['pid']})",
        *(f"listening at {address}" for address in answer.get("listening", ())),
    ]
