"""The system's own bounds of control groups (`limits.cgroup_memory_max`, ...).

Bounds are written when a process is in its group, when it is adopted, and when the options change. What cannot be set
is said, once in the log and in `circusctl status`, and the process runs without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from circus import cgroups
from circus.config.model import LimitsPolicy
from circus.errors import CircusError

FILES = ("memory.max", "memory.high", "cpu.max", "pids.max")
NO_BOUND = "max"

#: In microseconds: the share of the processors is given anew so often. The system's own default.
PERIOD = 100_000


def files_of(policy: LimitsPolicy | None) -> dict[str, str]:
    """What the files of the group shall say."""
    if policy is None:
        return {}
    wanted = {
        "memory.max": policy.cgroup_memory_max and str(policy.cgroup_memory_max),
        "memory.high": policy.cgroup_memory_high and str(policy.cgroup_memory_high),
        "cpu.max": policy.cgroup_cpu_max and f"{policy.cgroup_cpu_max * PERIOD / 100:.0f} {PERIOD}",
        "pids.max": policy.cgroup_pids_max and str(policy.cgroup_pids_max),
    }
    return {name: value for name, value in wanted.items() if value}


def write(path: str, circusd: str, wanted: Mapping[str, str]) -> str:
    """Bring the files of the group ``path`` to that; why not, if it was not possible. Blocking."""
    try:
        missing = _missing_controllers(path, circusd, wanted)
        for name in FILES:
            if name in wanted and name.partition(".")[0] not in missing:
                cgroups.set(path, name, wanted[name])
            elif name not in wanted and not (cgroups.read(path, name) or NO_BOUND).startswith(NO_BOUND):
                cgroups.set(path, name, NO_BOUND)
    except CircusError as error:
        return error.message
    return f"the system hands {', '.join(missing)} not down to control groups here" if missing else ""


def _missing_controllers(path: str, circusd: str, wanted: Mapping[str, str]) -> list[str]:
    controllers = sorted({name.partition(".")[0] for name in wanted})
    if not controllers:
        return []
    base = os.path.dirname(os.path.dirname(path))
    enabled = cgroups.enable(base, circusd, controllers)
    return [each for each in controllers if each not in enabled]
