"""Time as an argument: the one place that asks the machine for it, so that cores and tests need not."""

from __future__ import annotations

import time


def monotonic() -> float:
    """Seconds that never step back; for deadlines and durations only."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the epoch, UTC; for people and for records that outlive a boot."""
    return time.time()
