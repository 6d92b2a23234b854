"""The orders that are counted, one after another: each is given when the last one has been dealt with.

Two daemons with some processes, as they come (system calls, wake-ups), or executed by valgrind (instructions). The
valgrind of 2022 knows no pidfd, so there the kernel is that of the tier `portable`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.line import Line

from tests.counts import counting
from tests.counts.counting import Count, Counter
from tests.house import BIN, House, wait_for

#: Read from the named pipe and written in one go: nobody has anything to divide, or to gather.
CHUNK = b"".join(b"%015d " % number + b"x" * 111 + b"\n" for number in range(512))

#: Of them in 1 MiB.
CHUNKS = 16

#: So often each order is given; its cost is the median.
TIMES = 5

IDLE_S = 3.0

#: One of so many such times without a wake-up will do: what happens once, later, is not what never ends.
WINDOWS = 4

#: The second one has a time in front of each line.
LOGS = {"plain": "", "timed": "stdout_stream.time_format = %Y-%m-%d %H:%M:%S"}

IDLE_WATCHERS = 8

#: What the daemons start, as they say it.
PROGRAMS = ("/bin/cat", "/bin/sleep", "/bin/true")

#: Under valgrind, on a busy machine.
START_S = 300.0

CONFIG = """
[watcher:{name}]
cmd = /bin/cat {folder}/{name}.pipe
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/{name}.log
{extra}
"""

IDLE = """
[watcher:idle{number}]
cmd = /bin/sleep 100000
numprocesses = 2
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/idle{number}.log
"""


class Scenes:
    """Both daemons at rest, and what is done to them. ``count`` counts."""

    def __init__(self, house: House, papa: int, count: Counter) -> None:
        assert house.manager is not None
        self.house = house
        self.papa, self.circusd = papa, house.manager.pid
        self.daemons = [self.papa, self.circusd]
        self._count = count
        self._pipes = {name: os.open(house.folder / f"{name}.pipe", os.O_RDWR) for name in LOGS}

    def close(self) -> None:
        for pipe in self._pipes.values():
            os.close(pipe)

    def counted(self, act: Callable[[], None], pids: list[int], times: int = TIMES) -> list[Count]:
        """What it costs each of ``pids``, most often: what is put off for a second, and done for many at once, is not
        in it, nor what happens once."""
        act()
        counting.until_still(self.daemons)
        counts: list[list[Count]] = []
        for _ in range(times):
            with contextlib.ExitStack() as stack:
                counts.append([stack.enter_context(self._count(pid)) for pid in pids])
                act()
                counting.until_still(self.daemons)
        return [sorted(each, key=lambda count: count.own)[times // 2] for each in zip(*counts, strict=True)]

    def spawn(self) -> Count:
        """A process with two captured streams, and its end, that nobody but the kernel has to do with."""
        path = self.house.folder / "run" / "kernel-default" / "control.sock"
        with Line(str(path)) as line:

            def one() -> None:
                asked = {"argv": ["/bin/true"], "stdin": "null", "stdout": "capture", "stderr": "capture"}
                row = line.ask("spawn", name="one", env={}, owner="counts", **asked)
                line.await_exits(1)
                line.ask("remove", what="processes", ids=[row["id"]])

            return self.counted(one, [self.papa])[0]

    def restart(self) -> list[Count]:
        return self.counted(lambda: self.house.asked("restart", "idle1"), self.daemons)

    def status(self) -> Count:
        return self.counted(lambda: self.house.asked("status"), [self.circusd])[0]

    def log(self, name: str) -> list[Count]:
        """1 MiB in lines of 128 bytes."""
        path = self.house.folder / f"{name}.log"

        def one() -> None:
            ends = _ends(path) + CHUNK.count(b"\n")
            os.write(self._pipes[name], CHUNK)
            wait_for(lambda: _ends(path) == ends, path.name, counting.BOUND_S)

        return self.counted(one, self.daemons)

    def wakeups(self) -> int:
        """Of both daemons together, in IDLE_S of rest."""
        return counting.wakeups(self.daemons, IDLE_S, WINDOWS)


def _ends(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


@contextlib.contextmanager
def opened(folder: Path, count: Counter, *, runner: tuple[str, ...] = (), **environ: str) -> Iterator[Scenes]:
    """Both daemons, executed by ``runner``, when they have come to rest."""
    house = House(folder, _config(folder), **environ)
    for name in LOGS:
        os.mkfifo(folder / f"{name}.pipe")
    try:
        _start_papa(house, runner)
        house.runner = list(runner)
        house.launch()
        wait_for(house.is_up, "circusd up" + house.said(), START_S)
        kernel = house.kernel()
        assert kernel is not None
        scenes = Scenes(house, kernel["pid"], count)
        try:
            yield scenes
        finally:
            scenes.close()
    finally:
        house.close()


def _config(folder: Path) -> str:
    logs = [CONFIG.format(name=name, folder=folder, extra=extra) for name, extra in LOGS.items()]
    return "".join(logs + [IDLE.format(number=number, folder=folder) for number in range(IDLE_WATCHERS)])


def _start_papa(house: House, runner: tuple[str, ...]) -> None:
    """Started by circusd, it would be executed by nobody."""
    children = ("--trace-children=yes", f"--trace-children-skip={','.join(PROGRAMS)}") if runner else ()
    house.run(*runner, *children, BIN / "papa", "serve", "--daemonize", timeout_s=START_S)
    wait_for(house.kernel, "papa", START_S)
