"""What can be looked at more closely: histories, logs, slots, sockets, the configuration."""

from __future__ import annotations

from circus.control import views
from circus.control.queries import Queries


class Lookups(Queries):
    async def stats_history(self, asked: views.StatsHistoryQuery) -> views.StatsHistoryAnswer:
        """Raises: CircusError not-found for an unknown watcher."""
        name = None if asked.name is None else self._find(asked.name).name
        figures = self._engine.figures
        found: dict[str, dict[str, list[views.SampleAnswer]]] = {}
        for slot in sorted(figures.samples.slots):
            if (name is None and self._caller.sees(slot.watcher)) or slot.watcher == name:
                samples = figures.samples.of(slot, asked.since, asked.limit)
                if samples:
                    by_wid = found.setdefault(slot.watcher, {})
                    by_wid[str(slot.wid)] = [views.SampleAnswer(*sample) for sample in samples]
        return views.StatsHistoryAnswer(figures.interval_s, found)
