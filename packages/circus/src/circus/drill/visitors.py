"""Clients of the held sockets: some connect before and stay, others come again and again. They say nothing unless told.

A silent client harms no server but one that serves a single connection at a time: that one waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time

from circus.drill.account import Connections
from papa.places import unix_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Sockets that are visited; connections that stay open at each of them, at most.
MAX_SOCKETS = 32
MAX_HELD = 64

#: Between two new connections to a socket.
VISIT_S = 0.05

#: A connection, and an answer, that takes longer has failed.
PATIENCE_S = 5.0

#: Between two attempts while a unix socket has no place for another connection.
RETRY_S = 0.01

#: Who listens at every address is visited at this host's own.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nobody listens here


def can_visit(row: Mapping[str, Any]) -> bool:
    return str(row.get("type", "stream")) == "stream" and bool(row.get("path") or row.get("port"))


class Visitor:
    """Of one held socket, as ``row`` of the kernel describes it. ``path``: what is asked for by HTTP, if anything."""

    def __init__(self, row: Mapping[str, Any], *, name: str, held: int, path: str = "") -> None:
        self.count = Connections(name)
        self._row = row
        self._path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-visitor", daemon=True)
        self._held: list[socket.socket] = []
        for _ in range(held):
            try:
                self._held.append(self._connect())
            except OSError as error:
                self._fails(error)
        self.count.held = len(self._held)

    def begin(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """No more visits; the held connections are looked at."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        for each in self._held:
            with each:
                self._look_at(each)
        self._held.clear()

    def _look_at(self, held: socket.socket) -> None:
        held.setblocking(False)
        try:
            if not held.recv(1, socket.MSG_PEEK):
                self.count.closed += 1
        except BlockingIOError:
            return
        except OSError as error:
            self.count.dropped += 1
            self._note(error)

    def _run(self) -> None:
        while not self._ended.wait(VISIT_S):
            self.count.tried += 1
            try:
                with self._connect() as visit:
                    if self._path:
                        self._ask(visit)
            except OSError as error:
                self._fails(error)

    def _ask(self, visit: socket.socket) -> None:
        visit.sendall(f"GET {self._path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer, deadline = b"", time.monotonic() + PATIENCE_S
        while (data := visit.recv(64 * 1024)) and time.monotonic() < deadline:
            answer = (answer + data)[:64]
        if not answer.startswith(b"HTTP/1."):
            raise ConnectionResetError(errno.ECONNRESET, "no answer")

    def _fails(self, error: OSError) -> None:
        self.count.failed += 1
        self._note(error)

    def _note(self, error: OSError) -> None:
        why = error.strerror or ("timed out" if isinstance(error, TimeoutError) else str(error))
        why = why[:1].lower() + why[1:]
        self.count.reasons[why] = self.count.reasons.get(why, 0) + 1

    def _connect(self) -> socket.socket:
        path = self._row.get("path")
        if path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(PATIENCE_S)
            with contextlib.ExitStack() as undo:
                undo.callback(made.close)
                self._connect_to(made, str(path))
                undo.pop_all()
            return made
        host = str(self._row.get("host") or "")
        return socket.create_connection((_ANY.get(host, host), int(self._row["port"])), PATIENCE_S)

    def _connect_to(self, made: socket.socket, path: str) -> None:
        """A full queue of a unix socket does not make wait: connect(2) says EAGAIN."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with unix_address(os.path.abspath(path)) as address:
                    made.connect(address)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(RETRY_S)
