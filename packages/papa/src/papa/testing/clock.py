"""Time as a test wants it: it stands still until it is advanced."""

from __future__ import annotations

from collections.abc import Callable

#: A moment that no test confuses with now, and that is a proper date.
WALL_START_S = 1_700_000_000.0
MONOTONIC_START_S = 1000.0


class FakeClock:
    """The three clocks of a kernel, moving together when `advance` is called."""

    def __init__(self) -> None:
        self._passed_s = 0.0
        self._on_advance: list[Callable[[], None]] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return MONOTONIC_START_S + self._passed_s

    def wall(self) -> float:
        """Seconds of the epoch."""
        return WALL_START_S + self._passed_s

    def wall_ns(self) -> int:
        """Nanoseconds of the epoch."""
        return int(WALL_START_S) * 10**9 + round(self._passed_s * 1e9)

    def boot_ns(self) -> int:
        """Nanoseconds since the start of the machine."""
        return int(MONOTONIC_START_S) * 10**9 + round(self._passed_s * 1e9)

    def advance(self, seconds: float) -> None:
        """Let time pass; what a kernel does because of it (a stalled reader) happens before this returns."""
        self._passed_s += seconds
        for callback in self._on_advance:
            callback()

    def on_advance(self, callback: Callable[[], None]) -> None:
        """Call back after each step of time."""
        self._on_advance.append(callback)
