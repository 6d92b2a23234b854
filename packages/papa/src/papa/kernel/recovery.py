"""Recovery: the next incarnation takes over what the last one held, whether that one was killed or replaced.

The one idea: what is true is found in three places and nowhere else: the journal (acknowledgements, values),
the records (who is hosted), the vault and the files (descriptors, output). Each of the three may be older than
the others by the last instruction of a killed kernel, so each step accepts what is not there any more, and what
is there too much is given back.

- A process of which the vault has nothing, because the holder was killed too or it had found no room: its pipes are
  opened again through /proc, by their inodes, as long as it, or whoever is in its session, has their other ends. What
  lies in them is still there; what was written while they had no reader was not.
- A record without a pid: the kernel was killed between spawn and note. The pidfd in the vault knows the pid;
  without one a process that has the pipes is looked for. Without such a process its mark says who it is, if it could
  not be told from other orphans, or at least whether it was started:
  then it is the orphan that was started at that moment, or has ended, nobody knows how.
- A record of another boot, and everything with it, is void.
- A record that cannot be read, because it is damaged or a newer papa wrote it, stays with all that has its number:
  in the vault, among the files, in the journal. Its pipes are not read meanwhile.
- A key of the vault without a record: its entry was removed. Pipes are emptied into nothing until they end,
  the rest is closed; before anything is opened, as there may be as many of the dead as of the living, and a kernel
  that had few descriptors left must come back.
"""

from __future__ import annotations

import os
import select
import time

from papa import model
from papa.errors import PapaError
from papa.kernel import records, sockets, system
from papa.kernel.state import PROCESSES, SOCKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from papa.core.entries import Process
    from papa.core.output import Bounds, Output
    from papa.kernel.host import Host

    Found = dict[str, list[int]]

_MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError, PapaError)

#: What the keys of the vault begin with: output, process, socket.
_KINDS = ("o", "p", "s")


def recover(host: Host) -> None:
    """Fills the empty host. Raises: PapaError when the vault cannot be read as a whole, OSError."""
    found = host.vault.load()
    host.durable.recover(max((int(key[1:]) for key in found if key[1:].isdecimal()), default=0))
    if host.vault.foreign:
        host.state.leave_aside("vault", f"{host.vault.foreign} messages in it are of a format that this papa knows not")
    of_sockets = host.state.read_records(SOCKETS)
    of_processes = host.state.read_records(PROCESSES)
    _give_back(host, _unwanted(found, of_sockets, of_processes))
    for number, record in of_sockets.items():
        _adopt_socket(host, number, record, found)
    pids = {pid for record in of_processes.values() if isinstance(pid := record.get("pid"), int)}
    adopted = [
        process
        for number, record in of_processes.items()
        if (process := _adopt_process(host, number, record, found, pids)) is not None
    ]
    # Of records that were not taken over.
    _give_back(host, found)
    for number in host.state.outputs():
        if number not in host.table.processes and not host.state.is_aside(number):
            host.pipes.remove_files(number)
    aside = [number for number in host.ledger.acks.keys() | host.ledger.exits if host.state.is_aside(number)]
    host.ledger.keep_only([*host.table.processes, *aside])
    for process in adopted:
        host.settle(process)


def _is_void(host: Host, kind: str, number: int, record: dict[str, Any]) -> bool:
    """Whether it is of another boot; then it goes."""
    if record.get("boot", host.boot_id) == host.boot_id:
        return False
    system.log(f"{kind}/{number}.json is not taken over: it is of another boot")
    if kind == SOCKETS:
        host.durable.forget_socket(number)
    else:
        host.durable.forget_process(number)
    return True


def _leave_aside(host: Host, kind: str, number: int, record: dict[str, Any], error: Exception) -> None:
    reason = error.message if isinstance(error, PapaError) else f"it cannot be understood: {error!r}"
    host.state.leave_aside(f"{kind}/{number}.json", reason)
    if isinstance(record.get("name"), str):
        host.names_aside.add(record["name"])


# --- sockets -----------------------------------------------------------------------------------------------


def _adopt_socket(host: Host, number: int, record: dict[str, Any], found: Found) -> None:
    if _is_void(host, SOCKETS, number, record):
        return
    try:
        socket, file = records.to_socket(number, record)
    except _MISSHAPEN as error:
        _leave_aside(host, SOCKETS, number, record, error)
        return
    fds = found.pop(f"s{number}", [])
    socket.is_covered = bool(fds)
    if not fds:
        # It was not covered, or there is no vault. Whoever still serves it keeps the port from us.
        try:
            opened = sockets.open_socket(socket.spec)
        except PapaError as error:
            host.coverage.tell(f"socket {number} ({socket.name}), which cannot be opened again: {error}")
            host.durable.forget_socket(number)
            return
        fds, file, socket.port = [opened.fd], opened.file, opened.port
        host.coverage.tell(
            f"whoever waited to be accepted at socket {number} ({socket.name}), which was not in the vault when its"
            f" kernel was killed; it is opened again{f', at port {socket.port}' if socket.port else ''}"
        )
        # In this order: what is in the vault is taken to have the port that its record says.
        host.durable.write_socket(socket, file)
    host.listening[number] = fds[0], file
    if not socket.is_covered:
        host.coverage.cover_socket(socket)
    host.table.add_socket(socket)


# --- processes ---------------------------------------------------------------------------------------------


def _adopt_process(host: Host, number: int, record: dict[str, Any], found: Found, pids: set[Any]) -> Process | None:
    if _is_void(host, PROCESSES, number, record):
        return None
    try:
        process = records.to_process(number, record)
        bounds = records.bounds_of(record)
        captured, numbers = records.streams_of(record)
        # Who was removed has no output any more, and pipes all the same.
        streams = captured or model.STREAMS
        inodes = dict(zip(streams, numbers, strict=False))
    except _MISSHAPEN as error:
        _leave_aside(host, PROCESSES, number, record, error)
        return None
    vaulted = [] if process.exit is not None else found.pop(f"p{number}", [])
    pidfd = vaulted[0] if vaulted else None
    is_known = process.pid != 0
    if process.exit is None:
        if not is_known:
            _find_pid(host, process, pidfd, set(inodes.values()) - {0}, pids)
        if pidfd is None:
            pidfd = _open_pidfd(host, process)
        if not process.pid and pidfd is None:
            if not host.state.is_marked(number):
                # It was never started, and nobody was told that it was.
                host.durable.forget_process(number)
                host.durable.forget_mark(number)
                return None
            process.exit = None, time.time()
    pipes = dict(zip(streams, found.pop(f"o{number}", []), strict=False))
    if (captured or inodes) and not vaulted and not pipes:
        pipes = _open_again(host, process, inodes)
    _adopt_output(host, process, captured, bounds, pipes)
    process.is_exit_acked = number in host.ledger.exits
    loser = host.table.add_process(process)
    if loser is not None:
        host.durable.write_process(loser)
    if process.exit is None:
        host.adopt(process, pidfd)
    is_written = is_known or host.durable.write_process(process)
    # Who was known is not marked after the records were read; who was not may be, a moment ago.
    if is_written and (number in host.state.marks if is_known else host.state.is_marked(number)):
        host.durable.forget_mark(number)
    return process


def _find_pid(host: Host, process: Process, pidfd: int | None, inodes: set[int], pids: set[Any]) -> None:
    from papa.kernel import finding

    if pidfd is not None:
        process.pid = system.pidfd_pid(pidfd) or 0
    elif inodes:
        process.pid = finding.find_by_pipe(inodes) or 0
    if not process.pid and pidfd is None and host.state.is_marked(process.id):
        process.pid = host.state.marked_pid(process.id) or finding.find_by_start(process.started_at, pids) or 0
    if process.pid:
        process.start_ticks = system.start_ticks(process.pid)


def _open_pidfd(host: Host, process: Process) -> int | None:
    """A pidfd of a process that the vault did not cover, if it is still that very process."""
    if host.tier == "portable" or not process.pid:
        return None
    pidfd = system.pidfd_open(process.pid)
    if pidfd is not None and system.start_ticks(process.pid) != process.start_ticks:
        os.close(pidfd)
        return None
    return pidfd


def _open_again(host: Host, process: Process, inodes: dict[str, int]) -> dict[str, int]:
    """The pipes of a process that was not covered, as far as somebody still writes to them; tells what that cost."""
    from papa.kernel import finding

    wanted = {inode: name for name, inode in inodes.items() if inode}
    found, is_all = finding.open_again(process.pid, set(wanted)) if wanted else ({}, False)
    pipes = {wanted[inode]: fd for inode, fd in found.items()}
    who = f"process {process.id} ({process.name}, pid {process.pid}), which was not in the vault when its kernel was"
    if pipes and not process.is_removed:
        also = " and what was just being stored is gone" if host.tier == "portable" else ""
        host.coverage.tell(
            f"perhaps some of the output of {who} killed: until now its pipes had no reader, so that writes failed with"
            f" EPIPE{also}; they were opened again"
        )
    if process.exit is not None:
        return pipes
    if not system.is_alive(process.pid, process.start_ticks):
        host.coverage.tell(f"perhaps the end of the output of {who} killed, and which has ended since")
    elif not is_all:
        rest = " and ".join(inodes.keys() - pipes.keys()) if pipes else "the output"
        host.coverage.tell(f"the rest of {rest} of {who} killed; what it writes from now on fails with EPIPE")
    return pipes


def _adopt_output(
    host: Host, process: Process, captured: tuple[str, ...], bounds: Bounds, pipes: dict[str, int]
) -> None:
    if process.is_removed:
        host.pipes.remove_files(process.id)
        if pipes:
            host.pipes.start(host.pipes.recover_unwanted(process.id, list(pipes.values())))
    elif captured:
        acked = host.ledger.acks.get(process.id, {})

        def take(output: Output) -> None:
            process.output = output

        capture = host.pipes.recover(process.id, captured, bounds, acked, pipes, take)
        process.recover_output(capture.open)
        host.pipes.start(capture)


def _unwanted(found: Found, of_sockets: dict[int, Any], of_processes: dict[int, Any]) -> Found:
    """Takes out of ``found`` what belongs to no record, or to a process whose end is recorded."""
    running = {number for number, record in of_processes.items() if record.get("exit") is None}
    wanted = {"s": of_sockets.keys(), "o": of_processes.keys(), "p": running}
    return {key: found.pop(key) for key in list(found) if key[0] not in wanted or int(key[1:]) not in wanted[key[0]]}


def _give_back(host: Host, found: Found) -> None:
    unknown = sorted({key[:1] for key in found} - set(_KINDS))
    if unknown:
        host.state.leave_aside("vault", f"it holds entries of a newer papa: {' '.join(unknown)}")
    unwanted = {}
    for key, fds in found.items():
        if key[:1] in _KINDS and not host.state.is_aside(int(key[1:])):
            unwanted[key] = fds
        else:
            # The vault keeps its own.
            _close(fds)
    written = _keys_with_writers(unwanted)
    host.vault.drop(*(key for key in unwanted if key not in written))
    for key, fds in unwanted.items():
        if key in written:
            host.pipes.start(host.pipes.recover_unwanted(int(key[1:]), fds))
        else:
            _close(fds)


def _keys_with_writers(found: Found) -> set[str]:
    """The keys of pipes that somebody may still write to: with the vault's ends closed they would fail."""
    poll = select.poll()
    pipes = {fd: key for key, fds in found.items() if key.startswith("o") for fd in fds}
    for fd in pipes:
        poll.register(fd, 0)
    ended = {fd for fd, _ in poll.poll(0)}
    return {key for fd, key in pipes.items() if fd not in ended}


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
