"""What ``papa status`` shows: numbers for people and for monitoring, and what is not covered and why."""

from __future__ import annotations

import os
import sys
import time

import papa
from papa import places
from papa.kernel import system
from papa.kernel.coverage import MAX_TOLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.kernel.host import Host


def describe(host: Host) -> dict[str, object]:
    """The reply to ``status``. Keys stay what they are; others may come."""
    uncovered = [thing.name for thing in host.coverage.uncovered()]
    file_system = os.fstatvfs(host.state.fd)
    return {
        "papa": papa.__version__,
        "python": sys.version.split()[0],
        "program": [sys.executable, places.source()],
        "pid": os.getpid(),
        "holder": host.holder_pid,
        "instance": host.instance,
        "directory": host.directory,
        "tier": host.tier,
        "uptime_s": round(time.monotonic() - host.started_monotonic, 3),
        "started_at": host.started_at,
        "rss_bytes": system.rss_bytes(),
        "processes": len(host.table.processes),
        "running": host.running,
        "sockets": len(host.table.sockets),
        "values": len(host.ledger.values),
        "connections": host.server.count,
        "clients": host.server.clients(),
        "file_system": {
            "size_bytes": file_system.f_blocks * file_system.f_frsize,
            "free_bytes": file_system.f_bavail * file_system.f_frsize,
        },
        "held_bytes": host.pipes.held_bytes,
        "budget_bytes": host.pipes.budget,
        "dropped_bytes": host.pipes.dropped_bytes,
        "journal_bytes": host.state.journal_bytes,
        "vault": {"live": host.vault.live, "dead": host.vault.dead, "refused": host.vault.refused},
        "faults": host.loop.faults,
        "not_covered": len(uncovered),
        "not_covered_names": uncovered[:MAX_TOLD],
        "not_covered_reasons": _reasons(host),
        "lost": host.coverage.lost,
        "losses": host.coverage.losses,
        "left_aside": [f"{name}: {reason}" for name, reason in host.state.aside.items()],
        **host.facts,
    }


def _reasons(host: Host) -> list[str]:
    reasons = []
    if host.tier == "portable":
        reasons.append("this system has no vault: nothing outlives a kill of the kernel")
    elif host.vault.refused:
        reasons.append(f"the vault refused {host.vault.refused} times: limits on open files or buffers")
    if not host.pipes.is_punching:
        reasons.append("the file system cannot give acknowledged output back before its process goes")
    return reasons
