"""What is counted of the output, and what is said of losses."""

from __future__ import annotations

from typing import cast

from circus.streams.store import SourceKey
from circus.streams.tally import Tally
from circus.streams.tap import Source, Tap


def _source(watcher: str, stream: str) -> Source:
    return Source(SourceKey(1, stream), cast(Tap, None), watcher, 1, 7, written=0, committed=0)


def test_streams_are_counted_apart_and_losses_of_a_watcher_are_told_together() -> None:
    tally = Tally()
    tally.of(_source("web", "out")).bytes += 9
    tally.of(_source("web", "out")).dropped += 4
    tally.of(_source("web", "err")).dropped += 5
    tally.of(_source("db", "out")).bytes += 1
    assert tally.by_watcher()["web"]["out"] == {"bytes": 9, "gaps": 0, "dropped": 4, "sink_errors": 0}
    assert tally.losses() == ["web: 9 bytes of its output were dropped before they could be written"]


def test_a_watcher_that_is_forgotten_begins_anew() -> None:
    tally = Tally()
    tally.of(_source("web", "out")).dropped += 4
    tally.forget("web")
    tally.forget("never known")
    assert tally.losses() == []
    assert tally.of(_source("web", "out")).dropped == 0
