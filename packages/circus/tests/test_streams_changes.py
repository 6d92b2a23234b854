from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.streams import changes, compare, sinks
from circus.streams.changes import Telling
from circus.streams.filling import Batch
from circus.streams.sinks import FileSink
from circus.streams.store import DOUBT, NOBODY, Intent, Segment


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileSink]:
    sink = sinks.open_file(str(tmp_path / "web.log"))
    sink.look()
    yield sink
    sink.close()


def append(log: FileSink, data: bytes) -> None:
    with open(log.path, "ab") as file:
        file.write(data)


def seen(log: FileSink) -> list[str]:
    log.look()
    return [change.what for change in log.take_changes()]


def test_what_happens_to_a_file_is_seen_once(log: FileSink) -> None:
    assert seen(log) == []
    append(log, b"deployed\n")
    assert [seen(log), seen(log)] == [["appended"], []]
    os.truncate(log.path, 3)
    assert [seen(log), seen(log)] == [["truncated"], []]
    os.rename(log.path, log.path + ".1")
    assert [seen(log), seen(log)] == [["moved"], []]
    os.rename(log.path, log.path + ".1")
    Path(log.path).write_bytes(b"another one")
    assert [seen(log), seen(log)] == [["replaced"], []]
    os.unlink(log.path)
    assert [seen(log), seen(log)] == [["removed"], []]


def test_a_write_of_ours_whose_end_could_not_be_seen_is_nobody_else_s(
    log: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        written = log.write(Batch((Segment(NOBODY, 0, 5, DOUBT),), payload=b"ours\n"), {})
    assert written.error is not None
    assert Path(log.path).read_bytes() == b"ours\n"
    assert seen(log) == []


def test_what_happened_while_nobody_was_there_is_seen_at_the_start(log: FileSink) -> None:
    append(log, b"one\ntwo\n")
    intent = Intent(log.path, log.look())

    def found() -> str | None:
        change = compare.compare(intent, {}).change
        assert change is None or change.was_away
        return change.what if change is not None else None

    assert found() is None
    append(log, b"deployed\n")
    assert found() == "appended"
    os.truncate(log.path, 3)
    assert found() == "truncated"
    os.rename(log.path, log.path + "-20261122")
    assert found() == "moved"
    Path(log.path).touch()
    assert found() == "replaced"
    os.unlink(log.path)
    os.unlink(log.path + "-20261122")
    assert found() == "removed"


def test_a_rotation_of_ours_is_nobody_else_s(log: FileSink) -> None:
    append(log, b"one\n")
    intent = Intent(log.path, log.look(), rotate=3)
    assert compare.compare(intent, {}).change is None
    os.rename(log.path, log.path + ".1")
    assert compare.compare(intent, {}).change is None
    Path(log.path).touch()
    assert compare.compare(intent, {}).change is None


def test_what_happens_each_minute_is_told_and_what_happens_in_a_loop_is_counted() -> None:
    telling, change = Telling(), changes.of_size(9, 0)
    assert change is not None
    assert all(telling.tell(change, 60.0 * minute) for minute in range(100))
    told = [telling.tell(change, 6000.0 + second) for second in range(500)]
    assert sum(each is not None for each in told) <= changes.MAX_TOLD
    told.append(telling.tell(change, 9000.0))
    last = told[-1]
    assert last is not None
    assert (last["what"], last["was_away"]) == ("truncated", False)
    assert last["reason"] == "it was cut from 9 to 0 bytes; it is written from its new end on"
    assert sum(int(str(each.get("untold", 0))) for each in told if each) == told.count(None), "each one counts"
