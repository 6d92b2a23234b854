"""What the machine says about processes: who lives, what they cost. Reads /proc, changes nothing."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: The end of thousands, on a machine with much else to do.
END_S = 60.0
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Cost:
    """What a set of processes has used so far, and holds now."""

    cpu_s: float
    switches: int  # voluntary and involuntary, of all threads: the number of wake-ups
    rss_bytes: int
    pss_bytes: int
    processes: int
    threads: int

    def since(self, earlier: Cost) -> tuple[float, int]:
        return self.cpu_s - earlier.cpu_s, self.switches - earlier.switches


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _sum(pattern: str, text: str) -> int:
    return sum(map(int, re.findall(pattern, text, re.MULTILINE)))


def cost(pids: list[int]) -> Cost:
    cpu_ns = switches = rss = pss = threads = 0
    for pid in pids:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        threads += len(tasks)
        for task in tasks:
            cpu_ns += int((_read(f"/proc/{pid}/task/{task}/schedstat").split() or ["0"])[0])
            switches += _sum(r"ctxt_switches:\s+(\d+)$", _read(f"/proc/{pid}/task/{task}/status"))
        memory = _read(f"/proc/{pid}/smaps_rollup")
        rss += _sum(r"^Rss:\s+(\d+)", memory) * 1024
        pss += _sum(r"^Pss:\s+(\d+)", memory) * 1024
    return Cost(cpu_ns / 1e9, switches, rss, pss, len(pids), threads)


def is_alive(pid: int) -> bool:
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def marked(marker: str) -> dict[int, str]:
    """pid -> command of the processes that belong to ``marker``, a folder; oldest first.

    It stands in their environment, arguments or working directory, or in those of an ancestor: a process that sets
    its title loses its environment.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if not fields or fields[0] in "ZX":
            continue
        parents[pid] = int(fields[1])
        try:
            text = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            if marker.encode() in text or os.readlink(f"/proc/{pid}/cwd").startswith(marker):
                found.add(pid)
        except OSError:
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip() for pid in sorted(found)}


def end(marker: str) -> None:
    """End all that belongs to ``marker``, by pid. TimeoutError if somebody is left after END_S."""
    # Who executes another program at the moment of a look has no environment and no arguments: the next one sees it.
    for _ in range(2):
        wait_for(lambda: not _killed(marker), END_S, LOOK_S)
        time.sleep(LOOK_S)


def _killed(marker: str) -> bool:
    """Whether there was anybody."""
    found = marked(marker)
    # Stopped first: what is killed one by one is started again by what is left.
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in found:
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                pass
    return bool(found)


def wait_for(fact: Callable[[], T], timeout_s: float, step_s: float = 0.01) -> T:
    """The first true value of ``fact``; TimeoutError after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (value := fact()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {fact.__qualname__}")
        time.sleep(step_s)
    return value
