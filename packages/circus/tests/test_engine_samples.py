from __future__ import annotations

import pytest

from circus.engine import samples as room
from circus.engine.samples import MAX_OF_SLOT, Sample, Samples, Use, told
from circus.supervise.states import SlotKey

WEB, DB = SlotKey("web", 1), SlotKey("db", 1)


def told_of(samples: Samples, slot: SlotKey, since: float = 0.0, most: int = MAX_OF_SLOT) -> list[Sample]:
    return told(samples.tail(slot, most), since, most)


def test_a_percentage_follows_from_two_samples_of_one_process() -> None:
    samples = Samples()
    samples.add(100.0, [Use(WEB, 7, 1.0, 4096)])
    samples.add(110.0, [Use(WEB, 7, 6.0, 8192)])
    samples.add(120.0, [Use(WEB, 8, 0.5, 1024)])
    assert told_of(samples, WEB) == [
        Sample(100.0, 7, None, 4096),
        Sample(110.0, 7, 50.0, 8192),
        Sample(120.0, 8, None, 1024),
    ]
    assert told_of(samples, WEB, since=110.0)[0] == Sample(110.0, 7, 50.0, 8192), "the one before is known still"
    assert told_of(samples, WEB, most=1) == [Sample(120.0, 8, None, 1024)]
    assert told_of(samples, WEB, most=2)[0].cpu == 50.0
    assert told_of(samples, DB) == []


def test_who_asks_again_and_again_adds_nothing_but_a_clock_that_was_set_back_does_no_harm() -> None:
    samples = Samples()
    for at in (100.0, 100.2, 100.9, 101.0, 50.0):
        samples.add(at, [Use(WEB, 7, 1.0, 1)])
    assert [each.at for each in told_of(samples, WEB)] == [100.0, 101.0, 50.0]
    samples.add(50.1, [Use(WEB, 8, 0.0, 1)])
    assert told_of(samples, WEB)[-1] == Sample(50.1, 8, None, 1), "another process is told at once"


def test_each_slot_has_its_share_and_what_is_old_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_SAMPLES", 6)
    samples = Samples()
    for at in range(0, 40, 2):
        samples.add(float(at), [Use(WEB, 7, 1.0, 1), Use(DB, 9, 1.0, 1)])
    assert len(samples) == 6
    assert [each.at for each in told_of(samples, WEB)] == [34.0, 36.0, 38.0]
    samples.add(38.0 + room.MAX_AGE_S, [Use(WEB, 7, 1.0, 1)])
    assert [each.at for each in told_of(samples, DB)] == [38.0]
    samples.add(40.0 + room.MAX_AGE_S, [Use(WEB, 7, 1.0, 1)])
    assert samples.slots == [WEB], "the last of it was too old"


def test_a_bound_of_slots_holds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_SAMPLES", 5)
    samples = Samples()
    samples.add(1.0, [Use(SlotKey("web", wid), wid, 0.0, 0) for wid in range(50)])
    assert len(samples) == 5
