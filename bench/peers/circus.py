"""This project: circusd and its kernel under a runtime root of their own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from bench import machine
from bench.peers.base import BACKUPS, Peer, Work
from bench.peers.papa import make_runtime_root

BIN = Path(sys.executable).parent

#: Said in the log when everything that runs is held, and orders are taken.
UP = "Arbiter now waiting for commands"


class Circus(Peer):
    name = "circus"

    def __init__(self) -> None:
        super().__init__()
        self._root = make_runtime_root()
        self.environ["PAPA_RUNTIME_DIR"] = str(self._root)
        self._config = self.folder / "circus.ini"
        self._pidfile = self.folder / "circusd.pid"
        self._ups = 0
        self.extra = ""  # sections that no other peer has

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._root, ignore_errors=True)

    def version(self) -> str:
        return self.run(str(BIN / "circusd"), "--version").stdout.strip()

    def start(self, works: list[Work], *, loglevel: str = "info") -> None:
        head = f"[circus]\npidfile = {self._pidfile}\nloglevel = {loglevel}\n"
        self._config.write_text(head + "".join(map(section, works)) + self.extra)
        self.return_manager()

    def return_manager(self) -> None:
        self._ups = self._count_of_ups()
        self.launch(str(BIN / "circusd"), str(self._config))

    def has_taken_over(self) -> bool:
        return self._count_of_ups() > self._ups

    def _count_of_ups(self) -> int:
        log = self.folder / "manager.out"
        return log.read_text().count(UP) if log.exists() else 0

    def kill_manager(self) -> None:
        pid = int(self._pidfile.read_text())
        os.kill(pid, signal.SIGKILL)
        machine.wait_for(lambda: not machine.is_alive(pid), 10)

    def status_command(self) -> list[str]:
        return [str(BIN / "circusctl"), "status"]


def section(work: Work) -> str:
    return f"""
[watcher:{work.name}]
cmd = {" ".join(work.argv)}
copy_env = true
use_papa = true
graceful_timeout = 2
stdout_stream.class = FileStream
stdout_stream.filename = {work.log}
{stream_options(work)}
"""


def stream_options(work: Work) -> str:
    """What the ancestors' streams know as well."""
    options = []
    if work.rotate_bytes:
        options += [f"max_bytes = {work.rotate_bytes}", f"backup_count = {BACKUPS}"]
    if work.time_format:
        options.append(f"time_format = {work.time_format}")
    return "\n".join(f"stdout_stream.{option}" for option in options)
