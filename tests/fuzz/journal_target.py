"""The journal: whatever stands in the file, what was valid before it is kept, and what is kept means the same again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from papa import model
from papa.core import journal
from papa.errors import PapaError
from papa.kernel.durable import Durable
from tests.fuzz import house, shapes

ROOMS = ("papa.core.journal", "papa.kernel.durable")
BOUNDS = ((journal, "MAX_RECORD", 2500), (journal, "COMPACT_ABOVE", 500), (model, "MAX_VALUES", 4),
          (model, "MAX_VALUES_TOTAL", 400))  # fmt: skip
WORDS = [
    b'"acks":', b'"exits":', b'"values":', b'"next":', b'"secret":', b'"snapshot":true', b'"version":', b'"boot":',
    b'[1,"out",5]', b"null", b"1e999", b"NaN", b"-1", b"true", b"[[", b"{}", b'"00"', b"\n", b"[" * 1000,
    b"9" * (house.DIGITS + 1), b'"\\ud800"',
]  # fmt: skip

_GOLDEN = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "golden").glob("*/journal"))]

#: What was acknowledged and set before anything was damaged.
_BEFORE: list[dict[str, Any]] = [
    {"boot": "boot", "version": 1, "snapshot": True, "next": 1001, "secret": "00ff", "values": {"a": "1"}},
    {"acks": [[7, "out", 5]], "exits": [8], "values": {"b": "é\udcff"}},
]
_PREFIX = b"".join(map(journal.encode, _BEFORE))


_RECORDS: list[object] = [
    {"next": 3001}, {"acks": [[7, "err", 9], [8, "out", 0]]}, {"exits": [7]}, {"values": {"a": None, "c": ""}},
    {"secret": "abcd"}, {"version": 2, "acks": "?"}, {"colour": "blue"}, [1], {"next": 1.5}, {"exits": ["x"]},
    {"values": {"a": 5}}, {"boot": "other"}, {"snapshot": True, "next": 1}, {"acks": [[1, "x", -1]]}, {"secret": "z"},
]  # fmt: skip


def seeds() -> list[bytes]:
    lines = [json.dumps(record).encode() for record in _RECORDS]
    texts = [*lines, *shapes.seeds(_RECORDS), b"\n".join(lines[:5]), b"[" * 1100, b"{\n" + lines[0]]
    # The first byte says what the rest is: a file, or texts of records that get their check sums here.
    return [*(b"r" + data for data in _GOLDEN), *(b"t" + text for text in texts)]


def check(data: bytes) -> None:
    rest = data[1:]
    if data[:1] != b"r":
        rest = b"".join(
            journal._HEADER.pack(len(line), journal.crc32(line)) + line  # type: ignore[attr-defined]
            for line in map(_shaped, rest.split(b"\n"))
        )
    records, valid = journal.decode(rest)
    assert 0 <= valid <= len(rest) and journal.decode(rest[:valid]) == (records, valid)
    kept, at = journal.decode(_PREFIX + rest)
    assert kept == _BEFORE + records and at == len(_PREFIX) + valid
    _recover(rest, records)


def _shaped(line: bytes) -> bytes:
    return json.dumps(shapes.shape(line, _RECORDS)).encode() if shapes.is_shape(line) else line


def _recover(rest: bytes, records: list[dict[str, Any]]) -> None:
    state = _State(_PREFIX + rest)
    durable = Durable(state, "boot", lambda _error: False, None, lambda _id: ())  # type: ignore[arg-type]
    durable.recover()
    boots = [record["boot"] for record in _BEFORE + records if "boot" in record]
    try:
        journal.check(records)
    except PapaError:
        # A newer papa's is kept as a whole, beside a new one.
        assert state.aside and durable.ledger.acks == {}
        boots = []
    if boots and boots[-1] == "boot":
        expected = journal.Ledger(_BEFORE + records)
        assert _meaning(durable.ledger, is_numbered=False) == _meaning(expected, is_numbered=False)
    again, valid = journal.decode(state.data)
    assert valid == len(state.data)
    assert _meaning(journal.Ledger(again)) == _meaning(durable.ledger)
    _go_on(durable, state)


def _go_on(durable: Durable, state: _State) -> None:
    before = durable.ledger.limit
    try:
        assert durable.new_number() >= before
    except PapaError as error:
        assert error.code == "limit" and before + journal.ID_BLOCK > model.MAX_ID
    bytes.fromhex(durable.ledger.secret)
    try:
        durable.ledger.check_values({"new": "x", "a": None})
        durable.commit({"acks": [[7, "out", 6]], "values": {"new": "x", "a": None}})
    except PapaError as error:
        assert error.code == "limit"
    again, valid = journal.decode(state.data)
    assert valid == len(state.data)
    assert _meaning(journal.Ledger(again)) == _meaning(durable.ledger)


def _meaning(ledger: journal.Ledger, *, is_numbered: bool = True) -> tuple[object, ...]:
    numbered = (ledger.limit,) if is_numbered else ()
    return (*numbered, ledger.acks, ledger.exits, ledger.values, ledger.values_size, ledger.secret)


class _State:
    """A directory that has nothing but a journal, in memory."""

    directory = "/d"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.aside: list[str] = []

    @property
    def journal_bytes(self) -> int:
        return len(self.data)

    def read_journal(self) -> bytes:
        return self.data

    def cut_journal(self, valid: int) -> None:
        self.data = self.data[:valid]

    def append_journal(self, record: bytes) -> None:
        self.data += record

    def replace_journal(self, content: bytes) -> None:
        self.data = content

    def make_place(self, name: str, _reason: str) -> None:
        self.aside.append(name)

    def highest_number(self) -> int:
        return 1000
