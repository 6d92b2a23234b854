"""The index of output: whatever stands in the file, offsets keep their order, only what is held is shown, and what is
written back can be read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from papa.core import index, output
from papa.core.output import Bounds, Output
from papa.errors import PapaError
from papa.kernel import watch

ROOMS = ("papa.core.index", "papa.core.output")
#: More windows than one, as in a long index.
BOUNDS = ((watch, "WINDOW_BYTES", 3 * index.RECORD_SIZE), (output, "_WINDOW", 2 * index.RECORD_SIZE))
WORDS = [
    index.MAGIC, b"papaidx2", *(number.to_bytes(8, "little") for number in (0, 1, 2, 64, 96, 2**31, 2**63, 2**64 - 1)),
    index.pack_record("out", 30, 1, 1), index.pack_record("err", 5, 2, 2),
]  # fmt: skip

_FULL = {"out": 200, "err": 40}


def seeds() -> list[bytes]:
    golden = sorted((Path(__file__).parents[1] / "golden").glob("*/index"))
    stamps = [
        ("out", 0, 1),
        ("err", 0, 2),
        ("out", 50, 3),
        ("out", 50, 4),
        ("err", 9, 5),
        ("out", 120, 6),
        ("out", 200, 7),
    ]
    records = b"".join(index.pack_record(stream, offset, ns, ns) for stream, offset, ns in stamps)
    low = index.pack_header({"out": 10, "err": 3}, {"out": 2, "err": 0}, 96)
    # The first bytes say what happens to it: see check.
    return [
        *(b"\x64\x05\x07\x20\x10\x30" + path.read_bytes() for path in golden),
        b"\xc8\x28\x03\x00\x40\x80" + low + records,
        b"\xc8\x28\x0b\x30\x10\xf0" + index.pack_header({}, {}, 64) + records + b"torn",
        b"\xc8\x28\x0f\x30\x10\xf0" + index.pack_header({"out": 2**64 - 1}, {"out": 2**64 - 1}, 2**63) + records,
        b"\xc8\x28\x0f\x30\x10\xf0" + b"papaidx2" + bytes(56) + records,
        b"",
    ]


def check(data: bytes) -> None:
    steps, file = data[:6].ljust(6, b"\0"), data[6:]
    heads = {"out": steps[0], "err": steps[1]}
    for record in index.unpack_records(file):
        packed = index.pack_record(record.stream, record.offset, record.wall_ns, record.boot_ns)
        assert index.unpack_record(packed, 0) is not None and packed in file
    header = index.unpack_header(file)
    if header is not None:
        assert index.is_foreign(file) is False
        assert index.pack_header(header.low, header.dropped, header.first)[:48] == file[:48]
    _date(file[index.HEADER_SIZE :], heads, steps[3], steps[4])
    kept = Output.recover(heads, len(file), file[: index.HEADER_SIZE], {"out": steps[5]}, Bounds(max(1, steps[4])))
    _look_at(kept, file)
    _show(kept, file)
    for step in range(4):
        if steps[2] >> step & 1:
            file = _change(kept, file, step, steps)
            _look_at(kept, file)
    _show(kept, file)


def _date(records: bytes, heads: dict[str, int], start: int, end: int) -> None:
    for stream, head in heads.items():
        stamps = index.stamps_between(records, stream, head, start, end)
        offsets = [offset for offset, _, _ in stamps]
        if stamps:
            assert offsets[0] == start and offsets == sorted(set(offsets)) and offsets[-1] < min(end, head)


def _change(kept: Output, file: bytes, step: int, steps: bytes) -> bytes:
    def read(offset: int, size: int) -> bytes:
        return file[offset : offset + size]

    match step:
        case 0:
            before = kept.held
            kept.drop(read, steps[3])
            assert kept.held <= max(0, before - steps[3]) or not any(s.head > s.low for s in kept.streams.values())
        case 1:
            try:
                kept.check_ack("out", steps[4])
                kept.ack("out", steps[4])
            except PapaError:
                pass
            kept.trim(read)
        case 2:
            arrival = kept.note_arrival("err", 7, 7)
            assert arrival is not None
            place, record = arrival
            file = file[:place].ljust(place, b"\0") + record
            kept.add("err", 5)
        case _:
            kept.drop(read)
    return file


def _look_at(kept: Output, file: bytes) -> None:
    assert index.HEADER_SIZE <= kept.first <= kept.end and kept.held >= 0
    for stream in kept.streams.values():
        assert 0 <= stream.low <= stream.head and 0 <= stream.dropped <= stream.low
    again = Output.recover(kept.heads, kept.end, kept.header(), {})
    assert again.header() == kept.header()
    for _, start, end in kept.take_holes():
        assert start < end


def _show(kept: Output, file: bytes) -> None:
    capture = SimpleNamespace(read_index=lambda offset, size: file[offset : offset + size])
    count = 0
    for stream, start, end, wall_ns, place in watch._segments(kept, capture, kept.first):  # type: ignore[arg-type]
        # In a damaged file a later one may begin before an earlier one: who shows them passes over what was shown.
        assert kept.streams[stream].low <= start < end <= kept.heads[stream]
        assert 0 <= wall_ns <= 2**64 and kept.first <= place <= kept.end
        count += 1
    assert count <= kept.index_bytes // index.RECORD_SIZE
