"""Whether the system ended a process because memory was short: what proves it, and what only speaks for it.

A control group of its own counts who was ended in it so (memory.events): that proves it. Without one there is the count
of the whole machine (/proc/vmstat): where it rose, a SIGKILL that nobody here ordered may have been one of them. Who
was ended stands in the log of the system, which circusd does not read: it may not, or has the pids of another world.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from circus import cgroups, clock
from circus.config.model import LimitsPolicy
from circus.engine.hosted import Hosted

VMSTAT = "/proc/vmstat"

#: A rise of the count is told of all who were ended within this time: one shortage ends several.
TOGETHER_S = 60.0


class _Reading(NamedTuple):
    at: float  # wall clock
    kills: int | None  # None: the system does not tell


class Shortages:
    """What the machine counts. It is looked at when a process was ended by SIGKILL, and at a start of circusd."""

    def __init__(self) -> None:
        self._base = self._last = _read()

    def perhaps(self) -> str:
        """What speaks for it, in words; empty where nothing does."""
        now = _read()
        if not 0 <= now.at - self._last.at <= TOGETHER_S:
            self._base = self._last
        self._last = now
        if now.kills is None or self._base.kills is None or now.kills <= self._base.kills:
            return ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._base.at))
        times = now.kills - self._base.kills
        ended = "a process" if times == 1 else f"{times} processes"
        return f"out of memory: the system has ended {ended} for that since {since}"


def proof(hosted: Hosted, policy: LimitsPolicy | None) -> str:
    """Where the process's own control group says so; empty where nobody knows of that."""
    if not hosted.cgroup:
        return ""
    events = dict(line.split() for line in (cgroups.read(hosted.cgroup, "memory.events") or "").splitlines())
    if events.get("oom_kill", "0") == "0":
        return ""
    if policy is None or not policy.cgroup_memory_max:
        return "out of memory: the system has ended it in its control group"
    return f"out of memory: its control group may have {policy.cgroup_memory_max >> 20}M (limits.cgroup_memory_max)"


def _read() -> _Reading:
    try:
        with open(VMSTAT, encoding="ascii") as file:
            found = next((line.split()[1] for line in file if line.startswith("oom_kill ")), None)
    except OSError:
        found = None
    return _Reading(clock.wall(), None if found is None else int(found))
