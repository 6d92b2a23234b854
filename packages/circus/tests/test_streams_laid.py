"""Where what was written stands, and from when: as if each line of the file was asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.logbook.catalogue import Entry
from circus.logbook.reading import LogReader, Query
from circus.logbook.writing import Book, directory_of
from circus.streams import laid, plan, render
from circus.streams.filling import Limits
from circus.streams.render import Look
from circus.streams.sinks import FileSink
from circus.streams.store import SourceKey
from circus.streams.tap import Tap, View
from papa.client.output import StreamFiles
from papa.testing import FakePapa

LOOKS = [None, Look(time_format="%H:%M:%S"), Look(time_format="%A %s", color="red"), Look(form=render.JSON)]
SECOND = 1_000_000_000
HOUR = 3600


class Timed(StreamFiles):
    """Files of the fake kernel whose stamps are given."""

    given: list[tuple[int, int, int]]

    def stamps(self, stream: str, start: int, end: int) -> list[tuple[int, int, int]]:
        found = [each for each in self.given if each[0] < end]
        while len(found) > 1 and found[1][0] <= start:
            found.pop(0)
        return [(start, *found[0][1:]), *found[1:]] if found else []


def spawn(papa: FakePapa, number: int, lines: list[tuple[int, bytes]], look: Look | None) -> View:
    spec = {"argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    reply = asyncio.run(papa.spawn(name=str(number), owner="test", fds=True, **spec))
    stamps, at = [], 0
    for at_s, line in lines:
        stamps.append((at, at_s * SECOND, at_s * SECOND))
        papa.write(str(number), "out", line)
        at += len(line)
    files = Timed(reply.fds)
    files.given = stamps
    mine = None if look is None else look._replace(watcher="web", wid=number)
    return View(SourceKey(reply.ok["id"], "out"), Tap(files), 100 + number, 0, look=mine, watcher="web", wid=number)


lines_of_one = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([b"\n", b"one\n", b"two two\n", "é\n".encode(), b"\xff\n"])),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=80)
@given(st.lists(lines_of_one, min_size=1, max_size=3), st.sampled_from(LOOKS), st.booleans())
def test_each_line_is_known_by_who_wrote_it_and_when_also_after_hours_without_a_manager(
    tmp_path_factory: pytest.TempPathFactory, told: list[list[tuple[int, bytes]]], look: Look | None, is_begun: bool
) -> None:
    folder = tmp_path_factory.mktemp("laid")
    path = folder / "web.log"
    path.write_bytes(b"somebody's begun line" if is_begun else b"")
    with FakePapa() as papa:
        views = []
        for number, steps in enumerate(told, 1):
            at_s = 10 * HOUR * number  # each has its hours
            timed = []
            for step_s, line in steps:
                at_s += step_s * HOUR
                timed.append((at_s, line))
            views.append(spawn(papa, number, timed, look))
            told[number - 1] = timed
        sink = FileSink(str(path), "dev:0")
        survey = plan.survey(views, sink.look(), Limits(), is_alone=len(views) == 1, at_ns=1)
        assert survey.batch is not None
        by_key = {view.key: view for view in views}
        written = sink.write(survey.batch, by_key)
        assert written.error is None
        note = sink.laid(written, by_key, 1)
        assert note is not None
        assert note.base + sum(run.length for run in note.runs) == path.stat().st_size
        book = Book(directory_of(str(folder / "state"), str(path)), str(path))
        book.lay(note)
        book.close()
        sink.close()
        for view in views:
            view.tap.files.close()
    reader = LogReader(Entry(str(path), watchers={"web": {"stdout"}}), str(folder / "state"), Query(frozenset({"web"})))
    reader.open()
    found = [line for line in reader.forward(reader.begin) if line.at_ns]
    reader.close()
    for number, timed in enumerate(told, 1):
        mine = [(line.at_ns, line.data) for line in found if line.source and line.source.wid == number]
        assert mine == [(at_s * SECOND, line.removesuffix(b"\n")) for at_s, line in timed]
        assert {line.source.pid for line in found if line.source and line.source.wid == number} == {100 + number}


def test_what_cannot_be_said_is_not_indexed(tmp_path: Path) -> None:
    assert laid.laid_of("/none", -1, [], {}, 1) is None
