from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papa.client.output import COPY_CHUNK, Overtaken, StreamFiles
from papa.core import index
from papa.errors import PapaError


class Writer:
    """The kernel's side of one process's files."""

    def __init__(self, directory: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT
        self.paths = {name: directory / name for name in ("out", "err", "index")}
        self.fds = {name: os.open(path, flags) for name, path in self.paths.items()}
        self.low = {"out": 0, "err": 0}
        self.dropped = {"out": 0, "err": 0}
        self.first = index.HEADER_SIZE
        self.write_header()

    def write_header(self) -> None:
        os.pwrite(self.fds["index"], index.pack_header(self.low, self.dropped, self.first), 0)

    def date(self, stream: str, offset: int, wall_ns: int, *, place: int | None = None) -> None:
        end = os.fstat(self.fds["index"]).st_size
        record = index.pack_record(stream, offset, wall_ns, wall_ns + 1)
        os.pwrite(self.fds["index"], record, end if place is None else place)

    def write(self, stream: str, data: bytes, wall_ns: int = 1) -> None:
        head = os.fstat(self.fds[stream]).st_size
        self.date(stream, head, wall_ns)
        os.pwrite(self.fds[stream], data, head)

    def advance(self, stream: str, low: int) -> None:
        self.dropped[stream] += low - self.low[stream]
        self.low[stream] = low
        self.write_header()

    def reader(self) -> StreamFiles:
        return StreamFiles({name: os.open(path, os.O_RDONLY) for name, path in self.paths.items()})

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path)
    yield made
    made.close()


def test_a_reader_sees_what_was_written_and_the_marks(writer: Writer) -> None:
    with writer.reader() as files:
        writer.write("out", b"hello\n")
        writer.write("err", b"oh")
        assert files.streams == ("out", "err")
        assert (files.head("out"), files.head("err")) == (6, 2)
        assert files.pread("out", 1, 3) == b"ell"
        assert files.pread("out", 4, 100) == b"o\n"
        assert (files.low("out"), files.dropped("out")) == (0, 0)
        writer.advance("out", 4)
        assert (files.low("out"), files.dropped("out"), files.low("err")) == (4, 4, 0)


def test_bytes_that_may_be_holes_are_never_returned(writer: Writer) -> None:
    with writer.reader() as files:
        writer.write("out", b"0123456789")
        writer.advance("out", 5)
        with pytest.raises(Overtaken) as caught:
            files.pread("out", 4, 2)
        assert (caught.value.code, caught.value.stream, caught.value.new_low) == ("overtaken", "out", 5)
        assert files.pread("out", 5, 5) == b"56789"


def test_a_copy_goes_from_file_to_file_at_the_target_s_position(writer: Writer, tmp_path: Path) -> None:
    data = os.urandom(3 * COPY_CHUNK + 17)
    writer.write("out", data)
    target = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    os.write(target, b"before ")
    with writer.reader() as files:
        assert files.copy_to("out", 10, len(data), target) == len(data) - 10
        assert files.copy_to("out", 0, 10, target) == 10
    os.close(target)
    assert (tmp_path / "log").read_bytes() == b"before " + data[10:] + data[:10]


def test_a_copy_ends_at_the_head(writer: Writer, tmp_path: Path) -> None:
    writer.write("out", b"abc")
    target = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    with writer.reader() as files:
        assert files.copy_to("out", 1, 1000, target) == 2
        assert files.copy_to("out", 3, 1000, target) == 0
    os.close(target)


def test_a_copy_to_an_append_only_file(writer: Writer, tmp_path: Path) -> None:
    data = os.urandom(2 * COPY_CHUNK + 1)
    writer.write("err", data)
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with writer.reader() as files:
        assert files.copy_to("err", 0, len(data), target) == len(data)
    os.close(target)
    assert (tmp_path / "log").read_bytes() == data


def test_of_an_overtaken_copy_nothing_void_stands_in_the_target(writer: Writer, tmp_path: Path) -> None:
    data = os.urandom(3 * COPY_CHUNK)
    writer.write("out", data)
    target = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)

    class Overtaking(StreamFiles):
        def _check(self, stream: str, offset: int) -> None:
            if offset == COPY_CHUNK:
                writer.advance("out", 2 * COPY_CHUNK)
            super()._check(stream, offset)

    with Overtaking({name: os.open(path, os.O_RDONLY) for name, path in writer.paths.items()}) as files:
        assert files.copy_to("out", 0, len(data), target) == COPY_CHUNK
        with pytest.raises(Overtaken) as caught:
            files.copy_to("out", COPY_CHUNK, len(data), target)
        assert caught.value.new_low == 2 * COPY_CHUNK
        assert files.copy_to("out", 2 * COPY_CHUNK, len(data), target) == COPY_CHUNK
    os.close(target)
    assert (tmp_path / "log").read_bytes() == data[:COPY_CHUNK] + data[2 * COPY_CHUNK :]


def test_bytes_in_a_pipe_do_not_turn_into_holes_when_they_are_acknowledged(writer: Writer) -> None:
    data = b"x" * 10_000
    writer.write("out", data)
    read_end, write_end = os.pipe()
    with writer.reader() as files:
        assert files.copy_to("out", 0, len(data), write_end) == len(data)
    # What punching does to pages that a pipe only refers to.
    os.pwrite(writer.fds["out"], bytes(9000), 0)
    os.ftruncate(writer.fds["out"], 0)
    assert os.read(read_end, len(data)) == data
    os.close(read_end)
    os.close(write_end)


def test_a_full_pipe_makes_a_copy_short(writer: Writer) -> None:
    data = b"x" * 200_000
    writer.write("out", data)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with writer.reader() as files:
        copied = files.copy_to("out", 0, len(data), write_end)
        assert 0 < copied < len(data)
        assert files.copy_to("out", copied, len(data), write_end) == 0
    assert len(os.read(read_end, len(data))) == copied
    os.close(read_end)
    os.close(write_end)


def test_a_target_that_cannot_be_written_is_an_error_of_the_system(writer: Writer, tmp_path: Path) -> None:
    writer.write("out", b"abc")
    target = os.open(tmp_path / "log", os.O_RDONLY | os.O_CREAT)
    with writer.reader() as files, pytest.raises(OSError):
        files.copy_to("out", 0, 3, target)
    os.close(target)


def test_stamps_say_when_each_part_arrived(writer: Writer) -> None:
    with writer.reader() as files:
        writer.write("out", b"aaa", 10)
        writer.write("err", b"eee", 11)
        writer.write("out", b"bbb", 20)
        assert files.stamps("out", 0, 6) == [(0, 10, 11), (3, 20, 21)]
        assert files.stamps("out", 1, 3) == [(1, 10, 11)]
        assert files.stamps("out", 4, 6) == [(4, 20, 21)]
        assert files.stamps("out", 2, 2) == []
        writer.write("out", b"ccc", 30)
        assert files.stamps("out", 5, 9) == [(5, 20, 21), (6, 30, 31)]
        assert files.stamps("err", 0, 3) == [(0, 11, 12)]


def test_a_record_whose_bytes_never_came_may_be_written_anew(writer: Writer) -> None:
    with writer.reader() as files:
        writer.write("out", b"aaa", 10)
        place = os.fstat(writer.fds["index"]).st_size
        writer.date("out", 3, 20)
        assert files.stamps("out", 0, 3) == [(0, 10, 11)]
        writer.date("out", 3, 30, place=place)
        os.pwrite(writer.fds["out"], b"bbb", 3)
        assert files.stamps("out", 0, 6) == [(0, 10, 11), (3, 30, 31)]


def test_stamps_survive_the_loss_of_old_records(writer: Writer) -> None:
    with writer.reader() as files:
        for wall_ns in range(1, 6):
            writer.write("out", b"abc", wall_ns)
        assert len(files.stamps("out", 0, 15)) == 5
        writer.first += 2 * index.RECORD_SIZE
        writer.advance("out", 7)
        assert files.stamps("out", 7, 15) == [(7, 3, 4), (9, 4, 5), (12, 5, 6)]
    with writer.reader() as late:
        assert late.stamps("out", 7, 15) == [(7, 3, 4), (9, 4, 5), (12, 5, 6)]


def test_a_reader_that_is_far_behind_knows_each_stamp_in_few_bytes(writer: Writer) -> None:
    count = 5_000
    at_ns = 10**18 + count - 1
    for number in range(count):
        writer.write("out", b"x", 10**18 + number)
    with writer.reader() as files:
        tracemalloc.start()
        try:
            assert files.stamps("out", count - 1, count) == [(count - 1, at_ns, at_ns + 1)]
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept / count < 40


@given(
    st.lists(st.tuples(st.sampled_from(["out", "err"]), st.integers(0, 3)), max_size=30),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 30),
)
def test_stamps_are_those_of_the_core(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[str, int]], start: int, size: int, look: int
) -> None:
    writer = Writer(tmp_path_factory.mktemp("index"))
    with writer.reader() as files:
        for number, (stream, count) in enumerate(arrivals):
            writer.write(stream, b"x" * count, number)
            if number == look:
                files.stamps("out", 0, files.head("out"))
        end = min(start + size, files.head("out"))
        records = writer.paths["index"].read_bytes()[index.HEADER_SIZE :]
        expected = index.stamps_between(records, "out", files.head("out"), start, end)
        assert files.stamps("out", start, end) == expected
    writer.close()


def test_a_process_without_captured_output_has_no_files(tmp_path: Path) -> None:
    with StreamFiles({"pid": 0}) as files:
        assert files.streams == ()


def test_output_without_its_index_is_refused(writer: Writer) -> None:
    with pytest.raises(PapaError, match="index"):
        StreamFiles({"out": writer.fds["out"]})


def test_an_index_that_is_none_is_refused(writer: Writer) -> None:
    os.pwrite(writer.fds["index"], b"nonsense", 0)
    with writer.reader() as files, pytest.raises(PapaError, match="header"):
        files.low("out")


def test_closing_gives_every_descriptor_back_once(writer: Writer) -> None:
    fds = {name: os.open(path, os.O_RDONLY) for name, path in writer.paths.items()}
    files = StreamFiles(fds)
    files.close()
    files.close()
    for fd in fds.values():
        with pytest.raises(OSError):
            os.fstat(fd)
