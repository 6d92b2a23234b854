from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from circus.config.amend import Amendment, Edits
from circus.engine import memory as memories
from circus.engine.memory import state_directory


class Memory(memories.Memory):
    """One whose every change is on the disk at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_change = self._write

    def _write(self) -> None:
        content = self.take()
        assert content is not None
        self.write(content)


def test_a_wished_count_is_there_after_a_restart(tmp_path: Path) -> None:
    Memory(tmp_path).remember_count("web", 5, 2)
    assert Memory(tmp_path).count("web", 2) == 5


def test_the_file_wins_once_it_changed_the_count(tmp_path: Path) -> None:
    Memory(tmp_path).remember_count("web", 5, 2)
    assert Memory(tmp_path).count("web", 3) == 3


def test_a_wish_that_the_file_overruled_does_not_come_back(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember_count("web", 5, 2)
    memory.remember_count("db", 4, 1)
    memory.reconcile({"web": 3})
    again = Memory(tmp_path)
    assert again.count("web", 2) == 2
    assert again.count("db", 1) == 4


def test_a_wish_for_what_the_file_says_is_no_wish(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember_count("web", 5, 2)
    memory.remember_count("web", 2, 2)
    assert json.loads(memory.path.read_text())["counts"] == {}


def test_a_watcher_stopped_by_hand_stays_stopped_until_it_is_started(tmp_path: Path) -> None:
    Memory(tmp_path).remember_stopped({"web", "db"}, stopped=True)
    memory = Memory(tmp_path)
    assert memory.is_stopped("web")
    memory.remember_stopped({"web"}, stopped=False)
    again = Memory(tmp_path)
    assert not again.is_stopped("web")
    assert again.is_stopped("db")


def test_forgetting_returns_to_the_file(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember_count("web", 5, 2)
    memory.remember_stopped({"web"}, stopped=True)
    memory.forget("web")
    again = Memory(tmp_path)
    assert again.count("web", 2) == 2
    assert not again.is_stopped("web")


def test_nothing_ordered_writes_no_file(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "never")
    memory.remember_count("web", 2, 2)
    memory.remember_stopped({"web"}, stopped=False)
    memory.forget("web")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": "2"}',
        b'{"format": 1, "counts": {"a": 1}, "stopped": []}',
        b"\xff",
        b'{"format": 1, "counts": {}, "stopped": [], "options": {"a": {"b": "c"}}}',
    ],
)
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memory.json").write_bytes(content)
    memory = Memory(tmp_path)
    assert memory.count("web", 2) == 2
    assert "set aside" in memory.trouble
    assert (tmp_path / "memory.damaged").read_bytes() == content
    memory.remember_count("web", 3, 2)
    assert Memory(tmp_path).count("web", 2) == 3


def test_a_file_of_a_newer_circusd_is_set_aside_under_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"format": 2, "wishes": []}')
    memory = Memory(tmp_path)
    assert "newer circusd" in memory.trouble
    memory.remember_count("web", 3, 2)
    assert json.loads((tmp_path / "memory.newer").read_text()) == {"format": 2, "wishes": []}


def test_a_file_that_hangs_is_not_waited_for_and_is_set_aside_when_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "memory.json")
    monkeypatch.setattr(memories.files.bounded, "__defaults__", (0.01,))
    memory = Memory(tmp_path)
    assert "has not answered" in memory.trouble
    os.close(os.open(tmp_path / "memory.json", os.O_RDWR))  # lets go of the thread
    memory.remember_count("web", 3, 2)
    assert (tmp_path / "memory.unread").exists() and "were not read" not in Memory(tmp_path).trouble
    assert Memory(tmp_path).count("web", 2) == 3


def test_a_private_root_is_wholly_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    assert state_directory("two") == tmp_path / "state" / "circus" / "two"


def test_golden_memory_of_format_1_loads(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text(
        '{"format": 1, "counts": {"web": {"wished": 4, "in_file": 2}}, "stopped": ["db"]}'
    )
    memory = Memory(tmp_path)
    assert memory.count("web", 2) == 4
    assert memory.is_stopped("db")
    assert memory.trouble == ""


def test_golden_memory_with_options_watchers_added_and_removed_loads(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text(
        '{"format": 1, "counts": {}, "stopped": [],'
        ' "options": {"web": {"cmd": {"text": "a", "in_file": "b"}, "uid": {"text": "c", "in_file": null}}},'
        ' "added": {"New": {"cmd": "x"}}, "removed": {"old": "digest"}, "left": ["x"]}'
    )
    edits = Edits(
        {"web": {"cmd": Amendment("a", "b"), "uid": Amendment("c", None)}}, {"New": {"cmd": "x"}}, {"old": "digest"}
    )
    memory = Memory(tmp_path)
    assert (memory.edits("/any.ini"), memory.left, memory.trouble) == (edits, {"x"}, "")
    memory.remember_stopped({"web"}, stopped=True)
    assert Memory(tmp_path).edits("/any.ini") == edits


def test_orders_about_one_file_are_kept_until_there_is_one_about_another(tmp_path: Path) -> None:
    one, two = Edits(added={"a": {"cmd": "x"}}), Edits(added={"b": {"cmd": "y"}})
    memory = Memory(tmp_path)
    memory.remember_edits(one, "/one.ini")
    memory.remember_edits(Edits(), "/two.ini")
    again = Memory(tmp_path)
    assert (again.edits("/one.ini"), again.edits("/two.ini")) == (one, Edits())
    again.remember_edits(two, "/two.ini")
    assert (Memory(tmp_path).edits("/one.ini"), Memory(tmp_path).edits("/two.ini")) == (Edits(), two)


def test_counts_and_stops_are_about_one_file_too(tmp_path: Path) -> None:
    def opened(file: str) -> Memory:
        memory = Memory(tmp_path)
        memory.use(file)
        return memory

    one = opened("/one.ini")
    one.remember_count("web", 5, 2)
    one.remember_stopped({"web"}, stopped=True)
    two = opened("/two.ini")
    assert (two.count("web", 2), two.is_stopped("web")) == (2, False)
    two.reconcile({"web": 7})
    two.forget("web")
    two.remember_stopped({"web"}, stopped=False)
    two.remember_count("web", 2, 2)
    two.remember_left({"x"})
    again = opened("/one.ini")
    assert (again.count("web", 2), again.is_stopped("web")) == (5, True), "nothing was ordered about the other"
    two.remember_stopped({"db"}, stopped=True)
    assert (two.is_stopped("db"), two.is_stopped("web"), two.count("web", 2)) == (True, False, 2)
    again = opened("/one.ini")
    assert (again.count("web", 2), again.is_stopped("web"), again.is_stopped("db")) == (2, False, False)
    again.remember_count("web", 3, 2)
    assert (again.count("web", 2), opened("/two.ini").is_stopped("db")) == (3, False)


def test_a_watcher_whose_spelling_changes_is_the_same_watcher(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember_count("Web", 3, 1)
    memory.remember_stopped({"Web"}, stopped=True)
    again = Memory(tmp_path)
    assert (again.count("web", 1), again.is_stopped("WEB")) == (3, True)
    again.reconcile({"WEB": 2})
    again.forget("wEb")
    assert (again.count("Web", 1), again.is_stopped("Web")) == (1, False)


def test_what_ran_before_gives_way_to_what_was_ordered(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember_stopped({"web"}, stopped=True)
    for number in range(10):
        memory.remember_former(f"web{number}", {"config": "x" * (memories.MAX_BYTES // 8)})
    assert Memory(tmp_path).stopped == {"web"}


def test_what_is_remembered_may_hold_secrets_and_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    leftover = tmp_path / "memory.new"
    leftover.touch(0o644)
    Memory(tmp_path).remember_former("web", {"config": "with a password"})
    assert (tmp_path / "memory.json").stat().st_mode & 0o777 == 0o600
