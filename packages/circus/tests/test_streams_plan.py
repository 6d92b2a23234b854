from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from circus.streams import lines, plan, render, segments
from circus.streams.filling import Batch, Limits
from circus.streams.render import Look
from circus.streams.store import DATA, DOUBT, GAP, NOBODY, Place, Segment, SourceKey
from circus.streams.tap import ENDED, Tap, View
from papa.client.output import StreamFiles
from papa.testing import FakePapa

EMPTY = Place(1, 1, 0, "", True, NOBODY)


@pytest.fixture
def papa() -> Iterator[FakePapa]:
    with FakePapa() as papa:
        yield papa


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
    """A process and the view of its stdout."""
    spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "capture"}
    reply = asyncio.run(papa.spawn(**spec, owner="test", fds=True))
    return replace(View(SourceKey(reply.ok["id"], "out"), open_tap(reply.fds), 77, 0), **view)  # type: ignore[arg-type]


def write(papa: FakePapa, view: View, data: bytes) -> None:
    papa.write(view.key.kernel_id, view.key.stream, data)
    papa.clock.advance(0.01)


def batch_of(*views: View, place: Place = EMPTY, limits: Limits | None = None, is_alone: bool | None = None) -> Batch:
    alone = len(views) == 1 if is_alone is None else is_alone
    found = plan.survey(views, place, limits or Limits(), is_alone=alone, at_ns=0)
    assert found.batch is not None
    return found.batch


def spans(batch: Batch) -> list[tuple[int, int, int, str]]:
    return [(each.source.kernel_id, each.start, each.end, each.kind) for each in batch.segments]


def test_one_source_alone_is_taken_as_it_comes(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"one\ntw")
    assert spans(batch_of(view)) == [(view.key.kernel_id, 0, 6, DATA)]
    assert batch_of(view).payload is None


def test_nothing_new_is_no_batch(papa: FakePapa) -> None:
    view = spawn(papa)
    found = plan.survey([view], EMPTY, Limits(), is_alone=True)
    assert found.batch is None
    assert found.is_quiet
    assert found.heads == {view.key: 0}


def test_among_others_a_tail_waits_for_its_newline(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"one\ntw")
    assert spans(batch_of(view, is_alone=False)) == [(view.key.kernel_id, 0, 4, DATA)]
    rest = plan.survey([replace(view, start=4)], EMPTY, Limits(), is_alone=False)
    assert rest.batch is None
    assert rest.scanned == {view.key: 6}
    first = plan.survey([view], EMPTY, Limits(), is_alone=False)
    assert first.scanned == {}, "there is a newline, and the batch may be cut before it"
    write(papa, view, b"o\n")
    assert spans(batch_of(replace(view, start=4, scanned=6), is_alone=False)) == [(view.key.kernel_id, 4, 8, DATA)]


def test_the_end_of_a_stream_releases_its_tail(papa: FakePapa) -> None:
    view = spawn(papa, release_to=ENDED)
    write(papa, view, b"one\ntw")
    assert batch_of(view, is_alone=False).ends == {view.key: 6}


def test_an_exit_releases_what_was_written_until_then(papa: FakePapa) -> None:
    view = spawn(papa, release_to=6)
    write(papa, view, b"one\ntwo by a grandchild")
    assert batch_of(view, is_alone=False).ends == {view.key: 6}


def test_a_tail_without_end_is_released_at_the_limit_of_a_line(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"x\n" + b"y" * (lines.LINE_LIMIT - 1))
    assert batch_of(view, is_alone=False).ends == {view.key: 2}
    write(papa, view, b"y")
    assert batch_of(view, is_alone=False).ends == {view.key: 2 + lines.LINE_LIMIT}


def test_a_tail_without_end_is_cut_between_characters(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"xy" + "€".encode() * (lines.LINE_LIMIT // 3))
    end = batch_of(view, is_alone=False).ends[view.key]
    assert (end - 2) % 3 == 0
    write(papa, view, "€".encode() * 2)
    assert batch_of(view, is_alone=False).ends[view.key] == view.tap.files.head("out")
    write(papa, view, "€".encode()[:2])
    assert batch_of(view, is_alone=False).ends[view.key] == view.tap.files.head("out") - 2


def test_lines_of_two_sources_are_written_in_the_order_of_arrival(papa: FakePapa) -> None:
    one, two = spawn(papa, "one"), spawn(papa, "two")
    write(papa, one, b"1\n")
    write(papa, two, b"2\n")
    write(papa, one, b"3\n4")
    write(papa, two, b"5\n")
    a, b = one.key.kernel_id, two.key.kernel_id
    assert spans(batch_of(one, two)) == [(a, 0, 2, DATA), (b, 0, 2, DATA), (a, 2, 4, DATA), (b, 2, 4, DATA)]


def test_a_line_that_was_begun_in_the_file_is_ended_before_others_come(papa: FakePapa) -> None:
    one, two = spawn(papa, "one"), spawn(papa, "two")
    write(papa, one, b"beg")
    write(papa, two, b"2\n")
    write(papa, one, b"un\n1\n")
    place = Place(1, 1, 3, "", False, one.key)
    a, b = one.key.kernel_id, two.key.kernel_id
    batch = batch_of(replace(one, start=3), two, place=place)
    assert spans(batch) == [(a, 3, 6, DATA), (b, 0, 2, DATA), (a, 6, 8, DATA)]
    assert spans(batch_of(one, two, place=replace(place, last=NOBODY)))[0] == (a, 0, 6, DATA)


def test_both_streams_of_a_process_are_merged_too(papa: FakePapa) -> None:
    out = spawn(papa)
    err = replace(out, key=SourceKey(out.key.kernel_id, "err"))
    write(papa, err, b"e\n")
    write(papa, out, b"o\n")
    assert [each.source.stream for each in batch_of(out, err).segments] == ["err", "out"]


def test_dropped_bytes_become_a_gap_before_what_follows(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"one\ntwo\n")
    papa.drop_oldest(view.key.kernel_id, "out", 5)
    low = view.tap.files.low("out")
    assert low >= 5
    assert spans(batch_of(view))[0] == (view.key.kernel_id, 0, low, GAP)
    assert batch_of(view).ends == {view.key: 8}


def test_bytes_behind_a_limit_are_for_another_sink(papa: FakePapa) -> None:
    view = spawn(papa, limit=4)
    write(papa, view, b"one\ntwo\n")
    assert batch_of(view).ends == {view.key: 4}
    assert plan.survey([replace(view, start=4)], EMPTY, Limits(), is_alone=True).batch is None


def test_a_doubt_is_said_first_and_only_before_output(papa: FakePapa) -> None:
    view = spawn(papa)
    assert plan.survey([view], EMPTY, Limits(), is_alone=True, doubt_bytes=9).batch is None
    write(papa, view, b"one\n")
    found = plan.survey([view], EMPTY, Limits(), is_alone=True, doubt_bytes=9)
    assert found.batch is not None
    assert found.batch.segments == (Segment(NOBODY, 0, 9, DOUBT), Segment(view.key, 0, 4))
    assert found.batch.ends == {view.key: 4}


def test_a_batch_has_its_bound_and_the_rest_comes_next(papa: FakePapa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "BATCH_BYTES", 10)
    view = spawn(papa)
    write(papa, view, b"x" * 25)
    assert batch_of(view).ends == {view.key: 10}
    assert batch_of(replace(view, start=20)).ends == {view.key: 25}


def test_a_batch_has_at_most_so_many_sources(papa: FakePapa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_MERGED", 2)
    views = [spawn(papa, name) for name in "abc"]
    for view in views:
        write(papa, view, b"x\n")
    assert batch_of(*views).ends.keys() == {views[0].key, views[1].key}


def test_a_batch_has_at_most_so_many_segments(papa: FakePapa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_SEGMENTS", 3)
    one, two = spawn(papa, "one"), spawn(papa, "two")
    for _ in range(5):
        write(papa, one, b"1\n")
        write(papa, two, b"2\n")
    assert batch_of(one, two).ends == {one.key: 4, two.key: 2}


# Rotation ---------------------------------------------------------------------------------------------------

ROTATED = Limits(max_bytes=20, backup_count=3)


def test_a_segment_that_does_not_fit_is_split_at_a_line_end(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"aaaaaa\nbbbbbb\ncccccc\n")
    batch = batch_of(view, limits=ROTATED)
    assert (batch.rotate, batch.ends) == (0, {view.key: 14})
    batch = batch_of(replace(view, start=14), place=replace(EMPTY, size=14), limits=ROTATED)
    assert (batch.rotate, batch.ends) == (3, {view.key: 21})


def test_what_reaches_the_limit_exactly_is_rotated_first(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"aaaa\n")
    assert batch_of(view, place=replace(EMPTY, size=14), limits=ROTATED).rotate == 0
    assert batch_of(view, place=replace(EMPTY, size=15), limits=ROTATED).rotate == 3


def test_an_empty_file_is_not_rotated_for_a_line_longer_than_itself(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"a" * 50 + b"\nb\n")
    batch = batch_of(view, limits=ROTATED)
    assert (batch.rotate, batch.ends) == (0, {view.key: 51})


def test_a_line_begun_in_a_file_is_ended_in_it(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"begun and ended here\nb\n")
    place = Place(1, 1, 19, "", False, view.key)
    batch = batch_of(replace(view, start=6), place=place, limits=ROTATED)
    assert (batch.rotate, batch.ends) == (0, {view.key: 21})


def test_a_line_without_end_does_not_grow_a_file_for_ever(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"x" * 100)
    place = Place(1, 1, 20 + lines.LINE_LIMIT, "", False, view.key)
    batch = batch_of(view, place=place, limits=ROTATED)
    assert batch.rotate == 3


def test_a_full_file_without_backups_just_grows(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"aaaa\n")
    batch = batch_of(view, place=replace(EMPTY, size=500), limits=Limits(max_bytes=20))
    assert (batch.rotate, batch.ends) == (0, {view.key: 5})


def test_a_mark_that_does_not_fit_rotates_too(papa: FakePapa) -> None:
    view = spawn(papa)
    write(papa, view, b"aaaa\nbbbb\n")
    papa.drop_oldest(view.key.kernel_id, "out", 5)
    batch = batch_of(view, place=replace(EMPTY, size=15), limits=Limits(max_bytes=59, backup_count=1))
    assert batch.rotate == 1
    assert batch.segments[0].kind == GAP


# Rendering --------------------------------------------------------------------------------------------------


def test_a_time_format_renders_whole_lines(papa: FakePapa) -> None:
    view = spawn(papa, look=Look(time_format="%%"))
    write(papa, view, b"one\ntwo\nthr")
    batch = batch_of(view)
    assert batch.payload == b"% [77] | one\n% [77] | two\n"
    assert batch.ends == {view.key: 8}


def test_a_rendered_batch_is_rotated_by_its_rendered_size(papa: FakePapa) -> None:
    view = spawn(papa, look=Look(time_format="%%"))
    write(papa, view, b"a\nb\nc\n")
    batch = batch_of(view, limits=Limits(max_bytes=25, backup_count=2))
    assert (batch.payload, batch.ends) == (b"% [77] | a\n% [77] | b\n", {view.key: 4})
    batch = batch_of(replace(view, start=4), place=replace(EMPTY, size=22), limits=Limits(max_bytes=25, backup_count=2))
    assert (batch.rotate, batch.payload) == (2, b"% [77] | c\n")


def test_a_rendered_line_longer_than_a_file_is_written_whole(papa: FakePapa) -> None:
    view = spawn(papa, look=Look(time_format="%%"))
    write(papa, view, b"a" * 30 + b"\nb\n")
    batch = batch_of(view, limits=Limits(max_bytes=20, backup_count=2))
    assert (batch.rotate, batch.payload) == (0, b"% [77] | " + b"a" * 30 + b"\n")


def test_a_pipe_gets_the_bytes_of_plain_sources_rendered(papa: FakePapa) -> None:
    one, two = spawn(papa, "one"), spawn(papa, "two", release_to=ENDED)
    write(papa, two, b"no newline")
    write(papa, one, b"1\n")
    batch = batch_of(one, two, limits=Limits(needs_payload=True))
    assert batch.payload == b"no newline\n1\n", "a line never holds bytes of two sources"


def test_a_gap_is_rendered_as_a_line_of_its_own(papa: FakePapa) -> None:
    view = spawn(papa, look=Look(time_format="%%"))
    write(papa, view, b"one\ntwo\n")
    papa.drop_oldest(view.key.kernel_id, "out", 4)
    place = replace(EMPTY, size=5, at_line_start=False, last=view.key)
    low = view.tap.files.low("out")
    payload = batch_of(view, place=place).payload
    assert payload is not None
    assert payload.startswith(b"\n" + render.gap_mark(low))


def test_the_intent_of_a_batch_renders_to_its_payload_again(papa: FakePapa) -> None:
    one, two = spawn(papa, "one", look=Look(time_format="%s.%f")), spawn(papa, "two")
    for number in range(6):
        write(papa, one, b"one %d\nand" % number)
        write(papa, two, b"two %d\n" % number)
    batch = batch_of(one, two)
    views = {one.key: one, two.key: two}
    again, at_line_start, last = b"", True, NOBODY
    for segment in batch.segments:
        view = views[segment.source]
        data = view.tap.files.pread("out", segment.start, segment.end - segment.start)
        times = segments.times_of(segment, segment.end, view, 0)
        again += segments.render_data(segment, data, view, at_line_start, last, times)
        at_line_start, last = data.endswith(b"\n"), segment.source
    assert again == batch.payload


JSON_LOOK = Look(render.JSON, watcher="web", wid=1)


def test_as_json_every_record_is_a_line_also_behind_one_that_was_begun_as_text(papa: FakePapa) -> None:
    view = spawn(papa, look=JSON_LOOK, release_to=ENDED)
    write(papa, view, b"one\ntail")
    place = replace(EMPTY, size=5, at_line_start=False, last=view.key)
    payload = batch_of(view, place=place).payload
    assert payload is not None
    first, *rest = payload.splitlines()
    assert first == b""
    assert [(json.loads(line)["line"], json.loads(line).get("partial")) for line in rest] == [
        ("one", None),
        ("tail", True),
    ]


def test_as_json_gaps_and_doubts_are_objects(papa: FakePapa) -> None:
    view = spawn(papa, look=JSON_LOOK)
    write(papa, view, b"one\ntwo\n")
    papa.drop_oldest(view.key.kernel_id, "out", 4)
    found = plan.survey([view], EMPTY, Limits(), is_alone=True, doubt_bytes=9, at_ns=10**18).batch
    assert found is not None and found.payload is not None
    marks = [json.loads(line) for line in found.payload.splitlines()]
    assert [mark.get("mark") for mark in marks] == ["doubt", "gap", *[None] * (len(marks) - 2)]
    assert marks[1]["dropped_bytes"] == view.tap.files.low("out")


def test_a_long_line_is_rendered_from_its_intent_as_it_was_written(
    papa: FakePapa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 16)
    view = spawn(papa, look=JSON_LOOK, release_to=ENDED)
    write(papa, view, "short\n{}\nend ä".format("ä" * 40).encode())
    for max_bytes in (0, 10, 400):
        rest = view
        while True:
            found = plan.survey(
                [rest], EMPTY, Limits(max_bytes=max_bytes, backup_count=2), is_alone=True, at_ns=0
            ).batch
            if found is None:
                break
            again = b"".join(
                segments.render_data(
                    each,
                    view.tap.files.pread("out", each.start, each.end - each.start),
                    view,
                    True,
                    NOBODY,
                    segments.times_of(each, each.end, view, 0),
                )
                for each in found.segments
            )
            assert again == found.payload
            assert found.payload is not None
            assert b"raw" not in found.payload, "a character was split"
            rest = replace(rest, start=found.ends[view.key])
        assert rest.start == view.tap.files.head("out")
