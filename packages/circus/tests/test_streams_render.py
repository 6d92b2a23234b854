from __future__ import annotations

import base64
import json
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.streams import lines, render
from circus.streams.render import Look

SECOND = 1_000_000_000
FORMAT = "%H:%M:%S"


def prefixed(data: bytes, times: list[tuple[int, int]], *, start: int = 0, at_line_start: bool = True) -> bytes:
    return render.with_prefixes(data, start, times, pid=7, time_format=FORMAT, at_line_start=at_line_start, zone=UTC)


def test_every_line_says_when_it_was_written_and_by_whom() -> None:
    assert prefixed(b"a\n\nb\n", [(0, 0), (3, 61 * SECOND)]) == b"00:00:00 [7] | a\n00:00:00 [7] | \n00:01:01 [7] | b\n"


def test_a_line_that_comes_in_parts_has_one_prefix() -> None:
    assert prefixed(b"a", [(0, 0)]) == b"00:00:00 [7] | a"
    assert prefixed(b"b\nc\n", [(1, SECOND)], start=1, at_line_start=False) == b"b\n00:00:01 [7] | c\n"
    assert prefixed(b"b", [(1, SECOND)], start=1, at_line_start=False) == b"b"


def test_a_begun_line_that_ends_with_its_part_leaves_nothing_to_prefix() -> None:
    assert prefixed(b"b\n", [(1, SECOND)], start=1, at_line_start=False) == b"b\n"


def test_a_colour_ends_with_its_line() -> None:
    def coloured(data: bytes, start: int = 0, *, at_line_start: bool = True) -> bytes:
        times = [(start, 0)]
        return render.with_prefixes(
            data, start, times, pid=7, time_format=FORMAT, color="cyan", at_line_start=at_line_start, zone=UTC
        )

    head = b"\033[0;36;40m00:00:00 [7] | "
    assert coloured(b"a\n\nb\n") == head + b"a\033[0m\n" + head + b"\033[0m\n" + head + b"b\033[0m\n"
    assert coloured(b"a") == head + b"a"
    assert coloured(b"b\nc", 1, at_line_start=False) == b"b\033[0m\n" + head + b"c"


def test_bytes_that_are_no_text_pass_unchanged() -> None:
    assert prefixed(b"\xff\xfe\r\n", [(0, 0)]) == b"00:00:00 [7] | \xff\xfe\r\n"


def test_microseconds_and_the_zone_are_those_of_the_line() -> None:
    zone = timezone(timedelta(hours=2))
    assert render.prefix(1_500_000_000, 3, "%H.%f%z", zone) == b"02.500000+0200 [3] | "
    assert render.prefix(1_999_999_999, 3, "%S.%f", UTC) == b"01.999999 [3] | "


def test_marks_are_lines_that_say_how_many_bytes() -> None:
    assert render.gap_mark(12) == b"[papa: 12 bytes of output were dropped here]\n"
    assert b"up to 9 bytes" in render.doubt_mark(9)


@given(
    st.lists(st.sampled_from([b"\n", b"x", b"yy\n"]), max_size=20).map(b"".join),
    st.lists(st.integers(1, 30), unique=True).map(sorted),
    st.integers(0, 40),
    st.booleans(),
)
def test_rendering_in_two_parts_is_rendering_at_once(
    data: bytes, edges: list[int], cut: int, at_line_start: bool
) -> None:
    # What lets a batch be rendered segment by segment, and compared after a crash.
    times = [(0, 0), *((edge, edge * SECOND) for edge in edges if edge < len(data))]
    cut = min(cut, len(data))
    left = prefixed(data[:cut], [time for time in times if time[0] < cut], at_line_start=at_line_start)
    covering = [time for time in times if time[0] <= cut][-1:]
    later = [(cut, covering[0][1]), *(time for time in times if time[0] > cut)] if cut < len(data) else []
    is_fresh = data[:cut].endswith(b"\n") if cut else at_line_start
    right = prefixed(data[cut:], later, start=cut, at_line_start=is_fresh)
    assert left + right == prefixed(data, times, at_line_start=at_line_start)


# JSON -------------------------------------------------------------------------------------------------------

WEB = Look(render.JSON, watcher="wéb", wid=2)


def objects(data: bytes, times: list[tuple[int, int]] | None = None) -> list[dict[str, Any]]:
    rendered = render.as_json(data, 100, times or [(100, NS)], WEB, pid=7, stream="err")
    assert rendered.endswith(b"\n")
    return [json.loads(line) for line in rendered.splitlines()]


NS = 1_700_000_000_123_456_789


def test_a_line_is_an_object_with_its_time_in_utc_and_whose_it_is() -> None:
    assert objects('one ä"\r\n'.encode()) == [
        {
            "time": "2023-11-14T22:13:20.123456Z",
            "watcher": "wéb",
            "wid": 2,
            "pid": 7,
            "stream": "stderr",
            "line": 'one ä"\r',
        }
    ]


def test_each_line_has_its_own_time() -> None:
    found = objects(b"one\ntwo\n", [(100, NS), (104, NS + 1_000_000)])
    assert [(each["line"], each["time"][-8:]) for each in found] == [("one", ".123456Z"), ("two", ".124456Z")]


def test_bytes_that_are_no_text_are_kept_in_base64() -> None:
    (found,) = objects(b"caf\xe9 \x00\n")
    assert found["line"] == "caf\ufffd \x00"
    assert base64.b64decode(found["raw"]) == b"caf\xe9 \x00"


def test_a_tail_and_a_line_that_is_too_long_are_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 8)
    found = objects("12345678abc\nääääää\ntail".encode())
    assert [(each["line"], each.get("partial", False)) for each in found] == [
        ("12345678", True),
        ("abc", False),
        ("ääää", True),
        ("ää", False),
        ("tail", True),
    ]


@given(st.lists(st.sampled_from([b"\n", b"x", b"\xc3\xa4", b"\xff", b"\xf0\x9f\x90\x88", b"0123456789"])).map(b"".join))
def test_objects_hold_every_byte_and_characters_are_not_split(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LINE_LIMIT", 7)
        found = objects(data) if data else []
    whole = b""
    for each in found:
        line = base64.b64decode(each["raw"]) if "raw" in each else each["line"].encode()
        assert len(line) <= 7
        assert "raw" not in each or b"\xff" in line, "a character was split"
        whole += line + (b"" if each.get("partial") else b"\n")
    assert whole == data


def test_marks_are_objects_too() -> None:
    assert json.loads(render.json_gap(12, NS, WEB, "out")) == {
        "time": "2023-11-14T22:13:20.123456Z",
        "watcher": "wéb",
        "wid": 2,
        "stream": "stdout",
        "mark": "gap",
        "dropped_bytes": 12,
    }
    doubt = json.loads(render.json_doubt(9, NS))
    assert (doubt["mark"], doubt["repeated_bytes"]) == ("doubt", 9)


def test_lines_of_one_second_are_one_piece_where_the_format_has_no_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = lines.cut_pieces
    pieces: list[lines.Piece] = []
    monkeypatch.setattr(lines, "cut_pieces", lambda *args: pieces.extend(cut(*args)) or cut(*args))
    data, times = b"a\n" * 300, [(2 * number, number * SECOND // 100) for number in range(300)]
    written = prefixed(data, times)
    assert written == b"".join(b"00:00:0%d [7] | a\n" % (number // 100) for number in range(300))
    assert len(pieces) == 3


@pytest.mark.parametrize("time_format", ["%H:%M:%S", "%S.%f"])
def test_a_line_among_many_has_the_time_that_it_has_alone(time_format: str) -> None:
    parts = [b"a", b"b\n", b"c\nd", b"\n", b"e\n", b"f"]
    times: list[tuple[int, int]] = []
    offset, alone = 0, b""
    for number, part in enumerate(parts):
        times.append((offset, number * SECOND * 3 // 10))
        offset += len(part)
    data = b"".join(parts)
    begins = [0, *(at + 1 for at in range(len(data) - 1) if data[at : at + 1] == b"\n")]
    for begin, end in zip(begins, [*begins[1:], len(data)], strict=True):
        clock_ns = max(ns for at, ns in times if at <= begin)
        alone += render.prefix(clock_ns, 7, time_format, UTC) + data[begin:end]
    assert render.with_prefixes(data, 0, times, pid=7, time_format=time_format, at_line_start=True, zone=UTC) == alone
