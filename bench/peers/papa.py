"""This project's kernel alone, asked by its asyncio client."""

from __future__ import annotations

import asyncio
import os

from bench.peers.base import Peer
from papa import __version__
from papa.client.aio import AsyncPapa


class Papa(Peer):
    name = "papa"

    def version(self) -> str:
        return __version__

    def spawn_one_after_another(self, count: int, program: str) -> float:
        os.environ["PAPA_RUNTIME_DIR"] = str(self.folder / "run")
        try:
            return asyncio.run(_spawn(count, program))
        finally:
            del os.environ["PAPA_RUNTIME_DIR"]


async def _spawn(count: int, program: str) -> float:
    papa = await AsyncPapa.connect(client="bench")
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[int] = asyncio.Queue()
    papa.on_event = lambda kind, data: ended.put_nowait(data["id"]) if kind == "exit" else None
    try:
        began = loop.time()
        for number in range(count):
            reply = await papa.spawn(
                name=f"spawn-{number}", argv=[program], env={}, stdout="null", stderr="null", owner="bench"
            )
            while await ended.get() != reply.ok["id"]:
                pass
            await papa.commit(exits=[reply.ok["id"]])
        return loop.time() - began
    finally:
        await papa.request("exit", force=True)
        await papa.close()
