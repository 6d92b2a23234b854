"""This project: circusd and its kernel under a runtime root of their own."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.peers.base import BACKUPS, Peer, Unmeasured, Work
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
        self._ups = 0
        self.extra = ""  # sections that no other peer has

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._root, ignore_errors=True)

    def version(self) -> str:
        return self.run(str(BIN / "circusd"), "--version").stdout.strip()

    def start(self, works: list[Work], *, loglevel: str = "info") -> None:
        head = f"[circus]\npidfile = {self.folder}/circusd.pid\nloglevel = {loglevel}\n"
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

    def restart_manager(self) -> None:
        self.run(str(BIN / "circusctl"), "quit")
        self.await_end()
        self.return_manager()

    def upgrade_manager(self) -> None:
        self._ordered(str(BIN / "circusctl"), "upgrade")

    def holders(self) -> list[int]:
        """The kernel. Its own small holder starts it again."""
        return [self._status()["kernel"]["pid"]]

    def upgrade_holders(self) -> None:
        self._ordered(str(BIN / "papa"), "upgrade")

    def running(self) -> int:
        watchers = self._status().get("watchers", [])
        return sum(slot["state"] == "running" for watcher in watchers for slot in watcher["slots"])

    def _status(self) -> dict[str, Any]:
        """Empty when nobody answers."""
        done = self.run(*self.status_command(), "--json")
        status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return status

    def _ordered(self, *argv: str) -> None:
        done = self.run(*argv)
        if done.returncode:
            raise Unmeasured(f"{self.name}: {done.stderr.strip()}")

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
