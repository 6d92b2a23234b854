"""The writers: who plays which part, who is started again, and how they are ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from papa.client.aio import AsyncPapa
from papa.errors import PapaError
from tests.chaos.account import Account, Stream
from tests.chaos.writer import TRUTH

PROGRAM = Path(__file__).with_name("writer.py")

#: A part that has ended is played again after this: it is load, and shall not be all of the load.
REST_S = 0.3

#: Before a start that was refused (no descriptors left, no connection) is asked for again.
RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """``total`` lines (0: no end), ``batch`` at a time, then ``status``; ``child`` writes as well, to that stream."""

    pause_s: float
    batch: int = 1
    total: int = 0
    child: str = ""
    ignores_term: bool = False
    bound: int = 2 << 20


CALM, BRISK = Part(0.05), Part(0.005)
FLOOD = Part(0.02, batch=128, bound=256 << 10)
TORRENT = Part(0.2, batch=4096)
DEAF = Part(0.02, ignores_term=True)
PARENT = Part(0.03, child="err")
SHARED = Part(0.05, child="out")
SHORT, TINY = Part(0.01, total=40), Part(0, total=1)
LEAVER = Part(0.01, total=30, child="err")

#: Dealt out in this order, again and again.
PARTS = (
    CALM, BRISK, SHORT, FLOOD, CALM, LEAVER, DEAF, CALM, PARENT, SHARED,
    CALM, BRISK, TINY, CALM, CALM, FLOOD, CALM, SHORT, CALM, TORRENT,
)  # fmt: skip


class Troupe:
    """Keeps ``size`` parts played. ``on_start`` is told of every process that the kernel hosts for them."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self._played = 0
        self._is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.accounts: dict[int, Account] = {}
        #: Started by us, but the kernel's word is not in yet.
        self.starting: set[str] = set()
        self.faults: list[str] = []
        self.ended = 0
        self.unknown = 0
        self.read_bytes = 0
        self.gap_bytes = 0

    def open(self, papa: AsyncPapa, attach: Any) -> None:
        self._papa = papa
        self._attach = attach
        for slot in range(self._size):
            self._play(slot, 0)

    def _play(self, slot: int, rest_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._start(slot, rest_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, slot: int, rest_s: float) -> None:
        await asyncio.sleep(rest_s)
        if self._is_closing:
            return
        part = PARTS[slot % len(PARTS)]
        self._played += 1
        number = self._played
        name, truth = f"w{slot}-{number}", str(self._folder / f"truth-{number}")
        status = number % 200
        key = number * 2
        written = {**asdict(part), "truth": truth, "key": key, "status": status}
        argv = [sys.executable, "-I", "-S", str(PROGRAM), json.dumps(written)]
        self.starting.add(name)
        while True:
            try:
                reply = await self._papa.spawn(name=name, argv=argv, env={}, bound=part.bound, finds_dead=True)
                break
            except PapaError as error:
                if error.code not in ("lost", "limit", "internal", "timeout", "spawn-failed", "busy"):
                    self.faults.append(f"{name} cannot be started: {error}")
                    return
                await asyncio.sleep(RETRY_S)
        row = reply.ok
        out = Stream((key, key + 1) if part.child == "out" else (key,))
        err = Stream((key + 1,) if part.child == "err" else ())
        self.accounts[row["id"]] = account = Account(
            name, row["id"], row["pid"], row["start_ticks"], {"out": out, "err": err},
            batch=part.batch, truth=truth, status=status, is_endless=not part.total, ignores_term=part.ignores_term,
        )  # fmt: skip
        self.starting.discard(name)
        self._attach(account)

    def close_account(self, account: Account) -> None:
        """Everything of it has been read and acknowledged, and it is gone: settle up, and play the part again."""
        account.is_closed = True
        try:
            pid, mine, childs = TRUTH.unpack(Path(account.truth).read_bytes().ljust(TRUTH.size, b"\0"))
            os.unlink(account.truth)
        except FileNotFoundError:
            pid = mine = childs = 0
        key = account.streams["out"].keys[0]
        truth = {key: mine, key + 1: childs}
        # One that was killed may not have come so far; one that was short may have had no name yet.
        if pid != account.pid and not (account.is_killed and not pid) and account.pid:
            account.faults.append(f"it ran as {pid}, the kernel has said {account.pid}")
        for stream in account.streams.values():
            stream.faults += stream.end_faults(truth, account.batch)
            self.gap_bytes += stream.gap
            self.read_bytes += stream.base - stream.gap
        self.faults += account.all_faults()
        self.ended += 1
        self.unknown += account.exit == (None,)
        del self.accounts[account.id]
        self._play(int(account.name[1:].partition("-")[0]), REST_S)

    # --- ending --------------------------------------------------------------------------------------------

    def kill(self, account: Account, signum: int = signal.SIGKILL) -> None:
        """The process with what it forked; the kernel gives each a session of its own."""
        if signum == signal.SIGKILL:
            account.is_killed = True
        try:
            if account.pid:
                os.killpg(account.pid, signum)
        except ProcessLookupError:
            if account.is_endless and account.exit is None and signum != signal.SIGKILL:
                account.faults.append("it is gone, and nobody ended it")

    def endless(self) -> list[Account]:
        return [a for _, a in sorted(self.accounts.items()) if a.is_endless and not a.is_killed and a.exit is None]

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self._is_closing = True
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=20)
        for account in list(self.accounts.values()):
            self.kill(account)
