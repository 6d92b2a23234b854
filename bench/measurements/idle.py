"""What a manager costs while nothing happens: wake-ups, cpu, memory."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.measurements import start
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer

DEFAULT_PEERS = MANAGERS

#: After the last process came up a manager says and writes all that it has to. It is at rest when it used less than so
#: much of a processor in a second; who never does is measured after the limit.
SETTLE_S, RESTING_SHARE, SETTLE_LIMIT_S = 1.0, 0.01, 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        start_s = round(start.started(peer, options.children), 3)
        yield {"children": options.children, "start_s": start_s, **costs(peer, options.seconds)}
    finally:
        peer.close()


def costs(peer: Peer, seconds: float) -> dict[str, Any]:
    """Of the manager and all its helpers, in so many seconds after it has settled; ``begun_cpu_s``: until then."""
    managers = _settled(peer)
    before = machine.cost(managers)
    began = time.monotonic()
    time.sleep(seconds)
    after = machine.cost(managers)
    window_s = time.monotonic() - began
    cpu_s, wakeups = after.since(before)
    return {
        "begun_cpu_s": round(before.cpu_s, 3),
        "window_s": round(window_s, 1),
        "wakeups": wakeups,
        "wakeups_per_s": round(wakeups / window_s, 3),
        "cpu_s": round(cpu_s, 4),
        "cpu_percent": round(cpu_s / window_s * 100, 3),
        "rss_mb": round(after.rss_bytes / 1e6, 1),
        "pss_mb": round(after.pss_bytes / 1e6, 1),
        "processes": after.processes,
        "threads": after.threads,
    }


def _settled(peer: Peer) -> list[int]:
    """Its managers, at rest."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    time.sleep(SETTLE_S)
    managers = peer.managers()
    used_s = machine.cost(managers).cpu_s
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        before, used_s = used_s, machine.cost(managers).cpu_s
        if used_s - before < RESTING_SHARE * SETTLE_S:
            break
    return managers
