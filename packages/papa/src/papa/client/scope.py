"""Leaving the service of systemd that a kernel is started from.

The one idea: systemd ends a service by its cgroup, so a kernel that stays in there ends with whoever started it, and
with it all that it hosts. systemd-run(1) moves itself into a scope, a unit of its own, and then executes the
launcher, which so keeps the lock. What the scope is told, and why:

- ``KillMode=process``: a scope has no main process, so its stop, also the one at the shutdown of the host, signals
  nobody: how services are stopped is the manager's business. The same goes for a stop after an out-of-memory kill.
- ``OOMPolicy=continue``: such a kill of one process leaves the scope as it is. Releases that do not know it for
  scopes refuse it, so it is tried with it and without it.
- ``TasksMax=infinity``: the default is a share of the system meant for one service, and the kernel hosts all.
- ``Delegate=yes``: groups below the scope are not systemd's.

Limits of files are no matter of a scope: they are inherited.
"""

from __future__ import annotations

import os
import time

from papa import places

#: A directory that exists if and only if systemd is the init system (sd_booted(3)).
SYSTEMD_RUNS = "/run/systemd/system"
PROC = "/proc"

PROPERTIES = ("KillMode=process", "TasksMax=infinity", "Delegate=yes")
NEWER_PROPERTIES = ("OOMPolicy=continue",)

#: Making a scope takes systemd some milliseconds. One that hangs must leave time to start a kernel without it.
PATIENCE_S = 4.0

#: Of the environment, for whoever has to find the bus of a user's own systemd.
BUS_VARIABLES = frozenset({"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"})


def service_of(pid: int | str = "self") -> str:
    """The path of the running systemd's service that a process belongs to, and that ends it; "" for none."""
    if not os.path.isdir(SYSTEMD_RUNS):
        return ""
    try:
        with open(f"{PROC}/{pid}/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return ""
    for line in lines:
        if line[1:2] in ([""], ["name=systemd"]):
            parts = line[-1].split("/")
            # A user's own programs live below user@UID.service, each in a scope or a service of its own.
            ends = [at for at, part in enumerate(parts) if part.endswith(".service") and not part.startswith("user@")]
            if ends:
                return "/".join(parts[: ends[0] + 1])
    return ""


def ways_out(instance: places.Instance) -> list[list[str]]:
    """Programs that execute the launcher in a scope of its own, the better one first; none outside of a service."""
    service = service_of()
    if not service:
        return []
    # Root has a systemd of its own, too, where somebody logged in as root.
    manager = "--user" if os.geteuid() != 0 or "/user@" in service else "--system"
    return [_systemd_run(manager, instance, each) for each in (PROPERTIES + NEWER_PROPERTIES, PROPERTIES)]


def _systemd_run(manager: str, instance: places.Instance, properties: tuple[str, ...]) -> list[str]:
    words = ["systemd-run", manager, "--scope", "--quiet", "--collect"]
    words.append(f"--unit=papa-{instance.name}-{os.getpid()}-{time.monotonic_ns()}")
    return [*words, *(f"--property={each}" for each in properties), "--"]
