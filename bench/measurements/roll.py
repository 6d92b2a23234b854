"""A rolling reload: how long it takes with many processes that are ready at once, and what nginx and uWSGI lose by it.

The latter with `--stack`: so many reloads of each under wrk, of which none may cost a request.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.stack.show import Stack
from tests.stack.rolling import rolling

from bench import machine
from bench.peers.circus import BIN, Circus

DEFAULT_PEERS = ("circus",)

WATCHER = "\n[watcher:web]\ncmd = /bin/sleep 1000\ncopy_env = true\nnumprocesses = {}\nmax_surge = {}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--surge", default="25%", help="max_surge")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--stack", type=int, default=0, metavar="RELOADS")
    parser.add_argument("--port", type=int, default=18080, help="of the stack; its nine successors are used, too")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    if options.stack:
        yield from _of_stack(options.stack, options.port)
    else:
        yield _of_slots(options)


def _of_slots(options: argparse.Namespace) -> dict[str, Any]:
    peer = Circus()
    try:
        peer.extra = WATCHER.format(options.slots, options.surge)
        peer.start([])

        def pids() -> set[str]:
            return set(peer.run(str(BIN / "circusctl"), "list", "web").stdout.strip().split(",")) - {""}

        machine.wait_for(lambda: len(pids()) == options.slots, 60)
        taken, kept = [], 0
        for _ in range(options.times):
            before = pids()
            began = time.monotonic()
            peer.run(str(BIN / "circusctl"), "reload", "web")
            taken.append(time.monotonic() - began)
            kept += len(before & pids())
        taken.sort()
        return {
            "slots": options.slots,
            "surge": options.surge,
            "median_s": round(taken[len(taken) // 2], 3),
            "max_s": round(taken[-1], 3),
            "not_replaced": kept,
        }
    finally:
        peer.close()


def _of_stack(reloads: int, port: int) -> Iterator[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix="bench-stack-", dir="/tmp"))
    stack = Stack(folder, Path(sys.executable).parent, port=port, stats_port=port)
    try:
        rolling(stack)
        stack.start()
        stack.run("circusctl", "incr", "web_app")
        for watcher in ("nginx", "web_app"):
            done = requests = failed = 0
            began = time.monotonic()
            while done < reloads:
                load = stack.load(10, work_s=0.03, keep_alive=False)
                ends = time.monotonic() + 9
                while done < reloads and time.monotonic() < ends:
                    stack.run("circusctl", "reload", watcher)
                    done += 1
                served, lost = load.result()
                requests, failed = requests + served, failed + lost
            yield {
                "what": watcher,
                "reloads": done,
                "requests": requests,
                "failed": failed,
                "took_s": round(time.monotonic() - began, 1),
            }
    finally:
        stack.end()
        shutil.rmtree(folder)
