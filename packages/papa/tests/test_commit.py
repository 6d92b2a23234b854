from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa.core import commit, journal
from papa.core.commit import Commit
from papa.errors import PapaError


def test_several_acknowledgements_of_a_stream_count_as_the_largest():
    it = Commit.parse({"acks": [[1, "out", 5], [1, "err", 2], [1, "out", 3]], "exits": [4, 4]})
    assert it.acks == {(1, "out"): 5, (1, "err"): 2}
    assert it.exits == [4]


def test_seen_is_kept_for_each_stream():
    it = Commit.parse({"seen": [[1, 5, None], [2, None, 7]]})
    assert it.seen == {1: {"out": 5, "err": None}, 2: {"out": None, "err": 7}}
    assert it.record() is None


def test_an_empty_commit_leaves_nothing_in_the_journal():
    assert Commit.parse({}).record() is None
    assert Commit.parse({"acks": None, "exits": None, "values": None, "seen": None}).record() is None


def test_what_the_journal_remembers_is_the_whole_commit_at_once():
    it = Commit.parse({"acks": [[1, "out", 5]], "exits": [2], "values": {"a": "x", "b": None}})
    ledger = journal.Ledger([{"values": {"b": "old"}}])
    ledger.apply(json.loads(json.dumps(it.record())))
    assert (ledger.acks, ledger.exits, ledger.values) == ({1: {"out": 5}}, {2}, {"a": "x"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("acks", 3), ("acks", [3]), ("acks", [[1, "out"]]), ("acks", [[0, "out", 1]]), ("acks", [[1, "in", 1]]),
        ("acks", [[1, "out", -1]]), ("acks", [[1, "out", 2**63]]), ("exits", {}), ("exits", ["1"]), ("values", [1]),
        ("values", {"a b": "x"}), ("values", {"a": 3}), ("seen", "x"),
        ("seen", [{"a": 1, "b": 2, "c": 3}]), ("acks", [{"a": 1, "b": 2, "c": 3}]),
        ("seen", [[1, 2]]), ("seen", [[1, 2, "x"]]),
        ("seen", [["x", 2, 3]]), ("exits", [1] * (commit.MAX_ITEMS + 1)),
    ],
)  # fmt: skip
def test_a_wrong_item_is_refused(field, value):
    with pytest.raises(PapaError) as caught:
        Commit.parse({field: value})
    assert caught.value.code == "bad-request"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(("acks", "exits", "values", "seen"), JSON)))
def test_any_json_is_a_commit_or_a_bad_request(args):
    try:
        Commit.parse(args)
    except PapaError as error:
        assert error.code == "bad-request"
