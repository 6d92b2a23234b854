"""What an upgrade hands over: each connection goes on or is closed, whatever its row says, and the others go on."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from papa.kernel import handover, system
from papa.wire.messages import Request
from tests.fuzz import shapes, stub

ROOMS = ("papa.kernel.handover", "papa.wire.session")
BOUNDS = ((system, "log", lambda _line: None),)
WORDS = [
    b'"client":', b'"unsent":', b'"session":', b'"owns":', b'"watch":', b'"asked":', b'"frames":', b'"text":',
    b'"line":', b'"cut":', b'"first":', b'"watching":', b'"watched":', b'"waiting":', b'"early":', b'"viewed":',
    b'"page":', b"null", b"true", b"1e999", b"-1", b"[]", b"{}", b'"\\u0100"', b'"lines"', b'"frames"', b'"x"',
]  # fmt: skip

_TEXT = {"text": "", "line": "list p", "cut": False, "first": False, "watching": ""}
_ROW = {"client": "circusd", "unsent": "", "session": {"frames": ""}, "owns": [], "watch": None, "asked": None}


_PAGE = {"width": 5, "date": "", "waiting": [["web", "out", 5, "abc"]], "going_on": [["web", "out"]]}
_ROWS: list[dict[str, Any]] = [
    {**_ROW, "owns": [[1, "me", [{"out": 5}, True]], [99, "me", [{}, False]]], "asked": 7},
    {**_ROW, "session": _TEXT, "unsent": "ab\xff"},
    {**_ROW, "session": {**_TEXT, "watching": "frames"},
     "watch": ["frames", {"watched": [[1, "web", {"out": 3}, False]], "waiting": True, "early": 2}]},
    {**_ROW, "session": {**_TEXT, "watching": "lines"},
     "watch": ["lines", {"viewed": [[1, "web", 64, {"out": 3}, {"out": 1}, {"out": 0}]], "page": _PAGE}]},
    {**_ROW, "session": {"frames": "\x05\0\0\0\0\0\0\0ab"}},
]  # fmt: skip


def seeds() -> list[bytes]:
    return [*(json.dumps(row).encode() for row in _ROWS), *shapes.seeds(_ROWS)]


def check(data: bytes) -> None:
    try:
        row = shapes.shape(data, _ROWS) if shapes.is_shape(data) else json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(row, dict):
        return
    ours, theirs = socket.socketpair()
    good, other = socket.socketpair()
    host = _Host()
    file = os.memfd_create("papa-fuzz")
    try:
        rows = [{**row, "fd": theirs.detach()}, {**_ROW, "fd": other.detach()}]
        os.write(file, json.dumps({"version": handover.VERSION, "connections": rows}).encode())
        handover.take(host, file)  # type: ignore[arg-type]
        _go_on(host)
    finally:
        ours.close()
        good.close()
        for connection in list(host.taken):
            connection.close()


def _go_on(host: _Host) -> None:
    assert host.taken[-1].is_open, "one that makes sense does not go on"
    for connection in host.taken:
        if connection.is_open:
            assert connection in host.readmitted and connection.fileno() in host.watched
            host.loop.contain(connection.session.feed, b"\xff\xf4ping\n")
            host.loop.contain(connection.session.next)
        else:
            assert connection not in host.readmitted and connection.fileno() == -1
            assert all(process.connection is not connection for process in host.table.processes.values())
            assert all(watch._connection is not connection for watch in host.news.watches)


class _Host(stub.Host):
    """With as much of a loop and a server as connections ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self.readmitted: set[Any] = set()
        self.watched: set[int] = set()
        self.faults = 0
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        self.loop = SimpleNamespace(
            contain=self._contain, after_turn=nothing, change=nothing,
            watch=lambda fd, *_: self.watched.add(fd), forget=self.watched.discard,
        )  # fmt: skip
        self.performer = SimpleNamespace(on_gone=self._on_gone, perform=nothing)
        self.server = SimpleNamespace(
            loop=self.loop, performer=self.performer, readmit=self.readmitted.add, forget=self.readmitted.discard,
            doorstep=SimpleNamespace(tell=nothing),
        )  # fmt: skip

    def _contain(self, callback: Callable[..., object], *args: Any) -> Exception | None:
        if callback is handover._resume:
            self.taken.append(args[1])
        try:
            callback(*args)
        except Exception as error:
            self.faults += 1
            return error
        return None

    def _on_gone(self, connection: Any) -> None:
        if connection.watch is not None:
            self.news.watches.discard(connection.watch)
            connection.watch = None
        self.table.disown(connection)

    def finish(self, _request: Request) -> None:
        pass
