"""The sections of a handover: what doors and people would miss if it began anew with each program.

Each has a pair of functions, and is understood whole or not at all. Nothing here is needed to run.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from circus.bus import Bus, Event
from circus.engine.samples import Samples
from circus.engine.startup import Inherited
from circus.engine.tallies import Histogram, Reason
from circus.serving import Left, Serving
from circus.supervise.states import SlotKey
from circus.upgrade.handover import Sections

log = logging.getLogger("circus.upgrade")

Section = dict[str, Any]


def pack(circusd: Serving, left: Left) -> Sections:
    """After its `Serving.hand_over`, which has said what is ``left``."""
    sections = {name: each.pack(circusd) for name, each in _SECTIONS.items()}
    sections["operations"] = left.operations
    told = left.inherited
    sections["processes"] = {"came": sorted(told.came), "ended": sorted(told.ended), "active": sorted(told.active)}
    return sections


def take(circusd: Serving, sections: Sections, operation: str) -> list[str]:
    """Before it is started. Returns the names of those that are not understood."""
    unknown = []
    takes: dict[str, Callable[[Serving, Section], None]] = {name: each.take for name, each in _SECTIONS.items()}
    takes["operations"] = lambda circusd, section: circusd.ops.register.take(section, operation)
    takes["processes"] = _take_processes
    for name, section in sections.items():
        try:
            takes[name](circusd, section)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            unknown.append(name)
            log.warning("of the circusd before this one %s are not understood: they begin anew (%r)", name, error)
    return unknown


def _take_processes(circusd: Serving, section: Section) -> None:
    circusd.engine.inherited = Inherited(
        frozenset(section["came"]), frozenset(section["ended"]), set(section["active"])
    )


def _pack_events(circusd: Serving) -> Section:
    bus = circusd.engine.bus
    recent = [(event.at, event.watcher, event.name, dict(event.fields)) for event in bus.recent]
    return {"published": bus.published, "recent": recent}


def _take_events(circusd: Serving, section: Section) -> None:
    bus: Bus = circusd.engine.bus
    recent = [
        Event(float(at), str(watcher), str(name), dict(fields)) for at, watcher, name, fields in section["recent"]
    ]
    bus.published = int(section["published"])
    bus.recent.extend(recent)


def _pack_tallies(circusd: Serving) -> Section:
    tallies = circusd.engine.tallies
    return {
        "lives": {name: list(wids.items()) for name, wids in tallies.lives.items()},
        "exits": {name: [(*reason, count) for reason, count in each.items()] for name, each in tallies.exits.items()},
        "events": tallies.events,
        "waits": _packed(tallies.waits),
        "written": circusd.engine.pump.tally.by_watcher(),
    }


def _take_tallies(circusd: Serving, section: Section) -> None:
    tallies = circusd.engine.tallies
    lives = {name: {int(wid): int(count) for wid, count in wids} for name, wids in section["lives"].items()}
    exits = {
        name: {Reason(how, code, ordered): int(count) for how, code, ordered, count in each}
        for name, each in section["exits"].items()
    }
    events = {name: {event: int(count) for event, count in each.items()} for name, each in section["events"].items()}
    _fill(tallies.waits, section["waits"])
    circusd.engine.pump.tally.take(section["written"])
    tallies.lives, tallies.exits, tallies.events = lives, exits, events


def _pack_requests(circusd: Serving) -> Section:
    requests = circusd.ops.requests
    return {
        "results": [(operation, result, count) for (operation, result), count in requests.results.items()],
        "durations": {operation: _packed(each) for operation, each in requests.durations.items()},
    }


def _take_requests(circusd: Serving, section: Section) -> None:
    requests = circusd.ops.requests
    results = {(operation, result): int(count) for operation, result, count in section["results"]}
    for operation, packed in section["durations"].items():
        _fill(requests.duration_of(operation), packed)
    requests.results = results


def _pack_samples(circusd: Serving) -> Section:
    samples: Samples = circusd.engine.figures.samples
    return {"rings": [(slot.watcher, slot.wid, list(samples.whole(slot))) for slot in samples.slots]}


def _take_samples(circusd: Serving, section: Section) -> None:
    rings = {SlotKey(str(watcher), int(wid)): array("d", ring) for watcher, wid, ring in section["rings"]}
    circusd.engine.figures.samples.take(rings)


class _Section(NamedTuple):
    pack: Callable[[Serving], Section]
    take: Callable[[Serving, Section], None]


_SECTIONS = {
    "events": _Section(_pack_events, _take_events),
    "tallies": _Section(_pack_tallies, _take_tallies),
    "requests": _Section(_pack_requests, _take_requests),
    "samples": _Section(_pack_samples, _take_samples),
}


def _packed(histogram: Histogram) -> Section:
    return {"bounds": list(histogram.bounds), "counts": histogram.counts, "sum": histogram.sum}


def _fill(histogram: Histogram, section: Section) -> None:
    """Raises: ValueError, where it has other bounds."""
    if list(histogram.bounds) != section["bounds"]:
        raise ValueError("other bounds")
    histogram.counts, histogram.sum = list(section["counts"]), float(section["sum"])
