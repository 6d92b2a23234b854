"""What a killed kernel has left running, and of which nobody has a note or a descriptor any more: found in /proc.

The one idea: a number alone is no proof. A pipe is the one that was noted when its inode is, a process is ours when
it leads a session and has such a pipe, or was started by us at that moment.

Imported only when something is missing: no other kernel pays for it with its memory.
"""

from __future__ import annotations

import os
import time

from papa.kernel import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: From the moment that a record names until the process is there: files, pipes and a fork; far more than it takes.
START_S = 1.0


# --- processes ---------------------------------------------------------------------------------------------


def find_by_pipe(inodes: set[int]) -> int | None:
    """The pid of a process that has one of these pipes, at whatever number.

    Finds the child of a kernel that was killed between the spawn and the note of its pid, even before it got so far
    as to make them its standard output and error. Such a child leads a session of its own, or is still in ours; what
    it forked is in its session, and is not mistaken for one that has ended.
    """
    wanted = {f"pipe:[{inode}]" for inode in inodes}
    own, our_session = os.getpid(), os.getsid(0)
    try:
        entries = os.listdir("/proc")
    except OSError:
        return None
    found: list[tuple[int, int]] = []
    for entry in entries:
        if not entry.isdigit() or int(entry) == own:
            continue
        if not wanted.isdisjoint(_descriptors_of(entry)):
            pid, fields = int(entry), system.stat_fields(int(entry))
            # proc_pid_stat(5), from the third on: state, ppid, pgrp, session ... starttime.
            if len(fields) > 19 and int(fields[3]) in (pid, our_session):
                found.append((int(fields[19]), pid))
    # A child of the child that leads a session as well was started later.
    return min(found)[1] if found else None


def _descriptors_of(pid: str) -> Iterator[str]:
    """What a process has open, as /proc names it; nothing of one that went, or is not ours to look into."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for number in numbers:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            # Closed since.
            continue


def find_by_start(started_at: float, known: set[int]) -> int | None:
    """The pid of a process that a killed kernel started and had no time to note, when it has no pipes of ours.

    It is by now a child of our parent, which is the sub-reaper of us all, and leads a session of its own, as every
    hosted process does; it is the first such that was started from ``started_at`` on, within START_S. Its arguments
    are no help: a shell may have become the program that it was told to start.
    """
    parent, own = os.getppid(), os.getpid()
    ticks_a_second = os.sysconf("SC_CLK_TCK")
    asked = (system.boot_ns() / 1e9 - (time.time() - started_at)) * ticks_a_second
    try:
        entries = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    except OSError:
        return None
    found: list[tuple[int, int]] = []
    for pid in entries - known - {own}:
        fields = system.stat_fields(pid)
        # proc_pid_stat(5), from the third on: state, ppid, pgrp, session ... starttime, which is cut to whole ticks.
        if len(fields) > 19 and (int(fields[1]), int(fields[3])) == (parent, pid):
            ticks = int(fields[19])
            if asked - 2 <= ticks <= asked + START_S * ticks_a_second:
                found.append((ticks, pid))
    return min(found)[1] if found else None


# --- pipes -------------------------------------------------------------------------------------------------


def open_again(pid: int, inodes: set[int]) -> tuple[dict[int, int], bool]:
    """New reading ends, by inode, of those of these pipes that ``pid``, or who is in its session, still has open.

    What lies in a pipe stays in it as long as anybody has its other end, with or without a reader. False: others may
    be open as well, where we may not look, or have no descriptors left.
    """
    found: dict[int, int] = {}
    is_all = True
    try:
        for member in _session_of(pid):
            try:
                _open_those_of(member, inodes, found)
            except OSError:
                # It is another user's by now, as a rule.
                is_all = False
            if len(found) == len(inodes):
                return found, True
    except OSError:
        # A system without /proc.
        is_all = False
    return found, is_all


def _open_those_of(pid: int, inodes: set[int], found: dict[int, int]) -> None:
    for number in _numbers_of(pid):
        path = f"/proc/{pid}/fd/{number}"
        inode = _pipe_at(path)
        if inode in inodes and inode not in found:
            fd = _open_pipe(path, inode)
            if fd is not None:
                found[inode] = fd


def _session_of(pid: int) -> Iterator[int]:
    """First ``pid`` itself, as a rule all that is needed; then whoever it has started. Raises: OSError."""
    yield pid
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != pid:
            fields = system.stat_fields(int(entry))
            if len(fields) > 3 and int(fields[3]) == pid:
                yield int(entry)


def _numbers_of(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _pipe_at(path: str) -> int:
    """The inode of the pipe that is open there; 0 for anything else."""
    try:
        kind, _, inode = os.readlink(path).partition(":[")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(inode[:-1]) if kind == "pipe" else 0


def _open_pipe(path: str, inode: int) -> int | None:
    """Its reading end, close-on-exec; None if by now something else is there, which is left untouched."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        path = f"/proc/self/fd/{place}"
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if _pipe_at(path) == inode else None
    finally:
        os.close(place)
