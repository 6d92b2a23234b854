"""How much of the watchers' output was written since circusd started, and how much was lost. Counts only.

What a process had lost before circusd started counts, too: the kernel tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from circus.streams.tap import Source


@dataclass(slots=True)
class Counter:
    """Of one stream of one watcher."""

    bytes: int = 0
    gaps: int = 0
    dropped: int = 0  # bytes: lost in gaps, or not taken by standard output
    sink_errors: int = 0


class Tally:
    """Two counters for each watcher that is configured or still has a process."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[str, Counter]] = {}

    def of(self, source: Source) -> Counter:
        return self._counters.setdefault(source.watcher, {}).setdefault(source.key.stream, Counter())

    @staticmethod
    def empty() -> dict[str, float]:
        return asdict(Counter())

    def forget(self, watcher: str) -> None:
        self._counters.pop(watcher, None)

    def take(self, told: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        """Go on from what `by_watcher` has told. Raises: TypeError."""
        self._counters = {
            watcher: {
                stream: Counter(**{key: int(each) for key, each in counter.items()})
                for stream, counter in streams.items()
            }
            for watcher, streams in told.items()
        }

    def by_watcher(self) -> dict[str, dict[str, dict[str, float]]]:
        return {
            watcher: {stream: asdict(counter) for stream, counter in streams.items()}
            for watcher, streams in self._counters.items()
        }

    def losses(self) -> list[str]:
        """A sentence for each watcher that has lost output."""
        lost = {name: sum(each.dropped for each in streams.values()) for name, streams in self._counters.items()}
        return [
            f"{name}: {count} bytes of its output were dropped before they could be written"
            for name, count in lost.items()
            if count
        ]
