"""`circusctl --ssh [USER@]HOST[:PORT] ...`: the same words, given by ssh to the circusctl of that host.

So it has all commands, the files there, and the rights of that user there; nothing listens, and nothing is forwarded.
From here on it is the program ssh: its questions, its keys, its end. Status 255 is its own: it could not connect.
"""

from __future__ import annotations

import os
import shlex
import sys

from circus.cli import terminal
from circus.cli.words import SSH
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def hand_over(words: list[str], command: list[str], *, program: str = "circusctl") -> NoReturn:
    """``words`` stand before the ``command``. Raises: CircusError usage, and failed where there is no ssh."""
    given, kept = _parted(words)
    if "--ssh" not in given:
        raise CircusError("usage", "--ssh_keyfile is for --ssh", "write --ssh USER@HOST:PORT, too")
    argv = [*_argv(given["--ssh"], given.get("--ssh_keyfile")), shlex.join([program, *kept, *command])]
    try:
        os.execvp("ssh", argv)  # noqa: S606 - it takes our place
    except OSError as error:
        what = f"--ssh needs the program ssh, which cannot be run: {error.strerror}"
        raise CircusError("failed", what, "install the OpenSSH client") from None


def _parted(words: list[str]) -> tuple[dict[str, str], list[str]]:
    given: dict[str, str] = {}
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, is_joined, value = word.partition("=")
        if name in SSH:
            given[name] = value if is_joined else next(rest, "")
        else:
            kept.append(word)
    return given, kept


def _argv(place: str, keyfile: str | None) -> list[str]:
    host, colon, port = place.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):  # an address of IPv6, without a port
        host, port = place, ""
    if not host or host.startswith("-") or (port and not (port.isascii() and port.isdecimal())):
        raise CircusError("usage", f"--ssh {place!r} is no place", "write USER@HOST:PORT, USER@HOST or HOST")
    argv = ["ssh", *(("-p", port) if port else ()), *(("-i", keyfile) if keyfile else ())]
    if sys.stdin is not None and terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout):
        argv.append("-t")  # a terminal there, too
    return [*argv, "--", host.replace("[", "").replace("]", "")]
