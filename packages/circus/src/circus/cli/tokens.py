"""`circusctl token ...`: who may come over TCP. A token is printed once, when it is made."""

from __future__ import annotations

import time

from circus.cli import render
from circus.cli.asking import Command, Daemon, no_arguments
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from typing import Any

    Answer = dict[str, Any]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whose it is, or what for")
    parser.add_argument("--role", required=True, choices=("viewer", "operator", "admin"), help="what it may")
    parser.add_argument("--verb", action="append", metavar="VERB", help="only this of the role; may be repeated")
    parser.add_argument(
        "--watcher", action="append", metavar="PATTERN", help="only watchers of such names; may be repeated"
    )
    parser.add_argument("--expires", metavar="T", help="it counts so long: 30d, 12h, 90m; without it: for ever")
    parser.epilog = (
        "The token is printed on standard output, once; circusd keeps only its SHA-256.\n"
        "Verbs: see, logs, metrics (viewer); start, stop, restart, reload, count, signal, kill, run (operator);\n"
        "set, add, remove, forget, reloadconfig, quit, shutdown, tokens and others (admin)."
    )


def _create(daemon: Daemon, args: argparse.Namespace) -> Answer:
    body: dict[str, object] = {"name": args.name, "role": args.role}
    if args.verb:
        body["verbs"] = args.verb
    if args.watcher:
        body["watchers"] = args.watcher
    if args.expires is not None:
        body["expires_in"] = _seconds(args.expires)
    return daemon.post("tokens", body=body)


def _seconds(text: str) -> float:
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not (number.isascii() and number.isdecimal()) or int(number) == 0:
        raise CircusError("usage", f"--expires {text!r} is no time", "write for example 30d, 12h or 90m")
    return float(int(number) * unit)


def _create_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return [answer["token"]]


class _Create(Command):
    """What is to be known besides goes to standard error, so that the token alone can be caught."""

    def warnings(self, answer: Answer, _args: argparse.Namespace) -> list[str]:
        told = ["keep it: it is not told again"]
        if answer["listening"]:
            told.append(f"for {', '.join(answer['listening'])}")
        else:
            told.append("nothing listens over TCP: see [circus] api.listen")
        if answer["fingerprint"]:
            told.append(f"fingerprint {answer['fingerprint']}")
        return told


def _list(daemon: Daemon, _args: argparse.Namespace) -> Answer:
    return daemon.get("tokens")


def _list_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    for each in answer["tokens"]:
        yield render.one_line(line_of(each, time.time()))


def line_of(row: Answer, now: float) -> str:
    """``4f0a deploy: operator (restart, reload) of web*, since 3d04h by uid 0, expires in 26d, used 12m03s ago``."""
    text = f"{row['id']} {row['name']}: {row['role']}"
    if row["verbs"] is not None:
        text += f" ({', '.join(row['verbs'])})"
    if row["watchers"] != ["*"]:
        text += f" of {', '.join(row['watchers'])}"
    text += f", since {render.duration(now - row['created'])} by {row['by']}"
    if row["expired"]:
        text += ", expired"
    elif row["expires"] is not None:
        text += f", expires in {render.duration(row['expires'] - now)}"
    used = row["last_used"]
    return text + (", never used" if used is None else f", used {render.duration(now - used)} ago")


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="ID|NAME", help="as `circusctl token list` has it")


def _revoke(daemon: Daemon, args: argparse.Namespace) -> Answer:
    # Whoever gives the whole token means its id; and no secret is part of an URL.
    which = args.which.split("_")[1] if args.which.startswith("ct_") and args.which.count("_") == 2 else args.which
    return daemon.post("tokens", which, "revoke", body={})


COMMANDS = (
    _Create("token create", "make a token for the API over TCP", _create, _create_lines, _create_arguments),
    Command("token list", "the tokens that there are", _list, _list_lines, no_arguments),
    Command("token revoke", "a token that counts no more", _revoke, lambda _answer, _: ["ok"], _revoke_arguments),
)
