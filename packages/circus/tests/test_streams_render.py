from __future__ import annotations

from datetime import UTC, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from circus.streams import render

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
        fmt = render.color_code("cyan") + FORMAT
        times = [(start, 0)]
        return render.with_prefixes(data, start, times, pid=7, time_format=fmt, at_line_start=at_line_start, zone=UTC)

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
