"""What daemons do, counted: system calls by strace, instructions by callgrind, wake-ups by the system itself.

The one idea: nobody wakes up without a reason here, so that what an order costs is known when all have gone to sleep
again. However long that takes on a busy machine, nothing is added to the counts meanwhile.
"""

from __future__ import annotations

import collections
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.calls import counted

#: Without a wake-up for so long, an order has been dealt with: longer than what the daemons gather for some
#: milliseconds, shorter than what they put off for a second.
STILL_S = 0.15

LOOK_S = 0.01

BOUND_S = 120.0


#: How often a lock was not free, or an allocator wanted more, is a matter of chance.
UNCOUNTED = ("futex", "brk", "mmap", "munmap", "mprotect", "madvise", "mremap", "restart_syscall")


class Count:
    """``own`` of the process with its threads, ``of_children`` of who it started, until he became a program."""

    def __init__(self) -> None:
        self.own = 0
        self.of_children = 0
        self.calls: collections.Counter[str] = collections.Counter()  # of its own, by name


#: Counts what a process does within; known behind it.
Counter = Callable[[int], AbstractContextManager[Count]]


@contextmanager
def system_calls(pid: int) -> Iterator[Count]:
    count = Count()
    with counted(pid) as calls:
        yield count
    for name in UNCOUNTED:
        del calls.own[name]
    count.own, count.of_children = calls.own.total(), calls.of_children
    count.calls = calls.own


class Callgrind:
    """Instructions of processes that are executed by ``words``."""

    def __init__(self, folder: Path) -> None:
        self._pipes = f"--vgdb-prefix={folder}/vgdb"
        # Nothing is counted, and all is twice as fast, until somebody asks.
        self.words = (
            *("valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"),
            self._pipes,
        )
        self._counting: set[int] = set()

    @contextmanager
    def instructions(self, pid: int) -> Iterator[Count]:
        count = Count()
        if pid not in self._counting:
            self._tell(pid, "instrumentation on")
            self._counting.add(pid)
        self._tell(pid, "zero")
        yield count
        count.own = sum(map(int, re.findall(r"^events-\d+: (\d+)$", self._tell(pid, "status internal"), re.MULTILINE)))

    def _tell(self, pid: int, what: str) -> str:
        words = ["vgdb", self._pipes, f"--pid={pid}", *what.split()]
        return subprocess.run(words, capture_output=True, text=True, timeout=BOUND_S, check=True).stdout


def switches(pids: list[int]) -> int | None:
    """How often their threads have slept so far, or were put aside; None while one of them does not sleep."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                status = (task / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                return None  # a thread that has just ended
            if not re.search(r"^State:\s+S", status, re.MULTILINE):
                return None
            total += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)$", status, re.MULTILINE)))
    return total


def until_still(pids: list[int], still_s: float = STILL_S) -> int:
    """Wait until none of them has woken up for so long; how often they had slept by then."""
    deadline = time.monotonic() + BOUND_S
    before, since = switches(pids), time.monotonic()
    while before is None or time.monotonic() < since + still_s:
        assert time.monotonic() < deadline, f"{pids} did not rest within {BOUND_S} s"
        time.sleep(LOOK_S)
        if (now := switches(pids)) is None or now != before:
            before, since = now, time.monotonic()
    return before


def wakeups(pids: list[int], window_s: float, windows: int) -> int:
    """How often they woke up in the quietest of some windows: what happens once is not what never ends."""
    counts: list[int] = []
    while len(counts) < windows and 0 not in counts:
        before = until_still(pids, 0)
        time.sleep(window_s)
        counts.append(until_still(pids, 0) - before)
    return min(counts)


def system_calls_of(words: list[str], environ: dict[str, str]) -> int:
    """Of a whole run of a program."""
    done = _run(["strace", "-f", "-qq", "-o", "/dev/stderr", *words], environ)
    names = re.findall(r"^(?:\d+ +)?(\w+)\(", done, re.MULTILINE)
    return sum(name not in UNCOUNTED for name in names)


def instructions_of(words: list[str], environ: dict[str, str]) -> int:
    """Of a whole run of a program with one thread, by the quickest of valgrind's tools that counts them."""
    done = _run(["valgrind", "--tool=exp-bbv", "--bb-out-file=/dev/null", "--pc-out-file=/dev/null", *words], environ)
    return sum(map(int, re.findall(r"Total instructions: (\d+)", done)))


def _run(words: list[str], environ: dict[str, str]) -> str:
    """What it says on standard error."""
    done = subprocess.run(
        words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr
