"""Brings to the disk what circusd remembers, beside the loop: wishes, ends of processes, runs of jobs, and who
ordered what.

The idea: whoever changes something notes that; one write at a time takes all that was noted until then, so that five
hundred ends at once are a few writes. An order's answer waits for its write, and for a disk that does not answer only
so long; then status says so, nobody waits any more, and the write is done when the disk is back. While nothing is noted
nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from circus.engine.annals import Annals
from circus.engine.history import Exit, History
from circus.engine.memory import Memory
from circus.engine.runbook import Runbook
from circus.streams.workers import Worker

log = logging.getLogger("circus.memory")

#: Whoever ordered something waits so long for the disk to have it; an ordinary one needs milliseconds.
PATIENCE_S = 3.0
#: What nobody waits for is gathered so long: a crash of many processes is one write.
GATHER_S = 0.05
#: A disk that refuses is tried again, soon at first.
RETRY_FIRST_S = 1.0
RETRY_LAST_S = 60.0


class Keeper:
    def __init__(
        self, memory: Memory, history: History, book: Runbook | None = None, annals: Annals | None = None
    ) -> None:
        self.trouble = ""
        self._memory = memory
        self._history = history
        self._book = book
        self._annals = annals
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_FIRST_S
        self._noted = self._written = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        memory.on_change = self.note
        if annals is not None:
            annals.on_change = self.note_aside

    @property
    def troubles(self) -> tuple[str, ...]:
        """For status."""
        others = [each.trouble for each in (self._book, self._annals) if each is not None]
        return tuple(each for each in (self.trouble, self._memory.trouble, self._history.trouble, *others) if each)

    def note(self, *, is_pressing: bool = True) -> None:
        """Something has changed; what is not pressing may wait for more of its kind."""
        self._noted += 1
        if self._task is not None:
            return
        if is_pressing:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._begin)

    def note_aside(self) -> None:
        """Something has changed that nobody waits for."""
        if self._task is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._begin)

    def note_exit(self, ended: Exit) -> None:
        """An end of a process; once for each."""
        if self._history.note(ended):
            self.note(is_pressing=False)

    def settled(self, ended: Exit | None) -> None:
        """The kernel has forgotten it."""
        if ended is not None:
            self._history.settled(ended)

    async def kept(self) -> None:
        """All that was noted until now is on the disk; or the disk does not answer, and that is said."""
        if self._written == self._noted or self.trouble:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._noted, future))
        if self._task is None:
            self._begin()
        done, _ = await asyncio.wait([future], timeout=PATIENCE_S)
        if not done and not self.trouble:
            self._complain(f"{self._memory.path.parent} has not answered for {PATIENCE_S:g} s")
            self._tell(self._noted)

    async def close(self) -> None:
        """The last is written, unless the disk hangs."""
        if self._is_aside_waiting:
            self._noted += 1
        if self._noted > self._written and not self.trouble:
            await self.kept()
        await self.abandon()

    async def abandon(self) -> None:
        """As by SIGKILL: what is not on the disk yet is lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._worker is not None:
            self._worker.stop()
        self._memory.on_change = None
        if self._annals is not None:
            self._annals.on_change = None

    @property
    def _is_aside_waiting(self) -> bool:
        return self._annals is not None and self._annals.is_waiting

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._written < self._noted or self._is_aside_waiting:
                number = self._noted
                error = await self._write_once()
                self._written = number
                self._tell(number)
                if error is not None:
                    self._complain(f"{self._memory.path.parent} takes nothing: {error.strerror or error}")
                    self._timer = asyncio.get_running_loop().call_later(self._retry_s, self._try_again)
                    self._retry_s = min(self._retry_s * 2, RETRY_LAST_S)
                    return
            if self.trouble:
                log.info("%s takes what is remembered again", self._memory.path.parent)
            self.trouble, self._retry_s = "", RETRY_FIRST_S
        finally:
            self._task = None

    async def _write_once(self) -> OSError | None:
        memory, exits = self._memory.take(), self._history.take()
        runs = None if self._book is None else self._book.take()
        annals = None if self._annals is None else self._annals.take()

        def write() -> None:
            if self._book is not None and runs is not None:
                self._book.write(runs)
            if exits:
                self._history.write(exits)
                exits.clear()
            if memory is not None:
                self._memory.write(memory)
            if self._annals is not None and annals is not None:
                self._annals.write(annals)

        if self._worker is None:
            self._worker = Worker("circus-memory")
        try:
            await self._worker.run(write)
        except Exception as error:  # a fault of ours must not pass for written, either
            self._history.give_back(exits)
            self._memory.give_back()
            if self._book is not None:
                self._book.give_back()
            if self._annals is not None:
                self._annals.give_back()
            if isinstance(error, OSError):
                return error
            log.exception("what is remembered could not be written")
            return OSError(f"{type(error).__name__}: {error}")
        return None

    def _try_again(self) -> None:
        self._timer = None
        self.note()

    def _tell(self, number: int) -> None:
        """Those who wait for what was noted until ``number`` wait no longer."""
        for wanted, future in self._waiting:
            if wanted <= number and not future.done():
                future.set_result(None)
        self._waiting = [(wanted, future) for wanted, future in self._waiting if wanted > number]

    def _complain(self, what: str) -> None:
        what = f"cannot remember what is ordered by hand and how processes end: {what}"
        if what != self.trouble:
            log.warning("%s", what)
        self.trouble = what
