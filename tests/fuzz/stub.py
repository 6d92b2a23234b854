"""A kernel without a system for `papa.kernel.commands`: the real table, ledger and output, and nothing that they cause.

It starts no process and opens no socket: what is asked for just appears in the table.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from papa import model
from papa.core.entries import Process, Socket
from papa.core.journal import Ledger
from papa.core.output import Output
from papa.core.table import Table
from papa.errors import PapaError
from papa.kernel.commands import Commands
from papa.kernel.server import Outcome
from papa.wire.messages import Request
from papa.wire.session import ServerSession

_SOCKET = model.SocketSpec.parse({"name": "front", "host": "127.0.0.1"})


class Host:
    """What commands and watches ask of papa.kernel.host.Host."""

    def __init__(self) -> None:
        self.table, self.ledger = Table(), Ledger([{"next": 100, "secret": "00" * 32, "values": {"v": "1"}}])
        self.instance, self.tier, self.boot_id, self.running = "default", "pidfd", "boot", 1
        self.pipes = SimpleNamespace(captures={}, reader_changed=lambda _capture: None)
        gallery = SimpleNamespace(look_later=lambda _watch: None, spent=0)
        self.news = SimpleNamespace(watches=set(), gallery=gallery)
        self.loop = SimpleNamespace(after_turn=lambda _callback: None)
        for number, name, status in ((1, "web", None), (2, "done", 3)):
            process = Process(
                number, name, argv=["x"], digest="d", pid=number, start_ticks=1, started_at=1.5,
                output=Output(("out", "err")),
            )  # fmt: skip
            process.output.add("out", 100)  # type: ignore[union-attr]
            process.exit = None if status is None else (status, 2.5)
            self.table.add_process(process)
        self.table.add_socket(Socket(3, _SOCKET, port=80, fileno=100))

    def spawn(self, spec: model.ProcessSpec, *, supersede: bool, finds_dead: bool) -> tuple[Process, bool]:
        digest = spec.digest(bytes.fromhex(self.ledger.secret))
        existing = self.table.admit_process(spec.name, digest, supersede=supersede, finds_dead=finds_dead)
        if existing is not None:
            return existing, False
        process = Process(
            self._new_id(), spec.name, argv=spec.argv, digest=digest, pid=7, start_ticks=1, started_at=1.5,
            meta=spec.meta, uid=spec.uid, gid=spec.gid, output=Output(spec.captured),
        )  # fmt: skip
        self.table.add_process(process)
        return process, True

    def listen(self, spec: model.SocketSpec) -> tuple[Socket, bool]:
        existing = self.table.admit_socket(spec)
        if existing is not None:
            return existing, False
        socket = Socket(self._new_id(), spec, port=spec.port, fileno=101)
        self.table.add_socket(socket)
        return socket, True

    def _new_id(self) -> int:
        reservation = self.ledger.reservation()
        if reservation is not None:
            self.ledger.apply(reservation)
        return self.ledger.take_id()

    def own(self, process: Process, owner: str, connection: object) -> None:
        self.table.own(process, owner, connection)

    def commit(self, commit: Any, connection: object) -> None:
        self.table.check_commit(commit, connection)
        self.ledger.check_values(commit.values)
        record = commit.record()
        if record is not None:
            self.ledger.apply(record)
        for process in self.table.apply_commit(commit):
            if process.is_over:
                self.table.forget_process(process)

    def rearm(self, seen: Any, connection: object) -> None:
        for number, offsets in seen.items():
            process = self.table.processes.get(number)
            if process is not None and process.connection is connection:
                process.notices.rearm(offsets)

    def remove_processes(self, processes: list[Process]) -> None:
        for process in processes:
            self.table.remove_process(process)
            if process.is_over:
                self.table.forget_process(process)

    def remove_sockets(self, sockets: list[Socket]) -> None:
        for socket in sockets:
            self.table.forget_socket(socket)

    def exit_when_alone(self) -> None:
        raise PapaError("not idle", code="busy")

    def prepare_exit(self, *, is_forced: bool) -> None:
        raise PapaError(f"busy, forced {is_forced}", code="busy")

    def check_upgrade(self, target: object, done: Any) -> None:
        done(PapaError(f"{target} cannot take over", code="busy"))


class Peer:
    """A connection without a socket: ``said`` is all that was sent."""

    def __init__(self, host: Host | None = None) -> None:
        self.host = host or Host()
        self.session = ServerSession()
        self.said: list[bytes] = []
        self.watch: Any = None
        self.client = ""
        self.is_open, self.is_unix = True, False

    def send(self, data: bytes) -> None:
        self.said.append(data)

    def after_sent(self, _callback: object) -> None:
        pass

    def perform(self, request: Request) -> None:
        """As papa.kernel.server does; whatever is no PapaError comes out."""
        if request.op == "status":
            # It tells of the system, which is not here.
            self.finish(request, Outcome({}))
            return
        try:
            outcome = Commands(self.host).perform(self, request)  # type: ignore[arg-type]
        except PapaError as error:
            self.finish(request, error)
            return
        if outcome is not None:
            self.finish(request, outcome)

    def finish(self, request: Request, outcome: Outcome | PapaError) -> None:
        if isinstance(outcome, PapaError):
            self.send(self.session.refuse(request, outcome))
        else:
            self.send(self.session.reply(request, outcome.ok, body=outcome.body))
