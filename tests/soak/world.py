"""The house of the soak: circusd in the background with its warden, papa with its holder, and thirty watchers.

`blind` says when nobody is asked to answer: while a killed circusd is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circus.control.client import Client
from circus.errors import CircusError
from tests.house import ANSWER_S, BIN, House, free_port, wait_for

PLAYER = Path(__file__).with_name("player.py")

#: Watcher -> its processes. Those who are ordered about; nobody else is.
RESTARTED = {f"web{number}": 2 for number in range(1, 7)} | {f"talk{number}": 1 for number in range(1, 4)}
QUIET = [f"quiet{number}" for number in range(1, 11)]
FORKING = ["fork1", "fork2"]
CRASHING = ["crash1", "crash2", "crash3"]
JOBS = {"job1": "* * * * * *", "job2": "*/2 * * * * *", "job3": "*/5 * * * * *"}
#: What reloadconfig finds changed.
EDITED = "edited"

#: A daemon that a busy machine starts is there by then.
START_S = 120.0


def section(name: str, part: str, *words: str, count: int = 1, log: str = "", extra: str = "") -> str:
    command = " ".join([sys.executable, "-I", "-S", str(PLAYER), part, f"{name}-$(circus.wid)", *words])
    return (
        f"[watcher:{name}]\ncmd = {command}\nnumprocesses = {count}\ncopy_env = true\ngraceful_timeout = 10\n"
        f"stdout_stream.class = FileStream\nstdout_stream.filename = {log or name + '.log'}\n{extra}\n"
    )


def configuration(port: int, edition: int) -> str:
    """``edition`` is what an edit changes: the environment of one watcher, and so its processes."""
    text = f"[circus]\nuse_papa = true\nstats_interval = 1\n[socket:door]\nhost = 127.0.0.1\nport = {port}\n"
    for name, count in RESTARTED.items():
        rotated = "stdout_stream.max_bytes = 256k\nstdout_stream.backup_count = 1000\n"
        stamped = "stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n"
        # Two share a file, one is rotated, one has times in front.
        log = "shared.log" if name in ("web1", "web2") else ""
        extra = {"talk1": rotated, "talk2": stamped}.get(name, "")
        text += section(name, "talks" if name.startswith("talk") else "murmurs", count=count, log=log, extra=extra)
    text += "".join(section(name, "rests") for name in QUIET)
    text += "".join(section(name, "forks") for name in FORKING)
    crash = "backoff.first = 0.5\nbackoff.factor = 2\nbackoff.max = 4\nbackoff.attempts = -1\n"
    text += "".join(section(name, "crashes", extra=crash) for name in CRASHING)
    text += "".join(section(name, "says", extra=f"schedule = {when}\n") for name, when in JOBS.items())
    text += section("http", "serves", "$(circus.sockets.door)", count=2, extra="use_sockets = true\n")
    return text + section(EDITED, "rests", extra=f"[env:{EDITED}]\nEDITION = {edition}\n")


class World(House):
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.edition = 0
        super().__init__(folder, configuration(self.port, 0), SOAK_TRUTH=str(folder / "truth"))
        self.client = Client(str(folder / "run" / "circus-default.sock"), timeout_s=ANSWER_S)
        self.kernel_socket = folder / "run" / "kernel-default" / "control.sock"
        #: Grows with each circusd that was killed, before and after the time in which nobody answers.
        self.blind = 0
        self._blind_lock = threading.Lock()

    @property
    def manager_pid(self) -> int:
        """Of circusd; 0 while there is none."""
        try:
            return int((self.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def warden_pid(self) -> int:
        return int(Path(f"/proc/{self.manager_pid}/stat").read_text().rpartition(")")[2].split()[1])

    def begin(self) -> None:
        """circusd in the background, and every process there."""
        options = ("--daemon", "--pidfile", "pid", "--log-output", "circusd.log")
        done = self.run(BIN / "circusd", *options, self.config, timeout_s=START_S)
        assert done.returncode == 0, done.stderr
        wait_for(self.answers, "all up", START_S)

    def answers(self) -> bool:
        """Whether circusd answers and has what does not come and go."""
        try:
            return all(self.running(name) for name in ("http", EDITED, *QUIET, *RESTARTED))
        except CircusError:
            return False

    def slots(self, watcher: str) -> list[dict[str, Any]]:
        return list(self.client.get(f"/v1/status/{watcher}")["slots"])

    def running(self, watcher: str) -> int:
        return sum(slot["state"] == "running" for slot in self.slots(watcher))

    def pids_of(self, watcher: str) -> set[int]:
        return {slot["pid"] for slot in self.slots(watcher) if slot["state"] == "running"}

    def edit(self) -> None:
        self.edition += 1
        self.config.write_text(configuration(self.port, self.edition))

    @contextlib.contextmanager
    def nobody_answers(self) -> Iterator[None]:
        with self._blind_lock:
            self.blind += 1
            yield
            self.blind += 1

    def kill_manager(self) -> None:
        """SIGKILL circusd, and wait for the next one."""
        before = self.manager_pid
        with self.nobody_answers():
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: self.manager_pid not in (0, before) and self.answers(), "another circusd", START_S)

    def close(self) -> None:
        """Shut down, whatever has happened; a warden that would bring another one goes first."""
        if self.manager_pid:
            with contextlib.suppress(Exception):
                self.asked("shutdown")
                wait_for(lambda: not self.manager_pid and self.kernel() is None, "the end", START_S)
                return
            with contextlib.suppress(OSError):
                os.kill(self.warden_pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(self.manager_pid, signal.SIGKILL)
        super().close()
