"""Control groups of Linux (version 2): one for each life of a slot, below the group in which papa runs.

Who is born in a group stays in it, whatever it does with its session, parent and environment: so its list of processes
is the surest proof of a stop, and what is written to its files counts for all of them together.

The base is the group of papa, whose children all programs are; it must be writable for circusd: as root, or where it
was delegated (`Delegate=yes` of systemd). Below it stands ``circus.NAME``, and in that a group for each life.

All of it is blocking, though the files are the system's own: called in a worker thread. Nothing is decided here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable

from circus.errors import CircusError

#: A group that hands controllers down may have no processes of its own: this one takes them.
MANAGER = "circus-manager"

#: A name of a file has 255 bytes at most; three parts of so many fit.
_MAX_PART = 80

#: That somebody else removes the directory above in the very moment does not happen so often.
_ATTEMPTS = 10

_HINT = "run circusd and papa as root, or as a service with Delegate=yes, or remove the option"

_MOUNTS = "/proc/self/mountinfo"
_GROUP_OF = "/proc/{pid}/cgroup"


def find_base(kernel_pid: int) -> str:
    """The directory of the group in which papa, the process ``kernel_pid``, runs.

    Raises:
        CircusError: unavailable; there is none, or it may not be written.
    """
    try:
        mounts = _mounts()
        with open(_GROUP_OF.format(pid=kernel_pid), encoding="utf-8") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except OSError as error:
        raise CircusError("unavailable", f"control groups cannot be used: {error}", _HINT) from None
    # Outside of what this process may see it begins with `/..`.
    seen = [] if not path or path.startswith("/..") else mounts
    base = next((place + path.removeprefix(root.rstrip("/")) for root, place in seen if _is_below(path, root)), None)
    if base is None:
        raise CircusError("unavailable", "control groups cannot be used: papa's group is not mounted here", _HINT)
    base = base.rstrip("/")
    if os.path.basename(base) == MANAGER:
        base = os.path.dirname(base)
    if not all(os.access(each, os.W_OK) for each in (base, os.path.join(base, "cgroup.procs"))):
        raise CircusError("unavailable", f"control groups cannot be used: {base} may not be written", _HINT)
    return base


def _is_below(path: str, root: str) -> bool:
    return f"{path}/".startswith(f"{root.rstrip('/')}/")


def _mounts() -> list[tuple[str, str]]:
    """Of cgroup2: which group is mounted, and where. See proc_pid_mountinfo(5)."""
    with open(_MOUNTS, encoding="utf-8") as file:
        lines = [line.split() for line in file]
    return [(it[3], it[4]) for it in lines if it[it.index("-") + 1] == "cgroup2"]


def directory_of(base: str, circusd: str, *parts: object) -> str:
    """Where the group stands; ``parts`` name the life, the last of them alone makes it unique."""
    name = ".".join(_part(each) for each in parts)
    return os.path.join(base, f"circus.{_part(circusd)}", name)


def _part(text: object) -> str:
    return re.sub(r"[^A-Za-z0-9_@-]+", "-", str(text))[-_MAX_PART:]


def create(path: str) -> None:
    """Raises: CircusError unavailable."""
    try:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # another circusd has just removed what is above it
                os.makedirs(path, exist_ok=True)
                return
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise _unavailable(path, error) from None


def add(path: str, pid: int) -> bool:
    """Put a process into the group; who is born from now on is in it as well. False when there is no such process.

    Raises: CircusError unavailable.
    """
    try:
        _write(os.path.join(path, "cgroup.procs"), str(pid))
    except OSError as error:
        if error.errno == errno.ESRCH:
            return False
        raise _unavailable(path, error) from None
    return True


def members(path: str) -> list[int]:
    """The pids in it and in the groups below; none when there is no such group."""
    found = []
    for place, _, _ in os.walk(path):
        with contextlib.suppress(OSError), open(os.path.join(place, "cgroup.procs"), encoding="ascii") as file:
            found += [int(line) for line in file]
    return found


def kill(path: str) -> bool:
    """SIGKILL to all in it, also to who is just being born. False where the system cannot (before Linux 5.14)."""
    try:
        _write(os.path.join(path, "cgroup.kill"), "1")
    except OSError:
        return False
    return True


def read(path: str, name: str) -> str | None:
    """What a file of the group says, as ``memory.current``; None when there is no such file."""
    try:
        with open(os.path.join(path, name), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def set(path: str, name: str, value: str) -> None:
    """Write ``value`` to a file of the group, as ``memory.max``. Its controller must be enabled, see ``enable``.

    Raises: CircusError unavailable.
    """
    try:
        _write(os.path.join(path, name), value)
    except OSError as error:
        raise _unavailable(os.path.join(path, name), error) from None


def enable(base: str, circusd: str, controllers: Iterable[str]) -> frozenset[str]:
    """Hand ``controllers`` (``memory``, ``cpu``, ...) down to the groups of lives; those that were.

    A base with processes of its own hands nothing down: they are put into a group beside (``MANAGER``), papa among
    them. Raises: CircusError unavailable.
    """
    wanted = [each for each in controllers if each in (read(base, "cgroup.controllers") or "").split()]
    ours = os.path.join(base, f"circus.{_part(circusd)}")
    create(ours)
    for each in wanted:
        try:
            _hand_down(base, each)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise _unavailable(base, error) from None
            _clear(base)
            try:
                _hand_down(base, each)
            except OSError as again:
                raise _unavailable(base, again) from None
        with contextlib.suppress(OSError):  # whether it has worked is read below
            _hand_down(ours, each)
    return frozenset(wanted) & frozenset((read(ours, "cgroup.subtree_control") or "").split())


def remove(path: str) -> bool:
    """Remove the group and what is empty below it. False when somebody is in it still."""
    for place, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(place)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def leave(base: str, circusd: str) -> None:
    """No group of a life is needed any more; what is in use stays."""
    with contextlib.suppress(OSError):
        os.rmdir(os.path.join(base, f"circus.{_part(circusd)}"))


def _clear(base: str) -> None:
    manager = os.path.join(base, MANAGER)
    create(manager)
    for pid in map(int, (read(base, "cgroup.procs") or "").split()):
        add(manager, pid)


def _hand_down(path: str, controller: str) -> None:
    _write(os.path.join(path, "cgroup.subtree_control"), f"+{controller}")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _unavailable(path: str, error: OSError) -> CircusError:
    return CircusError("unavailable", f"control group {path}: {error.strerror}", _HINT)
