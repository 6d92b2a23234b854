"""Writes of one byte, as fast as a child can: what they make of the index, and who else waits for the kernel."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.calls import counted
from bench.line import Line
from bench.peers import PEERS

DEFAULT_PEERS = ("papa",)

#: Between two pings, so that they disturb little.
PAUSE_S = 0.001


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--calls", action="store_true", help="count system calls (strace) instead of time")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        path, pid = peer.kernel()
        (work,) = peer.works(1, "bytes", str(options.bytes))
        with Line(path) as line:
            spawned = line.ask(
                "spawn", name=work.name, argv=list(work.argv), env={}, stderr="null", bound=4 * options.bytes
            )
            files = Path(path).parent / "output" / str(spawned["id"])
            machine.wait_for(lambda: peer.started() == 1, 30)
            if options.calls:
                with counted(pid) as calls:
                    _flood(line, peer.folder, files, options.bytes)
                yield {
                    "calls_per_byte": round(calls.own.total() / options.bytes, 2),
                    "most": calls.most(options.bytes),
                    "index_bytes_per_mb": _index_bytes(files, options.bytes),
                }
                return
            before = machine.cost([pid])
            seconds, pings = _flood(line, peer.folder, files, options.bytes)
            cpu_s, wakeups = machine.cost([pid]).since(before)
            yield {
                "bytes": options.bytes,
                "seconds": round(seconds, 3),
                "cpu_us_per_byte": round(cpu_s / options.bytes * 1e6, 2),
                "wakeups_per_byte": round(wakeups / options.bytes, 3),
                "index_bytes_per_mb": _index_bytes(files, options.bytes),
                "pings": len(pings),
                "ping_median_ms": round(statistics.median(pings) * 1e3, 2),
                "ping_p99_ms": round(pings[len(pings) * 99 // 100] * 1e3, 2),
            }
    finally:
        peer.close()


def _flood(line: Line, run: Path, files: Path, size: int) -> tuple[float, list[float]]:
    """Seconds until the kernel had all, and how long each ping took, ascending."""
    pings = []
    (run / "go").touch()
    began = time.perf_counter()
    while os.stat(files / "out").st_size < size:
        asked = time.perf_counter()
        line.send(line.request("ping"))
        line.await_replies(1)
        pings.append(time.perf_counter() - asked)
        line.replies.clear()
        time.sleep(PAUSE_S)
    return time.perf_counter() - began, sorted(pings)


def _index_bytes(files: Path, size: int) -> int:
    """What the index has grown by with each MB."""
    return round(os.stat(files / "index").st_size / size * 1e6)
