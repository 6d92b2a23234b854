"""Starting a hosted process: the steps around the spawn, in the order that a kill may interrupt anywhere.

The one idea: what must survive is put away before what it belongs to exists. First the files and the pipes (the
reading ends go to the vault) and a record without a pid, then the process, which leaves a mark before it becomes
its program, then its pidfd in the vault and its pid in the record. Whatever fails takes back all that came before it.

The spawn itself is in papa.kernel.spawn, taking over what was interrupted in papa.kernel.recovery.
"""

from __future__ import annotations

import os
import time

from papa import model
from papa.core.entries import Process
from papa.core.output import Bounds
from papa.errors import PapaError
from papa.kernel import sockets, system
from papa.kernel.spawn import Launcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from papa.core.entries import Socket
    from papa.kernel.capture import Capture
    from papa.kernel.host import Host


class Starter:
    """Starts processes of one host."""

    __slots__ = ("_host", "_is_noted", "_launcher")

    def __init__(self, host: Host, nofile: tuple[int, int]) -> None:
        self._host = host
        self._launcher = Launcher(nofile)
        #: The record of the last one has its pid.
        self._is_noted = False

    def close(self) -> None:
        self._launcher.close()

    def start(self, spec: model.ProcessSpec, digest: str) -> Process:
        """A new process, hosted and running. Raises: PapaError; nothing is left behind."""
        argv, named = sockets.substitute(spec.argv, lambda name: self._host.table.socket(name).row())
        handed = [self._host.table.socket(name) for name in dict.fromkeys((*spec.sockets, *named))]
        stdin = None if spec.stdin is None else self._host.table.socket(spec.stdin)
        number = self._host.durable.new_number()
        process = Process(
            number,
            spec.name,
            argv=spec.argv,
            digest=digest,
            pid=0,
            start_ticks=None,
            started_at=time.time(),
            meta=spec.meta,
            uid=spec.uid,
            gid=spec.gid,
        )
        # Held free for the pidfd: a process that runs without one would be looked at once a second.
        spare = [os.dup(self._host.state.fd)]

        # As it runs, or will in a moment, it is no reason to withdraw anything.
        faults: list[OSError] = []

        def note(pid: int) -> None:
            if spare:
                os.close(spare.pop())
            faults.clear()
            try:
                self._note(process, pid)
            except OSError as error:
                faults.append(error)

        writers: dict[str, int] = {}
        capture: Capture | None = None
        own: dict[int, int] = {}
        try:
            sources = self._sources({*handed, *([stdin] if stdin else [])}, own)
            capture, writers = self._prepare(process, spec)
            self._launcher.start(
                spec,
                argv,
                stdin=None if stdin is None else sources[stdin.id],
                stdout=writers.get(model.OUT),
                stderr=writers.get(model.OUT if spec.stderr == "stdout" else model.ERR),
                sockets=[(sources[socket.id], socket.fileno) for socket in handed],
                listening={s.name: sources[s.id] for s in handed} if spec.listen_fds else None,
                mark=self._host.state.mark_path(number),
                is_named=capture is None and self._is_with_stranger(),
                note=note,
                forget=lambda: self._forget(process),
            )
        except (PapaError, OSError):
            self._withdraw(number, capture, writers)
            raise
        finally:
            for fd in (*spare, *writers.values(), *own.values()):
                os.close(fd)
        if faults:
            raise faults[0]
        self._host_new(process, capture)
        return process

    def _sources(self, wanted: Iterable[Socket], own: dict[int, int]) -> dict[int, int]:
        """The descriptors of these sockets. Listeners that are the process's own are put into ``own`` as well."""
        sources = {}
        for socket in wanted:
            if socket.spec.is_listened_by_each:
                own[socket.id] = sources[socket.id] = sockets.open_listener(socket.spec, socket.port)
            else:
                sources[socket.id] = self._host.listening[socket.id][0]
        return sources

    def _is_with_stranger(self) -> bool:
        """Whether orphans of ours would not become the next kernel's siblings: our holder was replaced.

        One without a pipe could not be told from other orphans then, so it has to say who it is: by a fork, which costs
        twice as much.
        """
        return self._host.holder_pid is not None and os.getppid() != self._host.holder_pid

    def _prepare(self, process: Process, spec: model.ProcessSpec) -> tuple[Capture | None, dict[str, int]]:
        """What must be there before the process is: files, pipes in the vault, a record without a pid."""
        capture: Capture | None = None
        writers: dict[str, int] = {}
        if spec.captured:
            capture, writers = self._host.pipes.create(process.id, spec.captured, Bounds.of_spec(spec))
            process.output = capture.output
            self._host.coverage.cover_pipes(capture)
        try:
            if spec.uid is not None and os.geteuid() == 0:
                # Else a process of another user could not open /dev/stdout, as shells and nginx do.
                for fd in writers.values():
                    os.fchown(fd, spec.uid, -1)
            self._host.durable.write_new_process(process)
        except OSError:
            self._withdraw(process.id, capture, writers)
            raise
        return capture, writers

    def _withdraw(self, number: int, capture: Capture | None, writers: dict[str, int]) -> None:
        """Takes back what _prepare did."""
        for fd in writers.values():
            os.close(fd)
        writers.clear()
        self._host.durable.forget_mark(number)
        self._host.durable.forget_process(number)
        if capture is not None:
            self._host.vault.drop(f"o{number}")
            self._host.pipes.release(capture)

    def _note(self, process: Process, pid: int) -> None:
        """Puts away who it is. It may still be becoming its program: that takes as long as this does."""
        process.pid = pid
        process.start_ticks = system.start_ticks(pid)
        pidfd = None if self._host.tier == "portable" else system.pidfd_open(pid)
        self._host.adopt(process, pidfd)
        self._is_noted = self._host.durable.write_process(process)

    def _forget(self, process: Process) -> None:
        """It never became its program: takes back what _note did, but for the record, which goes or is written anew."""
        self._host.reaper.forget(process.id)
        self._host.vault.drop(f"p{process.id}")
        pidfd = self._host.pidfds.pop(process.id, None)
        if pidfd is not None:
            os.close(pidfd)

    def _host_new(self, process: Process, capture: Capture | None) -> None:
        loser = self._host.table.add_process(process)
        if self._is_noted:
            self._host.durable.forget_mark(process.id)
        if loser is not None:
            self._host.durable.write_process(loser)
        if capture is not None:
            self._host.pipes.start(capture)
