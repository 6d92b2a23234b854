"""The process circusd: who it is, how it was started, who starts it again; killing it, and starting it as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass

from circus import procfs, warden
from circus.errors import CircusError

#: Variables that say something to that one process alone.
_ITS_OWN = frozenset(
    (warden.VARIABLE, warden.KEPT, "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS")
)

#: How systemctl may take to say what a unit is.
SYSTEMCTL_S = 5.0

#: Between two looks whether a killed process is gone.
LOOK_S = 0.002


@dataclass(frozen=True, slots=True)
class Start:
    """All that a circusd is started with; ``outputs`` are descriptors of its standard output and error."""

    argv: tuple[str, ...]
    executable: str
    environ: dict[str, str]
    cwd: str
    umask: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    outputs: tuple[int, int]

    def close(self) -> None:
        for fd in self.outputs:
            os.close(fd)


def look(pid: int, argv: list[str]) -> Start:
    """How the circusd ``pid`` was started; ``argv`` is what it says of itself, for its title may hide it.

    Raises: CircusError conflict, if it cannot be started again as it was.
    """
    try:
        words = argv or procfs.command(pid)
        executable = os.readlink(f"/proc/{pid}/exe")
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            environ = _pairs(file.read(procfs.MAX_ENVIRONMENT))
        status = procfs.status(pid) or {}
        cwd = os.readlink(f"/proc/{pid}/cwd")
        uid, gid = int(status[b"Uid"].split()[1]), int(status[b"Gid"].split()[1])
        umask, groups = int(status[b"Umask"], 8), tuple(map(int, status[b"Groups"].split()))
    except (OSError, KeyError, ValueError) as error:
        raise CircusError(
            "conflict", f"circusd (pid {pid}): /proc does not say how it was started: {error}", "be its user, or root"
        ) from None
    if not any(os.path.basename(word).startswith("circusd") or word == "circus.circusd" for word in words):
        raise CircusError(
            "conflict",
            f"circusd is part of another program (pid {pid}: {' '.join(words)[:60]})",
            "that program would be killed with it; try it with a circusd of its own",
        )
    if not environ:
        raise CircusError(
            "conflict",
            f"circusd (pid {pid}): its environment cannot be read, so it could not be started again as it was",
            "its release is older than circusctl's: restart it once",
        )
    if executable.endswith(" (deleted)"):
        raise CircusError(
            "conflict", f"the program of circusd (pid {pid}) is gone: {executable}", "restart circusd with a new one"
        )
    if not os.path.isdir(cwd):
        raise CircusError(
            "conflict", f"the working directory of circusd (pid {pid}) is gone: {cwd}", "restart circusd in another one"
        )
    # The name by which it was called: a virtual environment is found by it.
    called = words[0] if os.path.isabs(words[0]) else shutil.which(words[0], path=environ.get("PATH")) or executable
    outputs = (_reopen(pid, 1), _reopen(pid, 2))
    return Start(tuple(words), called, environ, cwd, umask, uid, gid, groups, outputs)


def _pairs(text: bytes) -> dict[str, str]:
    pairs = (each.partition(b"=") for each in text.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, sign, value in pairs if sign}


def _reopen(pid: int, fd: int) -> int:
    """What the process has there, if it can be opened (a socket cannot); else nothing."""
    try:
        return os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def keeper(pid: int) -> str:
    """Who starts it again when it is killed, in words; empty: nobody."""
    found = procfs.row(pid)
    # `FD PID ...`; a warden that was not wanted has left circusd alone.
    told = procfs.variable(pid, warden.VARIABLE.encode()).split()
    if found is not None and str(found.parent) in told[1:2]:
        return f"its warden (pid {found.parent})"
    unit, is_of_user = _unit(pid)
    if unit and procfs.variable(pid, b"INVOCATION_ID") and _restarts(unit, is_of_user=is_of_user):
        return f"systemd ({unit})"
    return ""


def _unit(pid: int) -> tuple[str, bool]:
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            path = file.read().splitlines()[-1].rpartition(":")[2]
    except (OSError, IndexError):
        return "", False
    name = path.rpartition("/")[2]
    return (name if name.endswith(".service") else ""), "/user@" in path


def _restarts(unit: str, *, is_of_user: bool) -> bool:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return False
    argv = [systemctl, *(["--user"] if is_of_user else []), "show", "--property=Restart", "--value", unit]
    try:
        said = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SYSTEMCTL_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() not in ("", "no", "on-success", "on-watchdog")


def kill(found: procfs.Row, signum: int, patience_s: float) -> None:
    """Signal that very process, and wait until it is gone. Raises: CircusError failed."""
    procfs.send_signal(found, signum)
    deadline = time.monotonic() + patience_s
    while (now := procfs.row(found.pid)) is not None and now.start_ticks == found.start_ticks and now.state not in "ZX":
        if time.monotonic() > deadline:
            raise CircusError(
                "failed",
                f"process {found.pid} was killed and does not go",
                "when it is gone it may have to be started again; see `ps`",
            )
        time.sleep(LOOK_S)


def start(how: Start) -> subprocess.Popen[bytes]:
    """Start a circusd as that one was; it does not end with us. Raises: CircusError failed."""
    identity: dict[str, object] = {}
    if os.geteuid() == 0 and how.uid != 0:
        identity = {"user": how.uid, "group": how.gid, "extra_groups": how.groups}
    for fd in how.outputs:
        os.set_blocking(fd, True)
    try:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            how.argv,
            executable=how.executable,
            env={name: value for name, value in how.environ.items() if name not in _ITS_OWN},
            cwd=how.cwd,
            umask=how.umask,
            stdin=subprocess.DEVNULL,
            stdout=how.outputs[0],
            stderr=how.outputs[1],
            start_new_session=True,
            **identity,
        )
    except OSError as error:
        raise CircusError("failed", f"circusd cannot be started again: {error}", "start it by hand") from None
