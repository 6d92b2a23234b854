"""How fast a flood of lines gets from the processes into their files, and how much of it arrives."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench import machine, tools
from bench.peers import MANAGERS, PEERS
from bench.peers.base import Work

#: How long worker.c makes a line, and what stands between a time and a line.
LINE_BYTES = 100
TIME_END = b" | "

DEFAULT_PEERS = ("cat", "posix_spawn", "papa", *MANAGERS)

#: Without a byte arriving for so long, what is missing is lost.
STALL_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--children", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=200, help="by each child")
    parser.add_argument("--rotate", type=int, default=0, metavar="MB", help="a new file after so much")
    parser.add_argument("--time-format", default="", help="the time in front of every line (for the circuses)")
    parser.add_argument("--limit", type=float, default=120, help="seconds")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    peer = PEERS[peer_name]()
    try:
        size = options.megabytes * 1_000_000
        works = [
            replace(work, rotate_bytes=options.rotate * 1_000_000, time_format=options.time_format)
            for work in peer.works(options.children, "flood", str(size))
        ]
        peer.start(works)
        machine.wait_for(lambda: peer.started() >= options.children, 60)
        managers = peer.managers()
        before = machine.cost(managers)
        (peer.folder / "go").touch()
        expected, stored, last = size * options.children, 0, time.monotonic()
        # How long the times are nobody knows: there the last byte is known by the silence after it.
        enough = sys.maxsize if options.time_format else expected
        deadline = last + options.limit
        while stored < enough and time.monotonic() < min(deadline, last + STALL_S):
            now = sum(work.stored() for work in works)
            if now != stored:
                stored, last = now, time.monotonic()
            time.sleep(0.002)
        after = machine.cost(managers)
        if options.time_format:
            arrived, lines = map(sum, zip(*map(_within, works), strict=True))
            more = {"lines_too_many": lines - expected // LINE_BYTES}
        else:
            lost, doubled, strange = map(sum, zip(*(_counted(work, size // LINE_BYTES) for work in works), strict=True))
            arrived, more = expected - lost * LINE_BYTES, {"doubled": doubled * LINE_BYTES, "strange": strange}
        machine.wait_for(lambda: len(list((peer.folder / "done").glob("w*"))) == options.children, 30)
        times = [tuple(map(int, path.read_text().split())) for path in (peer.folder / "done").glob("w*")]
        seconds = last - min(began for began, _ in times) / 1e9
        cpu_s, wakeups = after.since(before)
        yield {
            "children": options.children,
            "bytes": expected,
            "lost": expected - arrived,
            "seconds": round(seconds, 3),
            "mb_per_s": round(arrived / seconds / 1e6, 1),
            "manager_cpu_s": round(cpu_s, 3),
            "manager_wakeups": wakeups,
            "manager_rss_mb": round(after.rss_bytes / 1e6, 1),
            **more,
        }
    finally:
        peer.close()


def _counted(work: Work, lines: int) -> tuple[int, int, int]:
    """Lines that are missing, lines that are there once more, bytes that are no such line."""
    words = [str(tools.program("count")), work.name, str(lines), *map(str, work.files())]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lost, doubled, strange = map(int, done.stdout.split())
    return lost, doubled, strange


def _within(work: Work) -> tuple[int, int]:
    """The child's bytes in lines with times, a newline for each of its; and how many lines there are."""
    size = count = 0
    for path in work.files():
        with path.open("rb") as file:
            for line in file:
                size += len(line.rpartition(TIME_END)[2].rstrip(b"\n"))
                count += 1
    return size * LINE_BYTES // (LINE_BYTES - 1), count
