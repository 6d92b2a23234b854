"""The words of circusctl's command line: which command they mean, and what they ask of it.

Only the parser of the one command is built.
"""

from __future__ import annotations

import argparse
import sys

import circus
from circus.cli import commands, configuration, terminal, tokens
from circus.cli.asking import Command
from circus.cli.printing import say
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

COMMANDS = commands.COMMANDS | {each.name: each for each in (*tokens.COMMANDS, *configuration.COMMANDS)}

#: Commands of two words, by the first.
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}

#: A year, far below what the system's clocks can add up.
MAX_TIMEOUT_S = 366 * 86400

_GLOBAL_WITH_VALUE = ("--endpoint", "--timeout", "--token-file", "--cacert", "--fingerprint", "--color")

_EPILOG = """\
The endpoint is NAME, /path, unix:///path or the `endpoint` of circusd's configuration; without it
CIRCUSCTL_ENDPOINT, else the circusd called "default". Where no circusd of this machine has it,
tcp://ADDRESS:PORT and ipc:///path are asked by ZMQ, as Circus 0.19 speaks it (pyzmq is needed).

https://HOST:PORT is the API over TCP, with a token from --token-file or CIRCUSCTL_TOKEN. Its certificate is
one that the system trusts, one that is in --cacert, or the one that has the --fingerprint.

A query has 5 seconds. An order takes as long as circusd works on it, but circusd must show within 5 seconds
that it is alive; Ctrl-C stops waiting, not the order. --timeout bounds both, the whole of an order too.

Exit status: 0 done, 1 failed, unreachable or timed out, 2 usage, 3 refused by circusd."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the width, for which argparse would import shutil and with it three compressors."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal.columns() - 2)


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise CircusError("usage", message, f"see `{self.prog} --help`")

    def print_help(self, _file: object = None) -> NoReturn:
        sys.exit(say(self.format_help()))


def parse(words: list[str]) -> tuple[Command, argparse.Namespace] | str:
    """What is asked, or a text that says how to ask. Raises: CircusError usage."""
    at = _command_index(words)
    parser = _global_parser()
    options = parser.parse_args(words[:at])
    if options.version:
        return f"{circus.__version__}\n"
    if at == len(words):
        if options.help:
            return _overview(parser)
        raise CircusError("usage", "no command is given", "`circusctl --help` lists them")
    if words[at] in GROUPS and words[at + 1 : at + 2] in (["-h"], ["--help"]):
        return _of_group(words[at])
    name = _command_name(words[at:])
    command = _find_command(name)
    at += name.count(" ")
    command_parser = _command_parser(command)
    if options.help:
        return command_parser.format_help()
    return command, _parse(command, command_parser, words[at + 1 :], options)


def _parse(command: Command, parser: _Parser, words: list[str], options: argparse.Namespace) -> argparse.Namespace:
    if not command.takes_command:
        return parser.parse_intermixed_args(words, options)
    at, is_named = 0, False
    while at < len(words) and words[at] != "--" and not (is_named and not words[at].startswith("-")):
        is_named = is_named or not words[at].startswith("-")
        at += 2 if words[at] in (*_GLOBAL_WITH_VALUE, "--option") else 1
    args = parser.parse_intermixed_args(words[:at], options)
    args.command = words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]
    return args


def _command_index(words: list[str]) -> int:
    """Where the command stands: the first word that is neither a global option nor the value of one."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _GLOBAL_WITH_VALUE else 1
    return min(at, len(words))


def _command_name(words: list[str]) -> str:
    """The command's name at the begin of what is behind the global options."""
    if words[0] not in GROUPS:
        return words[0]
    if len(words) == 1 or words[1].startswith("-"):
        known = ", ".join(name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{words[0]} "))
        raise CircusError("usage", f"{words[0]} needs another word: {known}", "`circusctl --help` says what they do")
    return " ".join(words[:2])


def _of_group(group: str) -> str:
    """What the commands are that begin with this word."""
    lines = [f"{name:22} {command.help}" for name, command in COMMANDS.items() if name.startswith(f"{group} ")]
    return "\n".join([f"usage: circusctl {group} COMMAND", "", *lines, "", "`circusctl COMMAND --help` says more.", ""])


def _find_command(word: str) -> Command:
    command = COMMANDS.get(word)
    if command is None:
        # Imported for the mistake alone.
        import difflib

        near = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f"did you mean `circusctl {near[0]}`?" if near else "`circusctl --help` lists the commands"
        raise CircusError("usage", f"unknown command {word!r}", hint)
    return command


def _global_parser() -> _Parser:
    parser = _Parser(
        prog="circusctl",
        usage="circusctl [--endpoint E] [--timeout S] [--json] COMMAND [ARGUMENT...]",
        description="Steers a running circusd.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="this text; before a command: the command's")
    parser.add_argument("--version", action="store_true", help="print the version of circusctl")
    _add_global_options(parser, default=None)
    return parser


def _command_parser(command: Command) -> _Parser:
    parser = _Parser(
        prog=f"circusctl {command.name}",
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        formatter_class=_Formatter,
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
