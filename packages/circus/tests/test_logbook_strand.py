from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.logfiles import SECOND, LogFiles

from circus.logbook import pages, strand
from circus.logbook.pages import Want
from circus.logbook.strand import Strand
from circus.logbook.writing import Laid


@pytest.fixture
def logs(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path)


def strand_of(logs: LogFiles, first: Laid | None = None) -> Strand:
    mine = Strand(logs.logs, os.path.realpath(logs.folder / "stdout.log"))
    mine.begin(first)
    return mine


def texts(mine: Strand, *laid: Laid) -> list[str]:
    found = [line.data.decode() for line in mine.take(laid)]
    while mine.is_behind:
        found += [line.data.decode() for line in mine.take(())]
    return found


def test_what_is_written_is_told_with_its_writer_and_its_place(logs: LogFiles) -> None:
    logs.write("stdout", (1, "before"))
    mine = strand_of(logs)
    assert mine.position == 7
    laid = logs.write("stdout", (2, "one"), (3, "two"))
    one, two = mine.take([laid])
    assert (one.data, one.at_ns, one.start, one.end) == (b"one", 2 * SECOND, 7, 11)
    assert two.source is not None
    assert (two.source.watcher, two.source.pid, two.at_ns) == ("web", 101, 3 * SECOND)
    assert texts(mine, laid) == [], "it was told already"
    mine.close()


def test_a_line_comes_when_it_is_whole(logs: LogFiles) -> None:
    logs.write("stdout", (1, "be"), end="")
    mine = strand_of(logs)
    assert mine.position == 0
    assert texts(mine, logs.write("stdout", (2, "gun"), end="")) == []
    assert texts(mine, logs.write("stdout", (3, " and ended"), (4, "more"))) == ["begun and ended", "more"]
    mine.close()


def test_a_rotation_takes_nothing_away(logs: LogFiles) -> None:
    first = logs.write("stdout", (1, "one"))
    mine = strand_of(logs, first)
    second = logs.write("stdout", (2, "two"))
    half = logs.write("stdout", (2, "ha"), end="")
    logs.rotate("stdout")
    third = logs.write("stdout", (3, "three"))
    logs.rotate("stdout")
    fourth = logs.write("stdout", (4, "four"))
    found = list(mine.take([first, second, half, fourth]))
    assert [line.data for line in found] == [b"one", b"two", b"ha", b"four"]
    mine.close()

    other = Strand(logs.logs, mine.path)
    other.begin(first)
    assert [line.data for line in other.take([first, second, half, third])] == [b"three"], "its file has another name"
    assert other.missed == 10, "the first file was replaced by the second one"
    other.close()


def test_a_file_that_is_gone_is_told_as_missed(logs: LogFiles) -> None:
    mine = strand_of(logs)
    assert texts(mine, logs.write("stdout", (1, "one"))) == ["one"]
    os.unlink(mine.path)
    lost = logs.write("stdout", (2, "lost"))
    os.unlink(mine.path)
    kept = logs.write("stdout", (3, "kept"))
    assert texts(mine, lost, kept) == ["kept"]
    assert (mine.missed, mine.position) == (5, 14)
    mine.close()


def test_who_is_far_behind_goes_on_near_the_end(logs: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strand, "MAX_BEHIND_BYTES", 1000)
    monkeypatch.setattr(strand, "MAX_TURN_BYTES", 100)
    mine = strand_of(logs)
    laid = logs.write("stdout", *((number, f"line {number:03}") for number in range(200)))
    assert texts(mine, laid) == [f"line {number}" for number in range(189, 200)]
    assert mine.missed == 189 * 9
    mine.close()


def test_a_line_that_is_longer_than_a_turn_comes_in_pieces(logs: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strand, "MAX_TURN_BYTES", 10)
    mine = strand_of(logs)
    assert texts(mine, logs.write("stdout", (1, "a" * 25), (2, "b"))) == ["a" * 10, "a" * 10, "a" * 5, "b"]
    mine.close()


WRITES = st.lists(
    st.tuples(st.lists(st.text("ab", max_size=6), min_size=1, max_size=5), st.booleans(), st.booleans()), max_size=8
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(writes=WRITES, turn=st.integers(8, 40), together=st.integers(1, 4))
def test_what_is_told_is_what_stands_in_the_files(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[list[str], bool, bool]], turn: int, together: int
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    logs = LogFiles(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strand, "MAX_TURN_BYTES", turn)
        mine = strand_of(logs)
        found, laid = [], []
        for number, (lines, has_end, rotates) in enumerate(writes):
            if rotates and (folder / "stdout.log").exists():
                (folder / "stdout.log").rename(folder / f"stdout.log.{len(writes) - number}")
            rows = [(number, line) for line in lines]
            laid.append(logs.write("stdout", *rows))
            if not has_end:
                laid.append(logs.write("stdout", (number, "x"), end=""))
            if len(laid) >= together:
                found += list(mine.take(laid))
                laid = []
        found += list(mine.take(laid))
        while mine.is_behind:
            found += list(mine.take(()))
        mine.close()
    told = "|".join(line.data.decode() for line in found)
    for path in folder.glob("stdout.log*"):
        os.utime(path, (1, 1))
    wanted = pages.read(str(folder), Want("web", 1000)).lines
    assert told == "|".join(line.data.decode() for line in wanted)
    assert [(line.start, line.end) for line in found] == [(line.start, line.end) for line in wanted]
    assert mine.missed == 0
