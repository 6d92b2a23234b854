"""What becomes of processes that write while their manager, or what holds them, is restarted, killed or upgraded.

Each process writes numbered lines at a rate, and says in a file how many of them its write() accepted: what is in no
log when all have fallen silent is lost. A thread asks for the status all the while, by the command that a person
would use. A row for each thing that happens:

``kept``: processes that live as before; ``alive``: all that live in the end, more than ``children`` are orphans and
doubles; ``lost``, ``doubled``: lines; ``order_s``: until the order was carried out, as far as one waits for that;
``blind_s``: the longest time between two answers that all run (an answer takes its time, too); ``outage_s``: the
longest time for which a service had no process; both until the end of the measurement where it did not end before,
then ``recovered`` is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench import machine
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Peer, Unmeasured, Work

DEFAULT_PEERS = MANAGERS

#: Between the answers that are asked for.
ASK_S = 0.02

#: Without a byte arriving for so long, what is missing is lost. Nobody's log is more than a second behind.
STALL_S = 2.5

Happening = Callable[[], None]


def _restart(peer: Peer) -> Happening:
    return peer.restart_manager


def _kill(peer: Peer) -> Happening:
    def happen() -> None:
        peer.kill_manager()
        peer.return_manager()

    return happen


def _kill_holders(peer: Peer) -> Happening:
    pids = peer.holders()

    def happen() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    return happen


def _upgrade(peer: Peer) -> Happening:
    return peer.upgrade_manager


def _upgrade_holders(peer: Peer) -> Happening:
    return peer.upgrade_holders


#: What a peer must be able to do, what happens then to one that runs, and what others lack.
SCENARIOS: dict[str, tuple[str, Callable[[Peer], Happening], str]] = {
    "restart of the manager": ("restart_manager", _restart, "manager that could be restarted"),
    "SIGKILL of the manager": ("return_manager", _kill, "manager that could return"),
    "SIGKILL of the holder": ("holders", _kill_holders, "holder of processes beside its manager"),
    "upgrade of the manager": ("upgrade_manager", _upgrade, "upgrade of a manager that works"),
    "upgrade of the holder": ("upgrade_holders", _upgrade_holders, "upgrade of a holder that works"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=10)
    parser.add_argument("--per-s", type=int, default=200, help="lines a second of each of them")
    parser.add_argument("--seconds", type=float, default=2, help="for which they write before and after")
    parser.add_argument("--limit", type=float, default=25, help="seconds in which all must run again")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="by commas")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for what in options.scenarios.split(","):
        peer = PEERS[peer_name]()
        try:
            needed, scenario, name = SCENARIOS[what]
            if getattr(type(peer), needed) is getattr(Peer, needed):
                raise peer.lacks(name)
            row = _befallen(peer, scenario, options)
        except Unmeasured as reason:
            row = {"skipped": str(reason)}
        finally:
            peer.close()
        yield {"what": what, **row}


class Asker(threading.Thread):
    """Asks again and again whether all run."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.answered_at, self.longest_s = time.monotonic(), 0.0
        self._peer = peer
        self._has_ended = threading.Event()

    def run(self) -> None:
        while not self._has_ended.is_set():
            asked_at = time.monotonic()
            # Who does not answer in time, or with half an answer, has not answered.
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                if self._peer.running() == self._peer.children:
                    self._note(asked_at)
            self._has_ended.wait(ASK_S)

    def _note(self, asked_at: float) -> None:
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self.answered_at)
        self.answered_at, self.asked_at = now, asked_at

    asked_at = 0.0  # of the last question that was answered so

    def end(self) -> None:
        self._has_ended.set()
        self.join()


def _befallen(peer: Peer, scenario: Callable[[Peer], Happening], options: argparse.Namespace) -> dict[str, Any]:
    works = peer.works(options.children, "steady", str(options.per_s))
    peer.start(works)
    machine.wait_for(lambda: len(_truth(peer)) >= options.children, 60)
    machine.wait_for(lambda: peer.running() == options.children, 60, 0.2)
    peer.settle()
    time.sleep(options.seconds)
    before = {life.pid for life in _truth(peer)}
    asker = Asker(peer)
    asker.start()
    try:
        machine.wait_for(lambda: asker.asked_at, 60)
        asker.longest_s = 0.0
        happen = scenario(peer)
        began = time.monotonic()
        happen()
        ordered = time.monotonic()
        recovered = _waits(lambda: asker.asked_at > ordered and _all_write(peer), options.limit)
        time.sleep(options.seconds)
    finally:
        asker.end()
    for pid in peer.workers():
        os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    lives = _truth(peer)
    _await_silence(works, sum(map(_size, lives)))
    lost, doubled = _missing(works, lives)
    blind_s = max(asker.longest_s, 0 if recovered else stopped_at - asker.answered_at)
    return {
        "children": options.children,
        "kept": sum(life.pid in before and life.is_alive for life in lives),
        "alive": sum(life.is_alive for life in lives),
        "recovered": int(recovered),
        "written": sum(life.lines for life in lives),
        "lost": lost,
        "doubled": doubled,
        "order_s": round(ordered - began, 3),
        "blind_s": round(blind_s, 3),
        "outage_s": round(_outage_s(lives, stopped_at), 3),
    }


@dataclass(frozen=True, slots=True)
class Life:
    """Of one process; times are monotonic seconds."""

    name: str
    pid: int
    began: float
    last: float
    lines: int
    is_alive: bool


def _truth(peer: Peer) -> list[Life]:
    lives = []
    for path in (peer.folder / "truth").glob("w*"):
        name, _, pid = path.name.partition(".")
        began, last, lines = struct.unpack("QQQ", path.read_bytes())
        lives.append(Life(name, int(pid), began / 1e9, last / 1e9, lines, machine.is_alive(int(pid))))
    return lives


def _all_write(peer: Peer) -> bool:
    return len({life.name for life in _truth(peer) if life.is_alive}) == peer.children


def _waits(fact: Callable[[], bool], timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        return machine.wait_for(fact, timeout_s)
    return False


def _await_silence(works: list[Work], expected: int) -> None:
    """Until as much is stored as was written, or nothing more comes."""
    stored, last = -1, time.monotonic()
    while stored != expected and time.monotonic() < last + STALL_S:
        now = sum(work.stored() for work in works)
        if now != stored:
            stored, last = now, time.monotonic()
        time.sleep(0.05)


def _line(life: Life, number: int) -> bytes:
    return f"{life.name} {life.pid} {number}".encode()


def _size(life: Life) -> int:
    return sum(len(_line(life, number)) + 1 for number in range(1, life.lines + 1))


def _missing(works: list[Work], lives: list[Life]) -> tuple[int, int]:
    """Lines that were accepted and are in no log, and lines that are there once more."""
    found: Counter[bytes] = Counter()
    for work in works:
        for path in work.files():
            found.update(path.read_bytes().splitlines())
    lost = sum(
        f"{life.name} {life.pid} {number}".encode() not in found
        for life in lives
        for number in range(1, life.lines + 1)
    )
    return lost, sum(found.values()) - len(found)


def _outage_s(lives: list[Life], stopped_at: float) -> float:
    longest = 0.0
    for name in {life.name for life in lives}:
        written_until = 0.0
        for life in sorted((life for life in lives if life.name == name), key=lambda life: life.began):
            if written_until:
                longest = max(longest, life.began - written_until)
            written_until = max(written_until, stopped_at if life.is_alive else life.last)
        longest = max(longest, stopped_at - written_until)
    return longest
