"""Larger pipes for those who write faster than they are emptied.

The one idea: what a splice takes at most is what a pipe holds, so with the usual 64 KiB a flood costs sixteen turns of
the loop for each MiB, and as many changes between writer and kernel. A pipe that is found full again and again gets
four times that; everybody else's stays as it is, because the pages are memory that the system counts for the user.
"""

from __future__ import annotations

import fcntl

#: What a pipe holds unless it is told otherwise, and what of it counts as full: the last page need not be.
PIPE_BYTES = 64 << 10
FULL_BYTES = PIPE_BYTES - 4096

#: So many full ones in a row, a quarter of a MiB at once, are a flood and no burst.
FULL_IN_A_ROW = 4

LARGE_PIPE_BYTES = 256 << 10

#: At most so many: without privileges a user has 64 MiB of pipes in all, with them nothing else would be a bound.
MAX_LARGE_PIPES = 64


class Widening:
    """The pipes of one kernel by their descriptors."""

    __slots__ = ("_full", "_large")

    def __init__(self) -> None:
        self._full: dict[int, int] = {}
        self._large: set[int] = set()

    def took(self, pipe: int, size: int) -> None:
        """So many bytes were taken from it in one step."""
        if size < FULL_BYTES:
            if self._full:
                self._full.pop(pipe, None)
            return
        if pipe in self._large:
            return
        count = self._full[pipe] = self._full.get(pipe, 0) + 1
        if count == FULL_IN_A_ROW and len(self._large) < MAX_LARGE_PIPES:
            try:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, LARGE_PIPE_BYTES)
            except OSError:
                return  # the user has no more pages for pipes: it stays as it is, only slower
            self._large.add(pipe)

    def forget(self, pipe: int) -> None:
        """It is about to be closed."""
        self._full.pop(pipe, None)
        self._large.discard(pipe)
