"""The reader of all output, as a manager would be one: it copies, checks, acknowledges, and may be gone at any time.

Beside it a viewer, who owns nothing and looks at the ends of streams.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

from papa.client.aio import AsyncPapa
from papa.client.output import Overtaken, StreamFiles
from papa.errors import PapaError
from tests.chaos.account import Account
from tests.chaos.troupe import Troupe

#: Of one stream at one time: so much is read, checked and acknowledged.
MOST_BYTES = 256 << 10

#: After the kernel refused for want of descriptors, or is not there.
RETRY_S = 0.02

#: What a kernel may answer while somebody takes its descriptors or its life away.
WEATHER = ("lost", "limit", "internal", "timeout", "unreachable", "busy")

VIEW_S = 0.02
VIEW_BYTES = 8192


class Reader:
    """Owns every process of the troupe and settles its accounts."""

    def __init__(self, troupe: Troupe) -> None:
        self._troupe = troupe
        self._papa: AsyncPapa | None = None
        self._files: dict[int, StreamFiles] = {}
        self._dirty: set[int] = set()
        self._wake = asyncio.Event()
        self._new: list[Account] = []
        self._task: asyncio.Task[None] | None = None
        self._is_frozen = False
        self.commits = 0

    def attach(self, account: Account) -> None:
        """Told by the troupe: there is one more."""
        self._new.append(account)
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def leave(self) -> None:
        """As a manager that is killed: whatever it was just doing stays undone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if self._papa is not None:
            await self._papa.close()
            self._papa = None
        self._forget_files()

    def freeze(self, is_frozen: bool) -> None:
        """Connected, and does not read."""
        self._is_frozen = is_frozen
        self._wake.set()

    def check(self) -> None:
        """Raises what ended the reader, if anything has."""
        if self._task is not None and self._task.done():
            self._task.result()

    # --- the connection ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                if self._papa is None:
                    self._papa = await AsyncPapa.connect(client="reader", autostart=False, timeout_s=15)
                    self._papa.on_event = self._on_event
                    self._papa.on_lost = self._wake.set
                while not self._papa.is_connected:
                    await asyncio.sleep(RETRY_S)
                await self._attach_all(self._papa)
                await self._serve(self._papa)
            except PapaError as error:
                if error.code not in WEATHER:
                    raise
                await asyncio.sleep(RETRY_S)

    def _on_event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "output":
            self._dirty.update(item[0] for item in fields["items"])
        elif (account := self._troupe.accounts.get(fields["id"])) is not None:
            self._dirty.add(account.id)
            if kind == "exit":
                account.ended(fields["status"])
            elif kind == "eof":
                account.streams[fields["stream"]].is_open = False
        self._wake.set()

    async def _attach_all(self, papa: AsyncPapa) -> None:
        self._forget_files()
        self._new.clear()
        # Before the question: who is started meanwhile is not in the answer.
        accounts = list(self._troupe.accounts.values())
        hosted = {row["id"]: row for row in await papa.list("processes")}
        for number, row in hosted.items():
            if number not in self._troupe.accounts and row["name"] not in self._troupe.starting:
                self._troupe.faults.append(f"the kernel hosts {row['name']} (id {number}), which is none of ours")
        done = await asyncio.gather(
            *(self._attach(papa, account, is_listed=account.id in hosted) for account in accounts),
            return_exceptions=True,
        )
        for error in done:
            if error is not None:
                raise error

    async def _attach(self, papa: AsyncPapa, account: Account, *, is_listed: bool = True) -> None:
        try:
            reply = await papa.attach(account.id, owner="chaos", fds=True)
        except PapaError as error:
            if error.code != "not-found":
                raise
            self._vanished(account)
            return
        if not is_listed:
            account.faults.append("it was not in the list, and is there all the same")
        pidfd = reply.fds.pop("pid", None)
        self._files[account.id] = files = StreamFiles(reply.fds)
        if pidfd is not None:
            os.close(pidfd)
        account.kernel_says(reply.ok)
        for name, stream in account.streams.items():
            stream.kernel_says(reply.ok["streams"][name])
        if reply.ok["exit"] is not None:
            account.ended(reply.ok["exit"]["status"])
        if not files.streams:
            account.faults.append("its output is not captured any more")
        self._dirty.add(account.id)

    def _vanished(self, account: Account) -> None:
        """Right only if nothing was owed any more: our last commit was its end, and we have not heard of it."""
        for name, stream in account.streams.items():
            if stream.pending is not None:
                stream.committed()
            if account.exit is None:
                account.faults.append(f"it is gone from the kernel with its {name}, and its exit is not known")
        self._troupe.close_account(account)

    def _forget_files(self) -> None:
        while self._files:
            self._files.popitem()[1].close()
        self._dirty.clear()

    # --- reading -------------------------------------------------------------------------------------------

    async def _serve(self, papa: AsyncPapa) -> None:
        while papa.is_connected:
            await self._wake.wait()
            self._wake.clear()
            if self._is_frozen:
                continue
            while self._new:
                account = self._new.pop()
                if not account.is_closed and account.id not in self._files:
                    await self._attach(papa, account)
            dirty, self._dirty = self._dirty, set()
            accounts = [self._troupe.accounts[number] for number in dirty if number in self._files]
            if accounts:
                await self._read(papa, accounts)
                self._wake.set()

    async def _read(self, papa: AsyncPapa, accounts: list[Account]) -> None:
        acks, exits, seen = [], [], []
        for account in accounts:
            files, heads = self._files[account.id], {}
            for name, stream in account.streams.items():
                heads[name] = files.head(name)
                if self._take(files, name, account):
                    self._dirty.add(account.id)
                if stream.pending is not None:
                    acks.append((account.id, name, stream.pending[0]))
            if account.exit is not None and not account.is_exit_acked:
                exits.append(account.id)
            seen.append((account.id, heads["out"], heads["err"]))
        try:
            await papa.commit(acks=acks, exits=exits, seen=seen)
        except PapaError as error:
            if error.code != "overtaken":
                raise
            for number, name, low in error.details["streams"]:
                self._troupe.accounts[number].streams[name].low_is(low)
            self._undo(accounts)
            return
        self.commits += 1
        for account in accounts:
            for name, stream in account.streams.items():
                if stream.pending is not None:
                    stream.committed()
                    stream.check_dropped(*self._dropped(account, name))
            account.is_exit_acked |= account.id in exits
            if account.is_exit_acked and account.is_drained:
                self._settle(account)

    def _take(self, files: StreamFiles, name: str, account: Account) -> bool:
        """Reads and checks some; whether there is more."""
        stream = account.streams[name]
        while True:
            stream.low_is(files.low(name))
            available = files.head(name) - stream.base
            size = stream.reading_bytes(available, MOST_BYTES)
            if size <= 0:
                return False
            try:
                data = files.pread(name, stream.base, size)
            except Overtaken as overtaken:
                stream.low_is(overtaken.new_low)
                continue
            if len(data) != size:
                stream.faults.append(f"{len(data)} bytes at {stream.base}, below the head were {size}")
            stamps = files.stamps(name, stream.base, stream.base + len(data))
            times = [boot_ns for _, _, boot_ns in stamps]
            if (not stamps or times != sorted(times)) and files.low(name) <= stream.base:
                stream.faults.append(f"no times, or times out of order, from {stream.base}: {stamps[:5]}")
            stream.pending = stream.base + len(data), stream.check(data)
            return size < available

    def _dropped(self, account: Account, name: str) -> tuple[int, int]:
        """Read twice, as the kernel may be writing it."""
        files = self._files[account.id]
        while True:
            low, dropped = files.low(name), files.dropped(name)
            if (low, dropped) == (files.low(name), files.dropped(name)):
                return dropped, low

    def _undo(self, accounts: list[Account]) -> None:
        for account in accounts:
            self._dirty.add(account.id)
            for stream in account.streams.values():
                stream.refused()

    def _settle(self, account: Account) -> None:
        files = self._files[account.id]
        if any(files.head(name) != stream.base for name, stream in account.streams.items()):
            # Its end is known, and not all of it is read.
            self._dirty.add(account.id)
            return
        for name, stream in account.streams.items():
            stream.check_dropped(*self._dropped(account, name))
        self._files.pop(account.id).close()
        self._troupe.close_account(account)


class Viewer:
    """Looks at the end of somebody's output, again and again; nobody may be hurt by that."""

    def __init__(self, troupe: Troupe, seed: int) -> None:
        self._troupe = troupe
        self._dice = random.Random(seed)
        self._task: asyncio.Task[None] | None = None
        self.looks = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        papa = await AsyncPapa.connect(client="viewer", autostart=False, timeout_s=15)
        try:
            while True:
                await asyncio.sleep(VIEW_S)
                accounts = list(self._troupe.accounts.values())
                if accounts and papa.is_connected:
                    try:
                        await self._look(papa, self._dice.choice(accounts))
                    except PapaError as error:
                        if error.code not in (*WEATHER, "not-found", "overtaken"):
                            self._troupe.faults.append(f"a viewer was told {error.code}: {error}")
        finally:
            await papa.close()

    async def _look(self, papa: AsyncPapa, account: Account) -> None:
        reply = await papa.attach(account.id, fds=True)
        pidfd = reply.fds.pop("pid", None)
        if pidfd is not None:
            os.close(pidfd)
        with StreamFiles(reply.fds) as files:
            if len(account.streams["out"].keys) == 1 and files.streams:
                start = max(files.low("out"), files.head("out") - VIEW_BYTES)
                data = files.pread("out", start, VIEW_BYTES)
                seen = type(account.streams["out"])(account.streams["out"].keys, base=start)
                seen.check(data)
                account.faults += [f"a viewer saw {fault}" for fault in seen.faults]
        self.looks += 1
