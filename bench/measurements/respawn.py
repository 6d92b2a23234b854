"""From the SIGKILL of a managed process until its successor runs.

Who looks at its processes once in a while is killed at any moment between two looks: else the first death after a
look would be measured again and again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer, Unmeasured

DEFAULT_PEERS = ("posix_spawn", *MANAGERS)

#: After the start, and between two kills.
SETTLE_S = 2.0
PAUSE_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--times", type=int, default=50, help="how many of them are killed, each once")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which no more are killed")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        if not peer.respawns:
            raise Unmeasured(f"{peer.name} starts nothing again")
        peer.start(peer.works(options.children, "sleep"))
        machine.wait_for(lambda: peer.started() >= options.children, 120)
        time.sleep(SETTLE_S)
        moment, deadline = random.Random(1), time.monotonic() + options.limit
        taken = []
        for name, pid in _first(peer, options.times):
            if time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S + moment.uniform(0, peer.tick_s))
            taken.append(_until_successor(peer, name, pid))
        taken.sort()
        yield {
            "children": options.children,
            "times": len(taken),
            "median_ms": round(taken[len(taken) // 2] / 1e6, 2),
            "p95_ms": round(taken[len(taken) * 95 // 100] / 1e6, 2),
            "max_ms": round(taken[-1] / 1e6, 2),
        }
    finally:
        peer.close()


def _first(peer: Peer, count: int) -> list[tuple[str, int]]:
    lines = (peer.folder / "stamps").read_text().splitlines()
    return [(name, int(pid)) for name, pid, _ in map(str.split, lines[:count])]


def _until_successor(peer: Peer, name: str, pid: int) -> int:
    """Nanoseconds; the successor says itself when it began."""
    stamps = peer.folder / "stamps"
    end = stamps.stat().st_size
    killed_at = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)

    def successor() -> list[str]:
        return next((line.split() for line in stamps.read_text()[end:].splitlines() if line.startswith(name)), [])

    return int(machine.wait_for(successor, 30)[2]) - killed_at
