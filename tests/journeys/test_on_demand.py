"""`on_demand`: the first connection starts the watcher, which serves it, ends, and is started by the next one."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from tests.house import opened, wait_for

ONE_ANSWER = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
listener.accept()[0].sendall(b"%d" % os.getpid())
"""

CONFIG = f"""
[watcher:lazy]
cmd = {sys.executable} -I -S server.py $(circus.sockets.front)
on_demand = true
use_papa = true
[watcher:other]
cmd = /bin/sleep 1000
[socket:front]
path = front.sock
"""


def answer(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(os.path.relpath(path))
        return int(client.recv(16))


def test_each_connection_starts_it_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        (house.folder / "server.py").write_text(ONE_ANSWER)
        front = house.folder / "front.sock"
        house.start()
        assert house.status() == {"lazy": "stopped", "other": "active"}
        first = answer(front)
        assert answer(front) != first
        wait_for(lambda: house.status()["lazy"] == "stopped", "its end")
        house.kill()
        house.start()
        assert house.pids("lazy") == set()
        assert answer(front) != first
        house.asked("stop", "lazy")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.path.relpath(front))  # it waits; nobody who was stopped by hand is started by that
            assert house.status()["lazy"] == "stopped"
            house.asked("start", "lazy")
            client.settimeout(30)
            assert int(client.recv(16)) > 0
