"""The index of a process's output: which byte arrived when, as a file that kernel and readers share.

A header of 64 bytes says what is still there, records of 32 bytes say when the bytes from an offset on were
taken. A record is written *before* the bytes that it dates, so after a crash a record may date bytes that
never came: one whose offset is not below the stream's head is void, and of several with the same offset the
last counts. The header's ``low`` marks are advanced before the bytes below them are given back.

This is a format on disk and between programs: it never changes; a new one gets a new magic. What begins with
another magic is left alone.
"""

from __future__ import annotations

from struct import Struct

from papa import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"papaidx1"
_HEADER = Struct("<8sQQQQQ16x")
_RECORD = Struct("<QQQQ")
HEADER_SIZE = _HEADER.size
RECORD_SIZE = _RECORD.size


class Header:
    """What is left of the streams: ``low`` and ``dropped`` of each, and where the first valid record is."""

    __slots__ = ("dropped", "first", "low")

    def __init__(self, low: dict[str, int], dropped: dict[str, int], first: int = HEADER_SIZE) -> None:
        self.low = low
        self.dropped = dropped
        self.first = first


class Record:
    """The bytes of *stream* from *offset* on were taken at these times (nanoseconds)."""

    __slots__ = ("boot_ns", "offset", "stream", "wall_ns")

    def __init__(self, stream: str, offset: int, wall_ns: int, boot_ns: int) -> None:
        self.stream = stream
        self.offset = offset
        self.wall_ns = wall_ns
        self.boot_ns = boot_ns


def pack_header(low: dict[str, int], dropped: dict[str, int], first: int) -> bytes:
    return _HEADER.pack(
        MAGIC, low.get("out", 0), low.get("err", 0), dropped.get("out", 0), dropped.get("err", 0), first
    )


def unpack_header(data: bytes) -> Header | None:
    """The header, or None when these bytes are none (a crash came before the first header was written)."""
    if len(data) < HEADER_SIZE:
        return None
    magic, low_out, low_err, dropped_out, dropped_err, first = _HEADER.unpack_from(data)
    if magic != MAGIC or first < HEADER_SIZE or (first - HEADER_SIZE) % RECORD_SIZE:
        return None
    return Header({"out": low_out, "err": low_err}, {"out": dropped_out, "err": dropped_err}, first)


def is_foreign(data: bytes) -> bool:
    """Whether a file that begins with these bytes is an index of another format, or none at all."""
    return data[: len(MAGIC)] not in (b"", MAGIC)


def pack_record(stream: str, offset: int, wall_ns: int, boot_ns: int) -> bytes:
    return _RECORD.pack(model.STREAMS.index(stream), offset, wall_ns, boot_ns)


def unpack_record(data: bytes, at: int) -> Record | None:
    """The record at this place in *data*; None for a stream that this version does not know."""
    number, offset, wall_ns, boot_ns = _RECORD.unpack_from(data, at)
    return Record(model.STREAMS[number], offset, wall_ns, boot_ns) if number < len(model.STREAMS) else None


def unpack_records(data: bytes) -> Iterator[Record]:
    """The whole records in *data*; a tail that is no whole record is left out."""
    for at in range(0, len(data) - RECORD_SIZE + 1, RECORD_SIZE):
        record = unpack_record(data, at)
        if record is not None:
            yield record


def round_down(size: int) -> int:
    """Where the records of an index file of *size* bytes end: a torn last record is no record."""
    if size < HEADER_SIZE:
        return HEADER_SIZE
    return size - (size - HEADER_SIZE) % RECORD_SIZE


def stamps_between(records: bytes, stream: str, head: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """When the bytes ``start`` to ``end`` of a stream arrived: (offset, wall_ns, boot_ns), ascending.

    *records* are the file's bytes from the header's ``first`` on. Each entry holds up to the next one's
    offset; the first one's offset is *start*. Bytes older than the oldest record get that record's times.
    Empty when the range is empty or nothing is known.
    """
    stamps: list[tuple[int, int, int]] = []
    for record in unpack_records(records):
        if record.stream != stream or record.offset >= head:
            continue
        if record.offset >= end:
            break
        offset = max(record.offset, start)
        # Of several at one offset the last counts; more than one goes only where the file is damaged.
        while stamps and stamps[-1][0] >= offset:
            stamps.pop()
        if not stamps:
            offset = start
        stamps.append((offset, record.wall_ns, record.boot_ns))
    return stamps if start < min(end, head) else []
