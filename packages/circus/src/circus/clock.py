"""Time as an argument: the one place that asks the machine for it, so that cores and tests need not."""

from __future__ import annotations

import time


def monotonic() -> float:
    """Seconds that never step back; for deadlines and durations only."""
    return time.monotonic()


def boot_ns() -> int:
    """Nanoseconds since the start of the machine, as papa dates output: never set, and counted in its sleep, too."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall() -> float:
    """Seconds since the epoch, UTC; for people and for records that outlive a boot."""
    return time.time()
