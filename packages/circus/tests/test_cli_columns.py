"""Tables fit where they stand, and colours count for nothing in their widths."""

from __future__ import annotations

import pytest

from circus.cli.columns import Cell, cut, table, width_of, wrapped

HEADS = ("NAME", "PID", "WHY")


def test_columns_are_as_wide_as_their_text_and_numbers_stand_at_their_right() -> None:
    rows = [("web", "7", "up"), ("a-long-name", "4711", "down")]
    assert table(HEADS, rows, width=80, right=("PID",)) == [
        "NAME          PID  WHY",
        "web             7  up",
        "a-long-name  4711  down",
    ]


def test_words_are_cut_and_numbers_are_not() -> None:
    lines = table(HEADS, [("web", "123456789012", "x" * 60)], width=40, right=("PID",))
    assert max(map(len, lines)) == 40
    assert lines[1].startswith("web   123456789012  xxxx")
    assert lines[1].endswith("x…")


def test_what_cannot_fit_is_longer() -> None:
    lines = table(HEADS, [("web", "1" * 50, "x" * 60)], width=40, right=("PID",))
    assert "1" * 50 in lines[1]


def test_paint_is_around_the_text_alone() -> None:
    rows = [(Cell("web", lambda text: f"<{text}>"), "7", "up")]
    assert table(HEADS, rows, width=80, paint=lambda text: f"[{text}]") == ["[NAME]  [PID]  [WHY]", "<web>   7    up"]


@pytest.mark.parametrize("width", [1, 20, 200])
def test_no_rows_are_heads_alone(width: int) -> None:
    assert table(HEADS, [], width=width) == ["NAME  PID  WHY"]


def test_wide_letters_take_two_columns_and_marks_none() -> None:
    assert [width_of(text) for text in ("web", "日本", "e\u0301", "")] == [3, 4, 1, 0]
    lines = table(("NAME", "PID"), [("日本", "7"), ("e\u0301", "8")], width=80)
    assert lines == ["NAME  PID", "日本  7", "e\u0301     8"]
    assert cut("日本語", 5) == "日本…"
    assert cut("日本語", 4) == "日…"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("abcdefghijk", ["abcdefgh", "ijk"]),
        ("a abcdefghijk b", ["a", "abcdefgh", "ijk b"]),
        ("  one two three", ["  one", "  two", "  three"]),
        ("日本語日本", ["日本語日", "本"]),
    ],
)
def test_text_is_broken_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 8) == lines


def test_the_last_column_goes_on_below_itself_in_its_colour() -> None:
    row = ("web", Cell("a text that is longer than that", lambda text: f"<{text}>"))
    assert table(("NAME", "WHY"), [row], width=24, wraps=True) == [
        "NAME  WHY",
        "web   <a text that is>",
        "      <longer than that>",
    ]
