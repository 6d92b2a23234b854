from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.streams import lines
from circus.streams.lines import Piece, Run

texts = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\n\n"]), max_size=30).map(b"".join)


def test_whole_lines_end_behind_the_last_newline() -> None:
    assert lines.last_line_end(b"one\ntwo\nthr") == 8
    assert lines.last_line_end(b"none") == 0
    assert lines.first_line_end(b"one\ntwo\n") == 4
    assert lines.first_line_end(b"none") == 0


def test_a_line_keeps_the_time_of_its_first_byte() -> None:
    # "bb" began at time 1, its end came at time 2.
    assert lines.cut_pieces(b"a\nbb\nc\n", 10, [(10, 1), (13, 2)]) == [Piece(1, 10, 15), Piece(2, 15, 17)]


def test_a_time_that_begins_with_a_line_begins_a_piece() -> None:
    assert lines.cut_pieces(b"a\nb\n", 0, [(0, 1), (2, 2)]) == [Piece(1, 0, 2), Piece(2, 2, 4)]


def test_a_line_that_arrives_in_many_parts_skips_their_times() -> None:
    pieces = lines.cut_pieces(b"abcd\ne\n", 0, [(0, 1), (1, 2), (2, 3), (5, 4)])
    assert pieces == [Piece(1, 0, 5), Piece(4, 5, 7)]


def test_without_times_everything_is_one_piece() -> None:
    assert lines.cut_pieces(b"a\nb", 7, []) == [Piece(0, 7, 10)]
    assert lines.cut_pieces(b"", 7, [(7, 1)]) == []


@given(texts, st.lists(st.integers(0, 40), unique=True).map(sorted))
def test_pieces_are_the_data_in_order_and_end_at_line_ends(data: bytes, edges: list[int]) -> None:
    times = [(100, 0), *((100 + edge, edge) for edge in edges if 0 < edge < len(data))]
    pieces = lines.cut_pieces(data, 100, times)
    at = 100
    for piece in pieces:
        assert piece.start == at < piece.end
        assert piece.end == 100 + len(data) or data[piece.end - 101 : piece.end - 100] == b"\n"
        # Each line in it began at the piece's time: the last time at or before its first byte.
        begins = [piece.start, *(o + 1 for o in range(piece.start, piece.end - 1) if data[o - 100 : o - 99] == b"\n")]
        for begin in begins:
            assert piece.at_ns == max((offset, at_ns) for offset, at_ns in times if offset <= begin)[1]
        at = piece.end
    assert at == 100 + len(data)


def test_pieces_of_all_sources_are_merged_by_time_and_neighbours_are_joined() -> None:
    one = Run(0, [Piece(1, 0, 5), Piece(2, 5, 9), Piece(5, 9, 12)], is_cut=False)
    two = Run(1, [Piece(3, 0, 4)], is_cut=False)
    assert lines.merge([one, two]) == [(0, 0, 9), (1, 0, 4), (0, 9, 12)]


def test_nothing_younger_than_what_a_cut_source_may_still_have_is_given_out() -> None:
    cut = Run(0, [Piece(1, 0, 5), Piece(2, 5, 9)], is_cut=True)
    late = Run(1, [Piece(2, 0, 4), Piece(3, 4, 8)], is_cut=False)
    assert lines.merge([cut, late]) == [(0, 0, 9), (1, 0, 4)]


def test_times_that_step_back_do_not_turn_a_source_around() -> None:
    run = Run(0, [Piece(5, 0, 5), Piece(2, 5, 9)], is_cut=True)
    other = Run(1, [Piece(4, 0, 3)], is_cut=False)
    assert lines.merge([run, other]) == [(1, 0, 3), (0, 0, 9)]


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=6), st.booleans()), max_size=5))
def test_a_merge_keeps_the_order_of_each_source_and_gives_out_something(sources: list[tuple[list[int], bool]]) -> None:
    runs = [
        Run(number, [Piece(at_ns, start * 10, start * 10 + 10) for start, at_ns in enumerate(times)], is_cut)
        for number, (times, is_cut) in enumerate(sources)
    ]
    merged = lines.merge(runs)
    reached = dict.fromkeys(range(len(runs)), 0)
    for number, start, end in merged:
        assert reached[number] == start < end
        reached[number] = end
    full = {run.number: len(run.pieces) * 10 for run in runs}
    cut = [run for run in runs if run.is_cut and run.pieces]
    if cut:
        assert any(reached[run.number] == full[run.number] for run in cut)
    else:
        assert reached == full


def test_a_line_that_is_too_long_is_taken_in_pieces_of_whole_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 4)
    data = "abc\nabcd\naaä€x".encode()
    at, pieces = 0, []
    while at < len(data):
        length = lines.piece_length(data, at)
        pieces.append(data[at : at + length].decode())
        at += length
    assert pieces == ["abc\n", "abcd", "\n", "aaä", "€x"]


def test_a_character_that_is_not_whole_is_left_away() -> None:
    text = "aä€🐈".encode()
    ends = {1, 3, 6, 10}
    assert [lines.whole_chars(text[:end]) for end in range(2, 11)] == [
        max(each for each in ends if each <= end) for end in range(2, 11)
    ]
    assert lines.whole_chars(b"\xf0\x9f") == 2, "nothing would be left"
    assert lines.whole_chars(b"caf\x80\x80\x80\x80") == 7, "what is no text is cut anywhere"
