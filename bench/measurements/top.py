"""What circus-top costs on a terminal: itself, and circusd while it is looked at."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.peers.circus import BIN, Circus

DEFAULT_PEERS = ("circus",)

#: Until all is drawn that a start has to draw.
SETTLE_S = 6.0

#: What processes are sorted by and shown as: watchers, processes alone by trouble, processes by what they use.
VIEWS = {"watchers": "", "processes": "g", "processes by cpu": "g2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=500, help="processes, in ten watchers")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--columns", type=int, default=80)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    try:
        peer.extra = "".join(
            f"\n[watcher:w{number}]\ncmd = sleep 1000\nnumprocesses = {options.slots // 10}\nwarmup_delay = 0\n"
            for number in range(10)
        )
        peer.start([])
        machine.wait_for(peer.has_taken_over, 120)
        machine.wait_for(lambda: _running(peer) >= options.slots, 120, step_s=0.5)
        time.sleep(SETTLE_S)
        circusd = int((peer.folder / "circusd.pid").read_text())
        before = machine.cost([circusd])
        time.sleep(options.seconds)
        idle_s, _ = machine.cost([circusd]).since(before)
        for what, keys in VIEWS.items():
            yield {"what": what, "circusd_idle_cpu": idle_s / options.seconds, **_look(peer, circusd, keys, options)}
    finally:
        peer.close()


def _running(peer: Circus) -> int:
    status = json.loads(peer.run(str(BIN / "circusctl"), "--json", "status").stdout)
    return sum(slot["pid"] is not None for watcher in status["watchers"] for slot in watcher["slots"])


def _look(peer: Circus, circusd: int, keys: str, options: argparse.Namespace) -> dict[str, Any]:
    """``cpu`` are shares of one processor."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", options.rows, options.columns, 0, 0))
    argv = [sys.executable, "-m", "circus.circustop"]
    environ = {**peer.environ, "TERM": "xterm"}
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as top:
        os.close(theirs)
        seen = bytearray()
        reading = threading.Thread(target=_read, args=(ours, seen))
        reading.start()
        try:
            machine.wait_for(lambda: b"watchers" in seen, 60)
            os.write(ours, keys.encode())
            time.sleep(SETTLE_S)
            written, before, before_circusd = len(seen), machine.cost([top.pid]), machine.cost([circusd])
            time.sleep(options.seconds)
            after, cpu_s = machine.cost([top.pid]), machine.cost([circusd]).since(before_circusd)[0]
            written = len(seen) - written
        finally:
            top.kill()
            top.wait()
            reading.join()
            os.close(ours)
    return {
        "slots": options.slots,
        "cpu": round(after.since(before)[0] / options.seconds, 4),
        "circusd_cpu": round(cpu_s / options.seconds, 4),
        "rss_mb": round(after.rss_bytes / 1e6, 1),
        "written_bytes_per_s": round(written / options.seconds),
    }


def _read(terminal: int, seen: bytearray) -> None:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            return
        if not data:
            return
        seen += data
