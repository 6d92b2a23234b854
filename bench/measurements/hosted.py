"""What hosted processes cost the kernel while nothing happens: its resident memory, its wake-ups."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

DEFAULT_PEERS = ("papa",)

#: After the last start, until the kernel has said all that it has to say.
SETTLE_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", default="0,1000", help="how many idle processes are hosted")
    parser.add_argument("--seconds", type=float, default=5)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for children in map(int, options.children.split(",")):
        peer = PEERS[peer_name]()
        try:
            pid = peer.host(children)
            time.sleep(SETTLE_S)
            before = machine.cost([pid])
            time.sleep(options.seconds)
            after = machine.cost([pid])
            yield {
                "what": f"idle {children}",
                "window_s": options.seconds,
                "rss_kib": after.rss_bytes // 1024,
                "wakeups": after.since(before)[1],
            }
        finally:
            peer.close()
