from __future__ import annotations

import errno
import os

import pytest

from papa.errors import PapaError
from papa.kernel import state as state_module
from papa.kernel import swift, system
from papa.kernel.state import PROCESSES, SOCKETS, State


@pytest.fixture
def state(tmp_path):
    state = State(str(tmp_path))
    yield state
    state.close()


def test_a_record_comes_back_and_a_second_one_takes_its_place(state):
    state.write_record(PROCESSES, 7, {"name": "web", "bytes": "\udcff"})
    state.write_record(PROCESSES, 7, {"name": "web2"})
    state.write_record(PROCESSES, 3, {"name": "\udcff"})
    assert state.read_records(PROCESSES) == {3: {"name": "\udcff"}, 7: {"name": "web2"}}
    assert state.read_records(SOCKETS) == {}


def test_a_mark_names_whoever_made_it_if_that_one_lives(state):
    assert state.marked_pid(1) == 0
    ticks = system.start_ticks(os.getpid())
    for content, pid in (
        ("", 0),
        ("no number", 0),
        (f"{os.getpid()} {ticks + 1}", 0),
        (f"{os.getpid()} {ticks}", os.getpid()),
    ):
        with open(state.mark_path(1), "w") as mark:
            mark.write(content)
        assert state.marked_pid(1) == pid


def test_a_link_that_nobody_has_followed_is_no_mark_yet(state):
    assert not state.is_marked(1)
    swift.make_link(state.mark_path(1), "/")
    assert not state.is_marked(1)
    assert state.marked_pid(1) == 0
    os.stat(state.mark_path(1))
    assert state.is_marked(1)
    state.remove_mark(1)
    assert not state.is_marked(1)


def test_a_record_can_be_removed_twice(state):
    state.write_record(SOCKETS, 1, {})
    state.remove_record(SOCKETS, 1)
    state.remove_record(SOCKETS, 1)
    assert state.read_records(SOCKETS) == {}


def test_a_record_that_a_killed_kernel_half_wrote_is_swept_away(state, tmp_path):
    state.write_record(PROCESSES, 1, {"name": "whole"})
    (tmp_path / "processes/2.json.new").write_text('{"na')
    assert state.read_records(PROCESSES) == {1: {"name": "whole"}}
    assert not (tmp_path / "processes/2.json.new").exists()


def test_what_is_no_record_is_logged_and_left(state, tmp_path, capfd):
    (tmp_path / "processes/2.json").write_text("{garbage")
    (tmp_path / "processes/README").write_text("hands off")
    assert state.read_records(PROCESSES) == {}
    assert "processes/2.json is left aside" in capfd.readouterr().err
    assert list(state.aside) == ["processes/2.json"]
    assert (tmp_path / "processes/README").exists()


def test_a_record_that_is_a_symbolic_link_is_not_followed(state, tmp_path, capfd):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "processes/2.json").symlink_to(tmp_path / "secret")
    assert state.read_records(PROCESSES) == {}


def test_records_and_files_are_private(state, tmp_path):
    state.write_record(PROCESSES, 1, {})
    os.close(state.open_output(1, "out"))
    for name in ("processes/1.json", "output/1/out", "journal"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_journal_grows_and_comes_back(state, tmp_path):
    state.append_journal(b"one")
    state.append_journal(b"two")
    assert state.read_journal() == b"onetwo"
    again = State(str(tmp_path))
    assert again.read_journal() == b"onetwo"
    again.close()


def test_a_torn_tail_is_cut_so_that_the_next_record_can_be_read(state):
    state.append_journal(b"wholeto")
    state.cut_journal(5)
    state.append_journal(b"next")
    assert state.read_journal() == b"wholenext"


def test_nothing_remains_of_a_journal_record_that_did_not_fit(state, monkeypatch):
    state.append_journal(b"whole")
    real = os.pwrite
    monkeypatch.setattr(state_module.os, "pwrite", lambda fd, data, at: real(fd, data[:2], at))
    with pytest.raises(OSError, match="No space left"):
        state.append_journal(b"does not fit")
    monkeypatch.undo()
    assert state.read_journal() == b"whole"
    state.append_journal(b"!")
    assert state.read_journal() == b"whole!"


def test_a_compacted_journal_takes_the_place_of_the_old_one(state, tmp_path):
    state.append_journal(b"x" * 1000)
    state.replace_journal(b"short")
    state.append_journal(b"!")
    assert state.read_journal() == b"short!"
    assert (tmp_path / "journal").read_bytes() == b"short!"


def test_a_compaction_needs_no_second_look_at_the_name(state, tmp_path, monkeypatch):
    """When no descriptor is left behind the rename, the journal in use must be the one that has the name."""
    opened, real = [], os.open

    def open_once(*args, **more):
        opened.append(args[0])
        if len(opened) > 1:
            raise OSError(errno.ENFILE, "Too many open files in system")
        return real(*args, **more)

    monkeypatch.setattr(state_module.os, "open", open_once)
    state.replace_journal(b"short")
    state.append_journal(b"!")
    assert (tmp_path / "journal").read_bytes() == b"short!"


def test_a_record_that_cannot_be_read_now_is_not_taken_for_gone(state, monkeypatch):
    state.write_record(PROCESSES, 1, {"a": 1})

    def refuse(*args):
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(State, "_read", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        state.read_records(PROCESSES)


def test_a_journal_beyond_all_bounds_is_refused(state, monkeypatch):
    monkeypatch.setattr(state_module, "MAX_JOURNAL_BYTES", 4)
    state.append_journal(b"too long")
    with pytest.raises(PapaError, match="too many"):
        state.read_journal()


def test_output_files_are_handed_out_for_reading_only_and_go_as_a_whole(state, tmp_path):
    out = state.open_output(5, "out")
    os.write(out, b"hello")
    reader = state.open_output_for_reading(5, "out")
    assert os.read(reader, 10) == b"hello"
    with pytest.raises(OSError):
        os.write(reader, b"x")
    assert state.outputs() == [5]
    state.remove_output(5)
    state.remove_output(5)
    assert state.outputs() == []
    assert os.pread(reader, 10, 0) == b"hello"
    os.close(out)
    os.close(reader)


def test_clearing_leaves_what_others_made(tmp_path):
    state = State(str(tmp_path))
    (tmp_path / "kernel.log").write_text("")
    state.write_record(PROCESSES, 1, {})
    os.close(state.open_output(1, "out"))
    state.clear()
    state.close()
    assert os.listdir(tmp_path) == ["kernel.log"]


def test_a_name_that_is_a_digit_and_no_number_is_passed_over(state, tmp_path):
    (tmp_path / PROCESSES / "\u00b2.json").write_text("{}")
    assert state.read_records(PROCESSES) == {}
    assert state.highest_number() == 0
