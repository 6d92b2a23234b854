"""From the exec of a manager until the last of its processes runs, each with a log of its own."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer

DEFAULT_PEERS = ("posix_spawn", *MANAGERS)

#: The slowest peer of all starts 2000 in less.
LIMIT_S = 240.0

#: Between two looks at who has come up, so that they disturb little; processes say themselves when they began.
LOOK_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", default="100,500,1000", help="how many, one after the other")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for children in map(int, options.children.split(",")):
        peer = PEERS[peer_name]()
        try:
            yield {"what": f"{children} processes", "children": children, "start_s": round(started(peer, children), 3)}
        finally:
            peer.close()


def started(peer: Peer, children: int) -> float:
    """The seconds that it took until the last one ran. TimeoutError after LIMIT_S."""
    works = peer.works(children, "sleep")
    began = time.monotonic_ns()
    peer.start(works)
    machine.wait_for(lambda: peer.started() >= children, LIMIT_S, LOOK_S)
    stamps = (peer.folder / "stamps").read_text().splitlines()
    return (max(int(line.split()[2]) for line in stamps[:children]) - began) / 1e9
