"""How fast a process can be started and its end learned: the kernel against a C loop of posix_spawn."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from bench import tools

DEFAULT_PEERS = ("posix_spawn", "papa")
PROGRAM = "/bin/true"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=300)


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if peer_name == "posix_spawn":
        command = [str(tools.worker()), "spawn", str(options.count), PROGRAM]
        seconds = int(subprocess.run(command, capture_output=True, check=True).stdout) / 1e9
    else:
        seconds = _papa(options.count)
    yield {"count": options.count, "us_each": round(seconds / options.count * 1e6, 1)}


def _papa(count: int) -> float:
    folder = tempfile.mkdtemp(prefix="bench-papa-", dir="/tmp")
    os.environ["PAPA_RUNTIME_DIR"] = folder
    try:
        return asyncio.run(_spawn_one_after_another(count))
    finally:
        del os.environ["PAPA_RUNTIME_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


async def _spawn_one_after_another(count: int) -> float:
    from papa.client.aio import AsyncPapa

    papa = await AsyncPapa.connect(client="bench")
    ended: asyncio.Queue[int] = asyncio.Queue()
    papa.on_event = lambda kind, data: ended.put_nowait(data["id"]) if kind == "exit" else None
    try:
        began = time.monotonic()
        for number in range(count):
            reply = await papa.spawn(
                name=f"spawn-{number}", argv=[PROGRAM], env={}, stdout="null", stderr="null", owner="bench"
            )
            while await ended.get() != reply.ok["id"]:
                pass
            await papa.commit(exits=[reply.ok["id"]])
        return time.monotonic() - began
    finally:
        await papa.request("exit", force=True)
        await papa.close()
