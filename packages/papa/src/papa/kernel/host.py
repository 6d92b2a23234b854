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

import errno
import os
import time

import papa
from papa import model
from papa.core import journal
from papa.core.entries import Process, Socket
from papa.core.output import Bounds
from papa.core.table import Table
from papa.errors import PapaError
from papa.kernel import records, recovery, sockets, system
from papa.kernel.commands import Commands
from papa.kernel.loop import Loop
from papa.kernel.pipes import Pipes
from papa.kernel.reaper import Reaper
from papa.kernel.server import Server
from papa.kernel.spawn import Launcher
from papa.kernel.state import PROCESSES, SOCKETS, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from papa.core.commit import Commit
    from papa.kernel.pipes import Capture
    from papa.kernel.server import Connection
    from papa.kernel.vault import NoVault, Vault
    from papa.kernel.watch import Watch


class Host:
    """See the module. ``nofile`` is what processes get: the limits that the kernel was started with."""

    __slots__ = (
        "_is_leaving", "_launcher", "_nofile", "_noticed", "_server", "_started", "boot_id", "directory", "facts",
        "holder_pid", "instance", "ledger", "listening", "loop", "on_exit_request", "on_upgrade_check",
        "on_upgrade_go", "pidfds", "pipes", "reaper", "state", "table", "tier", "vault", "watches",
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
        self.ledger = journal.Ledger()
        self.table = Table()
        self.pipes = Pipes(self.loop, self.state, vault, tier, on_output=self._on_output, on_eof=self._on_eof)
        self.reaper = Reaper(self.loop, tier, self._on_exit)
        self._launcher = Launcher(nofile)
        self._nofile = nofile
        self._server = Server(self.loop, Commands(self))
        self._started = time.monotonic(), time.time()
        #: Descriptors of what lives: pidfds of processes; of sockets, with device and inode of unix files.
        self.pidfds: dict[int, int] = {}
        self.listening: dict[int, tuple[int, tuple[int, int] | None]] = {}
        #: Processes with output that their owner may not have been told of.
        self._noticed: set[int] = set()
        #: People who watch; told of everything that their processes do.
        self.watches: set[Watch] = set()
        self._is_leaving = False
        #: What others know about this kernel; part of the status.
        self.facts: dict[str, object] = {}
        self.on_exit_request: Callable[[], None] | None = None
        self.on_upgrade_check: Callable[[Callable[[PapaError | None], None]], None] | None = None
        self.on_upgrade_go: Callable[[], None] | None = None

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
        recovery.recover(self)

    def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Lets clients in through these, which are bound and listening."""
        self._server.listen(listeners)

    def run(self) -> int:
        """Until leave(); returns its status."""
        return self.loop.run()

    def leave(self, status: int = 0) -> None:
        self.loop.stop(status)

    def close(self) -> None:
        """Closes connections, files and descriptors; processes, records and vault stay as they are."""
        self._server.close()
        self.pipes.close_all()
        for number in self.table.processes:
            self.reaper.forget(number)
        for pidfd in self.pidfds.values():
            os.close(pidfd)
        for fd, _ in self.listening.values():
            os.close(fd)
        self.pidfds.clear()
        self.listening.clear()
        self._launcher.close()
        self.state.close()
        self.loop.close()

    @property
    def is_idle(self) -> bool:
        return not (self.table.processes or self.table.sockets or self.ledger.values)

    @property
    def running(self) -> int:
        return sum(process.is_running for process in self.table.processes.values())

    @property
    def not_covered(self) -> int:
        """Hosted things that a SIGKILL of the kernel, or an upgrade, would lose."""
        lives = sum(not process.is_covered for process in self.table.processes.values() if process.is_running)
        return lives + sum(not socket.is_covered for socket in self.table.sockets.values())

    def status(self) -> dict[str, object]:
        """What ``papa status`` shows."""
        now, since = self._started
        reasons = []
        if self.tier == "portable":
            reasons.append("this system has no vault: nothing outlives a kill of the kernel")
        elif self.vault.refused:
            reasons.append(f"the vault refused {self.vault.refused} times: limits on open files or buffers")
        if not self.pipes.is_punching:
            reasons.append("the file system cannot give acknowledged output back")
        return {
            "papa": papa.__version__,
            "pid": os.getpid(),
            "holder": self.holder_pid,
            "instance": self.instance,
            "directory": self.directory,
            "tier": self.tier,
            "uptime_s": round(time.monotonic() - now, 3),
            "started_at": since,
            "rss_bytes": system.rss_bytes(),
            "processes": len(self.table.processes),
            "running": self.running,
            "sockets": len(self.table.sockets),
            "values": len(self.ledger.values),
            "connections": self._server.count,
            "clients": self._server.clients(),
            "held_bytes": self.pipes.held_bytes,
            "budget_bytes": self.pipes.budget,
            "dropped_bytes": self.pipes.dropped_bytes,
            "journal_bytes": self.state.journal_bytes,
            "vault": {"live": self.vault.live, "dead": self.vault.dead, "refused": self.vault.refused},
            "faults": self.loop.faults,
            "not_covered": self.not_covered,
            "not_covered_reasons": reasons,
            **self.facts,
        }

    # --- processes -----------------------------------------------------------------------------------------

    def spawn(self, spec: model.ProcessSpec, *, supersede: bool = False) -> tuple[Process, bool]:
        """Starts a process; False: an equal one runs already, and is meant.

        Raises: PapaError exists, limit, not-found (a socket), spawn-failed; nothing is left behind.
        """
        self._refuse_if_leaving()
        digest = spec.digest(bytes.fromhex(self.ledger.secret))
        existing = self.table.admit_process(spec.name, digest, supersede=supersede)
        if existing is not None:
            return existing, False
        argv, named = sockets.substitute(spec.argv, lambda name: self.table.socket(name).row())
        handed = [self.table.socket(name) for name in dict.fromkeys((*spec.sockets, *named))]
        stdin = None if spec.stdin is None else self.listening[self.table.socket(spec.stdin).id][0]
        number = self._new_number()
        process = Process(
            number,
            spec.name,
            argv=argv,
            digest=digest,
            pid=0,
            start_ticks=None,
            started_at=time.time(),
            meta=spec.meta,
            uid=spec.uid,
            gid=spec.gid,
        )
        # Held free for the pidfd: a process that runs without one would be looked at once a second.
        spare = os.dup(self.state.fd)
        writers: dict[str, int] = {}
        capture: Capture | None = None
        try:
            capture, writers = self._prepare(process, spec)
            process.pid = self._launcher.start(
                spec,
                argv,
                stdin=stdin,
                stdout=writers.get(model.OUT),
                stderr=writers.get(model.OUT if spec.stderr == "stdout" else model.ERR),
                sockets=[(self.listening[socket.id][0], socket.fileno) for socket in handed],
            )
        except PapaError:
            self._withdraw(number, capture, writers)
            raise
        finally:
            os.close(spare)
            for fd in writers.values():
                os.close(fd)
        self._host_new(process, capture)
        return process, True

    def _prepare(self, process: Process, spec: model.ProcessSpec) -> tuple[Capture | None, dict[str, int]]:
        """What must be there before the process is: files, pipes in the vault, a record without a pid."""
        capture: Capture | None = None
        writers: dict[str, int] = {}
        process.is_covered = True
        if spec.captured:
            bounds = Bounds(spec.bound, spec.overflow, spec.stall_s)
            capture, writers = self.pipes.create(process.id, spec.captured, bounds)
            process.output = capture.output
            process.is_covered = self.vault.push(f"o{process.id}", list(capture.pipes.values()))
        try:
            if spec.uid is not None and os.geteuid() == 0:
                # Else a process of another user could not open /dev/stdout, as shells and nginx do.
                for fd in writers.values():
                    os.fchown(fd, spec.uid, -1)
            inodes = [os.fstat(fd).st_ino for fd in writers.values()]
            record = records.of_process(process, self.boot_id, inodes=inodes)
            self._with_room(lambda: self.state.write_record(PROCESSES, process.id, record))
        except OSError:
            self._withdraw(process.id, capture, writers)
            raise
        return capture, writers

    def _withdraw(self, number: int, capture: Capture | None, writers: dict[str, int]) -> None:
        """Takes back what _prepare did."""
        for fd in writers.values():
            os.close(fd)
        writers.clear()
        self.state.remove_record(PROCESSES, number)
        if capture is not None:
            self.vault.drop(f"o{number}")
            self.pipes.release(capture)

    def _host_new(self, process: Process, capture: Capture | None) -> None:
        process.start_ticks = system.start_ticks(process.pid)
        pidfd = None if self.tier == "portable" else system.pidfd_open(process.pid)
        self.adopt(process, pidfd, is_in_vault=False)
        loser = self.table.add_process(process)
        self.write_process(process)
        if loser is not None:
            self.write_process(loser)
        if capture is not None:
            self.pipes.start(capture)

    def adopt(self, process: Process, pidfd: int | None, *, is_in_vault: bool) -> None:
        """Watches a process that runs, or ran until a moment ago."""
        if pidfd is not None:
            self.pidfds[process.id] = pidfd
        if not is_in_vault:
            covered = pidfd is not None and self.vault.push(f"p{process.id}", [pidfd])
            process.is_covered = process.is_covered and covered
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
            self._noticed.discard(process.id)
            if process.is_running:
                self.write_process(process)
            capture = self.pipes.captures.get(process.id)
            if capture is not None:
                self.pipes.discard(capture)
            self.settle(process)
            self._tell_watches(process.id)

    def settle(self, process: Process) -> None:
        """Lets the entry go if nothing is owed any more."""
        if not process.is_over:
            return
        self.table.forget_process(process)
        self.ledger.forget(process.id)
        self._noticed.discard(process.id)
        self.state.remove_record(PROCESSES, process.id)
        capture = self.pipes.captures.get(process.id)
        # One that is emptied into nothing goes when its last writer does: see _on_eof.
        if capture is not None and not capture.pipes:
            self.pipes.release(capture)

    # --- what happens --------------------------------------------------------------------------------------

    def _on_exit(self, number: int, status: int | None) -> None:
        process = self.table.processes[number]
        capture = self.pipes.captures.get(number)
        if capture is not None:
            self.pipes.drain(capture)
        self.table.end(process, status, time.time())
        is_recorded = self.write_process(process)
        pidfd = self.pidfds.pop(number, None)
        if is_recorded:
            self.vault.drop(f"p{number}")
        if pidfd is not None:
            os.close(pidfd)
        self._tell_exit(process)
        self._tell_watches(number)
        self.settle(process)

    def _on_eof(self, number: int, stream: str) -> None:
        process = self.table.processes.get(number)
        capture = self.pipes.captures[number]
        if process is None:
            if not capture.pipes:
                self.pipes.release(capture)
            return
        if process.output is not None:
            self._tell(process, "eof", {"id": number, "stream": stream, "head": process.output.heads[stream]})
            self._tell_watches(number)
        self.settle(process)

    def _on_output(self, number: int) -> None:
        if not self._noticed:
            self.loop.after_turn(self._tell_of_output)
        self._noticed.add(number)
        self._tell_watches(number)

    def _tell_of_output(self) -> None:
        """One notice for each owner, however many of its processes have written in this turn."""
        items: dict[Connection, list[list[int | None]]] = {}
        numbers, self._noticed = self._noticed, set()
        for number in sorted(numbers):
            process = self.table.processes.get(number)
            if process is None or process.output is None or process.connection is None:
                continue
            heads = process.output.heads
            if process.notices.is_due(heads):
                items.setdefault(self._owner(process), []).append([number, *process.notices.take(heads)])
        for connection, rows in items.items():
            connection.tell("output", {"items": rows})

    def _tell_exit(self, process: Process) -> None:
        if process.exit is None or process.is_exit_acked:
            return
        status, at = process.exit
        heads = {} if process.output is None else process.output.heads
        self._tell(process, "exit", {"id": process.id, "status": status, "at": at, "heads": heads})

    def _tell(self, process: Process, event: str, fields: Mapping[str, object]) -> None:
        if process.connection is not None:
            self._owner(process).tell(event, fields)

    @staticmethod
    def _owner(process: Process) -> Connection:
        connection: Connection = process.connection  # type: ignore[assignment]
        return connection

    def _tell_watches(self, number: int) -> None:
        for watch in self.watches:
            if watch.concerns(number):
                watch.look_later()

    # --- owners and commits --------------------------------------------------------------------------------

    def own(self, process: Process, owner: str, connection: Connection) -> None:
        """Tells the connection of output and exit from now on. Raises: PapaError owned."""
        self.table.own(process, owner, connection)
        capture = self.pipes.captures.get(process.id)
        if capture is not None:
            self.pipes.reader_is(capture, is_live=True)
            self._on_output(process.id)
        if process.exit is not None:
            # After the reply, from which the client learns of the process in the first place.
            self.loop.after_turn(lambda: self._tell_exit(process))

    def disown(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection.watch is not None:
            self.watches.discard(connection.watch)
            connection.watch = None
        for process in self.table.disown(connection):
            capture = self.pipes.captures.get(process.id)
            if capture is not None:
                self.pipes.reader_is(capture, is_live=False)

    def commit(self, commit: Commit, connection: Connection) -> None:
        """Acknowledgements, exits and values in one step; then everything that derives from them.

        Raises: PapaError owned, overtaken, not-found, bad-request, limit; then nothing of it has happened.
        """
        self.table.check_commit(commit, connection)
        self.ledger.check_values(commit.values)
        record = commit.record()
        if record is not None:
            self.write_journal(record)
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
                self._on_output(number)

    def write_journal(self, record: Mapping[str, object]) -> None:
        """Makes a record durable and true. Raises: PapaError limit when the file system has no room."""
        data = journal.encode(record)
        try:
            self._with_room(lambda: self.state.append_journal(data))
        except OSError as error:
            raise PapaError(
                f"{self.directory}: the journal cannot be written: {error.strerror}",
                code="limit",
                hint="make room on that file system",
            ) from error
        self.ledger.apply(record)
        if self.ledger.needs_compaction(self.state.journal_bytes):
            self.compact_journal()

    def compact_journal(self) -> None:
        """Replaces the journal by what it says. One that cannot be written now stays as it is."""
        try:
            self.state.replace_journal(journal.encode({"boot": self.boot_id, **self.ledger.snapshot()}))
        except OSError as error:
            system.log(f"the journal cannot be compacted: {error.strerror}")

    def write_process(self, process: Process) -> bool:
        """Puts its record in the place of the old one; False, with a line in the log, when it cannot be."""
        record = records.of_process(process, self.boot_id)
        try:
            self._with_room(lambda: self.state.write_record(PROCESSES, process.id, record))
        except OSError as error:
            system.log(f"the record of process {process.id} cannot be written: {error.strerror}")
            return False
        return True

    def _with_room(self, write: Callable[[], None]) -> None:
        """Writes; where the file system is full, once more after old output was dropped."""
        try:
            write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.pipes.make_room():
                raise
            write()

    def _new_number(self) -> int:
        reservation = self.ledger.reservation()
        if reservation is not None:
            self.write_journal(reservation)
        return self.ledger.take_id()

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
        number = self._new_number()
        opened = sockets.open_socket(spec)
        socket = Socket(number, spec, port=opened.port, fileno=fileno)
        record = records.of_socket(socket, self.boot_id, opened.file)
        try:
            self._with_room(lambda: self.state.write_record(SOCKETS, number, record))
        except OSError:
            os.close(opened.fd)
            sockets.remove_file(spec.path, opened.file)
            raise
        socket.is_covered = self.vault.push(f"s{number}", [opened.fd])
        self.listening[number] = opened.fd, opened.file
        self.table.add_socket(socket)
        return socket, True

    def remove_sockets(self, removed: Iterable[Socket]) -> None:
        """Closes them here; a process that has one goes on serving it."""
        for socket in removed:
            fd, file = self.listening.pop(socket.id)
            self.table.forget_socket(socket)
            self.state.remove_record(SOCKETS, socket.id)
            self.vault.drop(f"s{socket.id}")
            os.close(fd)
            sockets.remove_file(socket.spec.path, file)

    # --- the end of an incarnation -------------------------------------------------------------------------

    def _refuse_if_leaving(self) -> None:
        if self._is_leaving:
            raise PapaError("this kernel is about to exit", code="busy", hint="ask again: a new one starts")

    def prepare_exit(self, *, is_forced: bool) -> None:
        """From here on nothing new is hosted. Raises: PapaError busy unless idle or forced."""
        if not is_forced and not self.is_idle:
            raise PapaError(
                f"the kernel hosts {len(self.table.processes)} processes, {len(self.table.sockets)} sockets"
                f" and {len(self.ledger.values)} values",
                code="busy",
                hint="remove them first, or force it: processes then run on with nobody to read their output",
            )
        self._is_leaving = True

    def exit(self) -> None:
        """Removes what is in the directory, and leaves for good."""
        self.remove_sockets(list(self.table.sockets.values()))
        self.state.clear()
        if self.on_exit_request is not None:
            self.on_exit_request()
        else:
            self.leave()

    def check_upgrade(self, on_checked: Callable[[PapaError | None], None]) -> None:
        """Has new code tried out; ``on_checked`` is called once, with None if it can take over."""
        if self.on_upgrade_check is None:
            raise PapaError("this kernel cannot replace itself", code="busy", hint="it was started by hand")
        self.on_upgrade_check(on_checked)

    def upgrade(self) -> None:
        """Lets new code take over. Returns when that failed: then this code carries on."""
        if self.on_upgrade_go is not None:
            self.on_upgrade_go()
