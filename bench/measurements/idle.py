"""What a manager costs while nothing happens: wake-ups, cpu, memory."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

DEFAULT_PEERS = ("circus", "supervisor")

#: After the last process came up, until the manager has said and written all that it has to.
SETTLE_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        began = time.monotonic()
        peer.start(peer.works(options.children, "sleep"))
        machine.wait_for(lambda: peer.started() >= options.children, 120)
        start_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        managers = peer.managers()
        before = machine.cost(managers)
        time.sleep(options.seconds)
        after = machine.cost(managers)
        cpu_s, wakeups = after.since(before)
        yield {
            "children": options.children,
            "start_s": round(start_s, 3),
            "window_s": options.seconds,
            "wakeups": wakeups,
            "cpu_s": round(cpu_s, 4),
            "rss_mb": round(after.rss_bytes / 1e6, 1),
            "pss_mb": round(after.pss_bytes / 1e6, 1),
            "processes": after.processes,
            "threads": after.threads,
        }
    finally:
        peer.close()
