"""The words of circusctl's command line: which command they mean, and what they ask of it.

Only the parser of the one command is built.
"""

from __future__ import annotations

import argparse

import circus
from circus import nearest
from circus.cli import commands, configuration, init, shells, terminal, tokens
from circus.cli.asking import Command
from circus.cli.parser import Formatter, Parser
from circus.errors import CircusError

COMMANDS = commands.COMMANDS | {
    each.name: each for each in (*tokens.COMMANDS, *configuration.COMMANDS, *shells.COMMANDS, *init.COMMANDS)
}

#: Commands of two words, by the first.
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}

#: A year, far below what the system's clocks can add up.
MAX_TIMEOUT_S = 366 * 86400

#: Options that hand the whole command line to another host; see the module ``ssh``.
SSH = ("--ssh", "--ssh_keyfile")

_GLOBAL_WITH_VALUE = ("--endpoint", "--timeout", "--token-file", "--cacert", "--fingerprint", "--color", *SSH)

#: How the error about a command begins that there is not.
UNKNOWN = "unknown command"

_EPILOG = """\
The endpoint is NAME, /path, unix:///path or the `endpoint` of circusd's configuration; without it
CIRCUSCTL_ENDPOINT, else the circusd called "default". Where no circusd of this machine has it,
tcp://ADDRESS:PORT and ipc:///path are asked by ZMQ, as Circus 0.19 speaks it (pyzmq is needed).

https://HOST:PORT is the API over TCP, with a token from --token-file or CIRCUSCTL_TOKEN. Its certificate is
one that the system trusts, one that is in --cacert, or the one that has the --fingerprint.

A query has 5 seconds. An order takes as long as circusd works on it, but circusd must show within 5 seconds
that it is alive; Ctrl-C stops waiting, not the order. --timeout bounds both, the whole of an order too.

Exit status: 0 done, 1 failed, unreachable or timed out, 2 usage, 3 refused by circusd."""


def parse(words: list[str]) -> tuple[Command, argparse.Namespace] | argparse.Namespace | str:
    """What is asked, or the options alone where no command is, or a text that says how to ask.

    Raises: CircusError usage.
    """
    at = command_index(words)
    parser = global_parser()
    options = _read_globals(parser, words, at)
    if options.version:
        return f"{circus.__version__}\n"
    if words[at : at + 1] == ["help"]:
        options.help, at = True, at + 1
    if at == len(words):
        if options.help:
            return _overview(parser)
        return options
    if words[at] in GROUPS and (
        words[at + 1 : at + 2] in (["-h"], ["--help"]) or (options.help and at + 1 == len(words))
    ):
        return _of_group(words[at])
    command = _find_command(words[at:])
    at += command.name.count(" ")
    own = command_parser(command)
    if options.help:
        return own.format_help()
    return command, _parse(command, own, words[at + 1 :], options)


def _read_globals(parser: Parser, words: list[str], at: int) -> argparse.Namespace:
    """Options of circusctl itself; one of a command that stands before it is told where it belongs."""
    unknown = parser.parse_known_args(words[:at])[1]
    if unknown and at < len(words):
        command = command_parser(_find_command(words[at:]))
        if (near := command.nearest_option(unknown[0])) and near not in parser.options:
            hint = f"did you mean `{command.prog} {near}`?"
            raise CircusError("usage", f"unrecognized arguments: {' '.join(unknown)}", hint)
    return parser.read(words[:at])


def _parse(command: Command, parser: Parser, words: list[str], options: argparse.Namespace) -> argparse.Namespace:
    at = program_index(command, parser, words)
    if at is None:
        return parser.read(words, options)
    args = parser.read(words[:at], options)
    args.command = words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]
    return args


def program_index(command: Command, parser: Parser, words: list[str]) -> int | None:
    """Where a program begins, or would, among the words of a command: behind some others, or at ``--``."""
    if command.program_behind is None:
        return None
    at = count = 0
    while at < len(words) and words[at] != "--":
        if not words[at].startswith("-"):
            if count == command.program_behind:
                break
            count += 1
        at += 2 if words[at] in parser.taking else 1
    return at


def command_index(words: list[str]) -> int:
    """Where the command stands: the first word that is neither a global option nor the value of one."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _GLOBAL_WITH_VALUE else 1
    return min(at, len(words))


def _second_words(group: str) -> list[str]:
    return [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{group} ")]


def _of_group(group: str) -> str:
    """What the commands are that begin with this word."""
    lines = [f"{name:22} {command.help}" for name, command in COMMANDS.items() if name.startswith(f"{group} ")]
    return "\n".join([f"usage: circusctl {group} COMMAND", "", *lines, "", "`circusctl COMMAND --help` says more.", ""])


def _find_command(words: list[str]) -> Command:
    """The command whose one or two words are the first of ``words``. Raises: CircusError usage."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first in GROUPS:
        if not second or second.startswith("-"):
            known = ", ".join(_second_words(first))
            raise CircusError("usage", f"{first} needs another word: {known}", f"`circusctl {first} --help` says more")
        first = f"{first} {second}"
    command = COMMANDS.get(first)
    if first == "ipython":
        hint = "a plugin, or `circusctl --json` from outside, does what it was for"
        raise CircusError("usage", "ipython ran a shell inside of circusd, where a slip stops everything: gone", hint)
    if command is None:
        near = _nearest_command(*words[:2])
        listing = f"{words[0]} --help" if words[0] in GROUPS else "--help"
        hint = f"did you mean `circusctl {near}`?" if near else f"`circusctl {listing}` lists the commands"
        raise CircusError("usage", f"{UNKNOWN} {first!r}", hint)
    return command


def _nearest_command(first: str, second: str = "") -> str | None:
    """``confg chekc`` is a slip of ``config check``, and ``confg`` alone of ``config``."""
    near = nearest.nearest(first, [name.partition(" ")[0] for name in COMMANDS])
    if near not in GROUPS:
        return near
    meant = nearest.nearest(second, _second_words(near))
    return f"{near} {meant}" if meant else None if first == near else near


def global_parser() -> Parser:
    parser = Parser(
        prog="circusctl",
        usage="circusctl [--endpoint E] [--timeout S] [--json] COMMAND [ARGUMENT...]",
        description="Steers a running circusd.",
        epilog=_EPILOG,
        formatter_class=Formatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="this text; before a command: the command's")
    parser.add_argument("--version", action="store_true", help="print the version of circusctl")
    parser.add_argument("--ssh", metavar="PLACE", help="run circusctl at USER@HOST:PORT, by ssh")
    parser.add_argument("--ssh_keyfile", metavar="F", help="with --ssh: the key")
    _add_global_options(parser, default=None)
    return parser


def command_parser(command: Command) -> Parser:
    parser = Parser(
        prog=f"circusctl {command.name}",
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    command.arguments(parser)
    _add_global_options(parser, default=argparse.SUPPRESS)
    return parser


def _add_global_options(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Known before and after the command; after it without default, so as not to undo what stood before."""
    parser.add_argument("--endpoint", metavar="E", default=default, help="which circusd")
    parser.add_argument("--token-file", metavar="F", default=default, help="over TCP: the file with your token")
    parser.add_argument("--cacert", metavar="F", default=default, help="over TCP: certificates to trust")
    parser.add_argument("--fingerprint", metavar="SHA256", default=default, help="over TCP: circusd's certificate")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=default, help="seconds for the command")
    parser.add_argument("--json", action="store_true", default=default or False, help="print the answer as JSON")
    when = "colours: auto (at a terminal), always, never"
    parser.add_argument("--color", metavar="WHEN", choices=terminal.WHEN, default=default, help=when)
    table = "tables, as at a terminal, also into a pipe or a file"
    parser.add_argument("--table", action="store_true", default=default or False, help=table)
    parser.add_argument("--prettify", action="store_true", default=default or False, help="JSON over many lines")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, more than 0 and at most {MAX_TIMEOUT_S}")
    return seconds


def _overview(parser: argparse.ArgumentParser) -> str:
    listed = "".join(f"  {command.name:<14}{command.help}\n" for command in COMMANDS.values())
    head, separator, tail = parser.format_help().partition(_EPILOG)
    return f"{head}commands (`circusctl COMMAND --help` says more):\n{listed}\n{separator}{tail}"
