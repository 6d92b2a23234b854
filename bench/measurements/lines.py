"""Many children that say little: what a line a second of each costs the kernel, and who stores them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.calls import counted
from bench.peers import PEERS

DEFAULT_PEERS = ("papa", "circus")

#: After the last start, until all have their files.
SETTLE_S = 5.0

#: How /proc/PID/comm of a kernel begins.
KERNEL = "papa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--calls", action="store_true", help="count system calls (strace) instead of time")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        peer.start(peer.works(options.children, "lines"))
        machine.wait_for(lambda: peer.started() >= options.children, 300)
        time.sleep(SETTLE_S)
        managers = peer.managers()
        kernels = [pid for pid in managers if Path(f"/proc/{pid}/comm").read_text().startswith(KERNEL)]
        stores = [pid for pid in managers if pid not in kernels and machine.cost([pid]).rss_bytes > 4 << 20]
        lines = options.children * options.seconds
        for what, pids in (("kernel", kernels), ("store", stores)):
            row: dict[str, Any] = {"what": what, "children": options.children, "processes": len(pids)}
            if options.calls:
                with counted(pids[0]) as calls:
                    time.sleep(options.seconds)
                row |= {"calls_per_line": round(calls.own.total() / lines, 2), "most": calls.most(round(lines))}
            else:
                before = machine.cost(pids)
                time.sleep(options.seconds)
                cpu_s, wakeups = machine.cost(pids).since(before)
                row["cpu_percent"] = round(cpu_s / options.seconds * 100, 2)
                row["wakeups_per_line"] = round(wakeups / lines, 2)
            yield row
    finally:
        peer.close()
