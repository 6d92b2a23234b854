"""A kernel alone, with writers, a reader and viewers, and hands to hurt it with.

Everything lives in one loop, which turns while a step is carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import machine

from papa import places
from papa.client.aio import AsyncPapa
from papa.errors import PapaError
from tests.chaos.reader import Reader, Viewer
from tests.chaos.scenario import Step
from tests.chaos.troupe import Troupe

#: For whatever must come true; and more where many writers share the machine.
BOUND_S, BOUND_S_EACH = 60.0, 0.15

#: What one writer costs the kernel: two pipes, two streams, their index, a pidfd. Room for connections comes on top,
#: fewer than the kernel would accept: so that somebody can use all of it up.
FDS_EACH, FDS_MORE = 6, 300

#: What strangers send.
NONSENSE = (
    b"",
    b"frames 1\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\xff" * 100,
    b"watch lines w*\n",
    b"frames 1\n\xff\xff",
)

#: The soft limit is that of an ordinary login; the kernel raises its own.
_START = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, int(sys.argv[1])), int(sys.argv[1])))
from papa.client import launch
launch.open_connection().close()
"""


class KernelWorld:
    #: How long the world goes on before each step, at most.
    PAUSE_S = 0.25

    def __init__(self, folder: Path, *, size: int, seed: int) -> None:
        self.folder = folder
        self.size = size
        self._bound_s = max(BOUND_S, size * BOUND_S_EACH)
        self.counts: Counter[str] = Counter()
        #: From SIGKILL until another one answers, and from the order to upgrade until it is done.
        self.recovered_s: list[float] = []
        self._seed = seed
        self._kernel = self._holder = self._most_fds = 0
        self._environ: str | None = None
        self.faults: list[str] = []

    # --- beginning -----------------------------------------------------------------------------------------

    def start(self) -> None:
        (self.folder / "truth").mkdir(parents=True)
        self._environ = os.environ.get("PAPA_RUNTIME_DIR")
        os.environ["PAPA_RUNTIME_DIR"] = str(self.folder / "run")
        self._nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._nofile[1], self._nofile[1]))
        self._directory = Path(places.resolve(None).directory)
        limit = str(self.size * FDS_EACH + FDS_MORE)
        subprocess.run([sys.executable, "-c", _START, limit], check=True, timeout=self._bound_s)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open())

    async def _open(self) -> None:
        self._papa = await AsyncPapa.connect(client="chaos", autostart=False, timeout_s=self._bound_s)
        await self._look()
        self._most_fds = len(self._fds())
        self._troupe = Troupe(self.folder / "truth", self.size)
        self._reader = Reader(self._troupe)
        self._viewer = Viewer(self._troupe, self._seed)
        self._reader.start()
        self._viewer.start()
        self._troupe.open(self._papa, self._reader.attach)
        await self._until(lambda: len(self._troupe.endless()) >= self.size * 13 // 20, "the writers' start")

    async def _until(self, fact: Any, what: str) -> None:
        deadline = time.monotonic() + self._bound_s
        while not fact():
            self._reader.check()
            assert time.monotonic() < deadline, f"not within {self._bound_s:g} s: {what}"
            await asyncio.sleep(0.005)

    async def _look(self, *, other_than: int | None = None, needs_holder: bool = False) -> dict[str, Any]:
        """The status of a kernel that serves, other than that pid."""
        deadline = time.monotonic() + self._bound_s
        while True:
            with contextlib.suppress(PapaError):
                status = await self._papa.status()
                if status["pid"] != other_than and (status["holder"] is not None or not needs_holder):
                    self._kernel, self._holder = status["pid"], status["holder"]
                    return status
            assert time.monotonic() < deadline, (
                f"no kernel serves within {self._bound_s:g} s; kernel.log ends: {self._log()}"
            )
            await asyncio.sleep(0.002)

    def _log(self) -> str:
        try:
            return (self._directory / "kernel.log").read_text(errors="replace")[-3000:]
        except OSError as error:
            return str(error)

    def _fds(self) -> list[str]:
        folder = f"/proc/{self._kernel}/fd"
        return sorted(os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))

    # --- steps ---------------------------------------------------------------------------------------------

    def carry_out(self, step: Step) -> None:
        self._loop.run_until_complete(self._carry_out(step))

    async def _carry_out(self, step: Step) -> None:
        await asyncio.sleep(step.pause_s)
        self._reader.check()
        await getattr(self, f"_{step.what}")(step.number)
        self.counts[step.what] += 1

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.counts["kills"] += 1

    async def _kill_kernel(self, number: int) -> None:
        began, killed = time.monotonic(), self._kernel
        self._kill(killed)
        await self._look(other_than=killed)
        self.recovered_s.append(time.monotonic() - began)

    async def _kill_in_recovery(self, number: int) -> None:
        """Once more, before the next one serves: at most twice in a row, then the holder begins to wait."""
        first = self._kernel
        self._kill(first)
        successor: list[int] = []

        def has_successor() -> bool:
            successor[:] = [pid for pid in self._kernels() if pid != first]
            return bool(successor)

        await self._until(has_successor, "a next kernel")
        await asyncio.sleep(number % 1000 / 10_000)
        with contextlib.suppress(ProcessLookupError):
            self._kill(successor[0])
        await self._look(other_than=successor[0])

    def _kernels(self) -> list[int]:
        """Those that the holder has started, serving or not; what a killed one left behind is the holder's too."""
        found = []
        with contextlib.suppress(OSError):
            for pid in map(int, Path(f"/proc/{self._holder}/task/{self._holder}/children").read_text().split()):
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    # Its title takes the place of its arguments.
                    if b"papa.kernel.daemon" in command or command.startswith(b"papa daemon"):
                        found.append(pid)
        return found

    async def _ask_upgrade(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "papa.cli", "upgrade",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    async def _upgrade_kernel(self, number: int) -> None:
        before = self._kernel
        asked = await self._ask_upgrade()
        _, said = await asked.communicate()
        assert asked.returncode == 0, f"papa upgrade: {asked.returncode}: {said.decode()}"
        await self._look()
        assert self._kernel == before, f"papa upgrade: the kernel was {before}, is {self._kernel}"
        self.counts["upgrades"] += 1

    async def _kill_in_upgrade(self, number: int) -> None:
        before = self._kernel
        asked = await self._ask_upgrade()
        await asyncio.sleep(number % 1000 / 3000)
        self._kill(before)
        await asked.communicate()
        await self._look(other_than=before)

    async def _kill_holder(self, number: int) -> None:
        killed = self._holder
        os.kill(killed, signal.SIGKILL)
        await self._until(lambda: not machine.is_alive(killed), "the holder's end")
        while self._holder == killed:
            await self._look(needs_holder=True)
        self.counts["killed holders"] += 1

    async def _stop_kernel(self, number: int) -> None:
        os.kill(self._kernel, signal.SIGSTOP)
        await asyncio.sleep(5 if number % 4 == 0 else 0.3)
        os.kill(self._kernel, signal.SIGCONT)
        await self._look()

    async def _flood_with_connections(self, number: int, most: int = 400, stay_s: float = 0.2) -> None:
        opened = []
        with contextlib.ExitStack() as stack:
            for at in range(most):
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                try:
                    with places.unix_address(str(self._directory / "control.sock")) as address:
                        one.connect(address)
                    one.send(NONSENSE[(number + at) % len(NONSENSE)])
                except OSError:
                    # The queue is full: the kernel has to get some first.
                    await asyncio.sleep(0.005)
                    continue
                opened.append(one)
            await asyncio.sleep(stay_s)
        self.counts["strangers"] += len(opened)
        await self._look()

    async def _use_up_descriptors(self, number: int) -> None:
        await self._flood_with_connections(0, most=300, stay_s=number % 3)

    async def _remove_directory(self, number: int) -> None:
        """Moved away whole, or taken apart while the kernel writes into it."""
        if number % 2:
            gone = self.folder / f"gone-{number}"
            self._directory.rename(gone)
        else:
            gone = self._directory
        while gone.exists():
            # The kernel, and what it is about to write there, is not asked to wait.
            shutil.rmtree(gone, ignore_errors=True)
        await self._until((self._directory / "control.sock").exists, "a new directory")
        await self._look()
        while self._holder is None:
            await self._look(needs_holder=True)

    async def _reader_leaves(self, number: int) -> None:
        await self._reader.leave()
        await asyncio.sleep(number % 20 / 10)
        self._reader.start()

    async def _reader_freezes(self, number: int) -> None:
        self._reader.freeze(True)
        await asyncio.sleep(number % 20 / 10)
        self._reader.freeze(False)

    async def _kill_writer(self, number: int) -> None:
        living = self._troupe.endless()
        if living:
            victim = living[number % len(living)]
            self._troupe.kill(victim)

    async def _ask_politely(self, number: int) -> None:
        """TERM, to writers that ignore it: they are there at the end all the same."""
        for account in self._troupe.endless():
            # One that has no file of truth yet does not ignore it yet either.
            if account.ignores_term and os.path.exists(account.truth):
                self._troupe.kill(account, signal.SIGTERM)

    # --- verdict and end -----------------------------------------------------------------------------------

    def check_living(self) -> list[str]:
        return self._loop.run_until_complete(self._check_living())

    async def _check_living(self) -> list[str]:
        await self._look()
        gone = [a.name for a in self._troupe.endless() if not machine.is_alive(a.pid)]
        return [f"{name}: nobody ended it, and it is gone" for name in gone]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            # For whoever looks for the cause of a failure.
            shutil.copyfile(self._directory / "kernel.log", self.folder / "kernel.log")
        try:
            self._loop.run_until_complete(self._close())
        except (AssertionError, PapaError, OSError) as error:
            self.faults.append(f"at the end: {type(error).__name__}: {error}")
        finally:
            machine.end(str(self.folder))
            self._troupe.abandon()
            self._loop.run_until_complete(self._viewer.close())
            with contextlib.suppress(Exception):
                self._loop.run_until_complete(self._reader.leave())
            self._loop.run_until_complete(self._papa.close())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, self._nofile)
            if self._environ is None:
                del os.environ["PAPA_RUNTIME_DIR"]
            else:
                os.environ["PAPA_RUNTIME_DIR"] = self._environ

    async def _close(self) -> None:
        await self._look()
        await self._troupe.close()
        troupe = self._troupe
        try:
            await self._until(lambda: not troupe.accounts, "all accounts settled")
        except AssertionError:
            self.faults += [f"not settled: {account}" for account in troupe.accounts.values()][:5]
            raise
        await self._viewer.close()
        await self._reader.leave()
        await self._until_forgotten()
        await self._papa.request("exit", force=True)
        await self._until(lambda: not machine.marked(str(self.folder)), "the end of kernel and holder")

    async def _until_forgotten(self) -> None:
        """Nothing of all that remains in the kernel: entries, vault, files, descriptors."""
        deadline = time.monotonic() + self._bound_s / 6
        while left := await self._left():
            if time.monotonic() > deadline:
                self.faults += left
                return
            await asyncio.sleep(0.02)

    async def _left(self) -> list[str]:
        status = await self._look()
        left = [f"{what}: {status[what]}" for what in ("processes", "held_bytes", "faults") if status[what]]
        if status["vault"]["live"] or status["vault"]["dead"] > 1:
            left.append(f"vault: {status['vault']}")
        for folder in ("processes", "output"):
            left += [f"file {folder}/{name}" for name in os.listdir(self._directory / folder)]
        # One more is right: the pipe to a holder that replaced a killed one.
        fds = self._fds()
        if len(fds) > self._most_fds + 1:
            left.append(f"{len(fds)} descriptors instead of {self._most_fds}: {fds}")
        return left

    def check_end(self) -> list[str]:
        troupe = self._troupe
        self.counts["processes"] += troupe.ended
        self.counts["processes of unknown end"] += troupe.unknown
        self.counts["MB read"] += troupe.read_bytes >> 20
        self.counts["MB dropped and accounted"] += troupe.gap_bytes >> 20
        self.counts["commits"] += self._reader.commits
        self.counts["looks of a viewer"] += self._viewer.looks
        found = self.faults + troupe.faults
        for account in troupe.accounts.values():
            found += account.all_faults()
        return found
