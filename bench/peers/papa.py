"""This project's kernel alone, asked by its asyncio client."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bench.peers.base import MARKER, Peer, Work
from papa import __version__, places
from papa.client.aio import AsyncPapa
from papa.client.blocking import Connection
from papa.errors import PapaError

T = TypeVar("T")

#: As /run is, where the kernel keeps its state by default.
TMPFS = Path("/dev/shm")

IDLE = ["/bin/sleep", "100000"]

#: Where the package of the bench lies.
ROOT = Path(__file__).parents[2]

#: Between two looks at a socket that nobody serves.
LOOK_S = 0.0005

UPGRADE_S = 30.0


def make_runtime_root() -> Path:
    return Path(tempfile.mkdtemp(prefix="bench-papa-", dir=TMPFS if TMPFS.is_dir() else None))


class Papa(Peer):
    name = "papa"
    respawns = False

    def version(self) -> str:
        return __version__

    def kernel(self) -> tuple[str, int]:
        return self._run(_kernel(autostart=True))

    def host(self, children: int) -> int:
        return self._run(_host(children))

    def absences(self, children: int, times: int) -> dict[str, list[float]]:
        return self._run(_absences(children, times))

    def __init__(self) -> None:
        super().__init__()
        self._root = make_runtime_root()

    def start(self, works: list[Work]) -> None:
        """The kernel, and a client of it that does nothing but store output."""
        self.environ |= {"PAPA_RUNTIME_DIR": str(self._root), "PYTHONPATH": str(ROOT)}
        wanted = json.dumps([[work.name, work.argv, str(work.log)] for work in works])
        self.launch(sys.executable, "-m", "bench.reader", wanted)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        chosen = {"PAPA_RUNTIME_DIR": str(self._root), MARKER: str(self.folder)}
        os.environ.update(chosen)
        try:
            return asyncio.run(work)
        finally:
            for name in chosen:
                del os.environ[name]


async def _host(children: int) -> int:
    papa = await AsyncPapa.connect(client="bench")
    for number in range(children):
        await papa.spawn(name=f"idle-{number}", argv=IDLE, env={})
    pid: int = papa.hello["pid"]
    await papa.close()
    return pid


async def _absences(children: int, times: int) -> dict[str, list[float]]:
    await _host(children)
    path = places.resolve(None).control_path
    taken: dict[str, list[float]] = {"SIGKILL": [], "upgrade": [], "python -I -S -c pass": []}
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        taken["python -I -S -c pass"].append(time.perf_counter() - began)
        _, pid = await _kernel()
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        _await_answer(path)
        taken["SIGKILL"].append(time.perf_counter() - began)
        assert (await _kernel())[1] != pid
        taken["upgrade"].append(await _upgrade())
    return taken


async def _kernel(*, autostart: bool = False) -> tuple[str, int]:
    papa = await AsyncPapa.connect(client="bench", autostart=autostart)
    pid: int = papa.hello["pid"]
    await papa.close()
    return places.resolve(None).control_path, pid


async def _upgrade() -> float:
    """The longest time without an answer to a ping, while another client has the kernel replaced."""
    asked = asyncio.create_task(asyncio.to_thread(_ask_upgrade))
    papa = await AsyncPapa.connect(client="bench", autostart=False)
    longest, last = 0.0, time.perf_counter()
    while not asked.done():
        try:
            await papa.request("ping")
        except PapaError:
            await asyncio.sleep(LOOK_S)
            continue
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await papa.close()
    await asked
    return longest


def _ask_upgrade() -> None:
    with Connection(client="bench", autostart=False) as connection:
        connection.request("upgrade", timeout_s=UPGRADE_S, python=sys.executable, folder=places.source())


def _await_answer(path: str) -> None:
    while True:
        with socket.socket(socket.AF_UNIX) as door:
            try:
                door.connect(path)
                if door.recv(1):
                    return
            except OSError:
                pass
        time.sleep(LOOK_S)
