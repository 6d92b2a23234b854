"""How long the kernel is away: after a SIGKILL, and at an upgrade; the bare interpreter is measured beside it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from bench.peers import PEERS

DEFAULT_PEERS = ("papa",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", default="1,100,1000", help="how many processes are hosted, one after the other")
    parser.add_argument("--times", type=int, default=7)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for children in map(int, options.children.split(",")):
        peer = PEERS[peer_name]()
        try:
            for what, times in peer.absences(children, options.times).items():
                times.sort()
                yield {
                    "what": f"{what} {children}",
                    "times": len(times),
                    "median_ms": round(times[len(times) // 2] * 1e3, 1),
                    "min_ms": round(times[0] * 1e3, 1),
                }
        finally:
            peer.close()
