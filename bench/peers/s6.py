"""s6: as runit, smaller and with more care: a supervisor for each service and for each logger.

Its s6-svscan knows s6-supervise by the path where the package would be installed. As nothing is installed here, it is
told another, in a copy: one that begins in the folder of services, where s6-svscan works.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.peers.base import Work
from bench.peers.runit import Runit

#: `s6-svscan -c`: services and their loggers.
MOST_SERVICES = 4000

#: As large as s6-log lets a file become, and so many of them.
ROTATION = "n20 s268435455"

INSTALLED = b"/usr/bin/s6-supervise\0"
HERE = Path(".s6-svscan/supervise")


class S6(Runit):
    name = "s6"
    package, holder, most = "s6", "s6-supervise", MOST_SERVICES // 2

    def start(self, works: list[Work]) -> None:
        scanner = Path(self._found("s6-svscan")).read_bytes()
        self._scanner = self.folder / "s6-svscan"
        self._scanner.write_bytes(scanner.replace(INSTALLED, bytes(HERE).ljust(len(INSTALLED), b"\0")))
        self._scanner.chmod(0o755)
        (self.services / HERE).parent.mkdir(parents=True)
        (self.services / HERE).symlink_to(self._found("s6-supervise"))
        super().start(works)

    def configure(self, log: Path) -> None:
        """All is said to the logger."""

    def logger(self, log: Path) -> str:
        return f"s6-log {ROTATION} {log}"

    def return_manager(self) -> None:
        self.launch(str(self._scanner), "-c", str(MOST_SERVICES), str(self.services))

    def restart_manager(self) -> None:
        self.run(self._found("s6-svscanctl"), "-b", str(self.services))
        self.await_end()
        self.return_manager()

    def running(self) -> int:
        return len(re.findall(r"^up \(pid", self.run(*self.status_command()).stdout, re.MULTILINE))

    def status_command(self) -> list[str]:
        return ["sh", "-c", f"for service in {self.services}/*; do s6-svstat $service; done"]
