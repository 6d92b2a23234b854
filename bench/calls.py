"""System calls of a process, counted by strace: what else the machine does changes nothing about them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Until a tracer that was told to go has gone.
LEAVE_S = 10.0


class Calls:
    """``own`` of the process and its threads, by name; ``of_children`` those of who it started, until they became a
    program. A thread that begins and ends meanwhile is taken for a child."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.of_children = 0

    def most(self, times: int) -> str:
        """Of each that came in a twentieth of so many times at least: how often each time."""
        return ", ".join(f"{name} {count / times:.2g}" for name, count in self.own.most_common() if count * 20 > times)

    def _read(self, threads: set[str], trace: Path) -> None:
        programs: set[str] = set()
        with trace.open(errors="replace") as file:
            for text in file:
                who, _, call = text.partition(" ")
                name = call.strip().partition("(")[0]
                # Not the rest of a call that was interrupted, nor a signal.
                if not name.isidentifier() or who in programs:
                    continue
                if who in threads:
                    self.own[name] += 1
                else:
                    self.of_children += 1
                    if name == "execve":
                        programs.add(who)


@contextmanager
def counted(pid: int) -> Iterator[Calls]:
    """Those of the time within; known behind it."""
    calls = Calls()
    with tempfile.TemporaryDirectory(prefix="bench-strace-") as folder:
        trace = Path(folder) / "trace"
        words = ["strace", "-f", "-o", trace, "-p", str(pid)]
        tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        # "Process N attached" comes when it is.
        tracer.stderr.readline()
        threads = set(os.listdir(f"/proc/{pid}/task"))
        try:
            yield calls
        finally:
            threads.update(os.listdir(f"/proc/{pid}/task"))
            tracer.terminate()
            tracer.communicate(timeout=LEAVE_S)
        calls._read(threads, trace)
