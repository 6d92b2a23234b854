"""A stop that is proven: until nobody is left of a program with many descendants, half of them orphans of their own."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers.circus import BIN, Circus

DEFAULT_PEERS = ("circus",)

#: Every other one is an orphan that leads a session of its own. Says so when all are there.
PROGRAM = """
import os, signal, sys
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        if number % 2:
            if os.fork():
                os._exit(0)
            os.setsid()
        signal.pause()
    if number % 2:
        os.wait()
open(sys.argv[2], "w").close()
signal.pause()
"""

WATCHER = "\n[watcher:tree]\ncmd = {} -S {} {} {}\ncopy_env = true\nkill_mode = {}\n"

#: Said in circusd's log about each look at all processes.
LOOKED = "looked at processes="


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--descendants", type=int, default=1000)
    parser.add_argument("--mode", default="tree", help="kill_mode")
    parser.add_argument("--times", type=int, default=5)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    try:
        program, ready = peer.folder / "tree.py", peer.folder / "ready"
        program.write_text(PROGRAM)
        peer.extra = WATCHER.format(sys.executable, program, options.descendants, ready, options.mode)
        peer.start([], loglevel="debug")
        taken, looks, left = [], [], 0
        for _ in range(options.times):
            machine.wait_for(ready.exists, 120)
            log = peer.folder / "manager.out"
            before, began = log.read_text().count(LOOKED), time.monotonic()
            peer.run(str(BIN / "circusctl"), "stop", "tree")
            taken.append(time.monotonic() - began)
            looks.append(log.read_text().count(LOOKED) - before)
            left += _count(program)
            ready.unlink()
            peer.run(str(BIN / "circusctl"), "start", "tree")
        taken.sort()
        yield {
            "descendants": options.descendants,
            "mode": options.mode,
            "median_s": round(taken[len(taken) // 2], 3),
            "max_s": round(taken[-1], 3),
            "looks": max(looks),
            "left": left,
        }
    finally:
        peer.close()


def _count(program: Path) -> int:
    """Processes that run it."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found += str(program).encode() in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return found
