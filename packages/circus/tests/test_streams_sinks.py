from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from circus.config.model import StreamConfig
from circus.errors import CircusError
from circus.streams import render, sinks
from circus.streams.filling import Batch
from circus.streams.sinks import DeviceSink, FileSink, StdoutSink
from circus.streams.store import DATA, DOUBT, GAP, NOBODY, Segment, SourceKey
from circus.streams.tap import Tap, View
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


def spawn(papa: FakePapa, data: bytes, name: str = "a") -> View:
    spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    reply = asyncio.run(papa.spawn(**spec, owner="test", fds=True))
    papa.write(name, "out", data)
    return View(SourceKey(reply.ok["id"], "out"), open_tap(reply.fds), 77, 0)


def batch_of(view: View, start: int, end: int, **fields: object) -> Batch:
    return Batch((Segment(view.key, start, end),), **fields)  # type: ignore[arg-type]


# Which sink -------------------------------------------------------------------------------------------------


def test_a_stream_without_a_section_goes_to_standard_output() -> None:
    assert isinstance(sinks.open_sink(None), StdoutSink)
    assert isinstance(sinks.open_sink(StreamConfig(class_name="StdoutStream")), StdoutSink)
    assert sinks.path_of(None) == StdoutSink.path


def test_two_names_of_one_file_are_one_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    configs = [StreamConfig(class_name="FileStream", filename=str(tmp_path / d / "l")) for d in ("real", "link")]
    assert sinks.open_sink(configs[0]).path == sinks.open_sink(configs[1]).path == sinks.path_of(configs[1])
    assert sinks.open_sink(configs[0]).worker_key == f"dev:{tmp_path.stat().st_dev}"


def test_what_is_no_regular_file_is_a_device(tmp_path: Path) -> None:
    assert isinstance(sinks.open_sink(StreamConfig(class_name="FileStream", filename="/dev/null")), DeviceSink)


def test_a_class_that_is_not_known_is_refused() -> None:
    with pytest.raises(CircusError) as caught:
        sinks.open_sink(StreamConfig(class_name="my.own.Stream"))
    assert caught.value.code == "config-invalid"


# Files ------------------------------------------------------------------------------------------------------


def test_a_file_is_made_when_it_is_looked_at_and_kept_what_it_had(log: FileSink) -> None:
    assert log.look().size == 0
    Path(log.path).write_bytes(b"before\n")
    place = log.look()
    assert (place.size, place.at_line_start, place.last) == (7, True, NOBODY)


def test_segments_are_copied_behind_what_is_there(papa: FakePapa, log: FileSink) -> None:
    Path(log.path).write_bytes(b"before\n")
    view = spawn(papa, b"one\ntwo\n")
    log.look()
    written = log.write(batch_of(view, 0, 8), {view.key: view})
    assert written.done == {view.key: 8}
    assert Path(log.path).read_bytes() == b"before\none\ntwo\n"
    assert written.place == log.look()
    assert written.place is not None
    assert written.place.last == view.key


def test_a_line_never_holds_bytes_of_two_sources(papa: FakePapa, log: FileSink) -> None:
    one, two = spawn(papa, b"one", "one"), spawn(papa, b"two", "two")
    views = {one.key: one, two.key: two}
    log.look()
    log.write(batch_of(one, 0, 2), views)
    log.write(batch_of(one, 2, 3), views)
    log.write(batch_of(two, 0, 3), views)
    assert Path(log.path).read_bytes() == b"one\ntwo"


def test_marks_stand_on_lines_of_their_own(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, b"onetwo\n")
    log.look()
    segments = (
        Segment(NOBODY, 0, 9, DOUBT),
        Segment(view.key, 0, 3, DATA),
        Segment(view.key, 3, 4, GAP),
        Segment(view.key, 4, 7, DATA),
    )
    written = log.write(Batch(segments), {view.key: view})
    assert written.done == {view.key: 7}
    expected = render.doubt_mark(9) + b"one\n" + render.gap_mark(1) + b"wo\n"
    assert Path(log.path).read_bytes() == expected


def test_a_rotation_shifts_the_backups_and_goes_on_in_a_new_file(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, b"1\n2\n3\n4\n")
    log.look()
    for start in (0, 2, 4, 6):
        log.write(batch_of(view, start, start + 2, rotate=2 if start else 0), {view.key: view})
    texts = [Path(log.path + suffix).read_bytes() for suffix in ("", ".1", ".2")]
    assert texts == [b"4\n", b"3\n", b"2\n"]
    assert not os.path.exists(log.path + ".3")


def test_a_file_that_was_moved_away_is_made_anew(papa: FakePapa, log: FileSink, tmp_path: Path) -> None:
    view = spawn(papa, b"1\n2\n")
    before = log.look()
    log.write(batch_of(view, 0, 2), {view.key: view})
    os.rename(log.path, tmp_path / "moved")
    after = log.look()
    assert after.ino != before.ino
    assert after.last == NOBODY
    log.write(batch_of(view, 2, 4), {view.key: view})
    assert ((tmp_path / "moved").read_bytes(), Path(log.path).read_bytes()) == (b"1\n", b"2\n")


def test_the_hash_of_the_first_bytes_follows_the_file(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, b"x" * 600)
    hashes = [log.look().head_hash]
    for start in (0, 100, 300):
        log.write(batch_of(view, start, start + 200), {view.key: view})
        hashes.append(log.look().head_hash)
    assert len(set(hashes)) == 3, "it stands still once 256 bytes are there"


def test_bytes_that_were_dropped_under_our_hands_are_taken_back(papa: FakePapa, log: FileSink) -> None:
    view = spawn(papa, b"one\ntwo\n")
    log.look()
    log.write(batch_of(view, 0, 4), {view.key: view})
    papa.drop_oldest("a", "out", 7)
    written = log.write(batch_of(view, 4, 8), {view.key: view})
    assert written.error is None
    assert written.done == {}
    assert Path(log.path).read_bytes() == b"one\n"


def test_a_full_disk_keeps_what_was_copied_and_takes_back_a_begun_mark(
    papa: FakePapa, log: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = spawn(papa, b"one\ntwo\n")
    log.look()
    write, room = os.write, 10

    def write_until_full(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(fd, data[:room])
        room -= count
        return count

    monkeypatch.setattr(os, "write", write_until_full)
    batch = Batch((Segment(view.key, 0, 4), Segment(view.key, 4, 5, GAP), Segment(view.key, 5, 8)))
    written = log.write(batch, {view.key: view})
    assert written.error is not None
    assert written.error.errno == errno.ENOSPC
    assert written.done == {view.key: 4}
    assert Path(log.path).read_bytes() == b"one\n"
    assert written.place is not None
    assert written.place.size == 4


def test_a_rendered_batch_is_written_as_a_whole_or_not_at_all(
    papa: FakePapa, log: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = spawn(papa, b"one\n")
    log.look()
    write, calls = os.write, 0

    def write_a_little(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:3])

    monkeypatch.setattr(os, "write", write_a_little)
    written = log.write(batch_of(view, 0, 4, payload=b"prefix one\n"), {view.key: view})
    assert written.error is not None
    assert written.done == {}
    assert Path(log.path).read_bytes() == b""
    written = log.write(batch_of(view, 0, 4, payload=b"prefix one\n"), {view.key: view})
    assert written.done == {view.key: 4}
    assert Path(log.path).read_bytes() == b"prefix one\n"


def test_a_missing_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    sink = sinks.open_file(str(tmp_path / "no" / "web.log"))
    with pytest.raises(FileNotFoundError) as caught:
        sink.look()
    assert caught.value.filename == sink.path


def test_a_fifo_in_the_place_of_a_file_is_refused_without_hanging(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    sink = sinks.open_file(str(path))
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        sink.look()


# Pipes and standard output ----------------------------------------------------------------------------------


def fill(fd: int) -> int:
    """Fill a pipe; how much went in."""
    os.set_blocking(fd, False)
    count = 0
    try:
        while True:
            count += os.write(fd, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)
    return count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


KEY = SourceKey(1, "out")


def payload(data: bytes) -> Batch:
    return Batch((Segment(KEY, 0, len(data)),), payload=data)


def test_standard_output_takes_whole_batches(pipe: tuple[int, int]) -> None:
    sink = StdoutSink(pipe[1])
    written = sink.write(payload(b"one\n" * 3000), {})
    assert (written.done, written.dropped_bytes) == ({KEY: 12000}, 0)
    assert os.read(pipe[0], 20000) == b"one\n" * 3000
    assert sink.look().last == KEY


def test_a_blocked_standard_output_drops_and_says_so_later(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "STDOUT_PATIENCE_S", 0.01)
    reader, writer = pipe
    sink = StdoutSink(writer)
    filled = fill(writer)
    written = sink.write(payload(b"lost\n"), {})
    assert (written.done, written.dropped_bytes) == ({KEY: 5}, 5)
    assert sink.write(payload(b"too\n"), {}).dropped_bytes == 4
    while filled:
        filled -= len(os.read(reader, filled))
    assert sink.write(payload(b"here\n"), {}).dropped_bytes == 0
    assert sink.write(payload(b"again\n"), {}).dropped_bytes == 0
    assert os.read(reader, 1000) == b"\n" + render.gap_mark(9) + b"here\nagain\n"


def test_a_closed_standard_output_drops_everything(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    sink = StdoutSink(pipe[1])
    assert sink.write(payload(b"lost\n"), {}).dropped_bytes == 5
    assert sink.write(payload(b"lost\n"), {}).done == {KEY: 5}
    assert StdoutSink(9999).write(payload(b"lost\n"), {}).dropped_bytes == 5


def test_standard_output_stays_as_others_have_it(pipe: tuple[int, int]) -> None:
    StdoutSink(pipe[1]).write(payload(b"one\n"), {})
    assert os.get_blocking(pipe[1])


def test_a_pipe_by_name_keeps_what_was_not_taken_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "DEVICE_PATIENCE_S", 0.01)
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    sink = sinks.open_sink(StreamConfig(class_name="FileStream", filename=path))
    with pytest.raises(OSError, match=r"\[Errno 6\]"):
        sink.look()  # nobody reads
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sink.look()
        data = b"0123456789abcde\n" * 16384
        assert sink.write(payload(data), {}).done == {KEY: len(data)}
        with pytest.raises(BlockingIOError):
            sink.look()
        got = b""
        while len(got) < len(data):
            try:
                got += os.read(reader, 65536)
            except BlockingIOError:
                try:
                    sink.look()
                except BlockingIOError:
                    pass
        assert got == data
    finally:
        os.close(reader)
        sink.close()


def test_a_pipe_whose_reader_has_gone_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    sink = DeviceSink(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.look()
    os.close(reader)
    written = sink.write(payload(b"one\n"), {})
    assert written.error is not None
    assert written.done == {}
    sink.close()


def test_sockets_are_written_to_without_blocking() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert sinks.write_patiently(ours.fileno(), b"one\n", 0.1) == b""
        assert theirs.recv(100) == b"one\n"


def test_a_view_is_only_read_where_the_batch_says(papa: FakePapa, log: FileSink) -> None:
    view = replace(spawn(papa, b"one\ntwo\nthree\n"), start=4)
    log.look()
    log.write(batch_of(view, 4, 8), {view.key: view})
    assert Path(log.path).read_bytes() == b"two\n"


def test_a_descriptor_that_has_become_useless_is_opened_anew(log: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    log.look()
    fstat = os.fstat

    def fail(fd: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", fstat)
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "fstat", fail)
    with pytest.raises(OSError, match="Stale"):
        log.look()
    assert log.look().size == 0


def test_a_pipe_whose_reader_is_gone_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "DEVICE_PATIENCE_S", 0.01)
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    sink = DeviceSink(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.look()
    sink.write(payload(b"x" * 100_000), {})
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sink.look()
    assert sink._fd == -1
    with pytest.raises(OSError, match=r"\[Errno 6\]"):
        sink.look()  # nobody reads
