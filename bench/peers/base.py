"""What a measurement may ask of a peer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import machine, tools

MARKER = "PAPA_BENCH_RUN"

#: So many rotated files are kept, where there are any: more than a measurement makes.
BACKUPS = 100


@dataclass(frozen=True, slots=True)
class Work:
    """A program to manage, and the file in which its output shall end.

    ``rotate_bytes``: a new file after so many, 0 for never. ``time_format``: lines begin with a time.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    rotate_bytes: int = 0
    time_format: str = ""

    def files(self) -> list[Path]:
        """The log and what was rotated away."""
        return [*self.log.parent.glob(f"{self.log.name}*")]

    def stored(self) -> int:
        """Bytes in all of them. One that is renamed meanwhile may be missed, or counted twice."""
        sizes = 0
        for path in self.files():
            with contextlib.suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes


class Unmeasured(Exception):
    """The peer has no such side: it cannot take part in that measurement."""

    def __init__(self, peer: Peer, what: str) -> None:
        super().__init__(f"{peer.name} has no {what}: leave it out of this measurement")


class Peer:
    """One manager in one run: a folder of its own, and a mark by which all that it started is found."""

    name = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-", dir="/tmp"))
        (self.folder / "done").mkdir()
        (self.folder / "stamps").touch()
        self.environ = {**os.environ, MARKER: str(self.folder)}

    def version(self) -> str:
        raise Unmeasured(self, "version")

    def start(self, works: list[Work]) -> None:
        """Manage ``works``; returns when the manager was told, not when they run."""
        raise Unmeasured(self, "start")

    def status_command(self) -> list[str]:
        """The command with which a person asks how things are."""
        raise Unmeasured(self, "status_command")

    def kernel(self) -> tuple[str, int]:
        """The path of the socket of a kernel that hosts nothing yet, and its pid."""
        raise Unmeasured(self, "kernel")

    def host(self, children: int) -> int:
        """Start ``children`` idle processes; the pid of what hosts them."""
        raise Unmeasured(self, "host")

    def absences(self, children: int, times: int) -> dict[str, list[float]]:
        """With so many idle processes: seconds for which nobody answers, by what happened."""
        raise Unmeasured(self, "absences")

    def kill_manager(self) -> None:
        """End what manages, not what it manages, with SIGKILL; returns when it is gone."""
        raise Unmeasured(self, "kill_manager")

    def return_manager(self) -> None:
        """Start what was killed again, with the configuration that it had."""
        raise Unmeasured(self, "return_manager")

    def has_taken_over(self) -> bool:
        """Whether what was started again manages everything that it finds, and takes orders."""
        raise Unmeasured(self, "has_taken_over")

    def works(self, count: int, *words: str) -> list[Work]:
        worker = str(tools.worker())
        return [
            Work(
                f"w{number:03d}",
                (worker, words[0], str(self.folder), f"w{number:03d}", *words[1:]),
                self.folder / f"w{number:03d}.log",
            )
            for number in range(count)
        ]

    def started(self) -> int:
        """How many workers have come up."""
        return len((self.folder / "stamps").read_text().splitlines())

    def managers(self) -> list[int]:
        """Everything that the peer itself needs: all marked processes but the workers."""
        worker = str(tools.worker())
        return [pid for pid in machine.marked(str(self.folder)) if not _runs(pid, worker)]

    def launch(self, *argv: str) -> None:
        with (self.folder / "manager.out").open("ab") as out:
            subprocess.Popen(argv, env=self.environ, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60)

    def close(self) -> None:
        """End all that was started here, by pid, and remove the folder."""
        machine.end(str(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)


def _runs(pid: int, program: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == program.encode()
    except OSError:
        return False
