"""Many who follow events and logs, some slow, beside orders: what orders take, what circusd holds, what is lost."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers.circus import Circus
from bench.swarm import Swarm

DEFAULT_PEERS = ("circus",)

#: Watchers that are followed and ordered.
WATCHERS = 10

#: Connections that give orders.
ORDERERS = 8

#: What each of them writes: a line now and then.
WRITER = "while :; do echo a line that somebody follows; sleep 0.2; done"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--followers", type=int, default=200, help="half of them of events, half of logs")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="orders a second")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    swarm = None
    try:
        peer.extra = "".join(
            f"\n[watcher:w{number}]\ncmd = sh -c '{WRITER}'\nwarmup_delay = 0\n[watcher:s{number}]\ncmd = sleep 1000\n"
            for number in range(WATCHERS)
        )
        peer.start([])
        machine.wait_for(peer.has_taken_over, 60)
        (path,) = Path(peer.environ["PAPA_RUNTIME_DIR"]).glob("circus-*.sock")
        pid = int((peer.folder / "circusd.pid").read_text())
        before_mb = resident(pid)
        swarm = Swarm(str(path))
        slow = [
            swarm.follow("/v1/events", is_slow=True),
            swarm.follow("/v1/watchers/w0/logs?follow=true", is_slow=True),
        ]
        for number in range(options.followers - len(slow)):
            watcher = f"/v1/watchers/w{number // 2 % WATCHERS}/logs?follow=true"
            swarm.follow("/v1/events" if number % 2 else watcher)
        quick = [each for each in swarm.followers if not each.is_slow]
        swarm.until(lambda: all(each.last_id for each in quick), "all follow")
        for _ in range(ORDERERS):
            swarm.orderer()
        followed_mb, most_mb = resident(pid), 0.0
        began = machine.cost([pid])
        count = int(options.rate * options.seconds)
        for start in range(0, count, int(options.rate)):
            swarm.order([order(number) for number in range(start, min(count, start + int(options.rate)))], options.rate)
            most_mb = max(most_mb, resident(pid))
        cpu_s, _ = machine.cost([pid]).since(began)
        events = [each for number, each in enumerate(quick) if number % 2]
        swarm.until(lambda: len({each.last_id for each in events}) == 1, "all have heard all")
        taken = sorted(took for each in swarm.orderers for took in each.taken_s)
        yield {
            "followers": options.followers,
            "orders": count,
            "answered": sum(status == 200 for status, _ in swarm.answers),
            "median_ms": round(taken[len(taken) // 2] * 1e3, 1),
            "p99_ms": round(taken[int(len(taken) * 0.99)] * 1e3, 1),
            "events_each": min(each.said for each in events),
            "lines_each": min(each.said for number, each in enumerate(quick) if not number % 2),
            "gaps_of_the_quick": sum(each.gaps for each in quick),
            "circusd_cpu": round(cpu_s / options.seconds, 2),
            "before_mb": before_mb,
            "followed_mb": followed_mb,
            "most_mb": most_mb,
        }
    finally:
        if swarm is not None:
            swarm.close()
        peer.close()


def order(number: int) -> tuple[str, dict[str, object]]:
    """A process more, or one less, of one watcher after the other."""
    delta = 1 if number // WATCHERS % 2 == 0 else -1
    return f"/v1/watchers/s{number % WATCHERS}/count", {"delta": delta}


def resident(pid: int) -> float:
    """In megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)
