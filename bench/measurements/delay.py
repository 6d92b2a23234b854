"""From a child's write until its line stands in the file, at so many lines a second."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS
from bench.peers.base import Work

DEFAULT_PEERS = ("cat", "circus", "supervisor")

#: Where worker.c says when it wrote a line, and how long one is.
AT, LINE_BYTES = slice(30, 50), 100

#: Between two looks at the file, so that they disturb little.
LOOK_S = 0.0002

#: The first lines are of another kind: files are made, a cache is cold.
WARM_S = 0.5

LIMIT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-second", type=int, default=1000, help="lines")
    parser.add_argument("--seconds", type=int, default=5)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        total = options.per_second * options.seconds
        (work,) = peer.works(1, "pace", str(total), str(options.per_second))
        peer.start([work])
        machine.wait_for(lambda: peer.started() == 1, 30)
        managers = peer.managers()
        time.sleep(WARM_S)
        before = machine.cost(managers)
        (peer.folder / "go").touch()
        delays = _watch(work, total)[int(WARM_S * options.per_second) :]
        cpu_s, wakeups = machine.cost(managers).since(before)
        delays.sort()
        yield {
            "lines": len(delays),
            "median_ms": round(statistics.median(delays) * 1e3, 2),
            "p95_ms": round(delays[len(delays) * 95 // 100] * 1e3, 2),
            "worst_ms": round(delays[-1] * 1e3, 2),
            "manager_cpu_percent": round(cpu_s / options.seconds * 100, 1),
            "wakeups_per_line": round(wakeups / total, 2),
        }
    finally:
        peer.close()


def _watch(work: Work, total: int) -> list[float]:
    """The seconds that each line took, in their order."""
    machine.wait_for(work.log.exists, 30)
    delays: list[float] = []
    deadline = time.monotonic() + LIMIT_S
    with work.log.open("rb", buffering=0) as file:
        at = 0
        while at < total * LINE_BYTES and time.monotonic() < deadline:
            size = os.fstat(file.fileno()).st_size
            if size - at >= LINE_BYTES:
                now = time.monotonic_ns()
                data = os.pread(file.fileno(), (size - at) // LINE_BYTES * LINE_BYTES, at)
                at += len(data)
                delays += [(now - int(data[start:][AT])) / 1e9 for start in range(0, len(data), LINE_BYTES)]
            time.sleep(LOOK_S)
    return delays
