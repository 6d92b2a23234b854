"""A chain of watchers of which each requires the one before: from the order until the last one is ready."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers import PEERS
from bench.peers.circus import Circus
from circus.control.client import Client, target

DEFAULT_PEERS = ("circus",)

#: circusd's socket of a name that the file does not give.
SOCKET = "circus-default.sock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--links", type=int, default=20)
    parser.add_argument("--times", type=int, default=20)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """``beside`` is the same number of watchers outside of any graph, which start one after another."""
    for is_chain in (True, False):
        peer = PEERS[peer_name]()
        assert isinstance(peer, Circus)
        try:
            names = [f"w{number:03}" for number in range(options.links)]
            peer.extra = "".join(_section(names, at, is_chain=is_chain) for at in range(len(names)))
            peer.start([])
            machine.wait_for(peer.has_taken_over, 60)
            client = Client(f"{peer.environ['PAPA_RUNTIME_DIR']}/{SOCKET}")
            ends, starts = [], []
            for _ in range(options.times):
                starts.append(_taken(client, "start", names[-1:] if is_chain else names))
                ends.append(_taken(client, "stop", names[:1] if is_chain else names))
            starts.sort()
            ends.sort()
            yield {
                "links": options.links,
                "what": "chain" if is_chain else "beside",
                "start_ms": round(starts[len(starts) // 2] * 1000, 1),
                "start_max_ms": round(starts[-1] * 1000, 1),
                "start_a_link_ms": round(starts[len(starts) // 2] * 1000 / options.links, 2),
                "stop_ms": round(ends[len(ends) // 2] * 1000, 1),
            }
        finally:
            peer.close()


def _section(names: list[str], at: int, *, is_chain: bool) -> str:
    needs = f"requires = {names[at - 1]}\n" if is_chain and at else ""
    return f"[watcher:{names[at]}]\ncmd = /bin/sleep 1000\nautostart = false\n{needs}"


def _taken(client: Client, verb: str, names: list[str]) -> float:
    began = time.monotonic()
    client.post(target(verb), {"names": names})
    return time.monotonic() - began
