"""Recovery: the next incarnation takes over what the last one held, whether that one was killed or replaced.

The one idea: what is true is found in three places and nowhere else: the journal (acknowledgements, values),
the records (who is hosted), the vault and the files (descriptors, output). Each of the three may be older than
the others by the last instruction of a killed kernel, so each step accepts what is not there any more, and what
is there too much is given back.

- A record without a pid: the kernel was killed between spawn and note. The pidfd in the vault knows the pid;
  without one a process that has the pipes is looked for, or, where nothing is captured, an orphan that was started
  at that moment; without such a process it was never started.
- A record of another boot, and everything with it, is void.
- A key of the vault without a record: its entry was removed. Pipes are emptied into nothing until they end,
  the rest is closed.
"""

from __future__ import annotations

import os

from papa.errors import PapaError
from papa.kernel import records, sockets, system
from papa.kernel.state import PROCESSES, SOCKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from papa.core.entries import Process
    from papa.core.output import Bounds
    from papa.kernel.host import Host

    Found = dict[str, list[int]]

_MISSHAPEN = (KeyError, TypeError, ValueError, PapaError)


def recover(host: Host) -> None:
    """Fills the empty host. Raises: PapaError when the vault cannot be read as a whole, OSError."""
    host.durable.recover()
    found = host.vault.load()
    for number, record in host.state.read_records(SOCKETS).items():
        _adopt_socket(host, number, record, found)
    of_processes = host.state.read_records(PROCESSES)
    pids = {record.get("pid") for record in of_processes.values()}
    adopted = [
        process
        for number, record in of_processes.items()
        if (process := _adopt_process(host, number, record, found, pids)) is not None
    ]
    _give_back(host, found)
    for number in host.state.outputs():
        if number not in host.table.processes:
            host.state.remove_output(number)
    host.ledger.keep_only(host.table.processes)
    for process in adopted:
        host.settle(process)


# --- sockets -----------------------------------------------------------------------------------------------


def _adopt_socket(host: Host, number: int, record: dict[str, Any], found: Found) -> None:
    fds = found.pop(f"s{number}", [])
    try:
        if record.get("boot") != host.boot_id:
            raise ValueError("it is of another boot")
        socket, file = records.to_socket(number, record)
        socket.is_covered = bool(fds)
        if not fds:
            # It was not covered, or there is no vault. Whoever still serves it keeps the port from us.
            opened = sockets.open_socket(socket.spec)
            fds, file, socket.port = [opened.fd], opened.file, opened.port
            socket.is_covered = host.vault.push(f"s{number}", fds)
            host.durable.write_socket(socket, file)
    except _MISSHAPEN as error:
        system.log(f"socket {number} is not taken over: {error}")
        host.state.remove_record(SOCKETS, number)
        host.vault.drop(f"s{number}")
        _close(fds)
        return
    host.listening[number] = fds[0], file
    host.table.add_socket(socket)


# --- processes ---------------------------------------------------------------------------------------------


def _adopt_process(host: Host, number: int, record: dict[str, Any], found: Found, pids: set[Any]) -> Process | None:
    try:
        if record.get("boot") != host.boot_id:
            raise ValueError("it is of another boot")
        process = records.to_process(number, record)
        bounds = records.bounds_of(record)
        captured = tuple(record["captured"])
        inodes = set(record["inodes"])
    except _MISSHAPEN as error:
        system.log(f"process {number} is not taken over: {error}")
        host.state.remove_record(PROCESSES, number)
        return None
    vaulted = [] if process.exit is not None else found.pop(f"p{number}", [])
    pidfd = vaulted[0] if vaulted else None
    is_known = process.pid != 0
    if process.exit is None:
        if not is_known:
            _find_pid(process, pidfd, inodes, pids)
        if pidfd is None:
            pidfd = _open_pidfd(host, process)
        if not process.pid and pidfd is None:
            # It was never started, and nobody was told that it was.
            host.state.remove_record(PROCESSES, number)
            return None
    _adopt_output(host, process, captured, bounds, found.pop(f"o{number}", []))
    process.is_exit_acked = number in host.ledger.exits
    loser = host.table.add_process(process)
    if loser is not None:
        host.durable.write_process(loser)
    if process.exit is None:
        host.adopt(process, pidfd, is_in_vault=bool(vaulted))
        if not is_known:
            host.durable.write_process(process)
    return process


def _find_pid(process: Process, pidfd: int | None, inodes: set[int], pids: set[Any]) -> None:
    if pidfd is not None:
        process.pid = system.pidfd_pid(pidfd) or 0
    elif inodes:
        process.pid = system.find_by_pipe(inodes) or 0
    else:
        process.pid = system.find_by_start(process.started_at, pids) or 0
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


def _adopt_output(host: Host, process: Process, captured: tuple[str, ...], bounds: Bounds, pipes: list[int]) -> None:
    process.is_covered = bool(pipes) or not captured
    if process.is_removed:
        host.state.remove_output(process.id)
        if pipes:
            host.pipes.start(host.pipes.recover_unwanted(process.id, pipes))
    elif captured:
        acked = host.ledger.acks.get(process.id, {})
        named = dict(zip(captured, pipes, strict=False))
        capture = host.pipes.recover(process.id, captured, bounds, acked, named)
        process.output = capture.output
        host.pipes.start(capture)


def _give_back(host: Host, found: Found) -> None:
    host.vault.drop(*(key for key in found if not key.startswith("o")))
    for key, fds in found.items():
        if key.startswith("o"):
            host.pipes.start(host.pipes.recover_unwanted(int(key[1:]), fds))
        else:
            _close(fds)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
