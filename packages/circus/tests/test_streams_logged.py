from __future__ import annotations

import logging

import pytest

from circus.config.model import StreamConfig
from circus.streams import logged, sinks
from circus.streams.filling import Batch
from circus.streams.store import Segment, SourceKey

KEY = SourceKey(7, "out")


def write(sink: sinks.Sink, data: bytes) -> sinks.Written:
    return sink.write(Batch((Segment(KEY, 0, len(data)),), payload=data), {})


@pytest.fixture
def sink() -> sinks.Sink:
    return sinks.open_sink(StreamConfig(class_name="LogStream", filename="plugin:mine"))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_lines_become_lines_of_the_log_however_they_come(sink: sinks.Sink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert write(sink, b"one\r\ntw").done == {KEY: 7}
    assert not sink.look().at_line_start
    write(sink, b"o\n\nb\xffd\nrest")
    lines = ["one", "two", "", "b\\xffd"]
    assert said(caplog) == [("INFO", f"plugin:mine: {line}") for line in lines]
    sink.close()
    assert said(caplog)[-1] == ("INFO", "plugin:mine: rest")


def test_standard_error_is_serious(caplog: pytest.LogCaptureFixture) -> None:
    serious = sinks.open_sink(StreamConfig(class_name="WarningLogStream", filename="plugin:mine"))
    mild = sinks.open_sink(StreamConfig(class_name="LogStream", filename="plugin:mine"))
    write(serious, b"x\n")
    assert said(caplog) == [("WARNING", "plugin:mine: x")]
    assert serious.path != mild.path


def test_a_flood_is_cut_off_counted_and_told(
    sink: sinks.Sink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 100.0
    monkeypatch.setattr(logged.time, "monotonic", lambda: now)
    write(sink, b"x\n" * (logged.MAX_LINES + 5))
    assert len(caplog.records) == logged.MAX_LINES
    now += logged.WINDOW_S
    write(sink, b"y\n")
    assert said(caplog)[-2:] == [
        ("WARNING", "plugin:mine: 5 lines were left out here: more than 1000 in 10 s"),
        ("INFO", "plugin:mine: y"),
    ]


def test_a_line_without_an_end_is_cut_and_not_kept(sink: sinks.Sink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(sink, b"x" * (2 * logged.MAX_LINE + 1))
    assert [len(record.getMessage()) for record in caplog.records] == [logged.MAX_LINE + 13] * 2 + [14]
    assert sink.look().at_line_start
