"""What each operation does: arguments checked, the host asked, the reply composed.

The one idea: an operation is one method that takes the connection and the arguments and gives an Outcome, or
raises a PapaError; it either happens as a whole or not at all. Who may come in at all was decided when the
connection was accepted.

How the host performs what is asked does not belong here.
"""

from __future__ import annotations

import os

import papa
from papa import model
from papa.core import index, table
from papa.core.commit import Commit, parse_seen
from papa.errors import PapaError
from papa.kernel import status
from papa.kernel.reexec import Target
from papa.kernel.server import Outcome
from papa.kernel.watch import Conversation, Viewer
from papa.wire import frames, text_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from papa.core.entries import Process, Socket
    from papa.kernel.host import Host
    from papa.kernel.server import Connection
    from papa.kernel.watch import Watch
    from papa.wire.messages import Request

    Args = Mapping[str, Any]

PROTOCOL = 1

#: What a client may call itself; it is shown in the status.
MAX_CLIENT = 128


class Commands:
    """All operations on one host."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def perform(self, connection: Connection, request: Request) -> Outcome | None:
        """Carries a request out; None: it is answered later, through ``connection.finish``."""
        operation = _OPERATIONS.get(request.op)
        if operation is None or (request.op in _OF_TEXT and connection.session.is_framed):
            known = ", ".join(sorted(_OPERATIONS.keys() - _OF_TEXT))
            raise PapaError(f"there is no operation {request.op!r}", hint=f"there are {known}")
        return operation(self, connection, request)

    def on_gone(self, connection: Connection) -> None:
        """A connection ended: what it owned has no reader any more."""
        self._host.disown(connection)

    # --- the kernel itself ---------------------------------------------------------------------------------

    def _hello(self, connection: Connection, request: Request) -> Outcome:
        client = request.args.get("client", "")
        if not isinstance(client, str) or len(client) > MAX_CLIENT or not client.isprintable():
            raise model.bad("client", f"must be printable text of at most {MAX_CLIENT} letters")
        connection.client = client
        host = self._host
        return Outcome(
            {
                "papa": papa.__version__,
                "protocol": PROTOCOL,
                "pid": os.getpid(),
                "instance": host.instance,
                "tier": host.tier,
                "boot_id": host.boot_id,
            }
        )

    def _ping(self, _connection: Connection, _request: Request) -> Outcome:
        return Outcome({})

    def _status(self, _connection: Connection, _request: Request) -> Outcome:
        return Outcome(status.describe(self._host))

    def _exit(self, connection: Connection, request: Request) -> Outcome:
        running = self._host.running
        if not connection.session.is_framed or _flag(request.args, "alone"):
            self._host.exit_when_alone()
            connection.after_sent(connection.close)
            return Outcome({})
        self._host.prepare_exit(is_forced=_flag(request.args, "force"))
        # After this turn, in which the reply is queued; then once it is sent.
        self._host.loop.after_turn(lambda: connection.after_sent(self._host.exit))
        hint = f"{running} processes are left alone: nobody reads their output" if running else ""
        return Outcome({"running": running, "hint": hint})

    def _upgrade(self, connection: Connection, request: Request) -> None:
        is_check = _flag(request.args, "check")
        target = Target.parse(request.args)

        def on_checked(error: PapaError | None) -> None:
            if error is not None:
                connection.finish(request, error)
                return
            if is_check:
                connection.finish(request, Outcome({}))
            else:
                # Who takes over answers.
                self._host.upgrade(target, connection, request)

        self._host.check_upgrade(target, on_checked)

    # --- processes -----------------------------------------------------------------------------------------

    def _spawn(self, connection: Connection, request: Request) -> Outcome:
        args = request.args
        spec = model.ProcessSpec.parse(args)
        try:
            process, is_new = self._host.spawn(
                spec, supersede=bool(args.get("supersede")), finds_dead=bool(args.get("finds_dead"))
            )
        except PapaError as error:
            raise self._taken(connection, "Process", spec.name, error) from None
        if args.get("owner") is not None:
            self._host.own(process, args["owner"], connection)
        row = process.row()
        if not is_new:
            row["existing"] = True
        if request.watch:
            self._start_watch(connection, Conversation(self._host, connection, [process]))
        return Outcome(row, fds=self._descriptors(connection, args, process))

    def _attach(self, connection: Connection, request: Request) -> Outcome:
        args = request.args
        socket = self._host.table.sockets.get(args["id"]) if isinstance(args.get("id"), int) else None
        if socket is not None:
            return self._attach_socket(connection, args, socket)
        process = self._host.table.process(args.get("id"))
        if args.get("owner") is not None:
            self._host.own(process, model.check_name(args["owner"], "owner"), connection)
        return Outcome(process.row(), fds=self._descriptors(connection, args, process))

    def _attach_socket(self, connection: Connection, args: Args, socket: Socket) -> Outcome:
        if args.get("owner") is not None:
            raise model.bad("owner", "makes no sense for a socket")
        if not _flag(args, "fds") or not connection.is_unix:
            return Outcome(socket.row())
        return Outcome(socket.row(), fds=[("socket", os.dup(self._host.listening[socket.id][0]))])

    def _descriptors(self, connection: Connection, args: Args, process: Process) -> list[tuple[str, int]]:
        if not _flag(args, "fds") or not connection.is_unix:
            return []
        return self._host.open_for_client(process)

    def _read(self, _connection: Connection, request: Request) -> Outcome:
        args = request.args
        process = self._host.table.process(args.get("id"))
        stream = model.check_stream(args.get("stream"))
        capture = self._host.pipes.captures.get(process.id)
        if capture is None or stream not in capture.files:
            raise PapaError(f"process {process.id} has no output {stream} that is kept")
        kept = capture.output.streams[stream]
        offset = max(kept.low, model.check_integer(args.get("offset", 0), "offset", 0, model.MAX_OFFSET))
        limit = model.check_integer(args.get("limit", frames.MAX_BODY), "limit", 0, frames.MAX_BODY)
        end = max(offset, min(kept.head, offset + limit))
        body = os.pread(capture.files[stream], end - offset, offset)
        records = capture.read_index(capture.output.first, capture.output.index_bytes)
        return Outcome(
            {
                "offset": offset,
                "head": kept.head,
                "low": kept.low,
                "stamps": index.stamps_between(records, stream, kept.head, offset, end),
            },
            body=body,
        )

    def _watch(self, connection: Connection, request: Request) -> Outcome:
        processes = self._host.table.find_processes(request.args.get("names"))
        if not processes:
            raise PapaError("Nothing to watch")
        kind = Viewer if request.args.get("lines") else Conversation
        self._start_watch(connection, kind(self._host, connection, processes))
        return Outcome({"count": len(processes)})

    def _start_watch(self, connection: Connection, watch: Watch) -> None:
        connection.watch = watch
        self._host.news.watches.add(watch)

    def _watch_next(self, connection: Connection, request: Request) -> Outcome:
        assert connection.watch is not None
        is_interrupted = bool(request.args.get("interrupted"))
        is_over = is_interrupted or connection.watch.next(is_stopped=bool(request.args.get("stop")))
        if is_over:
            self._host.news.watches.discard(connection.watch)
            connection.watch = None
        return Outcome({"is_over": is_over})

    def _bounds(self, connection: Connection, request: Request) -> Outcome:
        bounds = model.check_bounds(request.args.get("bounds"))
        self._host.set_bounds(request.args.get("id"), bounds, connection)
        return Outcome({})

    # --- commits and values --------------------------------------------------------------------------------

    def _commit(self, connection: Connection, request: Request) -> Outcome:
        self._host.commit(Commit.parse(request.args), connection)
        return Outcome({})

    def _more(self, connection: Connection, request: Request) -> Outcome:
        self._host.rearm(parse_seen(request.args), connection)
        return Outcome({})

    def _set(self, connection: Connection, request: Request) -> Outcome:
        commit = Commit()
        name = model.check_name(request.args.get("name"))
        commit.values = {name: model.check_value(request.args.get("value"))}
        self._host.commit(commit, connection)
        return Outcome({})

    def _get(self, _connection: Connection, request: Request) -> Outcome:
        name = model.check_name(request.args.get("name"))
        return Outcome({"value": self._host.ledger.values.get(name)})

    # --- all kinds -----------------------------------------------------------------------------------------

    def _list(self, connection: Connection, request: Request) -> Outcome:
        args = request.args
        rows, has_more = self._host.table.rows(
            args.get("what"),
            args.get("patterns"),
            self._host.ledger.values,
            after=args.get("after"),
            budget=table.LIST_BYTES if connection.session.is_framed else None,
        )
        return Outcome({"items": rows, "more": has_more})

    def _remove(self, connection: Connection, request: Request) -> Outcome:
        args = request.args
        what, names, ids = args.get("what"), args.get("names"), args.get("ids")
        if not names and not ids:
            raise PapaError("nothing is named to be removed", hint="name it, or say * for all")
        if what == table.PROCESSES:
            processes = self._host.table.find_processes(names, ids or ())
            self._host.remove_processes(processes)
            return Outcome({"removed": len(processes)})
        if what == table.SOCKETS:
            sockets = self._host.table.find_sockets(names, ids or ())
            self._host.remove_sockets(sockets)
            return Outcome({"removed": len(sockets)})
        if what != table.VALUES:
            raise model.bad("what", "must be processes, sockets or values")
        if ids:
            raise model.bad("ids", "cannot be said of values")
        found = table.find_values(self._host.ledger.values, names)
        commit = Commit()
        commit.values = dict.fromkeys(found)
        self._host.commit(commit, connection)
        return Outcome({"removed": len(found)})

    def _listen(self, connection: Connection, request: Request) -> Outcome:
        spec = model.SocketSpec.parse(request.args)
        try:
            socket, is_new = self._host.listen(spec)
        except PapaError as error:
            raise self._taken(connection, "Socket", spec.name, error) from None
        row = socket.row()
        if not is_new:
            row["existing"] = True
        return Outcome(row)

    def _taken(self, connection: Connection, kind: str, name: str, error: PapaError) -> PapaError:
        """A name that is taken, said in text as papa 1.x says it; any other error as it is."""
        if "id" not in error.details or connection.session.is_framed:
            return error
        table, number = self._host.table, error.details["id"]
        row = (table.process(number) if kind == "Process" else table.find_sockets((), [number])[0]).row()
        # A unix socket's path may be taken by a socket of another name.
        taken = name if row["name"] == name else row["path"]
        return PapaError(f"{kind} for {taken} has already been created - {text_reply.render_row(row)}")


def _flag(args: Args, key: str) -> bool:
    value = args.get(key) or False
    if not isinstance(value, bool):
        raise model.bad(key, "must be true or false")
    return value


#: What frames have no use for.
_OF_TEXT = frozenset(("watch", "watch-next"))

_OPERATIONS = {
    "attach": Commands._attach,
    "bounds": Commands._bounds,
    "commit": Commands._commit,
    "exit": Commands._exit,
    "get": Commands._get,
    "hello": Commands._hello,
    "list": Commands._list,
    "listen": Commands._listen,
    "more": Commands._more,
    "ping": Commands._ping,
    "read": Commands._read,
    "remove": Commands._remove,
    "set": Commands._set,
    "spawn": Commands._spawn,
    "status": Commands._status,
    "upgrade": Commands._upgrade,
    "watch": Commands._watch,
    "watch-next": Commands._watch_next,
}
