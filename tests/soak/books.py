"""The books of a soak: which lives began and how they ended, which lines were written and stand in a log, which events
were heard. What was promised, compared with what is there; an empty list says that all is in order.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.house import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import tally


class Exits:
    """Every end that circusd has noted, gathered before the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int, float]] = set()
        #: watcher, pid -> how many lives of that pid have ended.
        self.ends: Counter[tuple[str, int]] = Counter()
        #: Ends of which nobody knows how, where the kernel must know it.
        self.unknown: list[str] = []
        #: watcher -> ends without a pid: a killed kernel had not noted it yet, and none is promised of those.
        self.unnoted: Counter[str] = Counter()

    def note(self, watcher: str, exits: list[dict[str, Any]]) -> None:
        for end in exits:
            key = (watcher, end["pid"], end["started_at"])
            if key in self._known:
                continue
            self._known.add(key)
            if not end["pid"]:
                self.unnoted[watcher] += 1
                continue
            self.ends[watcher, end["pid"]] += 1
            if end["status"] is None:
                self.unknown.append(f"{watcher}: nobody knows how pid {end['pid']} has ended")


class Events:
    """The numbers of events: within one circusd and its upgrades each one is the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.heard = 0
        self.last_id = ""
        self.faults: list[str] = []

    def note(self, events: list[dict[str, Any]]) -> None:
        with self._lock:
            for event in events:
                era, _, number = str(event["id"]).rpartition("-")
                last_era, _, last = self.last_id.rpartition("-")
                if "topic" in event:
                    self.heard += 1
                    if era == last_era and int(number) != int(last) + 1:
                        self.faults.append(f"event {event['id']} came after {self.last_id}")
                elif event.get("missed") is not None:
                    self.faults.append(f"{event['missed']} events were missed before {event['id']}")
                self.last_id = str(event["id"])


def lives(truth: Path) -> Counter[tuple[str, int]]:
    """watcher, pid -> how many processes have begun to write; children of processes are none."""
    names = (path.name.rpartition(".") for path in truth.iterdir())
    begun = ((name.partition(".")[0].rpartition("-"), int(pid)) for name, _, pid in names)
    return Counter((watcher, pid) for (watcher, _, wid), pid in begun if wid != "child")


def check_ends(begun: Counter[tuple[str, int]], exits: Exits, living: set[tuple[str, int]]) -> list[str]:
    """Each life that began has ended once, or goes on. A life may end before it wrote anything."""
    broken, unnoted = list(exits.unknown), exits.unnoted.copy()
    for (watcher, pid), count in begun.items():
        ended = exits.ends[watcher, pid]
        goes_on = (watcher, pid) in living
        missing = max(0, count - goes_on - ended)
        excused = min(missing, unnoted[watcher])
        unnoted[watcher] -= excused
        if missing > excused:
            broken.append(f"{watcher}: pid {pid} began {count} times, {ended} ends are noted, it lives: {goes_on}")
    return broken


def check_lines(truth: Path, folder: Path) -> tuple[int, list[str]]:
    """How many lines were written; and each one that is not in its log once and in order."""
    files = [file for log in sorted(folder.glob("*.log")) for file in tally.rotated(log)]
    tallies = tally.compare(truth, files)
    broken = [
        f"{name} pid {pid}: {each}"
        for (name, pid), each in tallies.items()
        if each.lost > 0 or each.doubled or each.disordered
    ]
    return sum(each.written for each in tallies.values()), broken
