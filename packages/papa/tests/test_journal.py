from __future__ import annotations

import json
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa import model
from papa.core import journal
from papa.core.journal import Ledger
from papa.errors import PapaError

NAMES = st.sampled_from(["a", "b", "circus.state", "é"])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "acks": st.lists(st.tuples(st.integers(1, 5), st.sampled_from(model.STREAMS), st.integers(0, 99)).map(list)),
        "exits": st.lists(st.integers(1, 5)),
        "values": st.dictionaries(NAMES, st.none() | st.text(max_size=5)),
        "next": st.integers(1, 5000),
    },
)


def state(ledger: Ledger) -> tuple[object, ...]:
    return ledger.acks, ledger.exits, ledger.values, ledger.limit, ledger.secret, ledger.values_size


def test_the_format_on_disk_is_what_it_was():
    assert journal.encode({"next": 1001}) == bytes.fromhex("0d00000025c665ad") + b'{"next":1001}'


@settings(deadline=None)
@given(st.lists(RECORDS), st.data())
def test_a_torn_tail_is_ignored_wherever_it_is_torn(records, data):
    encoded = [journal.encode(record) for record in records]
    whole = b"".join(encoded)
    cut = data.draw(st.integers(0, len(whole)))
    got, length = journal.decode(whole[:cut])
    assert got == records[: len(got)]
    assert length == sum(len(e) for e in encoded[: len(got)])
    assert length <= cut
    if len(got) < len(records):
        assert cut < length + len(encoded[len(got)])


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1), st.data())
def test_a_flipped_byte_ends_the_journal_before_its_record(records, data):
    encoded = [journal.encode(record) for record in records]
    whole = bytearray(b"".join(encoded))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    got, length = journal.decode(bytes(whole))
    assert length <= at
    assert got == records[: len(got)]


def test_bytes_after_a_record_that_is_no_object_are_not_read():
    odd = journal.encode([1])  # type: ignore[arg-type]
    assert journal.decode(odd + journal.encode({"next": 2})) == ([], 0)


def test_a_length_beyond_all_bounds_is_a_torn_tail():
    assert journal.decode(b"\xff\xff\xff\x7f" + bytes(100)) == ([], 0)


@settings(deadline=None)
@given(st.lists(RECORDS))
def test_a_snapshot_yields_the_same_state_over_whatever_was_before(records):
    ledger = Ledger(records)
    snapshot = json.loads(json.dumps(ledger.snapshot()))
    assert state(Ledger([snapshot])) == state(ledger)
    other = Ledger([{"acks": [[9, "out", 1]], "exits": [9], "values": {"old": "x"}}, snapshot])
    assert state(other) == state(ledger)


@settings(deadline=None)
@given(st.lists(RECORDS))
def test_the_size_of_the_values_is_always_the_sum_over_the_values(records):
    ledger = Ledger(records)
    assert ledger.values_size == sum(len(json.dumps(n)) + len(json.dumps(v)) for n, v in ledger.values.items())


def test_a_commit_sets_acknowledgements_exits_and_values():
    ledger = Ledger()
    ledger.apply({"acks": [[1, "out", 5], [1, "err", 6]], "exits": [2], "values": {"a": "x", "b": "y"}})
    ledger.apply({"acks": [[1, "out", 9]], "values": {"a": None}})
    assert ledger.acks == {1: {"out": 9, "err": 6}}
    assert ledger.exits == {2}
    assert ledger.values == {"b": "y"}


def test_fields_of_a_newer_version_are_ignored():
    assert state(Ledger([{"next": 5, "colour": "blue"}])) == state(Ledger([{"next": 5}]))


def test_an_id_is_never_given_out_twice_whatever_incarnation_asks():
    written: list[dict] = []
    given_out: list[int] = []
    for _ in range(3):
        ledger = Ledger(written)
        for _ in range(journal.ID_BLOCK + 5):
            record = ledger.reservation()
            if record is not None:
                written.append(record)
                ledger.apply(record)
            given_out.append(ledger.take_id())
    assert given_out[0] == 1
    assert len(set(given_out)) == len(given_out)
    assert given_out == sorted(given_out)
    # Two blocks for each incarnation: the second half of the second one is lost with it.
    assert len(written) == 6


def test_an_id_without_a_reservation_is_a_fault():
    with pytest.raises(AssertionError):
        Ledger().take_id()


def test_what_belongs_to_entries_that_are_gone_is_forgotten():
    ledger = Ledger([{"acks": [[1, "out", 5], [2, "out", 6], [3, "err", 7]], "exits": [1, 2, 3]}])
    ledger.forget(1)
    ledger.forget(99)
    assert (ledger.acks, ledger.exits) == ({2: {"out": 6}, 3: {"err": 7}}, {2, 3})
    ledger.keep_only([3, 4])
    assert (ledger.acks, ledger.exits) == ({3: {"err": 7}}, {3})


def test_a_journal_is_replaced_when_it_is_large_and_mostly_history():
    ledger = Ledger([{"values": {"a": "x"}}])
    assert not ledger.needs_compaction(journal.COMPACT_ABOVE)
    assert ledger.needs_compaction(journal.COMPACT_ABOVE + 1)
    ledger.apply({"values": {"big": "x" * journal.COMPACT_ABOVE}})
    assert not ledger.needs_compaction(journal.COMPACT_ABOVE + 1)
    assert ledger.needs_compaction(3 * journal.COMPACT_ABOVE)


def test_too_many_values_are_refused_but_replacing_and_removing_goes_on():
    ledger = Ledger([{"values": {f"v{n}": "" for n in range(model.MAX_VALUES)}}])
    with pytest.raises(PapaError) as caught:
        ledger.check_values({"one more": ""})
    assert caught.value.code == "limit"
    ledger.check_values({"v0": "new"})
    ledger.check_values({"v0": None, "one more": "x"})
    ledger.check_values({"v0": None, "unknown": None})


def test_too_much_in_all_values_is_refused_but_making_it_less_goes_on(monkeypatch):
    monkeypatch.setattr(model, "MAX_VALUES_TOTAL", 100)
    ledger = Ledger([{"values": {"a": "x" * 80}}])
    with pytest.raises(PapaError) as caught:
        ledger.check_values({"b": "x" * 80})
    assert caught.value.code == "limit"
    ledger.check_values({"a": None, "b": "x" * 80})
    ledger.apply({"values": {"b": "x" * 80}})
    ledger.check_values({"b": "x" * 79})


@pytest.mark.parametrize(
    "odd",
    [
        {"next": "5"}, {"next": 1.5}, {"next": True}, {"next": -1}, {"version": "1"}, {"boot": 1},
        {"secret": 5}, {"secret": "xy"}, {"secret": "abc"}, {"secret": "00" * 65}, {"exits": [None]}, {"exits": {}},
        {"acks": [[1, "out"]]}, {"acks": [[[], "out", 1]]}, {"acks": [[1, 2, 3]]}, {"acks": [[1, "out", -1]]},
        {"acks": {}}, {"values": {"a": 5}}, {"values": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_no_papa_wrote_is_damage_and_what_stands_before_it_is_kept(odd):
    before = [{"next": 5, "secret": "00ff"}, {"values": {"a": "x"}, "acks": [[1, "out", 2]], "exits": [3]}]
    whole = b"".join(map(journal.encode, before))
    rest = journal.encode(odd) + journal.encode({"next": 9})
    assert journal.decode(whole + rest) == (before, len(whole))
    assert not journal.is_torn(rest)


def test_a_record_of_a_newer_format_may_have_anything_in_its_fields():
    newer = {"version": journal.VERSION + 1, "acks": "elsewhere"}
    records, _ = journal.decode(journal.encode(newer))
    assert records == [newer]
    with pytest.raises(PapaError, match="newer than"):
        journal.check(records)


def test_brackets_nested_deeper_than_python_goes_are_damage():
    text = b'{"values":' + b"[" * 100_000
    record = len(text).to_bytes(4, "little") + crc32(text).to_bytes(4, "little") + text
    assert journal.decode(journal.encode({"next": 5}) + record) == ([{"next": 5}], len(journal.encode({"next": 5})))


def test_when_all_numbers_are_used_there_is_none_and_the_journal_stays_readable():
    ledger = Ledger([{"next": model.MAX_ID + 2 - 2 * journal.ID_BLOCK}])
    record = ledger.reservation()
    assert record is not None and journal.decode(journal.encode(record))[0] == [record]
    ledger.apply(record)
    while ledger.reservation() is None and ledger.take_id() < model.MAX_ID - journal.ID_BLOCK:
        pass
    with pytest.raises(PapaError, match="none may be above"):
        Ledger([{"next": ledger.limit}, {"next": 2**70}]).reservation()
