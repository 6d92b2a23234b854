"""Looks at all processes of the machine, in a thread, one at a time: whoever asks meanwhile shares the next one.

A look costs as much as there are processes, however many trees are about to end; so a thousand slots that stop at once
cost some looks, not a thousand.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from circus import procfs
from circus.engine.asking import Asking
from circus.engine.tasks import Tasks
from circus.supervise import tree

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: What the environment of every process of a tree has, with a value that no other tree has.
MARK = "CIRCUS_TREE"

#: A process in this state may not answer what its environment is.
STUCK = "D"


class Looks:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks = Tasks()
        self._asked: list[tuple[asyncio.Future[tree.Look], int | None]] = []
        self._is_looking = False
        self.asking = Asking(engine.troubles)

    async def look(self, marked_since: int | None) -> tree.Look:
        """Begun after the call; with the marks of processes that were started since then, in ticks (None: no marks).

        Raises: OSError.
        """
        future: asyncio.Future[tree.Look] = asyncio.get_running_loop().create_future()
        self._asked.append((future, marked_since))
        if not self._is_looking:
            self._is_looking = True
            self._tasks.begin(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                futures = [future for future, _ in asked]
                since = min((ticks for _, ticks in asked if ticks is not None), default=None)
                kernel = self._engine.kernel.hello["pid"]
                lives = [each.pid for each in self._engine.lives.hosted if not each.has_exited]
                try:
                    found = await asyncio.to_thread(_read, kernel, lives)
                    if since is not None:
                        found = await self._with_marks(found, lives, since)
                except Exception as error:  # noqa: BLE001 - raised where it was asked
                    for future in futures:
                        if not future.done():
                            future.set_exception(error)
                else:
                    log.debug("looked at processes=%d", len(found.rows))
                    for future in futures:
                        if not future.done():
                            future.set_result(found)
        finally:
            self._is_looking = False

    async def _with_marks(self, look: tree.Look, lives: list[int], since: int) -> tree.Look:
        marks: dict[int, str] = {}
        await self.asking.ask(partial(_read_marks, look, tree.unasked(look, lives, since_ticks=since), marks))
        return tree.Look(look.rows, marks.copy(), look.apart, look.roots)

    def close(self) -> None:
        self._tasks.cancel()
        self.asking.close()


def _read(kernel: int, lives: list[int]) -> tree.Look:
    rows = procfs.rows()
    roots = {kernel}
    if kernel in rows and rows[kernel].parent > 1:
        roots.add(rows[kernel].parent)  # its holder, who gets the orphans
    return tree.Look(rows, {}, apart={1, os.getpid(), *roots, *lives}, roots=roots)


def _read_marks(look: tree.Look, pids: Iterable[int], marks: dict[int, str]) -> None:
    for pid in pids:
        if look.rows[pid].state != STUCK and (mark := procfs.variable(pid, MARK.encode())):
            marks[pid] = mark
