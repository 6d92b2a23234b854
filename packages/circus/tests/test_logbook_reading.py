"""Logs read by their index: against a plain list of lines, over rotation and compression, by cursor."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circus.logbook import entries, files, reading, writing
from circus.logbook.catalogue import Entry
from circus.logbook.entries import Run, Source
from circus.logbook.matching import Pattern
from circus.logbook.reading import Line, LogReader, Query
from circus.logbook.writing import Book, Laid

SECOND = 1_000_000_000
SOURCES = [Source("web", 1, 10, "stdout"), Source("web", 2, 11, "stderr"), Source("db", 1, 12, "stdout")]
ALL = Query(frozenset({"web", "db"}))


class Log:
    """A log that is written as circusd does, and a plain list of what was written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "web.log"
        self.logs = folder / "state"
        self.told: list[tuple[int, Source, bytes]] = []
        self._book = self.new_book()

    def new_book(self) -> Book:
        self._book = Book(writing.directory_of(str(self.logs), str(self.path)), str(self.path))
        return self._book

    def write(self, *lines: tuple[int, Source, bytes], is_indexed: bool = True) -> None:
        with self.path.open("ab") as file:
            base = file.tell()
            file.write(b"".join(line for _, _, line in lines))
        self.told += [(at_s * SECOND, source, line.removesuffix(b"\n")) for at_s, source, line in lines]
        if is_indexed:
            found = self.path.stat()
            runs = tuple(entries.joined(Run(source, len(line), at_s * SECOND) for at_s, source, line in lines))
            head = self.path.read_bytes()[: writing.HEAD_BYTES]
            alive = frozenset(each.inode() for each in os.scandir(self.path.parent))
            self._book.lay(Laid(str(self.path), found.st_dev, found.st_ino, base, head, runs, alive))

    def rotate(self) -> None:
        backups = sorted(self.path.parent.glob("web.log.*"), key=lambda path: -int(path.name.split(".")[2]))
        for backup in backups:
            _, _, number, *gz = backup.name.split(".")
            backup.rename(".".join([str(self.path), str(int(number) + 1), *gz]))
        if self.path.exists():
            self.path.rename(f"{self.path}.1")

    def compress(self, number: int) -> None:
        plain = Path(f"{self.path}.{number}")
        if plain.exists():
            packed = Path(f"{plain}.gz")
            packed.write_bytes(gzip.compress(plain.read_bytes()))
            old, new = plain.stat(), packed.stat()
            os.utime(packed, ns=(old.st_atime_ns, old.st_mtime_ns))
            directory = writing.directory_of(str(self.logs), str(self.path))
            writing.follow(directory, (old.st_dev, old.st_ino), (new.st_dev, new.st_ino))
            plain.unlink()

    def reader(self, query: Query = ALL) -> LogReader:
        streams = {"web": {"stdout", "stderr"}, "db": {"stdout"}}
        reader = LogReader(Entry(str(self.path), watchers=streams), str(self.logs), query)
        reader.open()
        return reader

    def close(self) -> None:
        self._book.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    yield log
    log.close()


def said(lines: list[Line]) -> list[tuple[int, Source | None, bytes]]:
    return [(line.at_ns, line.source, line.data) for line in lines]


def forward(reader: LogReader, position: int | None = None) -> list[Line]:
    lines = list(reader.forward(reader.begin if position is None else position))
    reader.close()
    return lines


texts = st.sampled_from([b"\n", b"one\n", b"ERROR two\n", b"x" * 40 + b"\n", "é\n".encode(), b"\xff\n"])
lines = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(SOURCES), texts), min_size=1, max_size=6)
steps = st.lists(
    st.one_of(lines, st.sampled_from(["rotate", "compress 1", "compress 2", "kill"])), min_size=1, max_size=12
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(steps, st.sampled_from([7, 64, 4096]), st.randoms(use_true_random=False))
def test_the_log_is_the_plain_list_of_its_lines(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object], chunk: int, dice: random.Random
) -> None:
    log = Log(tmp_path_factory.mktemp("log"))
    chunk, files.CHUNK = files.CHUNK, chunk
    at_s = 1
    cursors: list[tuple[int, int]] = []  # position, how many lines stand before it
    try:
        for step in steps:
            if isinstance(step, list):
                at_s += 50
                log.write(*((at_s + late_s, source, text) for late_s, source, text in step))
                some = forward(log.reader())
                number = dice.randrange(len(some))
                cursors.append((some[number].end, number + 1))
            elif step == "rotate":
                log.rotate()
            elif step == "kill":
                log.close()
                log.new_book()
            else:
                log.compress(int(str(step).split()[1]))
        told = log.told
        assert said(forward(log.reader())) == told
        for count in (1, 3, len(told), len(told) + 5):
            reader = log.reader()
            assert said(reader.last(count, reader.end)) == told[-count:]
            reader.close()
        for position, number in cursors:
            assert said(forward(log.reader(), position)) == told[number:]
        for query in (
            Query(frozenset({"web"}), pattern=Pattern("ERR")),
            Query(frozenset({"web"}), stream="stderr"),
            Query(frozenset({"web", "db"}), wid=1, pattern=Pattern(r"^\w+$")),
            Query(frozenset({"web", "db"}), since_ns=60 * SECOND, until_ns=110 * SECOND),
        ):
            wanted = [each for each in told if _is_wanted(query, each)]
            reader = log.reader(query)
            assert said(list(reader.forward(reader.first_since(query.since_ns)))) == wanted
            assert said(reader.last(2, reader.end)) == wanted[-2:]
            reader.close()
    finally:
        files.CHUNK = chunk
        log.close()


def _is_wanted(query: Query, told: tuple[int, Source, bytes]) -> bool:
    at_ns, source, data = told
    return (
        source.watcher in query.watchers
        and query.stream in (None, source.stream)
        and query.wid in (None, source.wid)
        and query.since_ns <= at_ns <= query.until_ns
        and (query.pattern is None or bool(query.pattern.finds(data)))
    )


WEB = SOURCES[0]


def test_a_cursor_whose_place_is_gone_says_how_much_is_missing(log: Log) -> None:
    log.write((1, WEB, b"one\n"), (2, WEB, b"two\n"))
    position = forward(log.reader())[0].end
    log.rotate()
    log.write((3, WEB, b"three\n"))
    Path(f"{log.path}.1").unlink()
    reader = log.reader()
    assert [line.data for line in reader.forward(position)] == [b"three"]
    assert reader.missing == len(b"two\n")
    reader.close()


def test_files_without_an_index_are_shown_without_times_before_the_others(log: Log) -> None:
    log.path.write_bytes(b"old 1\nold 2\n")
    log.rotate()
    log.path.write_bytes(b"newer\n")
    os.utime(f"{log.path}.1", (5, 5))
    log.write((7, WEB, b"web\n"))
    found = forward(log.reader())
    assert [(line.data, line.at_ns, line.source) for line in found] == [
        (b"old 1", 0, None),
        (b"old 2", 0, None),
        (b"newer", 0, None),
        (b"web", 7 * SECOND, WEB),
    ]
    assert said(forward(log.reader(), found[1].end)) == said(found[2:])
    log.rotate()
    log.write((8, WEB, b"last\n"))
    assert [line.data for line in forward(log.reader(), found[0].end)] == [b"old 2", b"newer", b"web", b"last"]


def test_what_nobody_indexed_belongs_to_the_only_stream_of_the_log(log: Log) -> None:
    log.path.write_bytes(b"old\n")
    reader = LogReader(Entry(str(log.path), watchers={"web": {"stdout"}}), str(log.logs), ALL)
    reader.open()
    (line,) = forward(reader)
    assert line.source is not None
    assert (line.source.watcher, line.source.stream, line.at_ns) == ("web", "stdout", 0)


def test_since_leaves_out_whole_files_that_nobody_dated_by_when_they_were_last_written(log: Log) -> None:
    log.path.write_bytes(b"old\n")
    os.utime(log.path, (5, 5))
    log.rotate()
    log.write((100, WEB, b"new\n"))
    query = Query(frozenset({"web"}), since_ns=50 * SECOND)
    reader = log.reader(query)
    assert [line.data for line in reader.forward(reader.first_since(50 * SECOND))] == [b"new"]
    assert [line.data for line in reader.last(10, reader.end)] == [b"new"]
    reader.close()


def test_what_circusd_put_before_a_line_is_taken_away(log: Log) -> None:
    prefixed = Source("web", 1, 77, "stdout", entries.PREFIXED)
    log.write((1, prefixed, b"10:00 [77] | hello [77] | x\n"), (2, prefixed, b"\033[0;31;40m10 [77] | red\033[0m\n"))
    log.write((3, prefixed, b"no prefix\n"))
    rows = json.dumps({"time": "x", "watcher": "db", "wid": 4, "pid": 5, "stream": "stderr", "line": "é\n", "more": 1})
    raw = '{"watcher":"db","wid":4,"pid":5,"stream":"stderr","line":"?","raw":"/w=="}'
    json_source = Source("web", 1, 77, "stdout", entries.JSON)
    log.write((4, json_source, rows.encode() + b"\n"), (4, json_source, raw.encode() + b"\nnot json\n"))
    found = forward(log.reader())
    assert [line.data for line in found] == [
        b"hello [77] | x", b"red", b"no prefix", "é\n".encode(), b"\xff", b"not json",
    ]  # fmt: skip
    assert found[3].source == Source("db", 4, 5, "stderr", entries.JSON)
    pattern = Query(ALL.watchers, pattern=Pattern("^(hello|é|10)"))
    assert [line.data for line in forward(log.reader(pattern))] == [b"hello [77] | x", "é\n".encode()]


def test_lines_of_several_logs_come_in_the_order_of_writing(tmp_path: Path) -> None:
    one, other = Log(tmp_path / "a"), Log(tmp_path / "b")
    one.write((1, WEB, b"1\n"), (4, WEB, b"4\n"), (3, WEB, b"late\n"), (6, WEB, b"6\n"))
    other.write((2, WEB, b"2\n"), (5, WEB, b"5\n"))
    merged = reading.merged([forward(one.reader()), forward(other.reader())])
    assert [line.data for line in merged] == [b"1", b"2", b"4", b"late", b"5", b"6"]
    one.close()
    other.close()


def test_while_a_file_is_compressed_its_lines_come_once(log: Log) -> None:
    log.write((1, WEB, b"one\n"))
    log.rotate()
    log.write((2, WEB, b"two\n"))
    Path(f"{log.path}.1.gz").write_bytes(gzip.compress(Path(f"{log.path}.1").read_bytes()))
    assert [line.data for line in forward(log.reader())] == [b"one", b"two"]


def test_a_damaged_compressed_file_gives_what_can_be_had(log: Log) -> None:
    log.write((1, WEB, b"one\n" * 5000))
    packed = gzip.compress(log.path.read_bytes(), 0)
    log.path.unlink()
    Path(f"{log.path}.1.gz").write_bytes(packed[: len(packed) // 2])
    log.path.write_bytes(b"two\n")
    assert {line.data for line in forward(log.reader())} >= {b"one", b"two"}


def test_files_that_rotation_by_time_made_are_in_their_order(log: Log) -> None:
    for name, text in ((".20261120", b"1\n"), (".20261121", b"2\n"), (".20261121.2", b"3\n"), ("", b"4\n")):
        Path(f"{log.path}{name}").write_bytes(text)
    Path(f"{log.path}.bak").write_bytes(b"no\n")
    Path(f"{log.path}.20261119.gz").write_bytes(gzip.compress(b"0\n"))
    assert [line.data for line in forward(log.reader())] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_log_that_is_not_there_is_empty(log: Log) -> None:
    assert forward(log.reader()) == []
    reader = log.reader()
    assert (reader.end, reader.whole_end, reader.last(5, 0), reader.more()) == (0, 0, [], [])


# What comes -------------------------------------------------------------------------------------------------


def test_what_comes_is_followed_over_rotation_compression_and_truncation(log: Log) -> None:
    reader = log.reader()
    got: list[bytes] = []

    def look() -> list[bytes]:
        got.extend(line.data for line in reader.more())
        return got

    log.write((1, WEB, b"1\n"))
    assert look() == [b"1"]
    assert look() == [b"1"]
    log.write((2, WEB, b"2\n"))
    log.rotate()
    log.write((3, WEB, b"3\n"))
    assert look() == [b"1", b"2", b"3"]
    log.rotate()
    log.compress(1)
    log.write((4, WEB, b"4\n"))
    assert look()[3:] == [b"4"]
    os.truncate(log.path, 0)  # logrotate's copytruncate
    log.write((5, WEB, b"5\n"))
    assert look()[4:] == [b"5"]
    assert reader.missing == 0
    reader.close()


def test_a_line_is_followed_when_it_has_its_end(log: Log) -> None:
    log.write((1, WEB, b"one\nha"))
    reader = log.reader()
    reader.position = reader.begin
    assert [line.data for line in reader.more()] == [b"one"]
    assert reader.more() == []
    log.write((2, WEB, b"lf\n"))
    assert [(line.data, line.at_ns) for line in reader.more()] == [(b"half", SECOND)]
    reader.close()


def test_what_is_not_indexed_is_followed_after_a_while(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    log.write((1, WEB, b"one\n"))
    log.write((2, WEB, b"two\n"), is_indexed=False)
    reader = log.reader()
    reader.position = reader.begin
    assert [line.data for line in reader.more()] == [b"one"]
    assert reader.more() == []
    clock[0] += reading.NEXT_CIRCUSD_S
    assert [(line.data, line.source) for line in reader.more()] == [(b"two", None)]
    log.write((3, WEB, b"three\n"), is_indexed=False)
    assert [line.data for line in reader.more()] == [b"three"]  # nobody waits for an index that was given up
    log.write((4, WEB, b"four\n"))
    assert [(line.data, line.source) for line in reader.more()] == [(b"four", WEB)]
    for number in range(5, 9):  # an index that is behind at each look comes further all the same
        clock[0] += reading.NEXT_CIRCUSD_S / 2
        log.write((number, WEB, b"next\n"), is_indexed=False)
        shown = reader.more()
        assert [line.source for line in shown] == ([None, WEB] if number > 5 else [])
        log.write((number, WEB, b"next\n"))
    reader.close()


def test_a_log_without_an_index_is_followed_over_its_rotation(log: Log) -> None:
    log.write((1, WEB, b"1\n"), is_indexed=False)
    reader = log.reader()
    reader.position = reader.end
    log.write((1, WEB, b"2\n"), is_indexed=False)
    log.rotate()
    log.write((1, WEB, b"3\n"), is_indexed=False)
    assert [line.data for line in reader.more()] == [b"2", b"3"]
    reader.close()


def test_a_line_without_end_is_no_reason_to_hold_all_of_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", 100)
    monkeypatch.setattr(files, "MAX_LINE", 300)
    log.path.write_bytes(b"x" * 2000 + b"\nend\n")
    found = forward(log.reader())
    assert max(len(line.data) for line in found) <= 400
    assert b"".join(line.data for line in found) == b"x" * 2000 + b"end"
    reader = log.reader()
    assert b"".join(line.data for line in reader.last(100, reader.end)) == b"x" * 2000 + b"end"
    reader.close()


def follow(reader: LogReader) -> list[bytes]:
    return [line.data for line in reader.more()]


def test_a_first_batch_that_is_laid_once_more_after_a_kill_stays_where_it_was(log: Log) -> None:
    log.write((1, SOURCES[0], b"one\n"), (1, SOURCES[0], b"two\n"))
    reader = log.reader()
    reader.position = reader.begin
    assert follow(reader) == [b"one", b"two"]
    found = log.path.stat()
    again = Laid(
        str(log.path), found.st_dev, found.st_ino, 0, b"one\ntwo\n", (Run(SOURCES[0], 8, SECOND),), is_again=True
    )
    log.new_book().lay(again)
    assert (follow(reader), reader.begin) == ([], 0)
    reader.close()


def test_a_follower_sees_each_line_once_over_many_truncations(log: Log) -> None:
    log.write((1, SOURCES[0], b"a" * 300 + b"\n"), *[(1, SOURCES[0], b"b\n")] * 50)
    reader = log.reader()
    reader.position = reader.begin
    assert len(follow(reader)) == 51
    for number in range(3):
        Path(f"{log.path}.1").write_bytes(log.path.read_bytes())
        os.truncate(log.path, 0)
        assert follow(reader) == []
        for line in (b"%d first %s" % (number, b"a" * 300), b"%d second" % number):
            log.write((2 + number, SOURCES[0], line + b"\n"))
            assert follow(reader) == [line]
        assert reader.missing == 0
    reader.close()


def test_a_line_that_was_written_in_two_parts_is_never_cut_by_a_moment(log: Log) -> None:
    log.write((100, SOURCES[0], b"zero\n"), (200, SOURCES[0], b"abc"))
    log.write((300, SOURCES[0], b"def\n"), (350, SOURCES[0], b"last\n"))
    since = log.reader(Query(frozenset({"web"}), since_ns=250 * SECOND))
    assert [line.data for line in forward(since, since.first_since(250 * SECOND))] == [b"last"]
    until = log.reader(Query(frozenset({"web"}), until_ns=220 * SECOND))
    assert [line.data for line in until.last(10, until.end)] == [b"zero", b"abcdef"]
    until.close()


def test_what_is_no_file_but_has_the_name_of_a_backup_is_passed_over(log: Log) -> None:
    log.write((1, SOURCES[0], b"one\n"))
    Path(f"{log.path}.1").mkdir()
    os.mkfifo(f"{log.path}.2")
    assert [line.data for line in forward(log.reader())] == [b"one"]


def test_marks_that_belong_to_nobody_are_shown_unless_somebody_is_asked_for(log: Log) -> None:
    log.write((1, SOURCES[0], b"one\n"), (2, Source("", 0, 0, "", entries.MARK), b"[papa: a doubt]\n"))
    assert [line.data for line in forward(log.reader())] == [b"one", b"[papa: a doubt]"]
    assert [line.data for line in forward(log.reader(Query(frozenset({"web"}), wid=1)))] == [b"one"]
