"""The processes that this circusd has in the kernel: which slot each fills, and the descriptor that proves it.

A pidfd says without doubt whose process a signal goes to. Where the kernel can give none (the portable tier), pid
and start time together stand in for it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from circus.engine.history import Exit
from circus.supervise.states import SlotKey


@dataclass(slots=True)
class Hosted:
    """One process; ``exit_status`` is meaningful once ``has_exited``."""

    slot: SlotKey
    incarnation: int
    kernel_id: int
    pid: int
    pidfd: int | None
    start_ticks: int
    started_at: float  # wall clock
    digest: str  # of the watcher's options when it was started
    kill_mode: str = "process"  # when it was started
    mark: str = ""  # that every process of its tree has in its environment
    cgroup: str = ""  # its directory
    known: dict[tuple[int, int], str] = field(default_factory=dict)  # pid and start of who was of its tree, and why
    has_exited: bool = False
    exit_status: int | None = None
    is_being_ended: bool = False  # circusd wants its end
    why: str = ""  # it does, if a rule said so
    end: Exit | None = None  # as it is noted
    run: float | None = None  # of a job: when it was due
    value: str | None = None  # in the kernel, that is to go with it
    reap_hooks_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def send_signal(self, signum: int) -> bool:
        """False when the process is gone.

        Raises:
            PermissionError: it runs as another user.
        """
        if self.has_exited:
            return False
        try:
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, signum)
            elif _start_ticks(self.pid) == self.start_ticks:
                os.kill(self.pid, signum)
            else:
                return False
        except ProcessLookupError:
            return False
        return True

    def is_alive(self) -> bool:
        """What the machine says, whether or not anybody was told of an end."""
        if self.pidfd is None:
            return _start_ticks(self.pid) == self.start_ticks
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)  # pidfd_open(2): readable when the process has ended
        return not poll.poll(0)

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


class HostedTable:
    """All of them, by the kernel's id and by slot. A slot has at most one that lives."""

    def __init__(self) -> None:
        self._by_id: dict[int, Hosted] = {}
        self._by_slot: dict[SlotKey, Hosted] = {}
        self._by_pid: dict[int, Hosted] = {}

    def __iter__(self) -> Iterator[Hosted]:
        return iter(list(self._by_id.values()))

    def add(self, hosted: Hosted) -> None:
        """Know it; it fills its slot, unless it has ended: then the slot may have a successor already."""
        self._by_id[hosted.kernel_id] = hosted
        if not hosted.has_exited:
            self._by_slot[hosted.slot] = hosted
            self._by_pid[hosted.pid] = hosted

    def by_id(self, kernel_id: int) -> Hosted | None:
        return self._by_id.get(kernel_id)

    def by_pid(self, pid: int) -> Hosted | None:
        """The one that has this pid now."""
        hosted = self._by_pid.get(pid)
        return hosted if hosted is not None and not hosted.has_exited else None

    def in_slot(self, slot: SlotKey, incarnation: int) -> Hosted | None:
        hosted = self._by_slot.get(slot)
        return hosted if hosted is not None and hosted.incarnation == incarnation else None

    def of_watcher(self, watcher: str) -> list[Hosted]:
        return [hosted for hosted in self if hosted.slot.watcher == watcher and not hosted.has_exited]

    def remove(self, hosted: Hosted) -> None:
        self._by_id.pop(hosted.kernel_id, None)
        if self._by_slot.get(hosted.slot) is hosted:
            del self._by_slot[hosted.slot]
        if self._by_pid.get(hosted.pid) is hosted:
            del self._by_pid[hosted.pid]
        hosted.close()


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)), or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
