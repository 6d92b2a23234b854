"""What a page of metrics costs: its time, others who ask meanwhile, memory before and after, and nothing in between."""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.measurements import api
from bench.peers.circus import Circus

DEFAULT_PEERS = ("circus",)

#: In which nobody asks, and circusd is to sleep.
IDLE_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--times", type=int, default=30)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    try:
        peer.extra = f"\n[watcher:many]\ncmd = sleep 1000\nnumprocesses = {options.slots}\nwarmup_delay = 0\n"
        peer.start([])
        machine.wait_for(peer.has_taken_over, 60)
        path = api._control_path(peer)
        pid = json.loads(api._ask(path, "/v1/version"))["pid"]
        machine.wait_for(lambda: len(api._pids(path)) == options.slots, 120)
        before = api._resident(pid)
        first = _pages(path, 1)
        yield {"what": "first page", **first}
        yield {"what": f"page of {options.slots} slots", **_pages(path, options.times)}
        after = api._resident(pid)
        yield {"what": "another's question, alone", **_asked(path, threading.Event(), options.times)}
        collected = threading.Event()
        collecting = threading.Thread(target=lambda: (_pages(path, options.times), collected.set()))
        collecting.start()
        yield {"what": "another's question, meanwhile", **_asked(path, collected)}
        collecting.join()
        yield {"what": "resident", "before_mb": before, "after_mb": after, "at_the_end_mb": api._resident(pid)}
        time.sleep(1)  # until connections are let go
        slept = _switches(pid)
        time.sleep(IDLE_S)
        yield {"what": f"wake-ups of circusd in {IDLE_S:g} s without a question", "count": _switches(pid) - slept}
    finally:
        peer.close()


def _pages(path: str, times: int) -> dict[str, float]:
    took = []
    with api._connected(path) as sock:
        for _ in range(times):
            began = time.perf_counter()
            sock.sendall(api._request("/metrics"))
            size = len(api._answer(sock))
            took.append((time.perf_counter() - began) * 1000)
    return {"median_ms": round(statistics.median(took), 1), "max_ms": round(max(took), 1), "bytes": size}


def _asked(path: str, until: threading.Event, times: int = 0) -> dict[str, float]:
    """How long a small question takes, asked again and again: so often, or as long as it takes."""
    took: list[float] = []
    with api._connected(path) as sock:
        while len(took) < times or not (times or until.is_set()):
            began = time.perf_counter()
            sock.sendall(api._request("/v1/version"))
            api._answer(sock)
            took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {
        "median_ms": round(statistics.median(took), 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
        "max_ms": round(took[-1], 2),
    }


def _switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return total
