"""The program circus-top: its command line, and whom it shows."""

from __future__ import annotations

import argparse
import locale
import os
import sys

import circus
from circus.cli import remotely, ssh
from circus.cli.printing import open_streams, say, write
from circus.control import endpoints
from circus.control.client import DEFAULT_TIMEOUT_S, Client
from circus.errors import CircusError
from circus.tui import sparks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_DESCRIPTION = """\
Shows the watchers of a circusd and what they use, on a screen that stays over a restart of circusd; what is
wrong stands first. Orders are given after a look at the line of circusctl that does the same. `?` says the keys."""

#: These have no characters for curves.
_PLAIN_TERMINALS = ("linux", "dumb", "vt100", "vt220", "cons25")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CircusError("usage", message, f"see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    try:
        return _run(words)
    except CircusError as error:
        write(sys.stderr, f"error: {error}\n")
        return error.exit_status


def _run(words: list[str]) -> int:
    args = _parser().parse_args(words)
    if args.version:
        return say(f"{circus.__version__}\n")
    if args.ssh is not None:
        ssh.hand_over(words, [], program="circus-top")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CircusError("usage", "circus-top needs a terminal", "`circusctl status` and `circusctl stats` need none")
    endpoint = args.endpoint or os.environ.get("CIRCUSCTL_ENDPOINT") or ""
    client = _client(endpoint, args)
    client.get("/v1/version")
    # Imported for those alone who have come so far.
    from circus.tui.app import CircusTop

    app = CircusTop(client, endpoint=args.endpoint or "", levels=_levels())
    app.run(mouse=False)
    return app.return_code or 0


def _client(endpoint: str, args: argparse.Namespace) -> Client:
    if endpoint.startswith(("https://", "http://")):
        return remotely.client(endpoint, args, DEFAULT_TIMEOUT_S)
    return Client(endpoints.resolve(endpoint), timeout_s=DEFAULT_TIMEOUT_S)


def _levels() -> str:
    is_utf8 = locale.getpreferredencoding(do_setlocale=False).lower().replace("-", "") == "utf8"
    return sparks.BLOCKS if is_utf8 and os.environ.get("TERM") not in _PLAIN_TERMINALS else sparks.PLAIN


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="circus-top", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", metavar="E", help="which circusd, as of circusctl")
    parser.add_argument("--token-file", metavar="F", help="over TCP: the file with your token")
    parser.add_argument("--cacert", metavar="F", help="over TCP: certificates to trust")
    parser.add_argument("--fingerprint", metavar="SHA256", help="over TCP: circusd's certificate")
    parser.add_argument("--ssh", metavar="PLACE", help="run circus-top at USER@HOST:PORT, by ssh")
    # A process that has ended goes with the next answer; nobody waits until it has been silent for so long.
    parser.add_argument("--process-timeout", metavar="S", type=float, help="as of Circus 0.19: taken, and not needed")
    parser.add_argument("--version", action="store_true", help="print the version")
    return parser
