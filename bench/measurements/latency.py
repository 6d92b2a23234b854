"""How long a person waits for `status`, as a whole process; the bare interpreter is measured beside it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

DEFAULT_PEERS = ("circus", "supervisor")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=10)
    parser.add_argument("--times", type=int, default=15)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        peer.start(peer.works(options.children, "sleep"))
        machine.wait_for(lambda: peer.started() >= options.children, 60)
        machine.wait_for(lambda: peer.run(*peer.status_command()).returncode == 0, 30, 0.2)
        commands = {"status": peer.status_command(), "python -c pass": [sys.executable, "-c", "pass"]}
        taken: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(options.times):
            for what, command in commands.items():
                began = time.monotonic()
                subprocess.run(command, env=peer.environ, cwd=peer.folder, stdout=subprocess.DEVNULL, check=True)
                taken[what].append((time.monotonic() - began) * 1e3)
        for what, times in taken.items():
            times.sort()
            yield {
                "what": what,
                "children": options.children,
                "times": len(times),
                "median_ms": round(times[len(times) // 2], 1),
                "min_ms": round(times[0], 1),
                "max_ms": round(times[-1], 1),
            }
    finally:
        peer.close()
