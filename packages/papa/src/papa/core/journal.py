"""The journal: what was acknowledged and set, as a sequence of records, and the state that they yield.

A record is ``u32 length, u32 crc32, JSON`` and is appended with one write(2): either it is whole or it is a
torn tail, which reading ignores. A commit is one record, so it happens as a whole or not at all; low-water
marks and holes in the stream files derive from it afterwards. A journal that has grown is replaced by one
that begins with a snapshot (write new, rename).

Records, whose fields may be combined:
``{"next": n}`` ids below n may be given out; ``{"acks": [[id, stream, offset]...]}``; ``{"exits": [id...]}``;
``{"values": {name: text or null}}``; ``{"secret": hex}``; ``{"snapshot": true, ...}`` forgets all before.
Fields that this version does not know are ignored, so that an older kernel can read a newer one's journal. Only
when that would be a mistake the ``version`` rises, which a snapshot says; a record without one is of version 1.

Not here: files, and whether a commit is allowed (``table``).
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from papa import jsontext, model
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

VERSION = 1

_HEADER = Struct("<II")

#: A length above this is no length: a snapshot of the most and largest values takes less (6 bytes a
#: character).
MAX_RECORD = 8 * model.MAX_VALUES_TOTAL
#: Ids are reserved in blocks, so that starting a process does not write to the journal each time.
ID_BLOCK = 1000
#: A journal smaller than this is read in a few milliseconds.
COMPACT_ABOVE = 1024 * 1024
#: Digits of the longest key of a digest, and all of them.
_MAX_SECRET = 128
_HEX = "0123456789abcdef"
#: What an acknowledgement, an exit or a value's name takes in a snapshot, roughly.
_ROW = 24


def encode(record: Mapping[str, Any]) -> bytes:
    """The bytes to append for one record, with one write."""
    text = jsontext.dumps(record, separators=(",", ":")).encode("ascii")
    return _HEADER.pack(len(text), crc32(text)) + text


def decode(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """All whole records from the start, and the number of bytes they take.

    What follows is a torn tail; cut the file there before appending. Or it is damaged: ``is_torn`` knows.
    """
    records: list[dict[str, Any]] = []
    end = 0
    while len(data) - end >= _HEADER.size:
        size, checksum = _HEADER.unpack_from(data, end)
        text = data[end + _HEADER.size : end + _HEADER.size + size]
        if size > MAX_RECORD or len(text) < size or crc32(text) != checksum:
            break
        try:
            record = jsontext.loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict) or not (_is_newer(record) or _is_record(record)):
            break
        records.append(record)
        end += _HEADER.size + size
    return records, end


def check(records: Iterable[Mapping[str, Any]]) -> None:
    """Raises: PapaError internal when these say that they are of a format that came after this one."""
    newer = [record.get("version", 1) for record in records if _is_newer(record)]
    if newer:
        raise PapaError(
            f"its format {max(newer)} is newer than {VERSION}, the newest that this papa knows", code="internal"
        )


def _is_newer(record: Mapping[str, Any]) -> bool:
    """Whether it is of a later format, in which fields may be anything."""
    version = record.get("version", 1)
    return isinstance(version, int) and version > VERSION


def _is_record(record: Mapping[str, Any]) -> bool:
    """Whether the fields are what the ledger takes them for. What is not was written by no papa."""
    secret, values = record.get("secret", ""), record.get("values", {})
    acks, exits = record.get("acks", []), record.get("exits", [])
    return (
        _is_whole(record.get("version", 1), VERSION)
        and _is_whole(record.get("next", 0))
        and isinstance(record.get("boot", ""), str)
        and isinstance(secret, str)
        and len(secret) <= _MAX_SECRET
        and not len(secret) % 2
        and not secret.strip(_HEX)
        and isinstance(exits, list)
        and all(_is_whole(id, model.MAX_ID) for id in exits)
        and isinstance(acks, list)
        and all(_is_ack(ack) for ack in acks)
        and isinstance(values, dict)
        and all(value is None or isinstance(value, str) for value in values.values())
    )


def _is_ack(ack: object) -> bool:
    if not isinstance(ack, list) or len(ack) != 3:
        return False
    id, stream, offset = ack
    return _is_whole(id, model.MAX_ID) and isinstance(stream, str) and _is_whole(offset, model.MAX_OFFSET)


def _is_whole(value: object, most: int | None = None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0 and (most is None or value <= most)


def is_torn(rest: bytes) -> bool:
    """Whether what follows the whole records is a record whose writer was killed, and nothing else."""
    if len(rest) < _HEADER.size:
        return True
    size, _ = _HEADER.unpack_from(rest)
    return int(size) <= MAX_RECORD and len(rest) < _HEADER.size + int(size)


class Ledger:
    """What a journal's records yield: acknowledgements, values, the next id, the instance's secret."""

    __slots__ = ("_given", "acks", "exits", "limit", "secret", "values", "values_size")

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.acks: dict[int, dict[str, int]] = {}
        self.exits: set[int] = set()
        self.values: dict[str, str] = {}
        self.values_size = 0
        #: Ids below this may have been given out by this kernel or an earlier incarnation.
        self.limit = 1
        #: Key of the digests in the records, hex; "" before the first ``{"secret": ...}``.
        self.secret = ""
        for record in records:
            self.apply(record)
        # An earlier incarnation may have given out any id of its block.
        self._given = self.limit

    def apply(self, record: Mapping[str, Any]) -> None:
        """Take in one record that is already in the journal."""
        if record.get("snapshot"):
            self.acks.clear()
            self.exits.clear()
            self.values.clear()
            self.values_size = 0
        self.limit = max(self.limit, record.get("next", 0))
        self.secret = record.get("secret", self.secret)
        for id, stream, offset in record.get("acks", ()):
            self.acks.setdefault(id, {})[stream] = offset
        self.exits.update(record.get("exits", ()))
        for name, value in record.get("values", {}).items():
            self.values_size -= _weight(name, self.values.pop(name, None))
            if value is not None:
                self.values[name] = value
                self.values_size += _weight(name, value)

    def check_values(self, values: Mapping[str, str | None]) -> None:
        """Raise PapaError ``limit`` when these would make too many values, or too much of them."""
        count, size = len(self.values), self.values_size
        for name, value in values.items():
            old = self.values.get(name)
            count += (value is not None) - (old is not None)
            size += _weight(name, value) - _weight(name, old)
        if count > len(self.values) and count > model.MAX_VALUES:
            raise PapaError(f"there would be more than {model.MAX_VALUES} values", code="limit")
        if size > self.values_size and size > model.MAX_VALUES_TOTAL:
            raise PapaError(f"all values together would take more than {model.MAX_VALUES_TOTAL} bytes", code="limit")

    def reservation(self) -> dict[str, Any] | None:
        """The record to append and apply before ``take_id``, or None when an id is left.

        Raises: PapaError limit when there is no further one.
        """
        if self._given < self.limit:
            return None
        if self.limit + ID_BLOCK > model.MAX_ID + 1:
            raise PapaError(
                f"numbers up to {self.limit - 1} may have been given out, and none may be above {model.MAX_ID}",
                code="limit",
                hint="`papa exit` when nothing is hosted: the next kernel begins anew",
            )
        return {"next": self.limit + ID_BLOCK}

    def take_id(self) -> int:
        """An id that no incarnation of this kernel ever gave out. Append and apply ``reservation`` before."""
        assert self._given < self.limit, "no id is reserved"
        self._given += 1
        return self._given - 1

    def forget(self, id: int) -> None:
        """The entry is gone. Needs no record: what is not in the table when a kernel starts is forgotten."""
        self.acks.pop(id, None)
        self.exits.discard(id)

    def keep_only(self, ids: Iterable[int]) -> None:
        """After recovery: forget everything about entries that have no record of their own."""
        kept = set(ids)
        self.acks = {id: acks for id, acks in self.acks.items() if id in kept}
        self.exits &= kept

    def snapshot(self) -> dict[str, Any]:
        """One record that yields this state, for the first place in a new journal."""
        return {
            "version": VERSION,
            "snapshot": True,
            "next": self.limit,
            "secret": self.secret,
            "acks": [[id, stream, offset] for id, acks in self.acks.items() for stream, offset in acks.items()],
            "exits": sorted(self.exits),
            "values": self.values,
        }

    def needs_compaction(self, size: int) -> bool:
        """True when a journal of *size* bytes is worth being replaced by a snapshot."""
        estimate = self.values_size + _ROW * (2 * len(self.acks) + len(self.exits) + len(self.values))
        return size > COMPACT_ABOVE and size > 2 * estimate


def _weight(name: str, value: str | None) -> int:
    """Bytes that a value takes in the journal; 0 for one that is not there."""
    return 0 if value is None else len(jsontext.dumps(name)) + len(jsontext.dumps(value))
