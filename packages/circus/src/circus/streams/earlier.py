"""Threads of a circusd that was killed while its disk hung: they cannot be ended, and may write once more.

The idea: what such a thread is stuck in (a rename, a write) can still happen when the disk comes back, after the next
circusd has looked. So nobody touches a file system while a thread of a dead process is in it. The process is a zombie
whose threads are not all gone, and each thread bears the name of what it touches: see `workers`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator

from circus import clock, procfs
from circus.streams import workers

#: Threads of a process that was just killed are gone within this, unless one hangs; they are looked at this often.
DYING_S = 1.0
LOOK_S = 0.005


class Earlier:
    """What was left when this circusd started; there will be no more of them."""

    def __init__(self) -> None:
        self._threads = list(_find())
        self._dying_until = clock.monotonic() + DYING_S

    def check(self, worker_key: str) -> None:
        """May block. Raises: OSError while one of them is in that file system."""
        while (pid := self._who_is_in(worker_key)) is not None:
            if clock.monotonic() > self._dying_until:
                raise OSError(errno.EBUSY, f"has not answered since circusd {pid}, which is dead, began to write to it")
            time.sleep(LOOK_S)

    def _who_is_in(self, worker_key: str) -> int | None:
        if not self._threads:
            return None
        self._threads = [each for each in self._threads if os.path.exists(_path(*each[:2]))]
        mine = os.fsencode(worker_key)[: workers.MAX_NAME]
        return next((pid for pid, _, name in self._threads if name == mine), None)


def _find() -> Iterator[tuple[int, int, bytes]]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or not procfs.has_ended(int(entry)):
            continue
        try:
            threads = [int(each) for each in os.listdir(f"/proc/{entry}/task")]
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"{_path(int(entry), thread)}/comm", "rb") as file:
                    name = file.read().rstrip(b"\n")
            except OSError:
                continue
            if thread != int(entry) and name.startswith(b"dev:"):
                yield int(entry), thread, name


def _path(pid: int, thread: int) -> str:
    return f"/proc/{pid}/task/{thread}"
