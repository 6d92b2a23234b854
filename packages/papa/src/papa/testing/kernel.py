"""An in-memory kernel: the rules of the real one without processes, sockets and system calls.

One idea: what is decided (names, owners, commits, notices, what is dropped) is decided by `papa.core`, the same
code as in the real kernel; this room only plays the world around it. The conformance suite holds both to the same
answers.

Not here: the client's face (`papa.testing.face`), the files of streams (`papa.testing.files`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from papa import __version__, model
from papa.client.reply import Reply
from papa.core import commit as commits
from papa.core.entries import Process, Socket
from papa.core.journal import Ledger
from papa.core.output import Bounds, Output
from papa.core.table import PROCESSES, SOCKETS, VALUES, Table, find_values
from papa.errors import PapaError
from papa.testing.clock import FakeClock
from papa.testing.doors import Doors
from papa.testing.files import OutputFiles
from papa.testing.line import Line
from papa.wire.frames import MAX_BODY

#: Beyond the largest pid that Linux gives (2**22): a signal sent by mistake hits nobody.
FIRST_PID = 5_000_000

#: Where the numbers of pretended ports and descriptors begin.
FIRST_PORT = 50_000
FIRST_FILENO = 100

_HELLO = {"papa": __version__, "protocol": 1, "pid": 1, "instance": "fake", "tier": "fake", "boot_id": "fake"}

_SOCKET_REFERENCE = re.compile(r"\$\(socket\.(.+?)\.(?:fileno|port)\)")

#: What a parent learns of a child that has used nothing and left no core.
NO_USE = {"core": False, "user_s": 0.0, "system_s": 0.0, "max_rss": 0, "major_faults": 0}


class FakeKernel:
    """The state of a fake kernel. Its files lie in a directory of their own, which `close` removes."""

    def __init__(self, directory: str | None = None, *, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.clock.on_advance(self._pump)
        self.spawns: list[dict[str, Any]] = []
        self.commits: list[dict[str, Any]] = []
        self.spawn_errors: list[PapaError] = []
        self._directory = tempfile.mkdtemp(prefix="papa-fake-", dir=directory)
        self._table = Table()
        self._ledger = Ledger([{"secret": "00" * 32}])
        self._files: dict[int, OutputFiles] = {}
        #: Processes that ended while a full buffer kept their last output in the pipe.
        self._ending: dict[int, int] = {}
        self._lines: list[Line] = []
        self._doors = Doors()
        self._has_left = False
        self._last_pid = FIRST_PID - 1
        self._last_port = FIRST_PORT - 1
        self._last_fileno = FIRST_FILENO - 1

    def close(self) -> None:
        """Remove every file. Idempotent."""
        for files in self._files.values():
            files.close()
        self._files.clear()
        self._doors.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    # -- connections ---------------------------------------------------------------------------------------

    def open_line(self, on_queued: Callable[[], None], on_end: Callable[[], None]) -> Line:
        """A connection. Raises: PapaError unreachable when the kernel was told to exit."""
        if self._has_left:
            raise PapaError("the kernel has left", code="unreachable")
        line = Line(on_queued, on_end)
        self._lines.append(line)
        return line

    def close_line(self, line: Line) -> None:
        """The connection ends: what it owned belongs to nobody."""
        if line in self._lines:
            self._lines.remove(line)
            line.events.clear()
            self._table.disown(line)
            self._pump()

    def perform(self, line: Line, op: str, args: Mapping[str, Any]) -> Reply:
        """Carry out one request. Raises: PapaError, as the kernel would answer it."""
        reply = self._answer(line, op, json.loads(json.dumps(args)))
        self._notify()
        return Reply(json.loads(json.dumps(reply.ok)), reply.body, reply.fds)

    def _answer(self, line: Line, op: str, args: dict[str, Any]) -> Reply:
        match op:
            case "hello":
                return Reply(dict(_HELLO))
            case "ping":
                return Reply({})
            case "spawn":
                return self._spawn(line, args)
            case "attach":
                return self._attach(line, args)
            case "list":
                return self._list(args)
            case "remove":
                return self._remove(args)
            case "listen":
                return self._listen(args)
            case "bounds":
                self._table.set_bounds(args.get("id"), model.check_bounds(args.get("bounds")), line)
                return Reply({})
            case "commit":
                return self._commit(line, args)
            case "more":
                self._rearm(line, commits.parse_seen(args))
                return Reply({})
            case "read":
                return self._read(args)
            case "set":
                return self._set(args)
            case "get":
                return Reply({"value": self._ledger.values.get(model.check_name(args.get("name")))})
            case "status":
                return self._status()
            case "exit":
                return self._exit(line, args)
        raise PapaError(f"there is no operation {op!r}", code="bad-request")

    # -- the world, played by a test -----------------------------------------------------------------------

    def write(self, which: int | str, stream: str, data: bytes) -> int:
        """The process (or a grandchild that holds the pipe) writes; the stream's head afterwards."""
        process = self._find(which)
        files = self._files.get(process.id)
        if files is None or stream not in files.pipes:
            return 0  # goes to /dev/null, or the process was removed
        if not files.output.streams[stream].is_open:
            raise ValueError(f"{process!r}: nobody holds {stream} open any more")
        files.write(stream, data)
        self._notify()
        return files.output.streams[stream].head

    def end(
        self,
        which: int | str,
        status: int = 0,
        *,
        keep_open: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """The process ends; its streams too, unless a grandchild keeps them open. ``facts``: of its use and core."""
        process = self._find(which)
        if not process.is_running or process.id in self._ending:
            raise ValueError(f"{process!r} has ended already")
        self._ending[process.id] = status
        process.exit_facts = {**NO_USE, **(facts or {})}
        if not keep_open:
            self._end_streams(process, model.STREAMS)
        self._pump()

    def eof(self, which: int | str, stream: str | None = None) -> None:
        """The last writer of the stream (None: of every stream) is gone."""
        self._end_streams(self._find(which), model.STREAMS if stream is None else (stream,))
        self._pump()

    def drop_oldest(self, which: int | str, stream: str, count: int) -> None:
        """Drop bytes that nobody acknowledged, as a full buffer would."""
        process = self._find(which)
        self._files[process.id].drop_oldest(stream, count)
        self._pump()

    def row(self, which: int | str) -> dict[str, Any]:
        """One process as a client sees it."""
        row: dict[str, Any] = json.loads(json.dumps(self._find(which).row()))
        return row

    def rows(self) -> list[dict[str, Any]]:
        """All processes, also those without a name."""
        return [self.row(process_id) for process_id in self._table.processes]

    def _find(self, which: int | str) -> Process:
        if isinstance(which, int):
            return self._table.processes[which]
        return self._table.find_processes([which])[0]

    # -- what follows from what ----------------------------------------------------------------------------

    def _end_streams(self, process: Process, streams: tuple[str, ...]) -> None:
        files = self._files.get(process.id)
        for stream in streams if files is not None else ():
            if files is not None and stream in files.pipes:
                files.end(stream)

    def _pump(self) -> None:
        """Take what may be taken now, tell of what is due, and let go of entries that are over."""
        for process in list(self._table.processes.values()):
            files = self._files.get(process.id)
            if files is not None:
                files.pump()
                self._notify()
                for stream in files.take_ended():
                    self._tell(process, "eof", {"stream": stream, "head": files.output.streams[stream].head})
            if process.id in self._ending and not (files and any(files.pipes.values())):
                self._table.end(process, self._ending.pop(process.id), self.clock.wall())
                self._tell_exit(process)
            self._settle(process)
        self._notify()

    def _notify(self) -> None:
        for process in self._table.processes.values():
            heads = process.output.heads if process.output is not None else {}
            if isinstance(process.connection, Line) and process.notices.is_due(heads):
                item = [process.id, *process.notices.take(heads)]
                process.connection.push("output", {"items": [item]})

    def _tell(self, process: Process, name: str, fields: dict[str, Any]) -> None:
        if isinstance(process.connection, Line):
            process.connection.push(name, {"id": process.id, **fields})

    def _tell_exit(self, process: Process) -> None:
        if process.exit is not None and not process.is_exit_acked:
            heads = process.output.heads if process.output is not None else {}
            self._tell(process, "exit", {**process.end_row(), "heads": heads})

    def _settle(self, process: Process) -> None:
        if process.is_over:
            self._table.forget_process(process)
            self._ledger.forget(process.id)
            self._close_files(process)

    def _close_files(self, process: Process) -> None:
        files = self._files.pop(process.id, None)
        if files is not None:
            files.close()

    def _take_id(self) -> int:
        reservation = self._ledger.reservation()
        if reservation is not None:
            self._ledger.apply(reservation)
        return self._ledger.take_id()

    # -- operations ----------------------------------------------------------------------------------------

    def _spawn(self, line: Line, args: dict[str, Any]) -> Reply:
        spec = model.ProcessSpec.parse(args)
        digest = spec.digest(bytes.fromhex(self._ledger.secret))
        how = {key: args.get(key, False) for key in ("supersede", "finds_dead")}
        process = self._table.admit_process(spec.name, digest, **how)
        is_new = process is None
        if process is None:
            predecessor = self._table.named(spec.name) if how["finds_dead"] else None
            process = self._start(spec, digest)
            self.spawns.append(args)
            if predecessor is not None and predecessor.is_exit_acked:
                self._remove({"what": PROCESSES, "ids": [predecessor.id]})
        if args.get("owner") is not None:
            self._table.own(process, args["owner"], line)
        return Reply(
            process.row() if is_new else {**process.row(), "existing": True}, fds=self._open_fds(process, args)
        )

    def _start(self, spec: model.ProcessSpec, digest: str) -> Process:
        named = [name for word in spec.argv for name in _SOCKET_REFERENCE.findall(word)]
        for name in (*named, *spec.sockets, *([spec.stdin] if spec.stdin is not None else [])):
            self._table.socket(name)
        if self.spawn_errors:
            raise self.spawn_errors.pop(0)
        output = None
        if spec.captured:
            output = Output(spec.captured, Bounds.of_spec(spec))
        self._last_pid += 1
        process = Process(
            self._take_id(),
            spec.name,
            argv=spec.argv,
            digest=digest,
            pid=self._last_pid,
            start_ticks=round(self.clock.now() * 100),
            started_at=self.clock.wall(),
            meta=spec.meta,
            uid=spec.uid,
            gid=spec.gid,
            output=output,
        )
        if output is not None:
            directory = os.path.join(self._directory, str(process.id))
            self._files[process.id] = OutputFiles(directory, output, self.clock)
        self._table.add_process(process)
        return process

    def _open_fds(self, process: Process, args: dict[str, Any]) -> dict[str, int]:
        files = self._files.get(process.id)
        return files.open_readers() if args.get("fds") and files is not None else {}

    def _attach(self, line: Line, args: dict[str, Any]) -> Reply:
        socket = self._table.sockets.get(args["id"]) if isinstance(args.get("id"), int) else None
        if socket is not None:
            if args.get("owner") is not None:
                raise model.bad("owner", "makes no sense for a socket")
            return Reply(socket.row(), fds={"socket": os.dup(self._doors.of(socket.id))} if args.get("fds") else {})
        process = self._table.process(args.get("id"))
        if args.get("owner") is not None:
            self._table.own(process, model.check_name(args["owner"], "owner"), line)
            self._tell_exit(process)
        return Reply(process.row(), fds=self._open_fds(process, args))

    def _list(self, args: dict[str, Any]) -> Reply:
        rows, has_more = self._table.rows(
            args.get("what"), args.get("patterns"), self._ledger.values, after=args.get("after")
        )
        return Reply({"items": rows, "more": has_more})

    def _remove(self, args: dict[str, Any]) -> Reply:
        what, names, ids = args.get("what"), args.get("names") or [], args.get("ids") or []
        if not names and not ids:
            raise PapaError("neither names nor ids say what to remove", code="bad-request", hint='"*" means all')
        if what == PROCESSES:
            processes = self._table.find_processes(names, ids)
            for process in processes:
                self._table.remove_process(process)
                self._close_files(process)
                self._settle(process)
            return Reply({"removed": len(processes)})
        if what == SOCKETS:
            sockets = self._table.find_sockets(names, ids)
            for socket in sockets:
                self._table.forget_socket(socket)
                self._doors.remove(socket.id)
            return Reply({"removed": len(sockets)})
        if what == VALUES and not ids:
            gone = find_values(self._ledger.values, names)
            self._ledger.apply({"values": dict.fromkeys(gone)})
            return Reply({"removed": len(gone)})
        raise model.bad("what", f"must be {PROCESSES}, {SOCKETS} or {VALUES} (which have no ids), not {what!r}")

    def knock(self, name: str) -> None:
        """Somebody connects to the socket of that name."""
        self._doors.knock(self._table.socket(name).id)

    def answer(self, name: str) -> None:
        """Whoever serves the socket of that name accepts all who wait."""
        self._doors.answer(self._table.socket(name).id)

    def _listen(self, args: dict[str, Any]) -> Reply:
        spec = model.SocketSpec.parse(args)
        existing = self._table.admit_socket(spec)
        if existing is not None:
            return Reply({**existing.row(), "existing": True})
        port = spec.port
        if port == 0:
            self._last_port += 1
            port = self._last_port
        self._last_fileno += 1
        socket = Socket(self._take_id(), spec, port=port, fileno=self._last_fileno)
        self._table.add_socket(socket)
        return Reply(socket.row())

    def _commit(self, line: Line, args: dict[str, Any]) -> Reply:
        commit = commits.Commit.parse(args)
        self._ledger.check_values(commit.values)
        self._table.check_commit(commit, line)
        record = commit.record()
        if record is not None:
            self._ledger.apply(record)
        for process in self._table.apply_commit(commit):
            if process.id in self._files:
                self._files[process.id].trim()
        self.commits.append(args)
        self._rearm(line, commit.seen)
        self._pump()
        return Reply({})

    def _rearm(self, line: Line, seen: Mapping[int, Mapping[str, int | None]]) -> None:
        for process_id, offsets in seen.items():
            process = self._table.processes.get(process_id)
            if process is not None and process.connection is line:
                process.notices.rearm(offsets)

    def _read(self, args: dict[str, Any]) -> Reply:
        process = self._table.process(args.get("id"))
        stream = model.check_stream(args.get("stream"))
        offset = model.check_integer(args.get("offset"), "offset", 0, model.MAX_OFFSET)
        limit = model.check_integer(args.get("limit"), "limit", 0, MAX_BODY)
        files = self._files.get(process.id)
        if files is None or stream not in files.pipes:
            raise PapaError(f"the stream {stream!r} is not captured", code="bad-request")
        state = files.output.streams[stream]
        offset = min(max(offset, state.low), state.head)
        body = files.pread(stream, offset, limit)
        stamps = files.stamps(stream, offset, offset + len(body))
        return Reply({"offset": offset, "head": state.head, "low": state.low, "stamps": stamps}, body)

    def _set(self, args: dict[str, Any]) -> Reply:
        values = {model.check_name(args.get("name")): model.check_value(args.get("value"))}
        self._ledger.check_values(values)
        self._ledger.apply({"values": values})
        return Reply({})

    def _status(self) -> Reply:
        processes = self._table.processes.values()
        outputs = [process.output for process in processes if process.output is not None]
        return Reply(
            {
                **_HELLO,
                "holder": None,
                "uptime_s": self.clock.now(),
                "started_at": self.clock.wall(),
                "rss_bytes": 0,
                "processes": len(processes),
                "running": sum(process.is_running for process in processes),
                "sockets": len(self._table.sockets),
                "values": len(self._ledger.values),
                "file_system": {"size_bytes": 1 << 40, "free_bytes": 1 << 40, "problems": []},
                "held_bytes": sum(output.held for output in outputs),
                "dropped_bytes": sum(output.dropped for output in outputs),
                "not_covered": 0,
                "not_covered_reasons": [],
                "left_aside": [],
            }
        )

    def _exit(self, line: Line, args: dict[str, Any]) -> Reply:
        if not args.get("force") and (self._table.processes or self._table.sockets or self._ledger.values):
            raise PapaError("not idle: there are processes, sockets or values", code="busy")
        if args.get("alone") and self._lines != [line]:
            line.on_end()
            return Reply({})
        self._has_left = True
        for other in list(self._lines):
            other.on_end()
        return Reply({})
