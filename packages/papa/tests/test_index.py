from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from papa.core import index
from papa.core.output import Output


def records(*items: tuple[str, int, int]) -> bytes:
    return b"".join(index.pack_record(stream, offset, wall, wall + 7) for stream, offset, wall in items)


def test_the_format_on_disk_is_what_it_was():
    header = index.pack_header({"out": 1, "err": 2}, {"out": 3, "err": 4}, 96)
    assert header.hex() == (
        "7061706169647831" + "0100000000000000" + "0200000000000000" + "0300000000000000"
        "0400000000000000" + "6000000000000000" + "00" * 16
    )  # fmt: skip
    assert len(header) == index.HEADER_SIZE == 64
    record = index.pack_record("err", 5, 6, 7)
    assert record.hex() == "0100000000000000" + "0500000000000000" + "0600000000000000" + "0700000000000000"
    assert len(record) == index.RECORD_SIZE == 32


def test_a_header_is_read_back_as_it_was_written():
    header = index.unpack_header(index.pack_header({"out": 1, "err": 2}, {"err": 4}, 96) + b"more")
    assert header is not None
    assert (header.low, header.dropped, header.first) == ({"out": 1, "err": 2}, {"out": 0, "err": 4}, 96)


def test_bytes_that_are_no_header_are_none():
    good = index.pack_header({}, {}, 64)
    assert index.unpack_header(b"") is None
    assert index.unpack_header(good[:63]) is None
    assert index.unpack_header(b"papaidx2" + good[8:]) is None
    assert index.unpack_header(index.pack_header({}, {}, 32)) is None
    assert index.unpack_header(index.pack_header({}, {}, 70)) is None


def test_a_torn_last_record_is_no_record():
    data = records(("out", 0, 1), ("err", 5, 2))
    found = list(index.unpack_records(data + b"torn"))
    assert [(r.stream, r.offset, r.wall_ns, r.boot_ns) for r in found] == [("out", 0, 1, 8), ("err", 5, 2, 9)]
    assert index.round_down(0) == index.round_down(63) == index.round_down(64) == index.round_down(95) == 64
    assert index.round_down(96) == index.round_down(127) == 96


def test_records_of_a_stream_that_nobody_knows_are_skipped():
    foreign = (9).to_bytes(8, "little") + bytes(24)
    assert [r.stream for r in index.unpack_records(foreign + records(("err", 0, 1)))] == ["err"]
    assert index.unpack_record(foreign, 0) is None


def test_stamps_say_when_each_part_of_a_range_arrived():
    data = records(("out", 0, 10), ("err", 0, 11), ("out", 5, 20), ("out", 9, 30))
    assert index.stamps_between(data, "out", 12, 0, 12) == [(0, 10, 17), (5, 20, 27), (9, 30, 37)]
    assert index.stamps_between(data, "out", 12, 6, 9) == [(6, 20, 27)]
    assert index.stamps_between(data, "out", 12, 7, 10) == [(7, 20, 27), (9, 30, 37)]
    assert index.stamps_between(data, "err", 3, 1, 2) == [(1, 11, 18)]
    assert index.stamps_between(data, "out", 12, 5, 5) == []
    assert index.stamps_between(data, "out", 12, 12, 20) == []


def test_a_record_at_the_head_is_void_and_of_equal_offsets_the_last_counts():
    data = records(("out", 0, 10), ("out", 5, 20), ("out", 5, 25), ("out", 8, 30))
    assert index.stamps_between(data, "out", 8, 0, 8) == [(0, 10, 17), (5, 25, 32)]


def test_bytes_older_than_the_oldest_record_get_its_times():
    data = records(("out", 5, 20), ("out", 9, 30))
    assert index.stamps_between(data, "out", 12, 2, 12) == [(2, 20, 27), (9, 30, 37)]
    assert index.stamps_between(b"", "out", 12, 2, 12) == []


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), max_size=12).map(sorted),
    st.integers(0, 35),
    st.integers(0, 35),
    st.integers(0, 40),
)
def test_each_byte_gets_the_last_record_at_or_before_it(offsets, start, end, head):
    data = records(*(("out", offset, n) for n, offset in enumerate(offsets)))
    stamps = index.stamps_between(data, "out", head, start, end)
    valid = [(offset, n) for n, offset in enumerate(offsets) if offset < head]
    assert [s[0] for s in stamps] == sorted({s[0] for s in stamps})
    for byte in range(start, min(end, head)):
        expected = [n for offset, n in valid if offset <= byte]
        got = [wall for offset, wall, _ in stamps if offset <= byte]
        if expected:
            assert got[-1] == expected[-1]
        elif any(offset < end for offset, _ in valid):
            assert got
    if start >= min(end, head):
        assert stamps == []


def test_stamps_ascend_even_where_the_records_of_a_damaged_file_do_not():
    data = records(("out", 0, 10), ("out", 10, 20), ("out", 20, 30), ("out", 5, 40))
    assert index.stamps_between(data, "out", 30, 0, 30) == [(0, 10, 17), (5, 40, 47)]


def test_a_header_that_says_more_was_dropped_than_ever_came_can_still_be_written_again():
    header = index.pack_header({"out": 7}, {"out": 2**64 - 1}, 64)
    output = Output.recover({"out": 10}, 64, header, {})
    output.drop(lambda _offset, _size: b"", 1)
    assert output.header() == index.pack_header({"out": 8}, {"out": 8}, 64)
