"""What the streams say of themselves: events when something happens, counters and troubles when somebody asks.

Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from circus.streams import held
from circus.streams.render import STREAMS
from circus.streams.tally import Tally
from circus.streams.tap import Source


class Bulletin:
    """``on_event`` gets (kind, fields)."""

    def __init__(self, on_event: Callable[[str, dict[str, Any]], None]) -> None:
        self.tally = Tally()
        self._on_event = on_event

    def written(self, source: Source, byte_count: int, gap_bytes: int, path: str) -> None:
        counter = self.tally.of(source)
        counter.bytes += byte_count
        if gap_bytes:
            counter.gaps += 1
            counter.dropped += gap_bytes
            fields = {"wid": source.wid, "pid": source.pid, "stream": source.key.stream, "bytes": gap_bytes}
            self._on_event("output_dropped", {"watcher": source.watcher, "path": path, **fields})

    def trouble(self, sources: Iterable[Source], path: str, kind: str, fields: Mapping[str, object]) -> None:
        sources = list(sources)
        if kind == "sink_failed":
            for source in sources:
                self.tally.of(source).sink_errors += 1
        watchers = sorted({source.watcher for source in sources})
        self._on_event(kind, {"path": path, "watchers": watchers, **fields})

    def counters(self, sources: Iterable[Source]) -> dict[str, dict[str, dict[str, float]]]:
        """watcher -> stdout, stderr -> counters; with what papa keeps now, and for how long."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for watcher, streams in self.tally.by_watcher().items():
            found[watcher] = {STREAMS[name]: {**counter, "held": 0, "lag_s": 0.0} for name, counter in streams.items()}
        for source in sources:
            streams, name = found.setdefault(source.watcher, {}), STREAMS[source.key.stream]
            if name not in streams:
                streams[name] = {**self.tally.empty(), "held": 0, "lag_s": 0.0}
            if not source.is_finished:
                size, late_s = held.behind(source)
                streams[name]["held"] += size
                streams[name]["lag_s"] = max(streams[name]["lag_s"], late_s)
        return found


def unwritten(sources: Iterable[Source], path: str, error: OSError) -> str:
    """A sentence on a sink that fails."""
    watchers = ", ".join(sorted({source.watcher for source in sources}))
    return f"{watchers}: {path} cannot be written: {error.strerror or error}; papa keeps the output"
