from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from circus.streams import plan, sinks, trip
from circus.streams.filling import Batch, Limits
from circus.streams.sinks import FileSink, Sink, Written
from circus.streams.store import NOBODY, OPEN, Intent, Place, Segment, SourceKey
from circus.streams.tap import Tap, View
from papa.client.output import StreamFiles
from papa.testing import FakePapa


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    with FakePapa() as papa:
        spec = {"name": "a", "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
        reply = asyncio.run(papa.spawn(**spec, owner="test", fds=True))
        papa.write("a", "out", b"one\ntwo\n")
        tap = Tap(StreamFiles(reply.fds))
        yield View(SourceKey(reply.ok["id"], "out"), tap, 77, 0)
        tap.retire()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileSink]:
    sink = sinks.open_file(str(tmp_path / "web.log"))
    yield sink
    sink.close()


def survey(views: list[View], place: Place, has_written: bool) -> plan.Survey:
    return plan.survey(views, place, Limits(), is_alone=True)


def travel(sink: Sink, batch: Batch | None, view: View, *, is_announced: bool = False) -> trip.Trip:
    return trip.travel(sink, batch, [view], survey, lambda place, batch: is_announced, trip.Permit())


def test_a_trip_without_a_batch_only_decides(log: FileSink, view: View) -> None:
    back = travel(log, None, view)
    assert (back.batch, back.written, back.error) == (None, None, None)
    assert back.survey is not None
    assert back.survey.batch is not None
    assert back.survey.batch.ends == {view.key: 8}
    assert Path(log.path).read_bytes() == b""


def test_a_trip_writes_the_batch_and_decides_what_follows_it(log: FileSink, view: View) -> None:
    log.look()
    back = travel(log, Batch((Segment(view.key, 0, 4),)), view)
    assert back.written is not None
    assert back.written.done == {view.key: 4}
    assert back.survey is not None
    assert back.survey.batch is not None
    assert back.survey.batch.segments == (Segment(view.key, 4, 8),)
    assert back.place is not None
    assert back.place.size == 4


def test_what_is_announced_already_is_written_in_the_same_trip(log: FileSink, view: View) -> None:
    back = travel(log, None, view, is_announced=True)
    assert back.batch is not None
    assert Path(log.path).read_bytes() == b"one\ntwo\n"
    assert back.survey is not None
    assert back.survey.batch is None


def test_a_trip_writes_one_batch_only(log: FileSink, view: View) -> None:
    log.look()
    travel(log, Batch((Segment(view.key, 0, 4),)), view, is_announced=True)
    assert Path(log.path).read_bytes() == b"one\n", "the second one is not acknowledged together with the first"


def test_a_sink_that_cannot_be_opened_ends_the_trip(tmp_path: Path, view: View) -> None:
    back = travel(sinks.open_file(str(tmp_path / "no" / "log")), None, view)
    assert isinstance(back.error, FileNotFoundError)
    assert back.survey is None


def test_a_write_that_failed_ends_the_trip_with_what_it_reached(view: View) -> None:
    class Full:
        path = worker_key = "full"
        keeps_intents = True

        def look(self) -> Place:
            raise AssertionError("nobody looks after a failure")

        def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
            return Written({view.key: 2}, Place(1, 1, 2, ""), OSError(28, "No space left on device"))

        def close(self) -> None: ...

    back = travel(Full(), Batch((Segment(view.key, 0, 4),)), view)
    assert back.error is not None
    assert back.written is not None
    assert back.written.done == {view.key: 2}
    assert back.place == Place(1, 1, 2, "")


def test_settling_completes_a_line_and_remembers_whose_it_was(log: FileSink, view: View) -> None:
    intent = Intent(log.path, log.look(), (Segment(view.key, 0, OPEN),))
    Path(log.path).write_bytes(b"one\ntw")
    finding = trip.settle(log, intent, {view.key: view}, trip.Permit())
    assert finding.done == {view.key: 6}
    assert log.last == view.key


def test_settling_an_idle_file_remembers_whose_line_stands_at_its_end(log: FileSink, view: View) -> None:
    Path(log.path).write_bytes(b"begun")
    place = log.look()
    idle = Intent(log.path, Place(place.dev, place.ino, 5, place.head_hash, False, view.key))
    trip.settle(log, idle, {view.key: view}, trip.Permit())
    assert log.last == view.key


def test_the_end_of_another_file_is_nobodys(log: FileSink, view: View) -> None:
    place = log.look()
    other = Intent(log.path, Place(place.dev, place.ino + 1, 5, "", False, view.key))
    trip.settle(log, other, {view.key: view}, trip.Permit())
    assert log.last == NOBODY


def test_settling_where_nothing_can_be_opened_leaves_it_to_the_first_trip(tmp_path: Path, view: View) -> None:
    sink = sinks.open_file(str(tmp_path / "no" / "log"))
    finding = trip.settle(sink, Intent(sink.path, Place(1, 2, 3, "")), {view.key: view}, trip.Permit())
    assert finding is not None
    assert finding.doubt == ""
