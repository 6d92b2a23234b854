"""How fast `circusctl logs --grep` looks through what is stored, while nothing of it matches."""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS
from bench.peers.circus import BIN

DEFAULT_PEERS = ("circus",)

#: What the flood is made of has none of these.
PATTERNS = ("no such words", "error [0-9]+ of", "(?i)No Such Words")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=60, help="seconds to write them")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        size = options.megabytes * 1_000_000
        works = peer.works(1, "flood", str(size))
        peer.start(works)
        machine.wait_for(lambda: peer.started() >= 1, 60)
        (peer.folder / "go").touch()
        machine.wait_for(lambda: works[0].stored() >= size, options.limit)
        for pattern in PATTERNS:
            began = time.monotonic()
            done = subprocess.run(
                [BIN / "circusctl", "logs", "--grep", pattern, "*"],
                env=peer.environ,
                capture_output=True,
                check=True,
            )
            yield {
                "what": pattern,
                "bytes": size,
                "matches": done.stdout.count(b"\n"),
                "seconds": round(time.monotonic() - began, 3),
            }
    finally:
        peer.close()
