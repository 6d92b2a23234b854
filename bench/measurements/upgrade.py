"""How long nobody is answered while another circusd takes the place of one that stores lines; what of them is lost."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers import PEERS
from bench.peers.circus import BIN
from circus.control.client import Client

DEFAULT_PEERS = ("circus",)

LINE_BYTES = 100

#: Without a byte arriving for so long everything has arrived.
STALL_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=500)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--lines", type=int, default=2, help="each second by each child")
    parser.add_argument("--seconds", type=int, default=150, help="for which they write")


class Asker(threading.Thread):
    """Asks again and again, and knows the longest time without an answer, and how often there was none at all."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.longest_s, self.failed, self.answers = 0.0, 0, 0
        self._client = Client(path, timeout_s=60)
        self._has_ended = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._has_ended.is_set():
            try:
                self._client.get("/v1/version")
                self.answers += 1
            except Exception:  # noqa: BLE001 - whatever it is, it is counted
                self.failed += 1
            now = time.monotonic()
            self.longest_s, last = max(self.longest_s, now - last), now

    def end(self) -> None:
        self._has_ended.set()
        self.join()


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        total = options.lines * options.seconds
        works = peer.works(options.children, "pace", str(total), str(options.lines))
        (peer.folder / "go").touch()  # who waits for it looks again and again: too many for this
        peer.start(works)
        machine.wait_for(lambda: peer.started() >= options.children, 300)
        machine.wait_for(peer.has_taken_over, 120)
        asker = Asker(f"{peer.environ['PAPA_RUNTIME_DIR']}/circus-default.sock")
        asker.start()
        blind = []
        for _ in range(options.times):
            said = peer.run(str(BIN / "circusctl"), "--json", "--timeout", "60", "upgrade").stdout
            blind.append(json.loads(said)["blind_s"])
        asker.end()
        machine.wait_for(lambda: len(list((peer.folder / "done").iterdir())) == options.children, 600)
        stored, last = 0, time.monotonic()
        while time.monotonic() < last + STALL_S:
            now = sum(work.stored() for work in works)
            if now != stored:
                stored, last = now, time.monotonic()
            time.sleep(0.05)
        blind.sort()
        yield {
            "children": options.children,
            "times": len(blind),
            "median_blind_s": round(blind[len(blind) // 2], 3),
            "max_blind_s": round(blind[-1], 3),
            "longest_without_answer_s": round(asker.longest_s, 3),
            "answers": asker.answers,
            "failed": asker.failed,
            "written": total * LINE_BYTES * options.children,
            "lost": sum(_lost(work.log, total) for work in works),
            "doubled": sum(_doubled(work.log) for work in works),
            "started_anew": peer.started() - options.children,
        }
    finally:
        peer.close()


def _lost(log: Path, total: int) -> int:
    """Bytes of lines that are not there."""
    return (total - len(set(log.read_bytes().splitlines()))) * LINE_BYTES


def _doubled(log: Path) -> int:
    """Bytes of lines that are there once more. Each says when it was written, so no two are equal."""
    lines = log.read_bytes().splitlines()
    return (len(lines) - len(set(lines))) * LINE_BYTES
