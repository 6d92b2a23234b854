"""Real daemons, real writers, and hands to hurt them with. All lives in one folder and ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.scenario import Step

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WATCHERS = ("plain", "shared", "stamped")
COUNT = 3

CONFIG = """
[circus]
loglevel = info
logoutput = circusd.log

[watcher:plain]
cmd = {python} -S -u {root}/examples/ticker.py plain-$(circus.wid)
numprocesses = {count}
copy_env = true
use_papa = true
graceful_timeout = 5
stdout_stream.class = FileStream
stdout_stream.filename = plain.log

[watcher:shared]
cmd = {python} -S -u {root}/examples/ticker.py shared-$(circus.wid)
numprocesses = {count}
copy_env = true
use_papa = true
graceful_timeout = 5
stdout_stream.class = FileStream
stdout_stream.filename = shared.log
stdout_stream.max_bytes = 30000
stdout_stream.backup_count = 1000
stderr_stream.class = FileStream
stderr_stream.filename = shared.log
stderr_stream.max_bytes = 30000
stderr_stream.backup_count = 1000

[watcher:stamped]
cmd = {python} -S -u {root}/examples/ticker.py stamped-$(circus.wid)
numprocesses = {count}
copy_env = true
graceful_timeout = 5
use_papa = true
stdout_stream.class = FileStream
stdout_stream.filename = stamped.log
stdout_stream.time_format = %Y-%m-%d %H:%M:%S
stdout_stream.max_bytes = 50000
stdout_stream.backup_count = 1000
"""


def wait_for(fact: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Raises AssertionError when ``fact`` is not true in time."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


class World:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.truth = folder / "truth"
        self.truth.mkdir()
        (folder / "circus.ini").write_text(CONFIG.format(python=sys.executable, root=ROOT, count=COUNT))
        self.environ = {
            **os.environ,
            "PAPA_RUNTIME_DIR": str(folder / "run"),
            "TICKER_TRUTH": str(self.truth),
            "TICKER_INTERVAL_S": "0.002",
        }
        self.manager: subprocess.Popen[bytes] | None = None
        #: pids that somebody was ordered to end: those may be gone at the end, the others may not.
        self.ended: set[int] = set()

    # Asking -------------------------------------------------------------------------------------------------

    def circusctl(self, *words: str) -> str:
        done = subprocess.run(
            [BIN / "circusctl", *words],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def pids(self, watcher: str) -> set[int]:
        return {int(pid) for pid in self.circusctl("list", watcher).split(",") if pid.strip().isdigit()}

    def is_up(self) -> bool:
        status = self.circusctl("status").splitlines()
        return len(status) == len(WATCHERS) and all(line.endswith(": active") for line in status)

    def kernel_pid(self) -> int | None:
        done = subprocess.run(
            [BIN / "papa", "status", "--json"], env=self.environ, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            return None
        import json

        return int(json.loads(done.stdout)["pid"])

    # Doing --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        assert self.manager is None
        with (self.folder / "circusd.out").open("ab") as out:
            self.manager = subprocess.Popen(
                [BIN / "circusd", "circus.ini"],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_for(self.is_up, "all watchers active")

    def kill_manager(self) -> None:
        assert self.manager is not None
        self.manager.kill()
        self.manager.wait(20)
        self.manager = None

    def carry_out(self, step: Step) -> None:
        time.sleep(step.pause_s)
        getattr(self, f"_{step.what}")(step.number)

    def _kill_manager(self, number: int) -> None:
        self.kill_manager()
        time.sleep(number % 5 / 10)
        self.start()

    def _quit_manager(self, number: int) -> None:
        assert self.manager is not None
        self.circusctl("quit")
        self.manager.wait(20)
        self.manager = None
        time.sleep(number % 5 / 10)
        self.start()

    def _kill_kernel(self, number: int) -> None:
        before = self.kernel_pid()
        assert before is not None, "papa does not answer"
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.kernel_pid() not in (None, before), "a new kernel")

    def _kill_writer(self, number: int) -> None:
        watcher = WATCHERS[number % len(WATCHERS)]
        before = self.pids(watcher)
        victim = sorted(before)[number % len(before)]
        self.ended.add(victim)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(self.pids(watcher) - {victim}) == COUNT, f"a successor of {victim}")

    def _stop_manager_for_a_while(self, number: int) -> None:
        assert self.manager is not None
        self.manager.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.manager.send_signal(signal.SIGCONT)

    def _restart_watcher(self, number: int) -> None:
        watcher = WATCHERS[number % len(WATCHERS)]
        self.ended |= self.pids(watcher)
        self.circusctl("restart", watcher)

    def _upgrade_kernel(self, number: int) -> None:
        subprocess.run(
            [BIN / "papa", "upgrade"], env=self.environ, capture_output=True, timeout=60, check=True
        )
        wait_for(self.kernel_pid, "the kernel after its upgrade")

    def close(self) -> None:
        """End everything: orderly, and if that fails by pid."""
        self.circusctl("shutdown")
        if self.manager is not None:
            try:
                self.manager.wait(20)
            except subprocess.TimeoutExpired:
                self.manager.kill()
                self.manager.wait(20)
