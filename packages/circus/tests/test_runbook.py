"""Runs on the disk: what was noted is found again, whatever was torn; and the file stays small."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.engine import runbook
from circus.engine.runbook import NAME, Known, Runbook, mark_line, to_line
from circus.supervise.jobs import Run, RunState

RUN = Run(1000.0, RunState.RUNNING, 999.5, started_at=1000.25, pid=7, life="b:1", digest="d")
DONE = Run(1000.0, RunState.DONE, 999.5, started_at=1000.25, ended_at=1001.0, pid=7, status=0, reason="ended well")
HAND = Run(1003.000001, RunState.FAILED, 1003.0, is_by_hand=True, status=-9, reason="é", end_reason="too long")
SKIPPED = Run(1010.0, RunState.SKIPPED, 1020.0, reason="missed", count=3)


def write(book: Runbook, *lines: dict[str, object]) -> None:
    for line in lines:
        book.note(line)
    taken = book.take()
    assert taken is not None
    book.write(taken)


def test_what_was_noted_is_known_to_the_next_one(tmp_path: Path) -> None:
    mark = mark_line("job", 990.0, is_active=True, schedule="@daily")
    write(Runbook(tmp_path), mark, *(to_line("job", run) for run in (RUN, DONE, HAND, SKIPPED)))
    known = Runbook(tmp_path).known["job"]
    assert known == Known({1000.0: DONE, HAND.due: HAND, 1010.0: SKIPPED}, 1010.0, True, "@daily")


def test_a_run_by_hand_is_no_instant_of_the_schedule(tmp_path: Path) -> None:
    write(Runbook(tmp_path), mark_line("job", 990.0, is_active=True, schedule="x"), to_line("job", HAND))
    assert Runbook(tmp_path).known["job"].mark == 990.0


def test_a_later_mark_counts_though_it_is_an_earlier_moment(tmp_path: Path) -> None:
    write(Runbook(tmp_path), to_line("job", DONE), mark_line("job", 500.0, is_active=False, schedule=""))
    assert Runbook(tmp_path).known["job"].mark == 500.0


def test_nothing_is_written_while_nothing_is_noted(tmp_path: Path) -> None:
    assert Runbook(tmp_path).take() is None
    assert not (tmp_path / NAME).exists()


def test_a_torn_line_is_skipped_and_said_and_the_next_one_is_whole(tmp_path: Path) -> None:
    write(Runbook(tmp_path), to_line("job", RUN))
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"job":"job","due":10')
    write(Runbook(tmp_path), to_line("job", DONE))
    book = Runbook(tmp_path)
    assert book.known["job"].runs == {1000.0: DONE}
    assert "1 damaged lines" in book.trouble


@pytest.mark.parametrize("line", [b"[1]", b'{"job":"j"}', b'{"job":"j","due":"x","state":"done"}', b"\xff", b"1e999"])
def test_what_no_circusd_wrote_is_skipped(tmp_path: Path, line: bytes) -> None:
    (tmp_path / NAME).write_bytes(b'{"format": 1}\n' + line + b"\n")
    assert not any(known.runs for known in Runbook(tmp_path).known.values())


def test_a_file_of_a_newer_circusd_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'{"format": 99}\n')
    book = Runbook(tmp_path)
    assert book.known == {} and "newer" in book.trouble
    assert not (tmp_path / NAME).exists()


def test_what_could_not_be_written_comes_with_the_next_write(tmp_path: Path) -> None:
    book = Runbook(tmp_path)
    book.whole = lambda: [to_line("job", DONE)]
    book.note(to_line("job", DONE))
    assert book.take() is not None
    book.give_back()
    taken = book.take()
    assert taken is not None
    book.write(taken)
    assert Runbook(tmp_path).known["job"].runs == {1000.0: DONE}


def test_the_file_is_written_anew_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runbook, "MAX_APPENDED", 5)
    book = Runbook(tmp_path)
    book.whole = lambda: [to_line("job", DONE)]
    for _ in range(20):
        write(book, to_line("job", RUN))
        assert len((tmp_path / NAME).read_bytes().splitlines()) < 9
    write(book, to_line("job", DONE))
    assert Runbook(tmp_path).known["job"].runs == {1000.0: DONE}


def test_what_is_shown_of_a_run_names_its_signal() -> None:
    shown = runbook.shown(HAND)
    assert (shown["signal"], shown["by_hand"], shown["state"]) == ("SIGKILL", True, "failed")


def test_where_much_is_kept_a_line_is_appended_as_elsewhere(tmp_path: Path) -> None:
    runs = [Run(float(due), RunState.DONE, 0.0) for due in range(runbook.MAX_APPENDED + 10)]
    write(Runbook(tmp_path), *(to_line("job", run) for run in runs))
    book = Runbook(tmp_path)
    book.whole = lambda: (to_line("job", run) for run in runs)
    wholes = []
    for run in runs[:10]:
        book.note(to_line("job", run))
        taken = book.take()
        assert taken is not None
        wholes.append(taken[1])
    assert wholes == [True] + [False] * 9


def test_what_is_too_much_to_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Runbook(tmp_path), to_line("job", DONE), to_line("job", HAND))
    monkeypatch.setattr(runbook, "MAX_BYTES", (tmp_path / NAME).stat().st_size - 5)
    book = Runbook(tmp_path)
    assert "larger than" in book.trouble and "keep fewer runs" in book.trouble
    assert book.known["job"].runs == {1000.0: DONE}
