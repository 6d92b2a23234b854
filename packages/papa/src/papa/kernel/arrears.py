"""Arrears: what the file system refused when it was due, done as soon as it can be.

The one idea: what a file must be follows from what the host holds, so only names are kept, never contents. When the
turn of one comes, the record of what is here is written, and what belongs to nobody any more is taken away. Meanwhile
the host goes on as if that were done already: no step that follows may fail for it, and none does.

What has to be durable before it may be true (commits, the first record of a process) is never in arrears: it fails.
"""

from __future__ import annotations

import time

from papa import model
from papa.kernel import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from papa.kernel.loop import Loop

#: The first pause, which doubles up to the longest: an outage is known to be over after at most as long again.
FIRST_S, LONGEST_S = 1.0, 30.0

#: Attempts in one turn: each is some system calls, which a disk that fails may answer slowly.
ATTEMPTS_PER_TURN = 16

#: Names that are kept: record, files and holes of each of the most processes. Each stands for a file that is there,
#: so that of a disk which takes new files and lets none go the oldest are left to the next incarnation.
MAX_OWED = 3 * model.MAX_PROCESSES


class Arrears:
    """``pay(kind, number)`` does what is owed, and raises OSError as long as that cannot be."""

    __slots__ = ("_is_armed", "_loop", "_owed", "_pause_s", "_pay", "problem")

    def __init__(self, loop: Loop, pay: Callable[[str, int], None]) -> None:
        self._loop = loop
        self._pay = pay
        self._owed: dict[tuple[str, int], None] = {}
        self._pause_s = FIRST_S
        self._is_armed = False
        #: What the file system said last; empty when nothing is owed.
        self.problem = ""

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, kind: str, number: int, error: OSError) -> None:
        """That of ``number`` could not be done."""
        self.problem = error.strerror or str(error)
        if not self._owed:
            system.log(f"{kind}/{number} cannot be brought up to date: {self.problem}; so are others, until it is said")
        self._owed[kind, number] = None
        if len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]
        self._arm()

    def _arm(self) -> None:
        if not self._is_armed:
            self._is_armed = True
            self._loop.call_at(time.monotonic() + self._pause_s, self._try)

    def _try(self) -> None:
        self._is_armed = False
        failed = False
        for key in list(self._owed)[:ATTEMPTS_PER_TURN]:
            del self._owed[key]
            try:
                self._pay(*key)
            except OSError as error:
                failed = True
                self.problem = error.strerror or str(error)
                # Behind the others: one bad file must not keep them waiting.
                self._owed[key] = None
        self._pause_s = max(FIRST_S, min(2 * self._pause_s, LONGEST_S)) if failed else 0.0
        if self._owed:
            self._arm()
        else:
            self._pause_s = FIRST_S
            self.problem = ""
            system.log("everything is brought up to date")
