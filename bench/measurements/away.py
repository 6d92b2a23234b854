"""A manager that is away while its children write: what is missing afterwards, and what the log says is missing."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS

#: Whose processes outlive it.
DEFAULT_PEERS = ("circus", "circus-0.17-papa", "runit", "s6")

LINE_BYTES = 100
MARK = re.compile(rb"\[papa: (\d+) bytes of output were dropped here\]\n")

#: Before the manager goes, and after it is back: it writes as fast as they do.
BESIDE_S = 1

#: Without a byte arriving for so long everything has arrived.
STALL_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=10)
    parser.add_argument("--kilobytes", type=int, default=500, help="each second by each child")
    parser.add_argument("--seconds", type=int, default=10, help="without a manager")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        per_s = options.kilobytes * 1000 // LINE_BYTES
        total = per_s * (options.seconds + 2 * BESIDE_S)
        works = peer.works(options.children, "pace", str(total), str(per_s))
        peer.start(works)
        machine.wait_for(lambda: peer.started() == options.children, 30)
        (peer.folder / "go").touch()
        time.sleep(BESIDE_S)
        peer.kill_manager()
        time.sleep(options.seconds)
        peer.return_manager()
        machine.wait_for(peer.has_taken_over, 60)
        machine.wait_for(lambda: len(list((peer.folder / "done").glob("w*"))) == options.children, 60)
        stored, last = 0, time.monotonic()
        while time.monotonic() < last + STALL_S:
            now = sum(work.stored() for work in works)
            if now != stored:
                stored, last = now, time.monotonic()
            time.sleep(0.01)
        texts = [b"".join(path.read_bytes() for path in work.files()) for work in works]
        said = [int(size) for text in texts for size in MARK.findall(text)]
        arrived = sum(len(MARK.sub(b"", text)) for text in texts)
        written = total * LINE_BYTES * options.children
        # A mark stands on a line of its own: the newline that makes it so may be one more byte.
        yield {
            "written": written,
            "missing": written - arrived,
            "said": sum(said),
            "marks": len(said),
            "missing_percent": round((written - arrived) / written * 100, 1),
        }
    finally:
        peer.close()
