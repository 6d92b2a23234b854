"""The `papa` command: a door for people, which translates words into operations and errors into exit statuses.

One module for each thing to say; this one reads the command line. Without a command it understands the flags of
papa 1.x: `papa -p PORT`, `papa -u PATH`, `--daemonize`, `-d`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from papa import __version__
from papa.cli import exit_, serve, shell, status, upgrade
from papa.errors import PapaError

#: Exit statuses: 0 done, 1 failed, unreachable or timed out, 2 usage, 3 refused by the kernel. What is not here
#: is 3.
EXIT_STATUS = {"unreachable": 1, "lost": 1, "timeout": 1, "internal": 1, "spawn-failed": 1, "bad-request": 2}
REFUSED = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns the exit status."""
    args = _parser().parse_args(argv)
    args.endpoint = getattr(args, "path", None) or getattr(args, "port", None)
    try:
        return int(args.run(args))
    except PapaError as error:
        if getattr(args, "json", False):
            answer = {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}
            print(json.dumps({"error": answer}))
        else:
            print(f"papa: {error.message}", file=sys.stderr)
            if error.hint:
                print(f"  {error.hint}", file=sys.stderr)
        return EXIT_STATUS.get(error.code, REFUSED)
    except BrokenPipeError:
        # Whoever read our output has gone: `papa status | head -1`.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    # The instance may be named before or after the command; the later one must not reset the earlier.
    where = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument("-p", "--port", type=int, metavar="PORT", help="the kernel of this port")
    where.add_argument("-u", "--unix-socket", dest="path", metavar="PATH", help="the kernel of this unix socket")

    parser = argparse.ArgumentParser(
        prog="papa",
        description="A process kernel: hosts processes, sockets, output and exit codes for process managers.",
        parents=[where],
    )
    parser.add_argument("--version", action="version", version=f"papa {__version__}")
    parser.add_argument("--daemonize", action="store_true", help="without a command: start a kernel and return")
    parser.add_argument("-d", "--debug", action="store_true", help="without a command: show the kernel's log")
    parser.set_defaults(run=serve.run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    command = commands.add_parser("serve", parents=[where], help="start a kernel and stay until it leaves")
    command.add_argument("-d", "--debug", action="store_true", help="show the kernel's log")
    command.add_argument("--daemonize", action="store_true", help="return as soon as the kernel serves")
    command.set_defaults(run=serve.run)

    command = commands.add_parser("status", parents=[where], help="what the kernel is and holds")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=status.run)

    command = commands.add_parser("shell", parents=[where], help="talk to the kernel in its text language")
    command.set_defaults(run=shell.run)

    command = commands.add_parser("upgrade", parents=[where], help="let the kernel execute the code on disk")
    command.add_argument("--check", action="store_true", help="only say whether that code could take over")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=upgrade.run)

    command = commands.add_parser("exit", parents=[where], help="end the kernel")
    command.add_argument("--force", action="store_true", help="even if it hosts something, which is left alone")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=exit_.run)
    return parser
