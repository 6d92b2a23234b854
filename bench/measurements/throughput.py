"""How fast a flood of lines gets from the processes into their files, and how much of it arrives."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

DEFAULT_PEERS = ("cat", "papa", "circus", "supervisor")

#: Without a byte arriving for so long, what is missing is lost.
STALL_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=200, help="by each child")
    parser.add_argument("--limit", type=float, default=120, help="seconds")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        size = options.megabytes * 1_000_000
        works = peer.works(options.children, "flood", str(size))
        peer.start(works)
        machine.wait_for(lambda: peer.started() >= options.children, 60)
        managers = peer.managers()
        before = machine.cost(managers)
        (peer.folder / "go").touch()
        expected, arrived, last = size * options.children, 0, time.monotonic()
        deadline = last + options.limit
        while arrived < expected and time.monotonic() < min(deadline, last + STALL_S):
            now = sum(work.log.stat().st_size if work.log.exists() else 0 for work in works)
            if now != arrived:
                arrived, last = now, time.monotonic()
            time.sleep(0.002)
        after = machine.cost(managers)
        machine.wait_for(lambda: len(list((peer.folder / "done").glob("w*"))) == options.children, 30)
        times = [tuple(map(int, path.read_text().split())) for path in (peer.folder / "done").glob("w*")]
        seconds = last - min(began for began, _ in times) / 1e9
        cpu_s, wakeups = after.since(before)
        yield {
            "children": options.children,
            "bytes": expected,
            "lost": expected - arrived,
            "seconds": round(seconds, 3),
            "mb_per_s": round(arrived / seconds / 1e6, 1),
            "manager_cpu_s": round(cpu_s, 3),
            "manager_wakeups": wakeups,
            "manager_rss_mb": round(after.rss_bytes / 1e6, 1),
        }
    finally:
        peer.close()
