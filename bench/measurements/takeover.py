"""How long a manager takes to manage again what it managed before: killed with SIGKILL, and started again."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

DEFAULT_PEERS = ("circus",)

#: After the start, until everything is written and acknowledged.
SETTLE_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=500)
    parser.add_argument("--times", type=int, default=5)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        peer.start(peer.works(options.children, "sleep"))
        machine.wait_for(lambda: peer.started() >= options.children, 120)
        taken = []
        for _ in range(options.times):
            time.sleep(SETTLE_S)
            peer.kill_manager()
            began = time.monotonic()
            peer.return_manager()
            machine.wait_for(peer.has_taken_over, 120, 0.002)
            taken.append(time.monotonic() - began)
        time.sleep(SETTLE_S)
        taken.sort()
        yield {
            "children": options.children,
            "times": len(taken),
            "median_s": round(taken[len(taken) // 2], 3),
            "min_s": round(taken[0], 3),
            "started_anew": peer.started() - options.children,
        }
    finally:
        peer.close()
