"""`so_reuseport`: each process of a watcher has a listener of its own, and the port outlives them all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from tests.house import House, opened, wait_for

SERVER = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
while True:
    listener.accept()[0].sendall(b"%d" % os.getpid())
"""

CONFIG = f"""
[watcher:web]
cmd = {sys.executable} -I -S server.py $(circus.sockets.web)
numprocesses = 2
use_papa = true
[socket:web]
host = 127.0.0.1
port = 28139
so_reuseport = true
"""


def sockets_of(pid: int) -> set[str]:
    """Their inodes."""
    folder = Path(f"/proc/{pid}/fd")
    links = set()
    for fd in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(os.readlink(fd))
    return {link for link in links if link.startswith("socket:")}


def answer() -> int:
    with socket.create_connection(("127.0.0.1", 28139), timeout=30) as client:
        return int(client.recv(16))


def both(house: House) -> set[int]:
    pids = house.pids("web")
    wait_for(lambda: {answer() for _ in range(8)} == pids, "an answer of both")
    return pids


def test_each_process_has_its_own_listener_and_the_port_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        (house.folder / "server.py").write_text(SERVER)
        house.start()
        wait_for(lambda: len(house.pids("web")) == 2, "two processes")
        one, two = both(house)
        (first,) = wait_for(lambda: len(found := sockets_of(one)) == 1 and found, "the last connection to be closed")
        (second,) = wait_for(lambda: len(found := sockets_of(two)) == 1 and found, "the last connection to be closed")
        assert first != second
        house.quit()
        assert answer() in (one, two)
        house.start()
        os.kill(one, signal.SIGKILL)
        wait_for(lambda: len(pids := house.pids("web")) == 2 and one not in pids, "its successor")
        assert two in both(house)
        house.asked("stop", "web")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", 28139)), "nobody is there who would accept"
        house.asked("start", "web")
        wait_for(lambda: len(house.pids("web")) == 2, "two processes")
        both(house)
