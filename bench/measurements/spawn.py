"""How fast a process can be started and its end learned: the kernel against a C loop of posix_spawn."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from bench.peers import PEERS

DEFAULT_PEERS = ("posix_spawn", "papa")
PROGRAM = "/bin/true"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=300)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        seconds = peer.spawn_one_after_another(options.count, PROGRAM)
        yield {"count": options.count, "us_each": round(seconds / options.count * 1e6, 1)}
    finally:
        peer.close()
