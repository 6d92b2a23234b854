"""Restarts a watcher whose processes use too much, or too little, for too long."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from circus.config import plugins as known
from circus.errors import CircusError
from circus.plugins.limits import Limits, Patience, Use, broken
from circus.plugins.statsd import BaseObserver, bytes_of, is_number

log = logging.getLogger("circus.plugins")


class ResourceWatcher(BaseObserver):
    name = "resource_watcher"
    table = known.RESOURCE_WATCHER
    default_app_name = "app"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        options = self.options
        self.watcher = options["watcher"] or options["service"]
        if not self.watcher:
            raise CircusError("config-invalid", "resource_watcher: watcher is missing", "write watcher = NAME")
        self.limits = Limits(**{key: options[key] for key in Limits.__slots__})
        self._patience = Patience(options["max_count"])
        self._of_children: dict[tuple[int, float], Patience] = {}

    def look_after(self) -> None:
        reply = self.call("stats", name=self.watcher)
        if reply["status"] != "ok":
            log.warning("%s: %s", self.watcher, reply["reason"])
            self._count("error")
            return
        processes = [each for each in reply["info"].values() if isinstance(each, dict)]
        if self.options["process_children"]:
            self._look_at_children([child for each in processes for child in each.get("children", ())])
            return
        found = broken(self.limits, map(use_of, processes))
        for limit in sorted(found):
            self._count(limit)
        if self._patience.is_over(found):
            log.warning("%s is restarted: %s, more than %d times", self.watcher, _say(found), self._patience.max_count)
            self._count("restarting")
            self.cast("restart", name=self.watcher, match="simple")

    def _look_at_children(self, children: list[Mapping[str, Any]]) -> None:
        known_ones, self._of_children = self._of_children, {}
        for child in children:
            key = child["pid"], child["create_time"]
            patience = self._of_children[key] = known_ones.get(key) or Patience(self.options["max_count"])
            found = broken(self.limits, [use_of(child)])
            for limit in sorted(found):
                self._count(limit)
            if patience.is_over(found):
                log.warning("%s: child %d is signalled: %s", self.watcher, key[0], _say(found))
                self._count("restarting")
                self.cast("signal", name=self.watcher, childpid=key[0], signum=self.options["child_signal"])

    def _count(self, what: str) -> None:
        self.statsd.increment(f"_resource_watcher.{self.watcher}.{what}")


def use_of(process: Mapping[str, Any]) -> Use:
    cpu, mem = process.get("cpu"), process.get("mem")
    return Use(cpu if is_number(cpu) else None, mem if is_number(mem) else None, bytes_of(process))


def _say(found: frozenset[str]) -> str:
    return ", ".join(sorted(found))
