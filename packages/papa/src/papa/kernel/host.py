"""The host: everything that one kernel holds, put together, and the order in which things are made durable.

The one idea: each change has one moment in which it becomes true, and everything else derives from it and can
be done again by the next incarnation:

- A commit is true with its one write to the journal; low-water marks, holes and vanished entries follow.
- A process is hosted once its pipes lie in the vault and a record without a pid is written; then it is spawned;
  its pidfd goes to the vault and its pid into the record. A kernel killed between finds it by its pipes.
- An exit is true in the pidfd from the beginning; it leaves the vault only after the record has it.
- An entry is gone with its record; its files and the vault's descriptors follow.

Recovery is in papa.kernel.recovery, what clients may ask in papa.kernel.commands.
"""

from __future__ import annotations

import gc
import os
import time

from papa import model
from papa.core.entries import Socket
from papa.core.table import Table
from papa.errors import PapaError
from papa.kernel import recovery, sockets, system
from papa.kernel.arrears import Arrears
from papa.kernel.commands import Commands
from papa.kernel.coverage import Coverage
from papa.kernel.durable import Durable
from papa.kernel.loop import Loop
from papa.kernel.news import News
from papa.kernel.pipes import HOLES, Pipes
from papa.kernel.reaper import Reaper
from papa.kernel.server import Server
from papa.kernel.starting import Starter
from papa.kernel.state import JOURNAL, OUTPUT, PROCESSES, SOCKETS, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from papa.core.commit import Commit
    from papa.core.entries import Process
    from papa.core.journal import Ledger
    from papa.kernel.reexec import Target
    from papa.kernel.server import Connection
    from papa.kernel.vault import NoVault, Vault
    from papa.wire.messages import Request


class Host:
    """See the module. ``nofile`` is what processes get: the limits that the kernel was started with."""

    __slots__ = (
        "_admitted_at_exit", "_is_leaving", "_nofile", "_starter", "arrears", "boot_id", "coverage", "directory",
        "durable", "facts", "holder_pid", "instance", "listening", "loop", "names_aside", "news", "on_exit_request",
        "on_upgrade_check", "on_upgrade_go", "pidfds", "pipes", "reaper", "server", "started_at", "started_monotonic",
        "state", "table", "tier", "vault",
    )  # fmt: skip

    def __init__(
        self,
        directory: str,
        instance: str,
        vault: Vault | NoVault,
        *,
        tier: str,
        nofile: tuple[int, int],
        holder_pid: int | None = None,
    ) -> None:
        system.keep_to_ourselves()
        self.directory = directory
        self.instance = instance
        self.vault = vault
        self.tier = tier
        self.holder_pid = holder_pid
        self.boot_id = system.boot_id()
        self.loop = Loop(tier)
        self.state = State(directory)
        self.table = Table()
        self.news = News(self.loop, self.table)
        self.arrears = Arrears(self.loop, self._pay)
        self.pipes = Pipes(
            self.loop, self.state, vault, tier,
            on_output=self.news.output, on_eof=self._on_eof, arrears=self.arrears,
        )  # fmt: skip
        self.durable = Durable(self.state, self.boot_id, self.pipes.make_room, self.arrears, self.pipes.inodes_of)
        self.coverage = Coverage(self)
        self.reaper = Reaper(self.loop, tier, self._on_exit)
        self._starter = Starter(self, nofile)
        self._nofile = nofile
        self.server = Server(self.loop, Commands(self))
        self.started_monotonic, self.started_at = time.monotonic(), time.time()
        #: Descriptors of what lives: pidfds of processes; of sockets, with device and inode of unix files.
        self.pidfds: dict[int, int] = {}
        self.listening: dict[int, tuple[int, tuple[int, int] | None]] = {}
        #: Names in records that could not be read: who has them may be running.
        self.names_aside: set[str] = set()
        self._is_leaving = False
        #: Somebody asked for an exit once nobody is connected; how many had come in until then.
        self._admitted_at_exit = -1
        #: What others know about this kernel; part of the status.
        self.facts: dict[str, object] = {}
        self.on_exit_request: Callable[[], None] | None = None
        self.on_upgrade_check: Callable[[Target, Callable[[PapaError | None], None]], None] | None = None
        self.on_upgrade_go: Callable[[Target, Connection, Request], None] | None = None

    # --- life ----------------------------------------------------------------------------------------------

    @property
    def foreign_status(self) -> Callable[[int, int], int | None] | None:
        """Asks the holder how a process that it reaped ended: (pid, start ticks) to status, None: unknown."""
        return self.reaper.foreign_status

    @foreign_status.setter
    def foreign_status(self, ask: Callable[[int, int], int | None] | None) -> None:
        self.reaper.foreign_status = ask

    def recover(self) -> None:
        """Takes over what an earlier incarnation left. Raises: PapaError, OSError when it cannot be read."""
        # What is made here stays: to look for rubbish among it takes a seventh of the time.
        gc.disable()
        try:
            recovery.recover(self)
        finally:
            gc.enable()

    def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Lets clients in through these, which are bound and listening."""
        self.server.listen(listeners)
        self.pipes.reopening.open_later()
        self.coverage.pack_soon()

    def run(self) -> int:
        """Until leave(); returns its status."""
        return self.loop.run()

    def leave(self, status: int = 0) -> None:
        self.loop.stop(status)

    def close(self) -> None:
        """Closes connections, files and descriptors; processes, records and vault stay as they are."""
        self.server.close()
        self.pipes.close_all()
        for number in self.table.processes:
            self.reaper.forget(number)
        for pidfd in self.pidfds.values():
            os.close(pidfd)
        for fd, _ in self.listening.values():
            os.close(fd)
        self.pidfds.clear()
        self.listening.clear()
        self._starter.close()
        self.state.close()
        self.loop.close()

    @property
    def ledger(self) -> Ledger:
        """Acknowledgements and values."""
        return self.durable.ledger

    @property
    def is_idle(self) -> bool:
        return not (self.table.processes or self.table.sockets or self.ledger.values or self.state.aside)

    @property
    def running(self) -> int:
        return sum(process.is_running for process in self.table.processes.values())

    # --- processes -----------------------------------------------------------------------------------------

    def spawn(
        self, spec: model.ProcessSpec, *, supersede: bool = False, finds_dead: bool = False
    ) -> tuple[Process, bool]:
        """Starts a process; False: an equal one is there already, and is meant.

        Raises: PapaError exists, limit, not-found (a socket), spawn-failed; nothing is left behind.
        """
        self._refuse_if_leaving()
        if spec.name in self.names_aside:
            raise PapaError(
                f"a process {spec.name} is here, but its record cannot be read",
                code="exists",
                hint="papa status says why; a papa that can read it takes it over",
                details={"name": spec.name},
            )
        digest = spec.digest(bytes.fromhex(self.ledger.secret))
        existing = self.table.admit_process(spec.name, digest, supersede=supersede, finds_dead=finds_dead)
        if existing is not None:
            return existing, False
        predecessor = self.table.named(spec.name) if finds_dead else None
        process = self._starter.start(spec, digest)
        if predecessor is not None and predecessor.is_exit_acked:
            # Who knows it by its name only can never read what a child that it left may write yet.
            self.remove_processes([predecessor])
        return process, True

    def adopt(self, process: Process, pidfd: int | None) -> None:
        """Watches a process that runs, or ran until a moment ago."""
        if pidfd is not None:
            self.pidfds[process.id] = pidfd
        self.coverage.cover(process)
        self.reaper.add(process.id, process.pid, process.start_ticks, pidfd)

    def open_for_client(self, process: Process) -> list[tuple[str, int]]:
        """Descriptors for a client: the pidfd, and its output's files for reading. Raises: OSError."""
        opened: list[tuple[str, int]] = []
        try:
            if process.id in self.pidfds:
                opened.append(("pid", os.dup(self.pidfds[process.id])))
            capture = self.pipes.captures.get(process.id)
            names = () if capture is None else tuple(capture.files)
            opened.extend((name, self.state.open_output_for_reading(process.id, name)) for name in names)
        except OSError:
            for _, fd in opened:
                os.close(fd)
            raise
        return opened

    def remove_processes(self, processes: Iterable[Process]) -> None:
        """Nobody wants these any more: who lives is emptied into nothing until it ends."""
        for process in processes:
            self.table.remove_process(process)
            if process.is_running:
                self.durable.write_process(process)
            else:
                # Before its output goes: a record without its files would come back as a process that wrote nothing.
                self.durable.forget_process(process.id)
            capture = self.pipes.captures.get(process.id)
            if capture is not None:
                self.pipes.discard(capture)
            self.settle(process)
            self.news.watched(process.id)

    def settle(self, process: Process) -> None:
        """Lets the entry go if nothing is owed any more."""
        if not process.is_over:
            return
        self.table.forget_process(process)
        self.durable.forget_process(process.id)
        # Else kept for a next incarnation, where the record could not be told of the exit.
        self.vault.drop(f"p{process.id}")
        capture = self.pipes.captures.get(process.id)
        # One that is emptied into nothing goes when its last writer does: see _on_eof.
        if capture is not None and not capture.pipes:
            self.pipes.release(capture)

    # --- what happens --------------------------------------------------------------------------------------

    def _on_exit(self, number: int, status: int | None) -> None:
        process = self.table.processes[number]
        capture = self.pipes.captures.get(number)
        if capture is not None:
            # It is reaped and nothing will tell of its end again: whatever its output comes to, the exit counts.
            self.loop.contain(self.pipes.drain, capture)
        if status is None:
            self.coverage.tell(f"how process {number} ({process.name}, pid {process.pid}) ended: nobody saw it")
        self.table.end(process, status, time.time())
        is_recorded = self.durable.write_process(process)
        process.exit_facts = system.reap(process.pid)
        pidfd = self.pidfds.pop(number, None)
        if is_recorded:
            self.vault.drop(f"p{number}")
            self.coverage.try_again_soon()
        if pidfd is not None:
            os.close(pidfd)
        self.news.exit(process)
        self.settle(process)

    def _on_eof(self, number: int, stream: str) -> None:
        process = self.table.processes.get(number)
        capture = self.pipes.captures[number]
        if not capture.pipes:
            self.coverage.try_again_soon()
        if process is None:
            if not capture.pipes:
                self.pipes.release(capture)
            return
        if process.output is not None:
            self.news.eof(process, stream, process.output.heads[stream])
        if process.exit is not None and not capture.pipes and not process.is_over:
            # Of a pipe that outlived its process; else a next incarnation would look for whoever has it.
            self.durable.write_process(process)
        self.settle(process)

    def _pay(self, kind: str, number: int) -> None:
        """Does what the file system refused when it was due: see papa.kernel.arrears. Raises: OSError."""
        process = self.table.processes.get(number)
        if kind == HOLES:
            capture = self.pipes.captures.get(number)
            if capture is not None and not capture.is_discarding:
                self.pipes.give_back(capture)
        elif kind == OUTPUT:
            self.state.remove_output(number)
        elif kind == JOURNAL:
            self.durable.compact()
        elif kind == SOCKETS:
            self.state.sweep_record(SOCKETS, number)
        elif process is None:
            self.state.sweep_record(PROCESSES, number)
            self.state.remove_mark(number)
            self.ledger.forget(number)
        else:
            self.durable.write_new_process(process)
            self.state.remove_mark(number)
            if process.exit is not None:
                self.vault.drop(f"p{number}")
                self.coverage.try_again_soon()

    # --- owners and commits --------------------------------------------------------------------------------

    def own(self, process: Process, owner: str, connection: Connection) -> None:
        """Tells the connection of output and exit from now on. Raises: PapaError owned."""
        self.table.own(process, owner, connection)
        capture = self.pipes.captures.get(process.id)
        if capture is not None:
            self.pipes.reader_changed(capture)
            self.news.output(process.id)
        if process.exit is not None:
            # After the reply, from which the client learns of the process in the first place.
            self.loop.after_turn(lambda: self.news.exit(process))

    def set_bounds(self, number: object, by_stream: dict[str, list[Any]], connection: Connection) -> None:
        """How much of each stream is held from now on, and what happens then. Raises: PapaError owned, not-found."""
        process = self.table.set_bounds(number, by_stream, connection)
        self.durable.write_process(process)
        capture = self.pipes.captures.get(process.id)
        if capture is not None and process.output is not None:
            self.pipes.set_bounds(capture, process.output.bounds)

    def disown(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection.watch is not None:
            self.news.watches.discard(connection.watch)
            connection.watch = None
        for process in self.table.disown(connection):
            capture = self.pipes.captures.get(process.id)
            if capture is not None:
                self.pipes.reader_changed(capture)
        if self._admitted_at_exit >= 0:
            self.loop.after_turn(self._exit_if_alone)

    def commit(self, commit: Commit, connection: Connection) -> None:
        """Acknowledgements, exits and values in one step; then everything that derives from them.

        Raises: PapaError owned, overtaken, not-found, bad-request, limit; then nothing of it has happened.
        """
        self.table.check_commit(commit, connection)
        self.ledger.check_values(commit.values)
        record = commit.record()
        if record is not None:
            self.durable.commit(record)
        for process in self.table.apply_commit(commit):
            capture = self.pipes.captures.get(process.id)
            if capture is not None:
                self.pipes.after_acks(capture)
            self.settle(process)
        self.rearm(commit.seen, connection)

    def rearm(self, seen: Mapping[int, Mapping[str, int | None]], connection: Connection) -> None:
        """The owner has seen output so far; it wants to hear of more."""
        for number, offsets in seen.items():
            process = self.table.processes.get(number)
            if process is not None and process.connection is connection:
                process.notices.rearm(offsets)
                self.news.output(number)

    # --- sockets -------------------------------------------------------------------------------------------

    def listen(self, spec: model.SocketSpec) -> tuple[Socket, bool]:
        """Opens a socket; False: an equal one is open already, and is meant.

        Raises: PapaError exists, limit, listen-failed.
        """
        self._refuse_if_leaving()
        existing = self.table.admit_socket(spec)
        if existing is not None:
            return existing, False
        taken = [socket.fileno for socket in self.table.sockets.values()]
        fileno = sockets.next_number(taken, below=self._nofile[0])
        number = self.durable.new_number()
        opened = sockets.open_socket(spec)
        socket = Socket(number, spec, port=opened.port, fileno=fileno)
        try:
            self.durable.write_socket(socket, opened.file)
        except OSError:
            os.close(opened.fd)
            sockets.remove_file(spec.path, opened.file)
            raise
        self.listening[number] = opened.fd, opened.file
        self.coverage.cover_socket(socket)
        self.table.add_socket(socket)
        return socket, True

    def remove_sockets(self, removed: Iterable[Socket]) -> None:
        """Closes them here; a process that has one goes on serving it."""
        removed = list(removed)
        for socket in removed:
            self.table.forget_socket(socket)
            self.durable.forget_socket(socket.id)
        # All in one: the vault has to be turned once for it.
        self.vault.drop(*(f"s{socket.id}" for socket in removed))
        self.coverage.try_again_soon()
        for socket in removed:
            fd, file = self.listening.pop(socket.id)
            os.close(fd)
            sockets.remove_file(socket.spec.path, file)

    # --- the end of an incarnation -------------------------------------------------------------------------

    def _refuse_if_leaving(self) -> None:
        if self._is_leaving:
            raise PapaError("this kernel is about to exit", code="busy", hint="ask again: a new one starts")

    def exit_when_alone(self) -> None:
        """Leaves once nobody is connected, unless somebody comes until then. Raises: PapaError busy unless idle."""
        self._check_idle()
        self._admitted_at_exit = self.server.admitted

    def _exit_if_alone(self) -> None:
        if self._admitted_at_exit == self.server.admitted and not self.server.count and self.is_idle:
            self.exit()

    def prepare_exit(self, *, is_forced: bool) -> None:
        """From here on nothing new is hosted. Raises: PapaError busy unless idle or forced."""
        if not is_forced:
            self._check_idle()
        self._is_leaving = True

    def _check_idle(self) -> None:
        if not self.is_idle:
            raise PapaError(
                f"the kernel hosts {len(self.table.processes)} processes, {len(self.table.sockets)} sockets"
                f" and {len(self.ledger.values)} values; {len(self.state.aside)} files could not be read",
                code="busy",
                hint="remove them first, or force it: processes then run on with nobody to read their output",
            )

    def exit(self) -> None:
        """Removes what is in the directory, and leaves for good."""
        self.remove_sockets(list(self.table.sockets.values()))
        try:
            self.state.clear()
        except OSError as error:
            # Something of somebody else's lies there. It has been promised to leave.
            system.log(f"{self.directory} cannot be emptied: {error.strerror}")
        if self.on_exit_request is not None:
            self.on_exit_request()
        else:
            self.leave()

    def check_upgrade(self, target: Target, on_checked: Callable[[PapaError | None], None]) -> None:
        """Has new code tried out; ``on_checked`` is called once, with None if it can take over."""
        if self.on_upgrade_check is None:
            raise PapaError("this kernel cannot replace itself", code="busy", hint="it was started by hand")
        self.on_upgrade_check(target, on_checked)

    def upgrade(self, target: Target, asker: Connection, request: Request) -> None:
        """Lets new code take over, which answers. Returns when that failed: then this code carries on."""
        if self.on_upgrade_go is not None:
            self.on_upgrade_go(target, asker, request)
