from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.house import wait_for

from circus.control import audit
from circus.control.audit import Trail
from circus.engine import files


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_noted_is_in_the_file_which_is_for_nobody_else(tmp_path: Path) -> None:
    trail = Trail(str(tmp_path / "new" / "audit.jsonl"))
    for number in range(3):
        trail.note({"at": number, "who": "uid 0"})
    trail.close()
    assert [line["at"] for line in lines_of(Path(trail.path))] == [0, 1, 2]
    assert os.stat(trail.path).st_mode & 0o777 == 0o600
    assert (trail.written, trail.waiting, trail.dropped, trail.trouble) == (3, 0, 0, "")


def test_no_thread_waits_for_lines(tmp_path: Path) -> None:
    trail = Trail(str(tmp_path / "audit.jsonl"))
    for number in range(2):
        trail.note({"at": number})
        wait_for(lambda: trail.written, "the line is written")
        wait_for(lambda: all(each.name != "circus-audit" for each in threading.enumerate()), "the thread has ended")
    trail.close()
    assert len(lines_of(Path(trail.path))) == 2


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trail = Trail()
    trail.note({"at": 1})
    trail.close()
    assert list(tmp_path.iterdir()) == []


def test_it_is_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(10):
        trail = Trail(str(path), max_bytes=25, backup_count=2)
        trail.note({"at": number})
        trail.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert [line["at"] for line in audit.read(str(path))] == [4, 5, 6, 7, 8, 9]
    assert all(each.stat().st_size <= 25 for each in tmp_path.iterdir())


def test_without_rotated_files_it_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(3):
        trail = Trail(str(path), max_bytes=15, backup_count=0)
        trail.note({"at": number})
        trail.close()
    assert lines_of(path) == [{"at": 2}]


def test_half_a_line_of_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"at": 1}\n{"at"')
    trail = Trail(str(path))
    trail.note({"at": 2})
    trail.close()
    assert audit.read(str(path)) == [{"at": 1}, {"at": 2}]


def test_it_is_never_written_through_a_link(tmp_path: Path) -> None:
    path, other = tmp_path / "audit.jsonl", tmp_path / "other"
    other.write_text("")
    path.symlink_to(other)
    trail = Trail(str(path))
    trail.note({"at": 1})
    wait_for(lambda: trail.trouble, "it is said")
    trail.close()
    assert other.read_text() == ""


def test_a_disk_that_fails_delays_nobody_and_what_is_missing_is_told_when_it_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, is_full = tmp_path / "audit.jsonl", threading.Event()
    write_whole = files.write_whole

    def write(fd: int, data: bytes, size: int) -> None:
        if is_full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(fd, data, size)

    monkeypatch.setattr(files, "write_whole", write)
    monkeypatch.setattr(audit, "RETRY_S", 0.01)
    monkeypatch.setattr(audit, "MAX_WAITING", 5)
    is_full.set()
    trail = Trail(str(path))
    for number in range(8):
        trail.note({"at": number})
    wait_for(lambda: "No space left" in trail.trouble, "the trouble is told")
    assert (trail.waiting, trail.dropped, trail.written) == (5, 3, 0)
    is_full.clear()
    wait_for(lambda: trail.written == 6, "what waited is written")
    trail.note({"at": 8})
    trail.close()
    found = lines_of(path)
    assert [line["at"] for line in found[:5]] == [0, 1, 2, 3, 4]
    assert found[5]["missing"] == 3
    assert found[6] == {"at": 8}
    assert trail.trouble == ""
    assert "cannot be written: No space left" in caplog.text
    assert "lacks 3 lines" in caplog.text


def test_a_disk_that_hangs_is_waited_for_with_a_bound_and_what_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(files, "write_whole", lambda *_: gate.wait(60))
    monkeypatch.setattr(audit, "CLOSE_S", 0.01)
    trail = Trail(str(tmp_path / "audit.jsonl"))
    try:
        trail.note({"at": 1})
        trail.note({"at": 2})
        trail.close()
        assert "has lost 2 lines" in caplog.text
    finally:
        gate.set()
    wait_for(lambda: all(each.name != "circus-audit" for each in threading.enumerate()), "the thread has ended")


def test_a_line_has_a_bound_whatever_is_asked(tmp_path: Path) -> None:
    trail = Trail(str(tmp_path / "audit.jsonl"))
    trail.note({"at": 1, "watchers": ["w" * 256] * 1000, "operation": "x" * 10_000, "result": "ok"})
    trail.note({"at": 2, "watchers": audit.named([str(number) for number in range(1000)])})
    trail.close()
    long, many = lines_of(Path(trail.path))
    assert long["watchers"] == ["1000 that are too long to be named"]
    assert (len(long["operation"]), long["result"]) == (100, "ok")
    assert len(many["watchers"]) == audit.MAX_NAMED
    assert many["watchers"][-1] == "and 901 more"
    assert all(len(line) <= audit.MAX_LINE for line in Path(trail.path).read_bytes().splitlines())
