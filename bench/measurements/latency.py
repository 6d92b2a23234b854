"""How long a person waits for `status`, as a whole process; the bare interpreter is measured beside it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.measurements import start
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer

DEFAULT_PEERS = MANAGERS

#: Until a manager whose processes run answers, too.
ANSWER_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=10)
    parser.add_argument("--times", type=int, default=15)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        start.started(peer, options.children)
        commands = {"status": peer.status_command(), "python -c pass": [sys.executable, "-c", "pass"]}
        for what, times in taken(peer, commands, options.times).items():
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


def taken(peer: Peer, commands: dict[str, list[str]], times: int) -> dict[str, list[float]]:
    """The milliseconds that each command took, in turns, once all of them succeed."""
    for command in commands.values():
        machine.wait_for(lambda command=command: peer.run(*command).returncode == 0, ANSWER_S, 0.2)
    found: dict[str, list[float]] = {what: [] for what in commands}
    for _ in range(times):
        for what, command in commands.items():
            began = time.monotonic()
            subprocess.run(command, env=peer.environ, cwd=peer.folder, stdout=subprocess.DEVNULL, check=True)
            found[what].append((time.monotonic() - began) * 1e3)
    return found
