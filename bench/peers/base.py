"""What a measurement may ask of a peer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import machine, tools
from bench.tools import Unmeasured as Unmeasured

MARKER = "PAPA_BENCH_RUN"

#: So many rotated files are kept, where there are any: more than a measurement makes.
BACKUPS = 100

#: Nobody takes longer to end.
END_S = 30.0


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
        """The log and what was rotated away. Of a folder, what its logger writes there."""
        if self.log.is_dir():
            return [*self.log.glob("current"), *self.log.glob("@*")]
        return [*self.log.parent.glob(f"{self.log.name}*")]

    def stored(self) -> int:
        """Bytes in all of them. One that is renamed meanwhile may be missed, or counted twice."""
        sizes = 0
        for path in self.files():
            with contextlib.suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes


class Peer:
    """One manager in one run: a folder of its own, and a mark by which all that it started is found."""

    name = ""

    #: It looks at its processes once in so many seconds; 0: it hears of an end at once.
    tick_s = 0.0

    #: Whether it starts again what ends.
    respawns = True

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-", dir="/tmp"))
        (self.folder / "done").mkdir()
        (self.folder / "truth").mkdir()
        (self.folder / "stamps").touch()
        self.environ = {**os.environ, MARKER: str(self.folder)}
        self.children = 0
        self._launched: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        raise self.lacks("version")

    def start(self, works: list[Work]) -> None:
        """Manage ``works``; returns when the manager was told, not when they run."""
        raise self.lacks("start")

    def status_command(self) -> list[str]:
        """The command with which a person asks how things are."""
        raise self.lacks("status command")

    def running(self) -> int:
        """How many processes run, as the manager says when a command asks it; 0 when it does not answer."""
        raise self.lacks("running")

    def kernel(self) -> tuple[str, int]:
        """The path of the socket of a kernel that hosts nothing yet, and its pid."""
        raise self.lacks("kernel")

    def host(self, children: int) -> int:
        """Start ``children`` idle processes; the pid of what hosts them."""
        raise self.lacks("host")

    def absences(self, children: int, times: int) -> dict[str, list[float]]:
        """With so many idle processes: seconds for which nobody answers, by what happened."""
        raise self.lacks("absences")

    def settle(self) -> None:
        """What its manual asks for before its end, so that it knows later what it managed."""

    def restart_manager(self) -> None:
        """As gracefully as its manual knows; returns when it was told."""
        raise self.lacks("restart manager")

    def kill_manager(self) -> None:
        """End what manages, not what it manages, with SIGKILL; returns when it is gone."""
        self.await_end(signum=signal.SIGKILL)

    def return_manager(self) -> None:
        """Start what was killed again, with the configuration that it had."""
        raise self.lacks("return manager")

    def has_taken_over(self) -> bool:
        """Whether what was started again manages everything that it finds, and takes orders."""
        return self.running() == self.children

    def upgrade_manager(self) -> None:
        """Replace the program of what manages while it works."""
        raise self.lacks("upgrade manager")

    def holders(self) -> list[int]:
        """What holds the processes, where this is another program than what manages them."""
        raise self.lacks("holders")

    def upgrade_holders(self) -> None:
        """Replace the program of what holds the processes while it works."""
        raise self.lacks("upgrade holders")

    def lacks(self, what: str) -> Unmeasured:
        return Unmeasured(f"{self.name} has no {what}")

    def works(self, count: int, *words: str) -> list[Work]:
        worker = str(tools.worker())
        self.children = count
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
        return [pid for pid in machine.marked(str(self.folder)) if not _is_worker(pid)]

    def workers(self) -> list[int]:
        return [pid for pid in machine.marked(str(self.folder)) if _is_worker(pid)]

    def launch(self, *argv: str) -> None:
        with (self.folder / "manager.out").open("ab") as out:
            self._launched = subprocess.Popen(
                argv, env=self.environ, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def await_end(self, *, signum: int = 0) -> None:
        """Of what was launched, which may be sent a signal."""
        if self._launched is None:
            raise self.lacks("manager of its own")
        if signum:
            self._launched.send_signal(signum)
        self._launched.wait(END_S)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60)

    def close(self) -> None:
        """End all that was started here, by pid, and remove the folder."""
        machine.end(str(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == bytes(tools.worker())
    except OSError:
        return False
