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
    # What is held and dropped of a process is known when its files are open.
    host.pipes.reopening.open_all()
    uncovered = [thing.name for thing in host.coverage.uncovered()]
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
            "size_bytes": system.file_system_bytes(host.state.fd),
            "free_bytes": system.free_bytes(host.state.fd),
            "problems": _disk_problems(host)[:MAX_TOLD],
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


def _disk_problems(host: Host) -> list[str]:
    """What the file system of the state directory refuses now; nothing is lost by it yet."""
    problems = []
    if system.is_read_only(host.state.fd):
        problems.append("it is read-only")
    if host.durable.problem:
        problems.append(f"the journal cannot be written: {host.durable.problem}")
    if len(host.arrears):
        problems.append(f"{len(host.arrears)} files cannot be brought up to date: {host.arrears.problem}")
    if system.unlogged.lines:
        problems.append(f"{system.unlogged.lines} lines of kernel.log cannot be written: {system.unlogged.reason}")
    problems += [
        f"the output of process {capture.number} waits in its pipe: {capture.failure}"
        for capture in host.pipes.captures.values()
        if capture.failure
    ]
    return problems


def _reasons(host: Host) -> list[str]:
    reasons = []
    if host.tier == "portable":
        reasons.append("this system has no vault: nothing outlives a kill of the kernel")
    elif host.vault.refused:
        reasons.append(f"the vault refused {host.vault.refused} times: limits on open files or buffers")
    if not host.pipes.is_punching:
        reasons.append("the file system cannot give acknowledged output back before its process goes")
    return reasons
