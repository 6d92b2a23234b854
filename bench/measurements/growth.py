"""What everything costs with more and more processes: their start, rest, status, respawn, a sample of statistics.

A peer that has no such side has no such figure, and one that cannot manage so many says why.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bench import machine
from bench.measurements import api, idle, latency, respawn, start
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer, Unmeasured
from bench.peers.circus import Circus

DEFAULT_PEERS = ("posix_spawn", *MANAGERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", default="10,100,1000,2000", help="how many, one after the other")
    parser.add_argument("--seconds", type=float, default=10, help="of rest")
    parser.add_argument("--times", type=int, default=3, help="status, kills, samples")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for children in map(int, options.children.split(",")):
        row: dict[str, Any] = {"what": f"{children} processes", "children": children}
        peer = None
        try:
            peer = PEERS[peer_name]()
            row["start_s"] = round(start.started(peer, children), 3)
            row |= idle.costs(peer, options.seconds)
            for cost in (_status, _request, _sample, _respawn):
                with suppress(Unmeasured):
                    row |= cost(peer, options.times)
        except Unmeasured as reason:
            row["skipped"] = str(reason)
        finally:
            if peer is not None:
                peer.close()
        yield row


def _status(peer: Peer, times: int) -> dict[str, float]:
    """The whole command."""
    return {"status_ms": _median(latency.taken(peer, {"": peer.status_command()}, times)[""])}


def _request(peer: Peer, times: int) -> dict[str, float]:
    """The same question by a program that is connected."""
    return {"api_ms": _median(_asked_ms(peer, "/v1/status", times))} if isinstance(peer, Circus) else {}


def _sample(peer: Peer, times: int) -> dict[str, float]:
    """Processor time that circusd takes to say what all its processes use."""
    if not isinstance(peer, Circus):
        return {}
    pid = json.loads(api._ask(api._control_path(peer), "/v1/version"))["pid"]
    before = machine.cost([pid])
    _asked_ms(peer, "/v1/stats", times)
    return {"sample_ms": round(machine.cost([pid]).since(before)[0] * 1e3 / times, 2)}


def _asked_ms(peer: Peer, target: str, times: int) -> list[float]:
    taken = []
    with api._connected(api._control_path(peer)) as sock:
        for _ in range(times):
            began = time.monotonic()
            sock.sendall(api._request(target))
            api._answer(sock)
            taken.append((time.monotonic() - began) * 1e3)
    return taken


def _respawn(peer: Peer, times: int) -> dict[str, float]:
    """At any moment between two looks of a manager that looks once in a while."""
    if not peer.respawns:
        return {}
    moment = random.Random(1)
    taken = []
    for name, pid in respawn._first(peer, times):
        time.sleep(respawn.PAUSE_S + moment.uniform(0, peer.tick_s))
        taken.append(respawn._until_successor(peer, name, pid) / 1e6)
    return {"respawn_ms": _median(taken)}


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)
