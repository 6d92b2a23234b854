"""`papa shell`: the kernel's text language with line editing; a script may be piped into it.

The kernel is asked for nothing but text, and says when it waits for a line: by its prompt, `> `, or in a watch
by the `] ` behind each frame. Until then the shell only shows what comes; Ctrl-C then asks a watch to stop.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys

from papa.client import launch
from papa.errors import PapaError

PROMPTS = (b"> ", b"] ")

#: What ends like a prompt may be the middle of some output: it counts if nothing follows at once.
SETTLE_S = 0.03

WORDS = (
    "exit-if-idle", "get", "help", "list", "make", "process", "processes", "quit", "remove", "set", "socket",
    "sockets", "values", "watch",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Talk until one side has enough."""
    connection = launch.open_connection(args.endpoint, autostart=False)
    with connection:
        if sys.stdin.isatty():
            _prepare_editing()
        while True:
            try:
                tail = _show_until_asked(connection)
            except KeyboardInterrupt:
                _send(connection, "q")
                continue
            if tail is None:
                return 0
            line = _read_line(tail)
            if line is None:
                return 0
            _send(connection, line)


def _show_until_asked(connection: socket.socket) -> str | None:
    """Show what comes until the kernel waits for a line; returns the prompt, None at the end."""
    pending = b""
    while True:
        if pending.endswith(PROMPTS) and not select.select([connection], [], [], SETTLE_S)[0]:
            _show(pending[:-2])
            return pending[-2:].decode()
        chunk = connection.recv(65536)
        if not chunk:
            _show(pending)
            return None
        pending += chunk
        # What may be a prompt, or the start of one, is kept back.
        kept = 2 if pending.endswith(PROMPTS) else 1 if pending.endswith((b">", b"]")) else 0
        _show(pending[: len(pending) - kept])
        pending = pending[len(pending) - kept :]


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _read_line(prompt: str) -> str | None:
    """A line of the person or the script; None at the end of it, or at Ctrl-C on an empty prompt."""
    try:
        if sys.stdin.isatty():
            return input(prompt)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _send(connection: socket.socket, line: str) -> None:
    try:
        connection.sendall(line.encode("utf-8", "surrogateescape") + b"\n")
    except OSError as error:
        raise PapaError(f"the kernel closed the connection: {error.strerror}", code="lost") from error


def _prepare_editing() -> None:
    try:
        import readline
    except ImportError:
        # A Python without it: lines are typed without editing.
        return

    def complete(text: str, state: int) -> str | None:
        matches = [word + " " for word in WORDS if word.startswith(text)]
        return matches[state] if state < len(matches) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
