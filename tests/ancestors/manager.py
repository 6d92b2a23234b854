"""A circusd of 2022 in a folder: a logger, a web application on a unix socket, both with their output in files."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

from tests import ancestors
from tests.house import wait_for

CONFIG = """
[circus]
check_delay = 0.2
endpoint = ipc://{folder}/control
pubsub_endpoint = ipc://{folder}/events
loglevel = info

[watcher:logger]
cmd = {python} {programs}/counter.py run
working_dir = {folder}
graceful_timeout = 5
singleton = true
stop_signal = INT
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/logger.log
stderr_stream.class = FileStream
stderr_stream.filename = {folder}/logger.log
priority = 50
use_papa = true

[watcher:web_app]
cmd = {python} {programs}/web_app.py --socket $(circus.sockets.web) --number $(circus.wid)
working_dir = {folder}
numprocesses = 2
graceful_timeout = 5
stop_signal = QUIT
use_sockets = True
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/web_app.log
stdout_stream.max_bytes = 10000000
stdout_stream.backup_count = 10
stderr_stream.class = FileStream
stderr_stream.filename = {folder}/web_app.err
hooks.before_start = manager_hooks.before_start
hooks.after_spawn = manager_hooks.after_spawn
priority = 40
use_papa = true

[socket:web]
path = {folder}/web
use_papa = true

[plugin:flapping]
use = circus.plugins.flapping.Flapping
window = 10
priority = 1000
"""

#: Longer than any grace; a command that takes this long hangs.
PATIENCE_S = 20


class Manager:
    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        # The folder is for the hooks.
        self.environ = ancestors.environ(root, PYTHONPATH=f"{ancestors.PAPA_SOURCES}:{ancestors.HERE / 'executables'}")
        self.config = folder / "circus.ini"
        programs = ancestors.HERE / "executables"
        self.config.write_text(CONFIG.format(folder=folder, python=ancestors.PYTHON, programs=programs))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "circusd.out").open("ab") as out:
            self.process = subprocess.Popen(
                [ancestors.BIN / "circusd", self.config],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_for(lambda: self.status().get("web_app") == "active" and len(self.pids("web_app")) >= 2, self.said())

    def ctl(self, *words: str) -> str:
        done = subprocess.run(
            [ancestors.BIN / "circusctl", "--endpoint", f"ipc://{self.folder}/control", "--timeout", "10", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout if done.returncode == 0 else ""

    def status(self) -> dict[str, str]:
        return dict(re.findall(r"^(\S+): (\w+)$", self.ctl("status"), re.MULTILINE))

    def pids(self, watcher: str) -> list[int]:
        return sorted(int(pid) for pid in re.findall(r"\d+", self.ctl("list", watcher)))

    def quit(self) -> None:
        """Ask it to go, as soon as it is not busy with another order; it must, although what it hosts is quiet."""
        assert self.process is not None
        wait_for(lambda: self.ctl("quit").strip() == "ok", "the order taken")
        self.process.wait(PATIENCE_S)
        self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self) -> str:
        """What the web application answers: the pid of the one that did."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.folder / "web"))
            return connection.makefile().readline().strip()

    def counted(self) -> list[int]:
        """What stands in the logger's file."""
        path = self.folder / "logger.log"
        return [int(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def said(self) -> str:
        return (self.folder / "circusd.out").read_text() if (self.folder / "circusd.out").exists() else "nothing"
