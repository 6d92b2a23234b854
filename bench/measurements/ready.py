"""How late circusd knows that a process is ready: from the moment before READY=1 is sent to the event."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers.circus import BIN, Circus

#: After this whoever was told to listen does.
LISTENS_S = 2.0

#: Between two spawns: each is measured by itself.
PAUSE_S = 0.1

DEFAULT_PEERS = ("circus",)

SPEAKER = """
import os, socket, sys, time
door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
began = time.time()
door.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
with open(f"{sys.argv[1]}/{os.getpid()}", "w") as file:
    file.write(repr(began))
time.sleep(1000)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=50)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    feed = None
    try:
        folder = Path(peer.folder)
        (folder / "said").mkdir()
        (folder / "speaker.py").write_text(SPEAKER)
        cmd = f"{sys.executable} -S {folder}/speaker.py {folder}/said"
        peer.extra = (
            f"\n[watcher:web]\ncmd = {cmd}\nready = notify\nnumprocesses = {options.times}\nautostart = false\n"
            f"warmup_delay = {PAUSE_S}\n"
        )
        peer.start([])
        machine.wait_for(peer.has_taken_over, 60)
        feed = subprocess.Popen(
            [BIN / "circusctl", "--json", "listen"], env=peer.environ, cwd=folder, stdout=subprocess.PIPE, text=True
        )
        time.sleep(LISTENS_S)
        peer.run(str(BIN / "circusctl"), "start", "web")
        machine.wait_for(lambda: len(list((folder / "said").iterdir())) == options.times, 60)
        assert feed.stdout is not None
        ready: dict[int, float] = {}
        while len(ready) < options.times:
            event = json.loads(feed.stdout.readline())
            if event.get("event") == "ready":
                ready[int(event["message"]["process_pid"])] = event["message"]["time"]
        late = sorted(ready[int(each.name)] - float(each.read_text()) for each in (folder / "said").iterdir())
        yield {
            "times": len(late),
            "median_ms": round(late[len(late) // 2] * 1000, 2),
            "p90_ms": round(late[len(late) * 9 // 10] * 1000, 2),
            "max_ms": round(late[-1] * 1000, 2),
        }
    finally:
        if feed is not None:
            feed.terminate()
            feed.communicate()
        peer.close()
