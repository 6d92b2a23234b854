"""runit: a tree of small programs in C. Each service has a supervisor and a logger of its own."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from bench import tools
from bench.peers.base import Peer, Unmeasured, Work

#: runsvdir looks after no more.
MOST_SERVICES = 1000


class Runit(Peer):
    name = "runit"

    #: The Debian package, the program that holds one service, and the most of them.
    package, holder, most = "runit", "runsv", MOST_SERVICES

    def __init__(self) -> None:
        root = tools.unpacked(self.package)
        super().__init__()
        self.services = self.folder / "services"
        self.environ["PATH"] = f"{root}/usr/bin:{root}/bin:{self.environ['PATH']}"
        if libraries := sorted(root.glob("**/*-linux-gnu")):
            self.environ["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))

    def version(self) -> str:
        return tools.RELEASES[self.package]

    def start(self, works: list[Work]) -> None:
        if len(works) > self.most:
            raise Unmeasured(f"{self.name} looks after no more than {self.most} services in one folder")
        for work in works:
            work.log.mkdir()
            self.configure(work.log)
            write_program(self.services / work.name / "run", f"exec {' '.join(work.argv)}")
            write_program(self.services / work.name / "log/run", f"exec {self.logger(work.log)}")
        self.return_manager()

    def configure(self, log: Path) -> None:
        """Never rotated by itself, whatever its size."""
        (log / "config").write_text("s0\nn0\n")

    def logger(self, log: Path) -> str:
        return f"svlogd {log}"

    def return_manager(self) -> None:
        self.launch(self._found("runsvdir"), "-P", str(self.services))

    def restart_manager(self) -> None:
        """It ends alone: what it has started goes on."""
        self.await_end(signum=signal.SIGTERM)
        self.return_manager()

    def holders(self) -> list[int]:
        return [pid for pid in self.managers() if _program_of(pid) == self.holder]

    def running(self) -> int:
        return len(re.findall(r"^run: .*?\(pid", self.run(*self.status_command()).stdout, re.MULTILINE))

    def status_command(self) -> list[str]:
        return [self._found("sv"), "status", *(str(folder) for folder in sorted(self.services.iterdir()))]

    def _found(self, program: str) -> str:
        """Its path: what is launched is looked for on the PATH of the bench."""
        paths = (Path(folder) / program for folder in self.environ["PATH"].split(":"))
        return str(next(path for path in paths if path.exists()))


def write_program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _program_of(pid: int) -> str:
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""
