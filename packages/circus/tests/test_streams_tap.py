from __future__ import annotations

import asyncio

from circus.config.model import StreamConfig
from circus.streams.render import Look
from circus.streams.store import SourceKey
from circus.streams.tap import Process, Source, Tap
from papa.client.output import StreamFiles
from papa.testing import FakePapa


def tap_of(papa: FakePapa) -> Tap:
    spec = {"name": "a", "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    return Tap(StreamFiles(asyncio.run(papa.spawn(**spec, owner="test", fds=True)).fds))


def is_open(tap: Tap) -> bool:
    try:
        tap.files.head("out")
    except (OSError, KeyError):
        return False
    return True


def test_files_stay_open_until_the_last_thread_is_back() -> None:
    with FakePapa() as papa:
        tap = tap_of(papa)
        tap.acquire()
        tap.acquire()
        tap.retire()
        tap.release()
        assert is_open(tap)
        tap.release()
        assert not is_open(tap)


def test_files_that_nobody_reads_are_closed_at_once() -> None:
    with FakePapa() as papa:
        tap = tap_of(papa)
        tap.acquire()
        tap.release()
        assert is_open(tap)
        tap.retire()
        assert not is_open(tap)


def test_stamps_say_when_bytes_arrived() -> None:
    with FakePapa() as papa:
        tap = tap_of(papa)
        papa.write("a", "out", b"one")
        papa.clock.advance(1)
        papa.write("a", "out", b"two")
        first, second = tap.stamps("out", 0, 6)
        assert (first[0], second[0]) == (0, 3)
        assert second[1] - first[1] == 1_000_000_000
        tap.files.close()


def test_a_source_is_finished_when_its_end_is_committed() -> None:
    with FakePapa() as papa:
        tap = tap_of(papa)
        source = Source(SourceKey(1, "out"), tap, "web", 1, 7, written=0, committed=0)
        process = Process(1, "web", tap, sources={"out": source})
        assert not source.is_finished
        source.end = 5
        source.written = 5
        assert not process.is_finished
        source.committed = 5
        assert process.is_finished
        tap.files.close()


def test_a_view_is_the_source_at_that_moment() -> None:
    with FakePapa() as papa:
        tap = tap_of(papa)
        config = StreamConfig(class_name="FileStream", filename="/l", time_format="%T")
        source = Source(SourceKey(1, "out"), tap, "web", 1, 7, written=3, committed=2, config=config, release_to=9)
        view = source.view()
        source.written = 4
        assert (view.start, view.release_to, view.look, view.pid) == (3, 9, Look(time_format="%T"), 7)
        tap.files.close()
