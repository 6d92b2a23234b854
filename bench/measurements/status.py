"""What `circusctl status` costs as a whole process, into a pipe, as a table, as JSON: its time, its processor."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.measurements import api
from bench.peers.circus import BIN, Circus

DEFAULT_PEERS = ("circus",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watchers", default="10,500", help="how many there are, one after the other")
    parser.add_argument("--times", type=int, default=20)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    environ = dict(os.environ)
    yield {"what": "python alone", **_took([sys.executable, "-c", "pass"], environ, options.times)}
    for count in map(int, options.watchers.split(",")):
        peer = Circus()
        try:
            peer.extra = "".join(f"\n[watcher:w{at}]\ncmd = sleep 1000\nwarmup_delay = 0\n" for at in range(count))
            peer.start([])
            machine.wait_for(peer.has_taken_over, 60)
            path = api._control_path(peer)
            machine.wait_for(lambda path=path, count=count: _running(path) == count, 240)
            command = [str(BIN / "circusctl"), "--endpoint", path]
            for how in ("status", "--table status", "--json status"):
                what = f"{how}, {count} watchers"
                yield {"what": what, **_took([*command, *how.split()], peer.environ, options.times)}
        finally:
            peer.close()


def _running(path: str) -> int:
    watchers = json.loads(api._ask(path, "/v1/status"))["watchers"]
    return sum(slot["state"] == "running" for watcher in watchers for slot in watcher["slots"])


def _took(command: list[str], environ: dict[str, str], times: int) -> dict[str, float]:
    """The first run is not counted: it may have to compile."""
    walls, processors = [], []
    for _ in range(times + 1):
        began = time.perf_counter()
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            size = len(process.stdout.read())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        walls.append((time.perf_counter() - began) * 1000)
        processors.append((used.ru_utime + used.ru_stime) * 1000)
        assert process.returncode == 0, command
    return {
        "median_ms": round(statistics.median(walls[1:]), 1),
        "min_ms": round(min(walls[1:]), 1),
        "max_ms": round(max(walls[1:]), 1),
        "processor_ms": round(statistics.median(processors[1:]), 1),
        "bytes": size,
    }
