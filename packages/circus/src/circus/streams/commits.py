"""Commits of all sinks, joined: while one is on its way, what comes meanwhile goes together with the next.

The idea: each sink's step (acknowledgements and the next intent) must be atomic, and joining atomic steps keeps them
so. A thousand busy files cost as many round trips as one. A joint commit that the kernel refuses is tried again step by
step, so that one sink's mistake is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from circus.streams.store import SourceKey
from papa.errors import PapaError

#: Who has been looked at is said this much later, together with others: it is a message that wakes the kernel.
SEEN_GAP_S = 0.005

#: Steps in one commit; with the largest intents (64 KiB) it stays below a frame's head of 4 MiB.
MAX_STEPS = 48

#: The kernel does not read what we send at the moment; notices are asked for again after this.
RETRY_SEEN_S = 0.1

#: (kernel id, head of out, head of err): what we know of, so that the kernel tells us about more.
Seen = tuple[int, int | None, int | None]


class Kernel(Protocol):
    """What the streams need of `papa.client.aio.AsyncPapa`; `papa.testing.FakePapa` has it too."""

    def post(self, op: str, **args: Any) -> None: ...

    async def list(self, what: str, *patterns: str) -> list[dict[str, Any]]: ...

    async def commit(
        self,
        *,
        acks: Any = (),
        exits: Any = (),
        values: Mapping[str, str | None] | None = None,
        seen: Any = (),
    ) -> None: ...


@dataclass(slots=True)
class Step:
    """What one sink wants to have committed."""

    acks: dict[SourceKey, int] = field(default_factory=dict)
    values: dict[str, str | None] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)


class Commits:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiting: list[tuple[Step, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[int, Seen] = {}
        self.count = 0  # round trips
        #: What has to be known together with it that output of these processes (by kernel id) is acknowledged.
        self.known_with: Callable[[set[int]], Mapping[str, str | None]] = lambda _: {}

    async def commit(self, step: Step) -> None:
        """Returns when the kernel has it.

        Raises: PapaError with the kernel's reason; after ``lost`` and ``timeout`` it may have it or not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((step, done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        await done

    def tell_seen(self, seen: list[Seen]) -> None:
        """Ask for a notice when there is more than this. Those of a moment go together."""
        if not seen:
            return
        if not self._seen:
            asyncio.get_running_loop().call_later(SEEN_GAP_S, self._post_seen)
        self._seen.update((each[0], each) for each in seen)

    def _post_seen(self) -> None:
        seen, self._seen = list(self._seen.values()), {}
        try:
            self._kernel.post("more", seen=seen)
        except PapaError:
            self._seen.update((each[0], each) for each in seen)
            asyncio.get_running_loop().call_later(RETRY_SEEN_S, self._post_seen)

    async def _work(self) -> None:
        batch: list[tuple[Step, asyncio.Future[None]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_STEPS], self._waiting[MAX_STEPS:]
                error = await self._send([step for step, _ in batch])
                if error is None or len(batch) == 1 or error.code in ("lost", "timeout"):
                    _settle(batch, error)
                else:
                    for each in batch:
                        _settle([each], await self._send([each[0]]))
        finally:
            self._task = None
            for _, done in [*batch, *self._waiting]:
                done.cancel()  # those that are done do not mind
            self._waiting.clear()

    async def _send(self, steps: list[Step]) -> PapaError | None:
        acks = [(*source, offset) for step in steps for source, offset in step.acks.items()]
        values = {name: value for step in steps for name, value in step.values.items()}
        values.update(self.known_with({each[0] for each in acks}))
        seen = {each[0]: each for step in steps for each in step.seen}
        self.count += 1
        try:
            await self._kernel.commit(acks=acks, values=values, seen=list(seen.values()))
        except PapaError as error:
            return error
        return None

    async def close(self) -> None:
        """End what is under way; those who wait are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _settle(batch: list[tuple[Step, asyncio.Future[None]]], error: PapaError | None) -> None:
    for _, done in batch:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
