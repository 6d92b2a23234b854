"""The program circusctl: reads the command line, asks circusd once, prints, and ends with a status that is
exact.

0 done; 1 failed, unreachable or timed out; 2 usage; 3 refused by circusd (circus.errors.TABLE). What was
asked for goes to standard output, what went wrong to standard error: one line that says it, one that says
what to do. With --json both go to standard output, as one line of JSON.

Started by scripts in loops, so it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import sys

from circus.cli import terminal
from circus.cli.asking import Daemon
from circus.cli.parser import ASK
from circus.cli.printing import open_streams, say, write
from circus.cli.words import SSH, command_index, parse
from circus.control import endpoints
from circus.control.client import DEFAULT_TIMEOUT_S, Client
from circus.errors import TABLE, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from circus.cli.asking import Command

#: What the shell reports for a program that SIGINT ended.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    if words[:1] == [ASK] or "AUTO_COMPLETE" in os.environ:
        # At a TAB, and never else.
        from circus.cli import completer

        return completer.answer(words, os.environ)
    return _obey(words)


def _obey(words: list[str]) -> int:
    try:
        return _run(words)
    except CircusError as error:
        return _report(error, is_json="--json" in words)
    except KeyboardInterrupt as stopped:
        write(sys.stderr, f"circusctl: {str(stopped) or 'stopped waiting'}\n")
        return INTERRUPTED


def _run(words: list[str]) -> int:
    at = command_index(words)
    if any(word.partition("=")[0] in SSH for word in words[:at]):
        # For another host, and then for nothing else.
        from circus.cli import ssh

        ssh.hand_over(words[:at], words[at:])
    asked = parse(words)
    if isinstance(asked, str):
        return say(asked)
    if not isinstance(asked, tuple):
        # For who types many commands.
        from circus.cli import shell

        return shell.run(words, _obey)
    command, args = asked
    args.terminal = terminal.find(args.color or "auto", has_tables=args.table)
    return _perform(command, args)


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
        return command.run(_daemon(client, args), args)
    for option in ("token_file", "cacert", "fingerprint"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise CircusError("usage", f"--{name} is for an endpoint over TCP", "write --endpoint https://HOST:PORT")
    path = endpoints.resolve(endpoint)
    if endpoint.startswith(("tcp://", "ipc://")) and not os.path.exists(path):
        # Imported for the rare case alone.
        from circus.cli.elder import Elder

        return Elder(endpoint, args.timeout).answers(command, args)
    return command.run(_daemon(Client(path, timeout_s=timeout_s), args), args)


def _daemon(client: Client, args: argparse.Namespace) -> Daemon:
    program = f"circusctl --endpoint {shlex.quote(args.endpoint)}" if args.endpoint else "circusctl"
    return Daemon(client, is_bounded=args.timeout is not None, program=program)


def _show(command: Command, answer: dict[str, Any], args: argparse.Namespace) -> int:
    if args.json:
        text = json.dumps(answer, indent=4, sort_keys=True) if args.prettify else json.dumps(answer)
        return say(f"{text}\n") or _status(command, answer)
    status = say("".join(f"{line}\n" for line in _lines(command, answer, args)))
    write(sys.stderr, "".join(f"{line}\n" for line in command.warnings(answer, args)))
    return status or _status(command, answer)


def _lines(command: Command, answer: dict[str, Any], args: argparse.Namespace) -> Iterable[str]:
    if args.terminal.has_tables:
        # For people alone: scripts get the ancestors' lines.
        from circus.cli import tables

        if (draw := tables.OF.get(command.name)) is not None and (drawn := draw(answer, args)) is not None:
            return drawn
    return command.lines(answer, args)


def _status(command: Command, answer: dict[str, Any]) -> int:
    failed = command.fails(answer)
    return TABLE["failed"][1] if failed is True else int(failed)


def _report(error: CircusError, *, is_json: bool) -> int:
    if is_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        say(json.dumps({"error": body}) + "\n")
    else:
        marked = terminal.find(stream=sys.stderr).paint("error:", "bold", "red")
        write(sys.stderr, f"{marked} {error}\n")
    return error.exit_status
