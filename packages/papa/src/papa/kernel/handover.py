"""Connections over an upgrade: what the next incarnation must know to go on with each as if nothing had happened.

The one idea: the process stays, so its sockets may stay too. What one incarnation knows of a connection beside its
descriptor (bytes that came and were not understood yet, bytes that were not sent yet, what it owns, what it watches)
is little, and goes as JSON through a file in memory that has no name. Only code that says that it takes connections
in this format gets them: from any other they are taken away, as from a kernel that was killed.

A next incarnation that fails loses the connections, and nothing else.
"""

from __future__ import annotations

import os
import socket

from papa import jsontext
from papa.errors import PapaError
from papa.kernel import system
from papa.kernel.server import ENOUGH_QUEUED, Connection, Outcome
from papa.kernel.watch import Conversation, Viewer
from papa.wire.messages import Request
from papa.wire.session import ServerSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from papa.kernel.host import Host
    from papa.kernel.watch import Watch

#: Of what is handed over; a reader knows exactly one.
VERSION = 1

_WATCHES: dict[str, type[Conversation | Viewer]] = {"frames": Conversation, "lines": Viewer}


def pack(host: Host, asker: Connection, asked: int | None) -> tuple[int, list[int]]:
    """A file that says all, and the descriptors that must be kept with it.

    ``asker`` waits for the reply to its request ``asked``, which the next incarnation gives. Whoever left much
    unread, or descriptors, is not in it and comes again.
    """
    rows = []
    for connection in host.server.connections():
        unsent = connection.unsent()
        if connection.session.is_closed or unsent is None or len(unsent) > ENOUGH_QUEUED:
            continue
        owned = [process for process in host.table.processes.values() if process.connection is connection]
        rows.append(
            {
                "fd": connection.fileno(),
                "client": connection.client,
                "unsent": unsent.decode("latin-1"),
                "session": connection.session.pack(),
                "owns": [[process.id, process.owner, process.notices.pack()] for process in owned],
                "watch": _pack_watch(connection.watch),
                "asked": asked if connection is asker else None,
            }
        )
    file = os.memfd_create("papa-connections")
    with open(file, "wb", closefd=False) as stream:
        stream.write(jsontext.dumps({"version": VERSION, "connections": rows}).encode("ascii"))
    return file, [file, *(int(str(row["fd"])) for row in rows)]


def _pack_watch(watch: Watch | None) -> list[Any] | None:
    if watch is None:
        return None
    kind = next(name for name, of in _WATCHES.items() if isinstance(watch, of))
    return [kind, watch.pack()]


def take(host: Host, file: int) -> None:
    """Goes on with what pack() wrote. One that makes no sense is closed: its peer comes again."""
    with open(file, "rb") as stream:
        stream.seek(0)
        handed = jsontext.loads(stream.read())
    for row in handed["connections"]:
        connection = Connection(host.server, socket.socket(fileno=row["fd"]))
        if host.loop.contain(_resume, host, connection, row) is not None:
            connection.close()
    system.log(f"{len(handed['connections'])} connections go on")


def _resume(host: Host, connection: Connection, row: dict[str, Any]) -> None:
    connection.client = row["client"]
    connection.session = ServerSession.unpack(row["session"])
    host.server.readmit(connection)
    connection.resume(row["unsent"].encode("latin-1"))
    for number, owner, notices in row["owns"]:
        process = host.table.processes.get(number)
        if process is None:
            continue
        host.table.own(process, owner, connection)
        process.notices.unpack(notices)
        capture = host.pipes.captures.get(number)
        if capture is not None:
            host.pipes.reader_changed(capture)
    if row["watch"] is not None:
        kind, state = row["watch"]
        watch = _WATCHES[kind](host, connection, ())
        watch.unpack(state)
        connection.watch = watch
        host.news.watches.add(watch)
    if row["asked"] is not None:
        connection.finish(Request("upgrade", {}, id=row["asked"]), Outcome({}))


def refusal() -> PapaError:
    """What the asker is told when the exec failed."""
    return PapaError("the new code could not be executed", code="internal", hint="kernel.log says why")
