"""The program circusctl: reads the command line, asks circusd once, prints, and ends with a status that is
exact.

0 done; 1 failed, unreachable or timed out; 2 usage; 3 refused by circusd (circus.errors.TABLE). What was
asked for goes to standard output, what went wrong to standard error: one line that says it, one that says
what to do. With --json both go to standard output, as one line of JSON.

Started by scripts in loops, so it imports next to nothing: only the parser of the one command is built.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys

import circus
from circus.cli import commands, configuration, tokens
from circus.cli.asking import Command, Daemon
from circus.control import endpoints
from circus.control.client import DEFAULT_TIMEOUT_S, Client
from circus.errors import TABLE, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn, TextIO

COMMANDS = commands.COMMANDS | {each.name: each for each in (*tokens.COMMANDS, *configuration.COMMANDS)}

#: Commands of two words, by the first.
GROUPS = {name.partition(" ")[0] for name in COMMANDS if " " in name}

#: What the shell reports for a program that SIGINT ended.
INTERRUPTED = 130

#: A year, far below what the system's clocks can add up.
MAX_TIMEOUT_S = 366 * 86400

_GLOBAL_WITH_VALUE = ("--endpoint", "--timeout", "--token-file", "--cacert", "--fingerprint")

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
        super().__init__(prog, width=_columns() - 2)


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise CircusError("usage", message, f"see `{self.prog} --help`")

    def print_help(self, _file: object = None) -> NoReturn:
        sys.exit(_say(self.format_help()))


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    try:
        return _run(words)
    except CircusError as error:
        return _report(error, is_json="--json" in words)
    except KeyboardInterrupt:
        _write(sys.stderr, "circusctl: stopped waiting; an order that circusd has taken goes on\n")
        return INTERRUPTED


def _run(words: list[str]) -> int:
    at = _command_index(words)
    parser = _global_parser()
    options = parser.parse_args(words[:at])
    if options.version:
        return _say(f"{circus.__version__}\n")
    if at == len(words):
        if options.help:
            return _say(_overview(parser))
        _write(sys.stderr, _overview(parser))
        return TABLE["usage"][1]
    if words[at] in GROUPS and words[at + 1 : at + 2] in (["-h"], ["--help"]):
        return _say(_of_group(words[at]))
    name = _command_name(words[at:])
    command = _find_command(name)
    at += name.count(" ")
    command_parser = _command_parser(command)
    if options.help:
        return _say(command_parser.format_help())
    return _perform(command, _parse(command, command_parser, words[at + 1 :], options))


def _perform(command: Command, args: argparse.Namespace) -> int:
    answered = _answers(command, args)
    for answer in (answered,) if isinstance(answered, dict) else answered:
        status = _show(command, answer, args)
        if status:
            return status
    return 0


def _answers(command: Command, args: argparse.Namespace) -> dict[str, Any] | Iterator[dict[str, Any]]:
    endpoint = args.endpoint or os.environ.get("CIRCUSCTL_ENDPOINT") or ""
    timeout_s = DEFAULT_TIMEOUT_S if args.timeout is None else args.timeout
    if endpoint.startswith(("https://", "http://")):
        # TLS is large, and most ask over the unix socket.
        from circus.cli import remotely

        client: Client = remotely.client(endpoint, args, timeout_s)
        return command.run(Daemon(client, is_bounded=args.timeout is not None), args)
    for option in ("token_file", "cacert", "fingerprint"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise CircusError("usage", f"--{name} is for an endpoint over TCP", "write --endpoint https://HOST:PORT")
    path = endpoints.resolve(endpoint)
    if endpoint.startswith(("tcp://", "ipc://")) and not os.path.exists(path):
        # Imported for the rare case alone.
        from circus.cli.elder import Elder

        return Elder(endpoint, args.timeout).answers(command, args)
    return command.run(Daemon(Client(path, timeout_s=timeout_s), is_bounded=args.timeout is not None), args)


def _show(command: Command, answer: dict[str, Any], args: argparse.Namespace) -> int:
    if args.json:
        text = json.dumps(answer, indent=4, sort_keys=True) if args.prettify else json.dumps(answer)
        return _say(f"{text}\n") or _status(command, answer)
    status = _say("".join(f"{line}\n" for line in command.lines(answer, args)))
    _write(sys.stderr, "".join(f"{line}\n" for line in command.warnings(answer, args)))
    return status or _status(command, answer)


def _status(command: Command, answer: dict[str, Any]) -> int:
    failed = command.fails(answer)
    return TABLE["failed"][1] if failed is True else int(failed)


def _report(error: CircusError, *, is_json: bool) -> int:
    if is_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        _say(json.dumps({"error": body}) + "\n")
    else:
        _write(sys.stderr, f"error: {error}\n")
    return error.exit_status


def _open_streams() -> None:
    """Both streams can be written to from here on, closed ones and those that do not know every letter too."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _say(text: str) -> int:
    """What was asked for; returns the exit status."""
    error = _write(sys.stdout, text)
    if error is None:
        return 0
    if not isinstance(error, BrokenPipeError):  # a reader that has left knows
        hint = "what was ordered is done; its answer is lost"
        _write(sys.stderr, f"error: standard output cannot be written: {error.strerror}\n  hint: {hint}\n")
    return TABLE["failed"][1]


def _write(stream: TextIO, text: str) -> OSError | None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # Nothing of it may be tried once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


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
    parser.add_argument("--prettify", action="store_true", default=default or False, help="JSON over many lines")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, more than 0 and at most {MAX_TIMEOUT_S}")
    return seconds


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _overview(parser: argparse.ArgumentParser) -> str:
    listed = "".join(f"  {command.name:<14}{command.help}\n" for command in COMMANDS.values())
    head, separator, tail = parser.format_help().partition(_EPILOG)
    return f"{head}commands (`circusctl COMMAND --help` says more):\n{listed}\n{separator}{tail}"
