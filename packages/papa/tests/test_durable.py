from __future__ import annotations

import errno

import pytest

from papa.core import journal
from papa.core.entries import Process
from papa.errors import PapaError
from papa.kernel.durable import Durable
from papa.kernel.state import PROCESSES, State


class Room:
    """A file system that is full until something was dropped."""

    def __init__(self, drops):
        self.drops = drops
        self.asked = 0

    def __call__(self, error):
        assert error.errno == errno.ENOSPC
        self.asked += 1
        return self.drops > 0


@pytest.fixture
def state(tmp_path):
    state = State(str(tmp_path))
    yield state
    state.close()


class Owed(list):
    """What is to be done later."""

    def owe(self, kind, number, error):
        self.append((kind, number, error.strerror))


def durable_of(state, room=lambda error: False, boot="boot", owed=None):
    durable = Durable(state, boot, room, Owed() if owed is None else owed, lambda number: [])
    durable.recover()
    return durable


def full_for(monkeypatch, name, times):
    """The next ``times`` writes find no room."""
    real = getattr(State, name)
    left = [times]

    def write(self, *args):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args)

    monkeypatch.setattr(State, name, write)


def test_what_was_committed_is_there_for_the_next_incarnation(state):
    durable = durable_of(state)
    durable.commit({"values": {"a": "1"}, "acks": [[1, "out", 5]], "exits": [1]})
    again = durable_of(state).ledger
    assert (again.values, again.acks, again.exits) == ({"a": "1"}, {1: {"out": 5}}, {1})
    assert again.secret == durable.ledger.secret != ""


def test_numbers_go_on_over_incarnations_and_boots(state):
    first = [durable_of(state).new_number() for _ in range(3)]
    assert len(set(first)) == 3
    other = durable_of(state, boot="another")
    assert other.new_number() > max(first)
    assert other.ledger.values == {}


def test_another_boot_forgets_all_but_the_numbers(state):
    durable = durable_of(state)
    durable.commit({"values": {"a": "1"}, "exits": [1]})
    other = durable_of(state, boot="another").ledger
    assert (other.values, other.exits) == ({}, set())
    assert other.secret != durable.ledger.secret
    assert durable_of(state, boot="another").ledger.secret == other.secret


def test_old_output_makes_room_for_a_commit(state, monkeypatch):
    room = Room(drops=1)
    durable = durable_of(state, room)
    full_for(monkeypatch, "append_journal", 1)
    durable.commit({"values": {"a": "1"}})
    assert room.asked == 1
    assert durable_of(state).ledger.values == {"a": "1"}


def test_a_commit_that_finds_no_room_has_not_happened(state, monkeypatch):
    durable = durable_of(state, Room(drops=0))
    full_for(monkeypatch, "append_journal", 1)
    with pytest.raises(PapaError, match="cannot be written") as caught:
        durable.commit({"values": {"a": "1"}})
    assert caught.value.code == "limit"
    assert durable.ledger.values == {}


def test_a_record_that_finds_no_room_is_owed_and_told(state, monkeypatch):
    process = Process(1, "web", argv=["x"], digest="", pid=5, start_ticks=1, started_at=1.0)
    owed = Owed()
    durable = durable_of(state, Room(drops=0), owed=owed)
    full_for(monkeypatch, "write_record", 1)
    assert not durable.write_process(process)
    assert owed == [(PROCESSES, 1, "No space left on device")]
    assert durable.write_process(process)
    assert state.read_records(PROCESSES)[1]["pid"] == 5


def test_the_journal_is_compacted_when_it_grew(state):
    durable = durable_of(state)
    for number in range(30):
        durable.commit({"values": {"a": str(number) + "x" * 100_000}})
    assert state.journal_bytes < 1_300_000
    records, _ = journal.decode(state.read_journal())
    assert records[0]["boot"] == "boot"
    assert durable_of(state).ledger.values["a"].startswith("29x")


def test_a_journal_that_cannot_be_compacted_now_stays(state, monkeypatch, capfd):
    durable = durable_of(state)
    full_for(monkeypatch, "replace_journal", 5)
    for number in range(20):
        durable.commit({"values": {"a": str(number) + "x" * 100_000}})
    assert capfd.readouterr().err.count("the journal cannot be written: No space left") == 1
    assert durable.problem == ""
    assert durable_of(state).ledger.values["a"].startswith("19x")


def test_what_was_acknowledged_is_known_as_long_as_the_record_is_there(state, monkeypatch):
    owed = Owed()
    durable = durable_of(state, owed=owed)
    process = Process(1, "web", argv=["x"], digest="", pid=5, start_ticks=1, started_at=1.0)
    durable.write_process(process)
    durable.commit({"acks": [[1, "out", 5]], "exits": [1]})
    full_for(monkeypatch, "remove_record", 1)
    durable.forget_process(1)
    assert owed == [(PROCESSES, 1, "No space left on device")]
    assert 1 in durable.ledger.exits
    durable.forget_process(1)
    assert 1 not in durable.ledger.exits
    assert state.read_records(PROCESSES) == {}


def test_a_failing_disk_is_not_told_to_be_full(state, monkeypatch):
    durable = durable_of(state)

    def write(self, *args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(State, "append_journal", write)
    with pytest.raises(PapaError, match="Input/output error") as caught:
        durable.commit({"values": {"a": "1"}})
    assert "room" not in caught.value.hint
    assert durable.problem == "Input/output error"


def test_of_a_journal_with_a_record_that_no_papa_wrote_what_stands_before_it_is_kept(state):
    good = [{"boot": "boot", "next": 5, "secret": "00ff"}, {"values": {"a": "x"}, "acks": [[1, "out", 2]]}]
    state.append_journal(b"".join(map(journal.encode, [*good, {"acks": [[1, "out", None]]}, {"values": {"a": None}}])))
    durable = Durable(state, "boot", Room(0), Owed(), lambda _number: ())
    durable.recover()
    assert (durable.ledger.values, durable.ledger.acks, durable.ledger.secret) == ({"a": "x"}, {1: {"out": 2}}, "00ff")
    assert list(state.aside) == ["journal.aside-1"]
