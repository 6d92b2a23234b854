from __future__ import annotations

import logging

import pytest

from circus import clock
from circus.control import seldom
from circus.control.seldom import Seldom


def test_what_others_cause_is_told_seldom_with_its_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    lines = Seldom(logging.getLogger("test"))
    for number in range(seldom.BURST + 7):
        lines.tell("refused number=%d", number)
    assert [record.getMessage() for record in caplog.records] == [f"refused number={n}" for n in range(seldom.BURST)]
    now += seldom.PAUSE_S
    lines.tell("refused number=%d", 99)
    lines.tell("refused number=%d", 100)
    assert caplog.records[-1].getMessage() == "refused number=99 (and 7 more like it before)"
    assert len(caplog.records) == seldom.BURST + 1
