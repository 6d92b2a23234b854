from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circus.streams import compare, plan, segments, sinks
from circus.streams.filling import Limits
from circus.streams.render import Look
from circus.streams.sinks import FileSink
from circus.streams.store import GAP, NOBODY, OPEN, Intent, Segment, SourceKey
from circus.streams.tap import ENDED, Tap, View
from papa.client.output import StreamFiles
from papa.testing import FakePapa


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


def spawn(papa: FakePapa, name: str, *chunks: bytes, look: Look | None = None) -> View:
    spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    reply = asyncio.run(papa.spawn(**spec, owner="test", fds=True))
    for chunk in chunks:
        papa.write(name, "out", chunk)
        papa.clock.advance(0.5)
    return View(SourceKey(reply.ok["id"], "out"), open_tap(reply.fds), 77, 0, look=look)


def intent_for(log: FileSink, *segments: Segment, rotate: int = 0) -> Intent:
    return Intent(log.path, log.look(), segments, rotate)


def append(log: FileSink, data: bytes) -> None:
    with open(log.path, "ab") as file:
        file.write(data)


def settle(intent: Intent, *views: View) -> compare.Finding:
    finding = compare.compare(intent, {view.key: view for view in views})
    compare.complete(finding)
    return finding


def test_a_crash_before_the_first_byte_leaves_everything_to_do(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    finding = settle(intent_for(log, Segment(view.key, 0, 4)), view)
    assert (finding.done, finding.doubt) == ({}, "")


def test_a_plain_batch_goes_on_behind_what_stands_there(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\n")
    intent = intent_for(log, Segment(view.key, 0, 8))
    append(log, b"one\ntw")
    assert settle(intent, view).done == {view.key: 6}


def test_an_open_intent_finds_how_far_it_got(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\n")
    intent = intent_for(log, Segment(view.key, 4, OPEN))
    append(log, b"two")
    assert settle(intent, replace(view, start=4)).done == {view.key: 7}


def test_a_rendered_batch_is_completed_to_the_end_of_its_segment(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n", b"two\n", look=Look(time_format="%s"))
    intent = intent_for(log, Segment(view.key, 0, 8, look=Look(time_format="%s")))
    whole = segments.render_data(
        intent.segments[0], b"one\ntwo\n", view, True, NOBODY, segments.times_of(intent.segments[0], 8, view, 0)
    )
    append(log, whole[:5])
    assert settle(intent, view).done == {view.key: 8}
    assert Path(log.path).read_bytes() == whole
    assert settle(intent, view).done == {view.key: 8}, "a crash while completing changes nothing"
    assert Path(log.path).read_bytes() == whole


def test_what_somebody_wrote_behind_a_whole_batch_does_no_harm(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    intent = intent_for(log, Segment(view.key, 0, 4))
    append(log, b"one\n--- deployed ---\n")
    finding = settle(intent, view)
    assert (finding.done, finding.doubt) == ({view.key: 4}, "")


def test_other_bytes_than_ours_are_not_cut_and_not_believed(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\n")
    intent = intent_for(log, Segment(view.key, 0, 8))
    append(log, b"one\nTWO\n")
    finding = settle(intent, view)
    assert finding.done == {}
    assert "something else" in finding.doubt
    assert Path(log.path).read_bytes() == b"one\nTWO\n"


def test_a_file_that_was_cut_shorter_is_in_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"before\n" * 50)
    intent = intent_for(log, Segment(view.key, 0, 4))
    os.truncate(log.path, 300)
    assert "from 350 to 300" in settle(intent, view).doubt


def test_a_line_that_cannot_be_completed_is_left_as_it_was(log: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"begun")
    before = Path(log.path).read_bytes()
    write = os.write

    def fail_behind_the_first_byte(fd: int, data: bytes) -> int:
        if len(Path(log.path).read_bytes()) > len(before):
            raise OSError(28, "No space left on device")
        return write(fd, data[:1])

    monkeypatch.setattr(os, "write", fail_behind_the_first_byte)
    finding = compare.Finding(rest=b"rest", found_at=log.path)
    with pytest.raises(OSError, match="No space"):
        compare.complete(finding)
    assert Path(log.path).read_bytes() == before


def test_a_file_that_begins_otherwise_is_in_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"before\n")
    intent = intent_for(log, Segment(view.key, 0, 4))
    with open(log.path, "r+b") as file:
        file.write(b"BEFORE\none")
    assert "other bytes" in settle(intent, view).doubt


def test_a_file_that_is_gone_or_replaced_is_in_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    intent = intent_for(log, Segment(view.key, 0, 4))
    kept = os.open(log.path, os.O_RDONLY)  # so that its inode is not taken by another one
    os.unlink(log.path)
    assert "gone" in settle(intent, view).doubt
    Path(log.path).write_bytes(b"")
    assert "another file" in settle(intent, view).doubt
    os.close(kept)


def test_nothing_outstanding_is_never_in_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    idle = intent_for(log)
    acknowledged = intent_for(log, Segment(view.key, 0, 4))
    of_the_dead = intent_for(log, Segment(SourceKey(999, "out"), 0, 4))
    os.unlink(log.path)
    assert settle(idle, view).doubt == ""
    assert settle(acknowledged, replace(view, start=4)).doubt == ""
    assert settle(of_the_dead, view).doubt == ""


@pytest.mark.parametrize("name", [".1", "-20261122"])
def test_a_batch_is_found_in_the_file_that_somebody_moved(papa: FakePapa, log: FileSink, name: str) -> None:
    view = spawn(papa, "a", b"one\ntwo\n")
    intent = intent_for(log, Segment(view.key, 0, 8))
    append(log, b"one")
    os.rename(log.path, log.path + name)
    assert settle(intent, view).done == {view.key: 3}


# Rotation ---------------------------------------------------------------------------------------------------


def test_a_rotation_that_did_not_happen_left_nothing_written(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"old\n")
    intent = intent_for(log, Segment(view.key, 0, 4), rotate=2)
    assert settle(intent, view) == compare.Finding(last=NOBODY)


def test_a_rotation_that_was_cut_short_left_nothing_written(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"old\n")
    intent = intent_for(log, Segment(view.key, 0, 4), rotate=2)
    os.rename(log.path, log.path + ".1")
    assert (settle(intent, view).done, settle(intent, view).doubt) == ({}, "")


def test_a_batch_after_a_rotation_is_found_in_the_new_file(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"old and unfinished")
    intent = intent_for(log, Segment(view.key, 0, 4), rotate=2)
    os.rename(log.path, log.path + ".1")
    append(log, b"on")
    assert settle(intent, view).done == {view.key: 2}


def test_a_rotation_by_somebody_else_is_in_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    append(log, b"old\n")
    intent = intent_for(log, Segment(view.key, 0, 4), rotate=2)
    os.rename(log.path, log.path + ".other")
    append(log, b"on")
    assert "another file" in settle(intent, view).doubt


# Bytes that the kernel has dropped since --------------------------------------------------------------------


def test_dropped_bytes_of_a_plain_file_count_by_their_length(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\nthree\n")
    intent = intent_for(log, Segment(view.key, 0, 14))
    append(log, b"one\ntwo\nthr")
    papa.drop_oldest("a", "out", 6)
    assert settle(intent, view).done == {view.key: 11}


def test_bytes_behind_the_dropped_ones_are_compared(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\nthree\n")
    intent = intent_for(log, Segment(view.key, 0, 14))
    append(log, b"one\ntwo\nTHR")
    papa.drop_oldest("a", "out", 6)
    assert "something else" in settle(intent, view).doubt


def test_dropped_bytes_of_a_rendered_batch_leave_a_doubt(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\ntwo\n", look=Look(time_format="%s"))
    intent = intent_for(log, Segment(view.key, 0, 8, look=Look(time_format="%s")))
    append(log, b"123 [77] | on")
    papa.drop_oldest("a", "out", 4)
    assert "dropped" in settle(intent, view).doubt


def test_a_process_that_is_gone_counts_by_length_for_the_others(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, "a", b"one\n")
    gone = SourceKey(999, "out")
    intent = intent_for(log, Segment(gone, 0, 5), Segment(view.key, 0, 4))
    append(log, b"gone\non")
    assert settle(intent, view).done == {gone: 5, view.key: 2}


LOOKS = st.sampled_from([None, Look(time_format="%s.%f"), Look("json", watcher="é", wid=3)])

# Any crash --------------------------------------------------------------------------------------------------

texts = st.lists(st.sampled_from([b"\n", b"x", b"yy\n", b"long line\n"]), min_size=1, max_size=8).map(b"".join)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    before=st.sampled_from([b"", b"old\n", b"unfinished"]),
    chunks=st.lists(st.tuples(st.integers(0, 2), texts), min_size=1, max_size=8),
    formats=st.tuples(*[LOOKS] * 3),
    dropped=st.integers(0, 6),
    cut=st.floats(0, 1),
    second_cut=st.floats(0, 1),
)
def test_whenever_it_is_cut_a_file_ends_as_if_it_had_not_been(
    before: bytes,
    chunks: list[tuple[int, bytes]],
    formats: tuple[Look | None, ...],
    dropped: int,
    cut: float,
    second_cut: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("log") / "web.log"
    with FakePapa() as papa:
        views = [spawn(papa, str(n), look=formats[n]) for n in range(3)]
        for number, data in chunks:
            papa.write(str(number), "out", data)
            papa.clock.advance(0.5)
        papa.drop_oldest("0", "out", dropped)
        views = [replace(view, release_to=ENDED) for view in views]
        path.write_bytes(before)
        sink = sinks.open_file(str(path))
        place = sink.look()
        survey = plan.survey(views, place, Limits(), is_alone=False)
        batch = survey.batch
        if batch is None:
            return
        by_key = {view.key: view for view in views}
        intent = Intent(sink.path, place, batch.segments, 0, 0)
        sink.write(batch, by_key)
        sink.close()
        whole = path.read_bytes()
        has_gap = GAP in {segment.kind for segment in batch.segments}
        assert has_gap == (papa.row("0")["streams"]["out"]["low"] > 0)

        for share in (cut, second_cut):
            size = len(before) + int((path.stat().st_size - len(before)) * share)
            os.truncate(path, size)
            finding = settle(intent, *views)
            assert finding.doubt == ""
            assert path.stat().st_size >= size

        # The next circusd goes on from there, in batches of its own.
        again = sinks.open_file(str(path))
        again.look()
        again.last = finding.last
        rest = [replace(view, start=finding.done.get(view.key, view.start)) for view in views]
        while True:
            found = plan.survey(rest, again.look(), Limits(), is_alone=False)
            if found.batch is None:
                break
            done = again.write(found.batch, {view.key: view for view in rest}).done
            rest = [replace(view, start=done.get(view.key, view.start)) for view in rest]
        again.close()
        assert path.read_bytes() == whole
        while OPENED:
            OPENED.pop().retire()
