"""A file that is rotated by time: where its batches are cut, which names its backups get, what a crash leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circus.streams import backups, plan, sinks, trip
from circus.streams.filling import Batch, Limits
from circus.streams.intervals import Schedule
from circus.streams.render import Look
from circus.streams.sinks import FileSink
from circus.streams.store import Intent, Segment, SourceKey, decode, encode
from circus.streams.tap import ENDED, Tap, View
from papa.client.output import StreamFiles
from papa.testing import FakePapa

MINUTES = Limits(backup_count=0, schedule=Schedule("M", is_utc=True))


@pytest.fixture
def papa() -> Iterator[FakePapa]:
    with FakePapa() as papa:
        yield papa


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileSink]:
    sink = sinks.open_file(str(tmp_path / "web.log"))
    yield sink
    sink.close()


OPENED: list[Tap] = []


@pytest.fixture(autouse=True)
def close_files() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().retire()


def open_tap(fds: Mapping[str, int]) -> Tap:
    OPENED.append(Tap(StreamFiles(fds)))
    return OPENED[-1]


def spawn(papa: FakePapa, name: str = "a", **view: object) -> View:
    spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    reply = asyncio.run(papa.spawn(**spec, owner="test", fds=True))
    return replace(View(SourceKey(reply.ok["id"], "out"), open_tap(reply.fds), 77, 0), **view)  # type: ignore[arg-type]


def now_ns(papa: FakePapa) -> int:
    return papa.clock.wall_ns()


def to_next_minute(papa: FakePapa) -> None:
    papa.clock.advance(60 - now_ns(papa) / 1e9 % 60 + 0.5)


def minute(papa: FakePapa) -> str:
    return datetime.fromtimestamp(now_ns(papa) // 10**9, UTC).strftime("%Y%m%d%H%M")


def turn(
    sink: FileSink, views: list[View], at_ns: int, *, is_alone: bool | None = None, limits: Limits = MINUTES
) -> tuple[Batch | None, list[View]]:
    """One batch, written."""
    alone = len(views) == 1 if is_alone is None else is_alone
    batch = plan.survey(views, sink.look(), limits, is_alone=alone, at_ns=at_ns).batch
    if batch is None:
        return None, views
    done = sink.write(batch, {view.key: view for view in views}).done
    return batch, [replace(view, start=done.get(view.key, view.start)) for view in views]


def drain(
    sink: FileSink, views: list[View], at_ns: int, *, is_alone: bool | None = None, limits: Limits = MINUTES
) -> None:
    batch: Batch | None = Batch(())
    while batch is not None:
        batch, views = turn(sink, views, at_ns, is_alone=is_alone, limits=limits)


def files_of(log: FileSink) -> dict[str, bytes]:
    folder, base = os.path.split(log.path)
    return {name.removeprefix(base): (Path(folder) / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.mark.parametrize("time_format", [None, "%%"])
def test_lines_of_two_minutes_that_are_brought_late_stand_in_two_files(
    papa: FakePapa, log: FileSink, time_format: str | None
) -> None:
    view = spawn(papa, look=Look(time_format=time_format) if time_format else None)
    to_next_minute(papa)
    first = minute(papa)
    papa.write("a", "out", b"one\ntwo\n")
    to_next_minute(papa)
    papa.write("a", "out", b"three\n")
    papa.clock.advance(3600)
    drain(log, [view], now_ns(papa))
    head = b"% [77] | " if time_format else b""
    assert files_of(log) == {"": head + b"three\n", f".{first}": head + b"one\n" + head + b"two\n"}


def test_a_line_is_of_the_minute_in_which_it_was_begun(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa)
    to_next_minute(papa)
    first = minute(papa)
    papa.write("a", "out", b"one\ntw")
    _, views = turn(log, [view], now_ns(papa))
    to_next_minute(papa)
    papa.write("a", "out", b"o\nthree\n")
    drain(log, views, now_ns(papa))
    assert files_of(log) == {"": b"three\n", f".{first}": b"one\ntwo\n"}


def test_a_line_without_end_keeps_its_file_for_two_intervals_only(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa)
    to_next_minute(papa)
    first = minute(papa)
    papa.write("a", "out", b".")
    _, views = turn(log, [view], now_ns(papa))
    to_next_minute(papa)
    papa.write("a", "out", b".")
    _, views = turn(log, views, now_ns(papa))
    assert files_of(log) == {"": b".."}
    to_next_minute(papa)
    papa.write("a", "out", b".")
    drain(log, views, now_ns(papa))
    assert files_of(log) == {"": b".", f".{first}": b".."}


def test_late_lines_of_another_source_stay_in_the_file_that_is_there(papa: FakePapa, log: FileSink) -> None:
    early, late = spawn(papa, "early"), spawn(papa, "late")
    to_next_minute(papa)
    papa.write("early", "out", b"early\n")
    to_next_minute(papa)
    papa.write("late", "out", b"late\n")
    drain(log, [late], now_ns(papa), is_alone=False)
    drain(log, [early], now_ns(papa), is_alone=False)
    assert files_of(log) == {"": b"late\nearly\n"}


def test_an_old_file_is_of_the_interval_in_which_it_was_written(papa: FakePapa, log: FileSink) -> None:
    Path(log.path).write_bytes(b"old\n")
    os.utime(log.path, (1000000000, 1000000000))
    view = spawn(papa)
    papa.write("a", "out", b"new\n")
    drain(log, [view], now_ns(papa))
    assert files_of(log) == {"": b"new\n", ".200109090146": b"old\n"}


def test_a_backup_is_never_overwritten(papa: FakePapa, log: FileSink) -> None:
    for name, data in (("", b"old\n"), (".200109090146", b"older\n"), (".200109090146.2", b"also\n")):
        Path(log.path + name).write_bytes(data)
    os.utime(log.path, (1000000000, 1000000000))
    view = spawn(papa)
    papa.write("a", "out", b"new\n")
    drain(log, [view], now_ns(papa))
    assert files_of(log)[".200109090146.3"] == b"old\n"
    assert files_of(log)[".200109090146"] == b"older\n"


def test_the_oldest_backups_go_and_nothing_else(papa: FakePapa, log: FileSink) -> None:
    names = (".200109090144", ".200109090145", ".200109090145.2", ".200109090145.10", ".20010909", ".1", ".notes", "2")
    for name in names:
        Path(log.path + name).write_bytes(b"x")
    Path(log.path).write_bytes(b"old\n")
    os.utime(log.path, (1000000000, 1000000000))
    view = spawn(papa)
    papa.write("a", "out", b"new\n")
    drain(log, [view], now_ns(papa), limits=replace(MINUTES, backup_count=2))
    assert set(files_of(log)) == {"", ".1", "2", ".20010909", ".200109090145.10", ".200109090146", ".notes"}


def test_after_a_clock_that_was_ahead_the_file_is_of_the_next_line_s_interval(papa: FakePapa, log: FileSink) -> None:
    Path(log.path).write_bytes(b"from the future\n")
    os.utime(log.path, (4000000000, 4000000000))
    view = spawn(papa)
    to_next_minute(papa)
    first = minute(papa)
    papa.write("a", "out", b"now\n")
    _, views = turn(log, [view], now_ns(papa))
    to_next_minute(papa)
    papa.write("a", "out", b"then\n")
    drain(log, views, now_ns(papa))
    assert files_of(log) == {"": b"then\n", f".{first}": b"from the future\nnow\n"}


def test_lines_of_a_clock_that_was_ahead_are_of_the_time_at_which_they_are_brought(
    papa: FakePapa, log: FileSink
) -> None:
    view = spawn(papa)
    to_next_minute(papa)
    at_ns = now_ns(papa)
    papa.write("a", "out", b"one\n")
    papa.clock.advance(7200)
    papa.write("a", "out", b"two hours ahead\n")
    drain(log, [view], at_ns)
    assert files_of(log) == {"": b"one\ntwo hours ahead\n"}


def test_a_quiet_file_s_intent_does_not_allow_a_line_of_the_next_interval(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa)
    to_next_minute(papa)
    papa.write("a", "out", b"one\n")
    _, views = turn(log, [view], now_ns(papa))
    place = log.look()
    quiet = Intent(log.path, place, (Segment(view.key, 4, -1),), dated_s=place.dated_s)
    papa.write("a", "out", b"two\n")
    batch = plan.survey(views, place, MINUTES, is_alone=True, at_ns=now_ns(papa)).batch
    assert batch is not None
    assert quiet.allows(batch.intent(log.path, place, 0))
    to_next_minute(papa)
    views = [replace(each, start=8) for each in views]
    papa.write("a", "out", b"three\n")
    batch = plan.survey(views, place, MINUTES, is_alone=True, at_ns=now_ns(papa)).batch
    assert batch is not None
    assert not replace(quiet, segments=(Segment(view.key, 8, -1),)).allows(batch.intent(log.path, place, 0))


LOOKS = st.sampled_from([None, Look(time_format="%s.%f"), Look("json", watcher="é", wid=3)])

# Any crash --------------------------------------------------------------------------------------------------

texts = st.lists(st.sampled_from([b"\n", b"x", b"yy\n", b"long line\n"]), min_size=1, max_size=6).map(b"".join)


def finish(path: Path, views: list[View], intent: Intent | None, at_ns: int) -> None:
    """What the next circusd does, from what is known of the crashed one."""
    sink = sinks.open_file(str(path))
    if intent is not None:
        finding = trip.settle(sink, decode(encode(intent)), {view.key: view for view in views}, trip.Permit())
        assert finding is not None
        assert finding.doubt == ""
        views = [replace(view, start=finding.done.get(view.key, view.start)) for view in views]
    drain(sink, views, at_ns, is_alone=False)
    sink.close()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    chunks=st.lists(st.tuples(st.integers(0, 1), texts, st.sampled_from([0.5, 61.0])), min_size=1, max_size=7),
    formats=st.tuples(*[LOOKS] * 2),
    whole_batches=st.integers(0, 3),
    reached=st.sampled_from(["intent", "rename", "write"]),
    cut=st.floats(0, 1),
)
def test_whenever_it_is_cut_the_files_end_as_if_it_had_not_been(
    chunks: list[tuple[int, bytes, float]],
    formats: tuple[Look | None, ...],
    whole_batches: int,
    reached: str,
    cut: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with FakePapa() as papa:
        to_next_minute(papa)
        views = [spawn(papa, str(n), look=formats[n]) for n in range(2)]
        for number, data, pause in chunks:
            papa.write(str(number), "out", data)
            papa.clock.advance(pause)
        views = [replace(view, release_to=ENDED) for view in views]
        at_ns = now_ns(papa)
        wanted, got = folder / "wanted", folder / "got"
        wanted.mkdir()
        got.mkdir()
        finish(wanted / "log", views, None, at_ns)

        sink, batch = sinks.open_file(str(got / "log")), None
        rest = views
        for _ in range(whole_batches):
            batch, rest = turn(sink, rest, at_ns, is_alone=False)
        place = sink.look()
        batch = plan.survey(rest, place, MINUTES, is_alone=False, at_ns=at_ns).batch
        if batch is None:
            sink.close()
            return
        intent = batch.intent(sink.path, place, at_ns)
        if reached == "rename" and batch.aside:
            backups.set_aside(sink.path, sink.worker_key, batch.aside, batch.rotate)
        elif reached == "write":
            before = 0 if batch.aside else place.size
            sink.write(batch, {view.key: view for view in rest})
            size = os.path.getsize(got / "log")
            os.truncate(got / "log", before + int((size - before) * cut))
        sink.close()
        if (got / "log").exists():
            os.utime(got / "log", (1000000000, 1000000000))
        finish(got / "log", rest, intent, at_ns)
        assert {path.name: path.read_bytes() for path in got.iterdir()} == {
            path.name: path.read_bytes() for path in wanted.iterdir()
        }
        while OPENED:
            OPENED.pop().retire()
