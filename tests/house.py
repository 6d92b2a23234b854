"""A whole house for a test: circusd with its kernel under a private root, and circusctl to ask it.

Everything lives in one folder; `close` ends it in an orderly way, and says what would not go.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TICKER = ROOT / "examples" / "ticker.py"

#: How a person would start the ticker, as quickly as an interpreter can.
TICKER_COMMAND = f"{sys.executable} -S -u {TICKER}"


#: Within this circusd answers however busy the machine is; of itself circusctl gives it 5 s.
ANSWER_S = 50


#: Within this a fact is there however busy the machine is. Only a test that fails waits so long.
PATIENCE_S = 60.0


#: A shutdown whose output does not get into its files in time leaves it with papa; then another circusd takes it.
CLOSE_ATTEMPTS = 3


#: Below those that the system gives to connections and to whoever asks for any: there nobody comes in between.
FIRST_PORT = 21_000

#: For each worker of a test run its own; as many as a run may have in one second without two equal ones.
PORTS_OF_A_WORKER = 500
WORKERS = 20

#: Users that no system has, below the last one that a container may know.
FIRST_UID = 60_100
UIDS = 4800


def worker_number() -> int:
    """Of this one of a test run's processes."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens and, until the caller does, nobody will."""
    while True:
        port = FIRST_PORT + worker_number() * PORTS_OF_A_WORKER + random.randrange(PORTS_OF_A_WORKER)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def own_uid() -> int:
    """A user for this process alone: processes, and descriptors in flight, are counted for each user."""
    return FIRST_UID + os.getpid() % UIDS


def wait_for(fact: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of ``fact``; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        asked_at = time.monotonic()
        if value := fact():
            return value
        now = time.monotonic()
        assert now < deadline, f"not within {timeout_s} s: {what}"
        # Who asks by a program takes from circusd no more than half of the time that it needs to get there.
        time.sleep(min(max(now - asked_at, 0.01), 0.5))


@contextlib.contextmanager
def process(*words: str | Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A program that does not outlive its test; what it prints is read."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environ}) as running:
        try:
            yield running
        finally:
            running.kill()


class House:
    def __init__(self, folder: Path, config: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.truth = folder / "truth"
        self.truth.mkdir()
        self.config = folder / "circus.ini"
        self.config.write_text(config)
        self.environ = {
            **os.environ,
            "PAPA_RUNTIME_DIR": str(folder / "run"),
            "TICKER_TRUTH": str(self.truth),
            "PYTHONPATH": str(folder),
            **environ,
        }
        self.manager: subprocess.Popen[bytes] | None = None
        self.runner: list[str] = []  # the command that runs circusd, as `setpriv` does

    # Asking -------------------------------------------------------------------------------------------------

    def ctl(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return self.run(BIN / "circusctl", "--timeout", str(ANSWER_S), *words, timeout_s=timeout_s)

    def run(self, *argv: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def asked(self, *words: str) -> str:
        """What circusctl prints; AssertionError when it fails."""
        done = self.ctl(*words)
        assert done.returncode == 0, f"circusctl {' '.join(words)}: {done.returncode} {done.stderr}{self.said()}"
        return done.stdout.strip()

    def status(self) -> dict[str, str]:
        """watcher -> state, as circusctl shows it; empty while circusd does not answer."""
        # Not by circusctl: what is asked until it is true would take a third of all tests' processor time. Imported
        # late, as not every user of this module has circus.
        from circus.cli import render
        from circus.control import endpoints
        from circus.control.client import Client, target
        from circus.errors import CircusError
        from papa import places

        path = endpoints.resolve(self.environ.get("CIRCUSCTL_ENDPOINT"))
        if os.path.dirname(path) == places.runtime_root():
            path = os.path.join(self.environ["PAPA_RUNTIME_DIR"], os.path.basename(path))
        client = Client(path, timeout_s=ANSWER_S)
        try:
            lines = render.status_lines(client.get(target("status")), time.time())
        except CircusError:
            return {}
        return dict(line.split(": ", 1) for line in lines if line and not line.startswith((" ", "\t")))

    def is_up(self) -> bool:
        states = self.status()
        return bool(states) and all(state in ("active", "stopped") for state in states.values())

    def pids(self, watcher: str) -> set[int]:
        return {int(pid) for pid in self.asked("list", watcher).split(",") if pid.strip()}

    def kernel(self) -> dict[str, Any] | None:
        """What papa says of itself, or None when none runs."""
        done = self.run(BIN / "papa", "status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def rows(self) -> dict[str, dict[str, Any]]:
        """name -> what papa says of the process."""
        code = (
            "import json; from papa.client.blocking import Connection; "
            "papa = Connection(client='test', autostart=False); "
            "print(json.dumps(papa.request('list', what='processes').ok['items']))"
        )
        return {row["name"]: row for row in json.loads(self.run(sys.executable, "-c", code).stdout)}

    def said(self) -> str:
        """What circusd printed, for failures."""
        path = self.folder / "circusd.out"
        return "\n--- circusd:\n" + path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def log(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return ""

    # Doing --------------------------------------------------------------------------------------------------

    def launch(self, *options: str) -> subprocess.Popen[bytes]:
        """Start circusd in the foreground, without waiting."""
        assert self.manager is None
        with (self.folder / "circusd.out").open("ab") as out:
            self.manager = subprocess.Popen(
                [*self.runner, BIN / "circusd", *options, self.config],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return self.manager

    def start(self, *options: str) -> None:
        """Start circusd and wait until every watcher has got where it shall be."""
        manager = self.launch(*options)

        def is_up() -> bool:
            assert manager.poll() is None, f"circusd ended with {manager.returncode}{self.said()}"
            return self.is_up()

        wait_for(is_up, "circusd up" + self.said())

    def quit(self) -> None:
        self.asked("quit")
        self.gone()

    def gone(self) -> int:
        """Wait for the end of circusd; its exit status."""
        assert self.manager is not None
        status = self.manager.wait(40)
        self.manager = None
        return status

    def kill(self) -> None:
        assert self.manager is not None
        self.manager.kill()
        self.gone()

    def kill_kernel(self) -> None:
        """SIGKILL the kernel and wait for its successor."""
        before = self.kernel()
        assert before is not None, "papa does not answer"
        os.kill(before["pid"], signal.SIGKILL)
        wait_for(lambda: (now := self.kernel()) and now["pid"] != before["pid"], "a new kernel")

    def close(self) -> None:
        """Shut down; what a circusd could not write in its time is written by another one."""
        for _ in range(CLOSE_ATTEMPTS):
            # Beside one that this house has not started, as a drill does, another one would wait and take its place.
            if self.manager is None and self.kernel() is not None and self.ctl("version").returncode:
                with contextlib.suppress(AssertionError):
                    self.start()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.ctl("shutdown")
            if self.manager is not None:
                try:
                    self.gone()
                except subprocess.TimeoutExpired:
                    self.kill()
            if self.kernel() is None:
                return
        self.run(BIN / "papa", "exit", "--force")


def ticker(name: str, *, count: int = 1, log: str = "", extra: str = "") -> str:
    """A watcher section that runs tickers."""
    return f"""
[watcher:{name}]
cmd = {TICKER_COMMAND} {name}-$(circus.wid)
numprocesses = {count}
copy_env = true
graceful_timeout = 5
stdout_stream.class = FileStream
stdout_stream.filename = {log or name + ".log"}
{extra}
"""


@contextlib.contextmanager
def opened(folder: Path, config: str, **environ: str) -> Iterator[House]:
    house = House(folder, config, **environ)
    try:
        yield house
    finally:
        house.close()
