"""How processes ended: each end once, bounded, and readable whatever a crash has left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.engine import history
from circus.engine.history import Exit, History, Usage, latest, parse, read


def end(pid: int, watcher: str = "web", *, status: int | None = 1, is_ordered: bool | None = False) -> Exit:
    return Exit(100.0 + pid, watcher, 1, pid, 90.0 + pid, status, is_ordered)


def wrote(folder: Path, *exits: Exit) -> History:
    kept = History(folder)
    for each in exits:
        kept.note(each)
    kept.write(kept.take())
    return kept


def test_what_was_noted_is_read_without_a_circusd(tmp_path: Path) -> None:
    exits = [end(1), end(2, "db", status=-9), end(3, status=None), end(4, is_ordered=True), end(5, is_ordered=None)]
    used = Usage(0.25, 0.125, 1 << 20, 3)
    exits += [replace(end(6), core=False, usage=used), replace(end(7), core=True, perhaps="out of memory")]
    wrote(tmp_path / "state", *exits)
    assert read(tmp_path / "state") == exits
    assert read(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (end(1, status=3), "ended with status 3"),
        (end(1, status=-11), "ended by signal 11 (SIGSEGV)"),
        (end(1, status=-40), "ended by signal 40 (SIG40)"),
        (end(1, status=None), "ended, nobody knows how"),
        (end(1, status=-15, is_ordered=True), "ended by signal 15 (SIGTERM), as ordered"),
        (end(1, status=0, is_ordered=None), "ended with status 0, while circusd was away"),
        (replace(end(1, status=-6), core=True), "ended by signal 6 (SIGABRT), and left a core"),
        (replace(end(1, status=-9), perhaps="out of memory"), "ended by signal 9 (SIGKILL); perhaps out of memory"),
    ],
)
def test_each_end_is_told_in_words(ended: Exit, told: str) -> None:
    assert ended.reason == told
    assert ended.ran_s == 10.0


def test_an_end_that_is_told_again_after_a_crash_is_noted_once(tmp_path: Path) -> None:
    wrote(tmp_path, end(1))
    again = History(tmp_path)
    assert not again.note(end(1))
    assert again.note(Exit(101.0, "web", 1, 1, 95.0, 1)), "the same pid, in another life"
    again.settled(end(1))
    assert again.take() == [Exit(101.0, "web", 1, 1, 95.0, 1)]


def test_a_line_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    kept = wrote(tmp_path, end(1))
    kept.write([end(1), end(2)])
    assert read(tmp_path) == [end(1), end(2)]


@given(cut=st.integers(0, 2000), junk=st.binary(max_size=20))
def test_a_torn_or_damaged_line_is_skipped_and_the_others_are_read(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("state")
    wrote(folder, *map(end, range(5)))
    whole = (folder / history.NAME).read_bytes()
    torn = whole[: cut % (len(whole) + 1)]
    (folder / history.NAME).write_bytes(torn)
    there = read(folder, lambda what: None)
    assert there == list(map(end, range(5)))[: len(there)]
    wrote(folder, end(9))
    assert read(folder, lambda what: None) == [*there, end(9)]
    exits, _ = parse(b"\n".join([junk.replace(b"\n", b""), torn]))
    assert exits[-len(there) :] == there if there else True


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    (tmp_path / history.NAME).write_bytes(b'{"format":1}\n{"at":\n[]\n\xff\n')
    kept = History(tmp_path)
    assert "3 damaged lines" in kept.trouble


def test_a_file_of_a_newer_circusd_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / history.NAME).write_text('{"format": 2}\n{"ended": []}\n')
    kept = History(tmp_path)
    assert "newer" in kept.trouble
    kept.note(end(1))
    kept.write(kept.take())
    assert read(tmp_path) == [end(1)]
    assert (tmp_path / "history.newer").read_text().startswith('{"format": 2}')


def test_the_last_of_each_watcher_are_kept() -> None:
    exits = [end(pid, "loop") for pid in range(200)]
    kept = latest([end(1, "rare"), *exits, end(2, "rare")])
    assert [each.pid for each in kept if each.watcher == "rare"] == [1, 2]
    assert [each.pid for each in kept if each.watcher == "loop"] == list(range(150, 200))
    assert len(latest([end(pid, f"w{pid % 100}") for pid in range(6000)])) == history.MAX_EXITS


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_APPENDED", 40)
    monkeypatch.setattr(history, "MAX_EXITS", 20)
    monkeypatch.setattr(history, "MAX_OF_WATCHER", 10)
    kept = History(tmp_path)
    sizes = []
    for pid in range(500):
        kept.note(end(pid, f"w{pid % 3}"))
        kept.write(kept.take())
        sizes.append(len((tmp_path / history.NAME).read_bytes().splitlines()))
    assert max(sizes) <= 62 and {each.pid for each in read(tmp_path)} >= set(range(480, 500))
    assert not list(tmp_path.glob("*.new"))


def test_a_disk_that_takes_nothing_loses_no_end_until_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_WAITING", 3)
    kept = History(tmp_path)
    for pid in range(5):
        kept.note(end(pid))
    assert "2 ends of processes are not noted" in kept.trouble
    exits = kept.take()
    kept.give_back(exits)
    assert kept.take() == list(map(end, range(3)))


def test_a_write_that_fails_in_the_middle_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = wrote(tmp_path, end(1))
    before = (tmp_path / history.NAME).read_bytes()
    write = history.os.write
    calls = []

    def fails(fd: int, data: memoryview) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(fd, data[:7])

    monkeypatch.setattr(history.os, "write", fails)
    with pytest.raises(OSError, match="No space"):
        kept.write([end(2)])
    assert (tmp_path / history.NAME).read_bytes() == before


def test_a_line_is_what_other_programs_can_rely_on(tmp_path: Path) -> None:
    wrote(tmp_path, end(7, status=-9))
    head, line = (tmp_path / history.NAME).read_text().splitlines()
    assert json.loads(head) == {"format": 1}
    assert json.loads(line) == {
        "at": 107.0, "watcher": "web", "wid": 1, "pid": 7, "started_at": 97.0, "ran_s": 10.0, "status": -9,
        "signal": "SIGKILL", "ordered": False, "reason": "ended by signal 9 (SIGKILL)",
    }  # fmt: skip
