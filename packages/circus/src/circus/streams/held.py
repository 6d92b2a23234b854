"""How far the sinks are behind: what papa keeps of each stream, and for how long the oldest of it has waited.

The idea: looked up when somebody asks, and at a second's distance while there is reason to: while output flows, and
while a sink fails. Half a buffer that waits because of its sink is news, and so is its end; a burst is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from circus import clock
from circus.config.model import StreamConfig
from circus.streams.tap import Source

#: Output that waits for so long does so because its sink is too slow.
LAG_S = 1.0

#: So often it is looked at one source, at most.
LOOK_S = 1.0

#: Parts of a buffer at which holding is said to begin and to end: far apart, or it would begin anew with each batch.
BEGIN_PART, END_PART = 2, 4

_PLAIN = StreamConfig(class_name="")


def held_bytes(source: Source) -> int:
    """What papa keeps of it."""
    return _held_bytes(source, source.tap.files.head(source.key.stream))


def lag_s(source: Source) -> float:
    """Since when its oldest byte that is not written has been there; 0 when there is none."""
    return _lag_s(source, source.tap.files.head(source.key.stream))


def behind(source: Source) -> tuple[int, float]:
    """Both, with one look at it: all streams are asked about at once."""
    head = source.tap.files.head(source.key.stream)
    return _held_bytes(source, head), _lag_s(source, head)


def _held_bytes(source: Source, head: int) -> int:
    low = source.tap.files.low
    return max(0, head - max(source.committed, low(source.key.stream))) if head > source.committed else 0


def _lag_s(source: Source, head: int) -> float:
    if head <= source.written:
        return 0.0
    stream = source.key.stream
    start = max(source.written, source.tap.files.low(stream))
    stamps = source.tap.stamps(stream, start, start + 1) if head > start else []
    return max(0.0, (clock.boot_ns() - stamps[0][2]) / 1e9) if stamps else 0.0


class Held:
    """``on_event`` gets (kind, fields): output_held, output_freed; ``failure_of`` says why a sink fails."""

    def __init__(
        self,
        on_event: Callable[[str, dict[str, Any]], None],
        sources: Callable[[], Iterable[Source]],
        failure_of: Callable[[Source], OSError | None],
    ) -> None:
        self._on_event = on_event
        self._sources = sources
        self._failure_of = failure_of
        self._held: dict[tuple[str, str], set[Source]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look_later(self) -> None:
        """As long as a sink fails somebody has to see how much papa keeps for it: nothing is committed then."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_at_failing)

    def _look_at_failing(self) -> None:
        self._timer = None
        if failing := [source for source in self._sources() if self._failure_of(source) is not None]:
            self.look(failing)
            self.look_later()

    def look(self, sources: Iterable[Source]) -> None:
        now = clock.monotonic()
        for source in sources:
            if source.is_finished:
                self.forget(source)
            elif now >= source.look_at:
                source.look_at = now + LOOK_S
                self._look_at(source)

    def forget(self, source: Source) -> None:
        self._free(source, 0)

    def _look_at(self, source: Source) -> None:
        size = held_bytes(source)
        room = (source.config or _PLAIN).buffer_bytes
        if size >= room // BEGIN_PART and (self._failure_of(source) is not None or lag_s(source) >= LAG_S):
            holders = self._held.setdefault(_key(source), set())
            if not holders:
                fields = {"held_bytes": size, "buffer_bytes": room, "lag_s": round(lag_s(source), 1)}
                self._on_event("output_held", {**_fields(source), **fields})
            holders.add(source)
        elif size < room // END_PART:
            self._free(source, size)

    def _free(self, source: Source, size: int) -> None:
        holders = self._held.get(_key(source), set())
        if source in holders:
            holders.remove(source)
            if not holders:
                del self._held[_key(source)]
                self._on_event("output_freed", {**_fields(source), "held_bytes": size})


def _key(source: Source) -> tuple[str, str]:
    return source.watcher, source.key.stream


def _fields(source: Source) -> dict[str, Any]:
    return {"watcher": source.watcher, "stream": source.key.stream, "wid": source.wid, "pid": source.pid}
