"""What /proc says of processes, in as few reads as can be: a line for each, and who is whose parent.

A process is known by its pid and its start: a pid alone may be somebody else's by now. Blocking reads: called in a
worker thread. The fields are those of proc_pid_stat(5).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

TICKS_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES

#: As much as Linux gives a program for its arguments and its environment, with the usual limit of the stack.
MAX_ENVIRONMENT = 2 << 20

#: A line of stat is some 300 bytes; its longest part is the name, 64 at most.
_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One process. ``cpu_ticks`` are its own, user and system; ``start_ticks`` count from the boot."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    cpu_ticks: int
    nice: int
    start_ticks: int
    virtual_bytes: int
    resident_bytes: int
    waited_ticks: int = 0  # of children that have ended and that it has waited for, and theirs


def row(pid: int) -> Row | None:
    """None when there is no such process."""
    try:
        return _read_row(pid)
    except OSError:
        return None


def _read_row(pid: int) -> Row | None:
    """None when there is none, or it may not be seen. Raises: OSError, as when no descriptor is left."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        line = os.read(fd, _MAX_LINE)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    # The name stands in parentheses and may hold any.
    head, _, tail = line.rpartition(b") ")
    it = tail.split()
    return Row(
        pid,
        os.fsdecode(head.partition(b"(")[2]),
        it[0].decode(),
        int(it[1]),
        int(it[2]),
        int(it[3]),
        int(it[11]) + int(it[12]),
        int(it[16]),
        int(it[19]),
        int(it[20]),
        int(it[21]) * PAGE_BYTES,
        int(it[13]) + int(it[14]),
    )


def has_ended(pid: int) -> bool:
    """Whether the process is over, though a thread of it may hang in a call that cannot be interrupted."""
    found = row(pid)
    return found is None or found.state in "ZX"


def rows() -> dict[int, Row]:
    """All processes that may be seen. Raises: OSError, as when no descriptor is left: nobody is left out for that."""
    found = (_read_row(int(entry)) for entry in os.listdir("/proc") if entry.isdecimal())
    return {each.pid: each for each in found if each is not None}


def families(known: Mapping[int, Row]) -> dict[int, list[Row]]:
    """The children of each parent, by pid."""
    below: dict[int, list[Row]] = {}
    for pid in sorted(known):
        below.setdefault(known[pid].parent, []).append(known[pid])
    return below


def children(pid: int) -> list[Row]:
    """The living direct children of ``pid``."""
    return families(rows()).get(pid, [])


def descendants(pid: int) -> list[Row]:
    """All living processes below ``pid``."""
    below = families(rows())
    found = list(below.get(pid, []))
    for each in found:
        found += below.get(each.pid, [])
    return found


def owner(pid: int) -> int | None:
    """The real user id; None when there is no such process. Raises: PermissionError."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(_MAX_LINE)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.partition(b"\nUid:\t")[2].split(maxsplit=1)[0])


def status(pid: int) -> dict[bytes, bytes] | None:
    """Its main thread, in the words of proc_pid_status(5); None when there is none, or nobody may know."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            lines = file.read(_MAX_LINE).splitlines()
    except OSError:
        return None
    return {key: value.strip() for key, _, value in (line.partition(b":") for line in lines)}


def descriptors(pid: int) -> int | None:
    """How many it has open; None when there is no such process, or nobody may know."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def command(pid: int) -> list[str]:
    """Its arguments; none for a zombie or a process that is gone. Raises: PermissionError."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            text = file.read(_MAX_LINE)
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [os.fsdecode(word) for word in text.rstrip(b"\0").split(b"\0")] if text else []


def variable(pid: int, name: bytes) -> str:
    """What the environment had under ``name`` when the program was started; empty when nothing, or nobody may know.

    Of a process that is stuck in the system this may take as long as that.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = b"\0" + (file.read(MAX_ENVIRONMENT) or b"")
    except OSError:
        return ""
    return os.fsdecode(text.partition(b"\0" + name + b"=")[2].partition(b"\0")[0])


def boot_time() -> float:
    """When the machine was booted, in seconds since 1970; it moves when the clock is set."""
    with open("/proc/stat", "rb") as file:
        return float(next(line for line in file if line.startswith(b"btime ")).split()[1])


def hold(process: Row) -> int:
    """A pidfd of that very process; -1 where it is gone, or where the system has no such descriptors."""
    fd = _pidfd(process.pid)
    now = row(process.pid)
    if fd >= 0 and (now is None or now.start_ticks != process.start_ticks):
        os.close(fd)
        return -1
    return fd


def send_signal(process: Row, signum: int) -> None:
    """Signals that very process, or nobody when it is gone; nor is it told who may not be signalled."""
    fd = _pidfd(process.pid)
    try:
        now = row(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return
        if fd >= 0:
            signal.pidfd_send_signal(fd, signum)
        else:
            os.kill(process.pid, signum)
    except OSError:
        return
    finally:
        if fd >= 0:
            os.close(fd)


def _pidfd(pid: int) -> int:
    """-1 where the process is gone, or where the system has no such descriptors."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1


def own_umask() -> int:
    """Read where the system tells it (Linux 4.7, proc(5)): to ask for it by umask(2) would change it for a moment, also
    for what other threads make meanwhile.
    """
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass  # no /proc
    found = os.umask(0o022)
    os.umask(found)
    return found
