"""For tests of circus's engine: a folder, a fake kernel, and the engines that come and go on it.

The fake kernel can be made to go away at any single request, before or after it has done what it was asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from circus.config import load
from circus.engine import keeper
from circus.engine.engine import Engine
from circus.engine.hosted import Hosted
from circus.engine.memory import Memory
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakePapa

WEB = "[watcher:web]\ncmd = /bin/sleep 60\ncopy_env = true\ngraceful_timeout = 5\n"
DB = "[watcher:db]\ncmd = /bin/sleep 61\ncopy_env = true\ngraceful_timeout = 5\n"
KEPT = "use_papa = true\n"
TWO = "numprocesses = 2\n"

BOUND_S = 30.0

#: How long the fake kernel stays away.
AWAY_S = 0.005


class Bench:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.papa = FakePapa()
        self.gone: list[FakePapa] = []  # of hosts that were booted anew
        self.signals: list[tuple[int, int]] = []
        self.obeys = True
        self.requests: list[str] = []
        self.trap: Callable[[int, str], str | None] | None = None  # the number of a request, its name
        self.orphans: set[int] = set()  # pids that run, although the kernel does not know them
        self.stays_away = False  # until a test lets it come back
        request = FakePapa.request

        def send_signal(hosted: Hosted, signum: int) -> bool:
            self.signals.append((hosted.pid, signum))
            if self.obeys or signum == 9:
                if hosted.pid in self.orphans:
                    self.orphans.remove(hosted.pid)
                else:
                    self.papa.end(hosted.kernel_id, -signum)
            return True

        async def trapped(papa: FakePapa, op: str, **args: Any) -> Reply:
            if self.trap is None or papa is not self.papa or not papa.is_connected:
                return await request(papa, op, **args)
            self.requests.append(op)
            match self.trap(len(self.requests), op):
                case "unasked":
                    self.go_away()
                case "unanswered":
                    answer = asyncio.ensure_future(request(papa, op, **args))
                    asyncio.get_running_loop().call_soon(self.go_away)
                    return await answer
                case "ignored":
                    await asyncio.sleep(0)
                    raise PapaError(f"the kernel did not answer {op}", code="timeout")
                case "late":
                    (await request(papa, op, **args)).close_fds()
                    raise PapaError(f"the kernel did not answer {op}", code="timeout")
            return await request(papa, op, **args)

        monkeypatch.setattr(Hosted, "send_signal", send_signal)
        monkeypatch.setattr(Hosted, "is_alive", lambda hosted: hosted.pid in self.running() | self.orphans)
        monkeypatch.setattr(FakePapa, "request", trapped)
        monkeypatch.setattr(keeper, "PATIENCE_S", BOUND_S)  # the disk of a busy machine may take seconds

    def go_away(self) -> None:
        """The connection is lost, and comes back soon unless it stays away."""
        if self.papa.is_connected:
            self.papa.lose()
            if not self.stays_away:
                asyncio.get_running_loop().call_later(AWAY_S, self.papa.come_back)

    @asynccontextmanager
    async def engine(self, text: str, file: str = "circus.ini", *, is_outlived: bool = True) -> AsyncIterator[Engine]:
        """A circusd that has started, and ends as by SIGKILL unless it was closed."""
        path = self.folder / file
        path.write_text(text)
        config = load.load(str(path), os.environ)
        engine = Engine(config, self.papa, Memory(self.folder / "state"), environ=os.environ)  # type: ignore[arg-type]
        engine.is_outlived = is_outlived
        try:
            await engine.start()
            yield engine
        finally:
            engine.executor.close()
            engine.demand.close()
            engine.sampler.close()
            engine.trees.close()
            engine.jobs.close()
            engine.probing.close()
            engine.proofs.close()
            engine.notices.close()
            engine.lives.close()
            await engine.link.close()
            await engine.pump.close()
            await engine.keeper.abandon()

    def log_option(self, name: str) -> str:
        return f"stdout_stream.class = FileStream\nstdout_stream.filename = {self.folder / name}\n"

    def reboot(self) -> None:
        """The host is gone without a word; what is left is on the disk."""
        self.gone.append(self.papa)
        self.papa = FakePapa()

    def crash(self) -> None:
        """The manager is gone without a word."""
        self.papa = self.papa.restart_client()

    def running(self) -> set[int]:
        return {row["pid"] for row in self.papa.rows() if row["running"]}

    def ids(self) -> set[int]:
        return {row["id"] for row in self.papa.rows()}

    def named(self, name: str) -> dict[str, Any] | None:
        """The process that has this name now."""
        return next((row for row in self.papa.rows() if row["name"] == name), None)

    async def until_replaced(self, first: dict[str, Any]) -> dict[str, Any]:
        """The successor of ``first``."""
        await self.until(lambda: (row := self.named(first["name"])) is not None and row["id"] != first["id"])
        return self.papa.row(first["name"])

    async def until(self, fact: Callable[[], object]) -> None:
        deadline = asyncio.get_running_loop().time() + BOUND_S
        while not fact():
            assert asyncio.get_running_loop().time() < deadline, self.papa.rows()
            await asyncio.sleep(0.002)

    async def until_active(self, engine: Engine) -> None:
        await self.until(lambda: all(view.state.value == "active" for view in engine.snapshot().watchers))


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The body of a fixture."""
    bench = Bench(folder, monkeypatch)
    yield bench
    for papa in (*bench.gone, bench.papa):
        papa.kernel.close()


def story(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(run(), 50))
