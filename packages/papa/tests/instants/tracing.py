"""Those who use strace(1): one who kills, one who lets calls fail.

The one who kills: strace counts a process's system calls and sends SIGKILL on entering a chosen one.

So an instant is chosen and not hoped for: what the calls before it did has happened, this one has not. strace counts
each kind of call by itself, so an instant is a kind and a number: the second renameat.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

#: A kind of system call and which one of that kind; papa makes none of NEVER's.
Instant = tuple[str, int]
NEVER: Instant = ("reboot", 1)

#: For an attachment, a death, a detachment: a loaded machine takes a tenth of a second.
PATIENCE_S = 30.0

#: Now and then strace does not come out of a detachment while a process that it follows is just being made.
GOODBYE_S = 3.0


def state_of(pid: int) -> str:
    """Its letter in /proc; X for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_dead(pid: int) -> bool:
    return state_of(pid) in "ZX"


class Attached:
    """strace, attached to ``pid`` from its making on. With ``follow`` its new children are meant too."""

    def __init__(self, pid: int, which: list[str], log: Path, *, follow: bool = False) -> None:
        self.pid = pid
        self.log = log
        self._is_following = follow
        log.unlink(missing_ok=True)
        self._strace = subprocess.Popen(
            ["strace", "-qq", "-s", "200", *(["-f"] if follow else []), "-o", str(log), *which, "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_attached():
            assert time.monotonic() < deadline, f"strace is not attached to {pid}"
            time.sleep(0.001)

    def _is_attached(self) -> bool:
        if self._strace.poll() is not None:
            # Its process died at the first call; or it cannot trace.
            assert is_dead(self.pid), self._strace.stderr and self._strace.stderr.read()
            return True
        try:
            return f"TracerPid:\t{self._strace.pid}\n" in Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return is_dead(self.pid)

    def detach(self) -> None:
        """Lets go of whoever lives."""
        self._strace.terminate()
        try:
            self._strace.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            # The system lets its tracees go.
            self._strace.kill()
            self._strace.wait(PATIENCE_S)
        assert self._strace.stderr is not None
        self._strace.stderr.close()

    def _lines(self) -> list[str]:
        try:
            return self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


class Saboteur(Attached):
    """Lets ``calls`` (or those on one of ``paths``) fail with ``error``, from its making to detach()."""

    def __init__(self, pid: int, calls: str, error: str, log: Path, *, paths: Sequence[str] = ()) -> None:
        which = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
        super().__init__(pid, [*which, *(word for path in paths for word in ("-P", path))], log)

    def injected(self) -> list[str]:
        """The calls that it let fail so far."""
        return [line for line in self._lines() if line.endswith("(INJECTED)")]


class Tracer(Attached):
    """Kills at an instant."""

    def __init__(self, pid: int, instant: Instant, log: Path, *, follow: bool = False) -> None:
        which = ["-e", "trace=all", "-e", f"inject={instant[0]}:signal=SIGKILL:when={instant[1]}"]
        super().__init__(pid, which, log, follow=follow)

    def _is_attached(self) -> bool:
        # It has the process before it has stopped it, and sees all its calls from the first line of the log on.
        return super()._is_attached() and (is_dead(self.pid) or bool(self._lines()))

    def killed(self) -> int | None:
        """Who was killed, as the log tells; needed where children are followed."""
        for line in self._lines():
            if line.endswith("+++ killed by SIGKILL +++"):
                return int(line.split()[0]) if line.split()[0].isdigit() else self.pid
        return None

    def came_to_rest(self) -> bool:
        """Waits until the process was killed (False), or sleeps with nothing left to be done (True)."""
        deadline = time.monotonic() + PATIENCE_S
        rests = 0
        while rests < 3:
            if is_dead(self.pid):
                return False
            # One that is stopped for us is `t`; a kernel sleeps where it waits for events and nowhere else.
            rests = rests + 1 if state_of(self.pid) == "S" else 0
            assert time.monotonic() < deadline, f"{self.pid} does not come to rest: {self.last_call()}"
            time.sleep(0.001)
        return True

    def calls(self) -> list[str]:
        """What it did, once it was detached: one line for each system call; if followed, the first child's."""
        lines = [line for line in self._lines() if "(" in line and " resumed>" not in line]
        if not self._is_following:
            return lines
        child = next((line.split()[0] for line in lines if line.split()[0] != str(self.pid)), "")
        return self._of(lines, child)

    def calls_of_parent(self) -> list[str]:
        """What was done by the one whose children were followed."""
        return self._of([line for line in self._lines() if "(" in line], str(self.pid))

    def _of(self, lines: list[str], pid: str) -> list[str]:
        return [line.split(maxsplit=1)[1] for line in lines if line.split()[0] == pid]

    def last_call(self) -> str:
        calls = self.calls()
        return calls[-1][:120] if calls else "before its first call"


def session_leaders(token: str) -> list[int]:
    """Who leads a session, as hosted processes do, and has ``token`` in its arguments."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.getsid(int(entry)) != int(entry) or is_dead(int(entry)):
                continue
            if token.encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                found.append(int(entry))
        except OSError:
            continue
    return found
