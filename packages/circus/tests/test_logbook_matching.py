"""Lines in which a pattern is found: the same as when each line is asked alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from circus.errors import CircusError
from circus.logbook import matching
from circus.logbook.matching import Pattern, all_lines

PATTERNS = [
    "a", "ab", "a.b", "a|b", "(ab)+", "a*", "^a", "b$", r"\bab\b", "a(?=b)", r"\Aa", r"b\Z", "[^b]a", r"\s", "(?i)AB",
    "a{2}b", "b[c ]", "a(b|c)a", "(?s)a.*b", "b?c", "^$", r"a\nb", "(?:ab){0}c", "a+?b", "(?>a+)b", r"\d+ error", ".",
    "", "(?i:a)b", "a(?!b)", r"\Ba", "c$|^a",
]  # fmt: skip

chunks = st.lists(st.sampled_from([b"\n", b"a", b"b", b"ab", b"c", b" ", b"A", b"7 error"]), max_size=25).map(b"".join)


def lines(chunk: bytes) -> list[tuple[int, int]]:
    """The plain way."""
    found, at = [], 0
    for line in chunk.split(b"\n"):
        if at < len(chunk):
            found.append((at, at + len(line)))
        at += len(line) + 1
    return found


@pytest.mark.parametrize("text", PATTERNS)
@given(chunk=chunks)
@example(chunk=b"a\n\nb\nab\n")
@pytest.mark.parametrize("rare_bytes", [matching.RARE_BYTES, 3])
def test_lines_are_found_as_if_each_was_asked_alone(text: str, rare_bytes: int, chunk: bytes) -> None:
    matching.RARE_BYTES, before = rare_bytes, matching.RARE_BYTES
    try:
        check(text, chunk)
    finally:
        matching.RARE_BYTES = before


def check(text: str, chunk: bytes) -> None:
    regex = re.compile(text.encode())
    pattern = Pattern(text)
    expected = [(start, end) for start, end in lines(chunk) if regex.search(chunk[start:end])]
    assert list(pattern.lines_of(chunk, is_raw=True, is_json=False)) == expected
    candidates = set(pattern.lines_of(chunk, is_raw=False, is_json=False))
    assert candidates >= set(expected)


@given(chunks)
def test_all_lines_are_all_lines(chunk: bytes) -> None:
    assert list(all_lines(chunk)) == lines(chunk)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("error", b"error"), (r"\d+ error: .*", b" error: "), ("(conn|req) lost", b" lost"), ("(?i)Error", b"error"),
        ("a|b", b""), ("x(abc)+y", b"xabc"), ("fo?bar", b"bar"), ("(?:timeout)", b"timeout"), ("[ab]c", b"c"),
    ],
)  # fmt: skip
def test_what_every_match_holds_is_searched_for(text: str, literal: bytes) -> None:
    assert Pattern(text).literal == literal


def test_in_json_only_what_stands_there_as_it_is_is_searched_for() -> None:
    chunk = b'{"line":"say \\"hi\\""}\n{"line":"other"}\n'
    assert len(list(Pattern('"hi"').lines_of(chunk, is_raw=False, is_json=True))) == 2
    assert list(Pattern("other").lines_of(chunk, is_raw=False, is_json=True)) == [(22, 38)]


@pytest.mark.parametrize("text", ["(", "[a", "a{2", "*", "[[a]"])
def test_no_regular_expression_is_a_usage_error(text: str) -> None:
    if text == "a{2":
        assert Pattern(text).is_literal
        return
    with pytest.raises(CircusError, match="no regular expression") as caught:
        Pattern(text)
    assert caught.value.code == "usage"
