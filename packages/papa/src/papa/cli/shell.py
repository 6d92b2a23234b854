"""`papa shell`: the kernel's text language with line editing; a script may be piped into it.

The kernel is asked for nothing but text, and says when it waits for a line: by its prompt, `> `, or in a watch
by the `] ` behind each frame. Until then the shell only shows what comes; Ctrl-C then asks a watch to stop, and so
does Enter where lines are watched.

TAB completes words of the language, and names that it asks the kernel for over a connection of its own.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys

from papa.cli import completion
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError
from papa.wire import text
from papa.wire.messages import Request

PROMPTS = (b"> ", b"] ")

#: What ends like a prompt may be the middle of some output: it counts if nothing follows at once.
SETTLE_S = 0.03

#: A person waits no longer for names; and who has more to choose from types on.
NAMES_PATIENCE_S = 1.0
MAX_NAMES = 200

#: Telnet's interrupt (RFC 854). Unlike a line it means nothing but "stop", also where a watch has just ended.
INTERRUPT = b"\xff\xf4"


def run(args: argparse.Namespace) -> int:
    """Talk until one side has enough."""
    is_terminal = sys.stdin.isatty()
    with launch.open_connection(args.endpoint, autostart=False) as connection:
        if is_terminal:
            _prepare_editing(args.endpoint)
        is_reading = False
        while True:
            try:
                tail = _show_until_asked(connection, is_reading)
                if tail is None:
                    return 0
                line = _read_line(tail, is_terminal)
            except KeyboardInterrupt:
                _send(connection, INTERRUPT)
                continue
            if line is None:
                return 0
            is_reading = is_terminal and _watches_lines(line)
            _send(connection, line.encode("utf-8", "surrogateescape") + b"\n")


def _show_until_asked(connection: socket.socket, is_reading: bool) -> str | None:
    """Show what comes until the kernel waits for a line; returns the prompt, None at the end.

    With ``is_reading`` whatever is typed meanwhile interrupts.
    """
    pending = b""
    sources: list[socket.socket | int] = [connection]
    if is_reading:
        sources.append(sys.stdin.fileno())
    while True:
        if pending.endswith(PROMPTS) and not select.select([connection], [], [], SETTLE_S)[0]:
            _show(pending[:-2])
            return pending[-2:].decode()
        if connection not in select.select(sources, [], [])[0]:
            if not os.read(sys.stdin.fileno(), 4096):
                return None
            _send(connection, INTERRUPT)
            continue
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


def _read_line(prompt: str, is_terminal: bool) -> str | None:
    """A line of the person or the script; None at the end of it (Ctrl-D). Ctrl-C ends a script, too."""
    try:
        if is_terminal:
            return input(prompt)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except KeyboardInterrupt:
        if is_terminal:
            raise
    except EOFError:
        print()
    return None


def _watches_lines(line: str) -> bool:
    try:
        asked = text.parse_line(line)
    except PapaError:
        return False
    return isinstance(asked, Request) and asked.op == "watch" and bool(asked.args["lines"])


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError as error:
        raise PapaError(f"the kernel closed the connection: {error.strerror}", code="lost") from error


def _prepare_editing(endpoint: str | int | None) -> None:
    """Editing, a history for as long as the shell runs, and TAB."""
    try:
        import readline
    except ImportError:
        # A Python without it: lines are typed without editing.
        return

    matches: list[str] = []

    def names_of(kind: str, begun: str) -> list[str]:
        return _ask_names(endpoint, kind, begun)

    def complete(begun: str, state: int) -> str | None:
        nonlocal matches
        if state == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()]
            matches = completion.complete(before, begun, names_of)
        return matches[state] if state < len(matches) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def _ask_names(endpoint: str | int | None, kind: str, begun: str) -> list[str]:
    """Names that the kernel has now; none when it does not say so at once."""
    try:
        with Connection(endpoint, client="papa shell", autostart=False, timeout_s=NAMES_PATIENCE_S) as connection:
            reply = connection.request("list", timeout_s=NAMES_PATIENCE_S, what=kind, patterns=[begun + "*"])
    except (PapaError, OSError):
        return []
    return sorted(item["name"] for item in reply.ok["items"] if item["name"] is not None)[:MAX_NAMES]
