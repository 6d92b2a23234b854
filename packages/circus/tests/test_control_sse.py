from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.control import sse

SAID = sse.render("7-1") + sse.render("7-2", b'{"a": "b: c"}') + sse.render("7-9", b'{"missed": 6}', "missed")


@given(st.lists(st.integers(0, len(SAID)), max_size=6))
def test_what_is_rendered_is_read_however_it_is_cut(cuts: list[int]) -> None:
    parser = sse.Parser()
    edges = [0, *sorted(cuts), len(SAID)]
    heard = [said for start, end in itertools.pairwise(edges) for said in parser.feed(SAID[start:end])]
    assert heard == [("7-2", "", '{"a": "b: c"}'), ("7-9", "missed", '{"missed": 6}')]
    assert parser.last_id == "7-9"


def test_an_id_without_data_is_kept_and_told_to_nobody() -> None:
    parser = sse.Parser("7-1")
    assert parser.last_id == "7-1"
    assert parser.feed(sse.render("8-0")) == []
    assert parser.last_id == "8-0"


def test_comments_and_unknown_fields_are_passed_over() -> None:
    assert sse.Parser().feed(b": hello\nretry: 5\ndata:x\n\n") == [("", "", "x")]


def test_a_line_without_an_end_is_no_stream_of_events() -> None:
    parser = sse.Parser()
    with pytest.raises(ValueError, match="a line longer than"):
        parser.feed(b"x" * (sse.MAX_LINE + 1))
