"""What only the memory of a process says, its environment and its arguments, read in a thread that may hang.

The system lets whoever reads them wait while a thread of that process hangs with the memory locked, though its main
thread seems to sleep. Nobody here waits for longer than ``ANSWER_S``: a stop must not hang because a stranger does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

from circus.streams.workers import Worker

T = TypeVar("T")

#: A thousand processes answer in a tenth of a second, on a busy machine in one.
ANSWER_S = 5.0

#: What is told under this name.
TROUBLE = "asking"


class Asking:
    def __init__(self, troubles: MutableMapping[str, str]) -> None:
        self._troubles = troubles
        self._worker: Worker | None = None
        self._hangs = False

    async def ask(self, call: Callable[[], T]) -> T | None:
        """None: there was no answer, or an earlier call hangs still. Raises: what ``call`` does."""
        if self._hangs:
            return None
        if self._worker is None:
            self._worker = Worker("circus-asking")
        future = self._worker.run(call)
        await asyncio.wait({future}, timeout=ANSWER_S)
        if future.done():
            return future.result()
        self._hangs = True
        self._troubles[TROUBLE] = (
            "a process hangs in the system and does not tell its environment: who has left session and parent "
            "of a tree may be missed (`ps axH | grep D` shows who hangs)"
        )
        future.add_done_callback(self._go_on)
        return None

    def _go_on(self, future: asyncio.Future[Any]) -> None:
        self._hangs = False
        self._troubles.pop(TROUBLE, None)
        if not future.cancelled():
            future.exception()  # nobody else takes it

    def close(self) -> None:
        if self._worker is not None:
            self._worker.stop()
