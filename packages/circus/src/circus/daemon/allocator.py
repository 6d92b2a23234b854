"""How the allocator of the C library gives memory back, in a process that is circusd alone.

The idea: glibc has a pool for each of many threads, and learns from each large block that was freed to keep the
next one of that size in its pool. circusd reads indices and logs of some megabytes in whatever thread is free, so that
each pool came to keep as much as the largest of them. Two pools do where one thread runs at a time, and a large block
goes back to the system at once.
"""

from __future__ import annotations

import contextlib
import ctypes

#: Of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

POOLS = 2

#: Above what output is copied and logs are read in: a large block has new pages each time, 0.4 ms for each MB of it.
LARGE_BYTES = 2 << 20


def tame() -> None:
    """Before any thread is there. Another C library than glibc keeps its own ways."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, POOLS)
        # Said once, neither is changed any more by what is freed.
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)
