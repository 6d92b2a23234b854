from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papa.wire import text_lines
from papa.wire.text_lines import Page, harmless

#: 2026-11-21 18:03:07.512 UTC
AT = 1_795_284_187_512_000_000
SECOND = 1_000_000_000
ZONE = time.gmtime(0).tm_zone


def page(*names: str) -> Page:
    signals = {9: "SIGKILL", 15: "SIGTERM"}
    return Page(names or ("web",), time.gmtime, lambda number: signals.get(number, ""))


def lines(of: Page) -> list[str]:
    """What is on the page, without the date."""
    return [line for line in of.take().decode().splitlines() if not line.startswith("--- ")]


def test_a_line_has_its_time_its_process_and_its_stream():
    it = page("web", "worker")
    it.output("web", "out", AT, b"listening\n")
    it.output("worker", "err", AT + SECOND, b"oops\r\n")
    assert it.take().decode() == (
        f"--- 2026-11-21 {ZONE}\n18:03:07.512 web    out| listening\n18:03:08.512 worker err| oops\n"
    )
    assert it.take() == b""


def test_the_date_is_shown_when_it_changes():
    it = page()
    for days in (0, 0, 1):
        it.output("web", "out", AT + days * 86_400 * SECOND, b"x\n")
    shown = it.take().decode().splitlines()
    assert [line for line in shown if line.startswith("--- ")] == [f"--- 2026-11-21 {ZONE}", f"--- 2026-11-22 {ZONE}"]
    assert shown[3] == f"--- 2026-11-22 {ZONE}"


def test_a_line_that_comes_in_pieces_has_the_time_of_the_first():
    it = page()
    it.output("web", "out", AT, b"a\nb")
    assert lines(it) == ["18:03:07.512 web out| a"]
    assert it.has_waiting
    it.output("web", "err", AT + SECOND, b"between\n")
    it.output("web", "out", AT + 2 * SECOND, b"c\nd\n")
    assert lines(it) == [
        "18:03:08.512 web err| between",
        "18:03:07.512 web out| bc",
        "18:03:09.512 web out| d",
    ]
    assert not it.has_waiting


def test_what_goes_on_after_it_was_shown_is_marked():
    it = page()
    it.output("web", "out", AT, b"password: ")
    it.show_waiting()
    it.show_waiting()
    it.output("web", "out", AT, b"thanks\nnext\n")
    assert lines(it) == [
        "18:03:07.512 web out| password: ",
        "18:03:07.512 web out+ thanks",
        "18:03:07.512 web out| next",
    ]


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_long_line_is_shown_in_pieces_and_no_letter_is_cut(size):
    text = "ä€🙂" * 2000
    data = text.encode() + b"\n"
    it = page()
    for at in range(0, len(data), size):
        it.output("web", "out", AT, data[at : at + size])
    shown = lines(it)
    assert "".join(line.split(" ", 3)[3] for line in shown) == text
    assert [line.split()[2] for line in shown] == ["out|"] + ["out+"] * (len(shown) - 1)
    assert max(len(line.encode()) for line in shown) <= text_lines.MAX_LINE + 40


def test_lines_without_an_end_are_held_in_a_bounded_amount():
    names = [f"p{number}" for number in range(1000)]
    it = page(*names)
    for name in names:
        it.output(name, "out", AT, b"x" * 2000)
        assert it._waiting_bytes <= text_lines.MAX_WAITING
    it.show_waiting()
    assert it._waiting_bytes == 0
    assert len(lines(it)) == 1000


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exited with 0"),
        (3, "exited with 3"),
        (-15, "was killed by SIGTERM (15)"),
        (-40, "was killed by signal 40"),
        (None, "ended, nobody knows how"),
    ],
)
def test_an_end_is_a_sentence_behind_all_output(status, text):
    it = page()
    it.output("web", "out", AT, b"last words")
    it.ended("web", AT + SECOND, status)
    assert lines(it) == ["18:03:07.512 web out| last words", f"18:03:08.512 web {text}"]


def test_what_is_missing_is_said_where_it_is_missing():
    it = page()
    it.output("web", "out", AT, b"half")
    it.missed("web", "out", AT, dropped=7, passed=5)
    it.output("web", "out", AT, b"on\n")
    it.gone("web", AT)
    assert lines(it) == [
        "18:03:07.512 web out| half",
        "18:03:07.512 web out- 7 bytes were dropped: nobody had acknowledged them in time",
        "18:03:07.512 web out- 5 bytes went by: another client had acknowledged them",
        "18:03:07.512 web out| on",
        "18:03:07.512 web is no longer hosted",
    ]


def test_a_long_name_does_not_push_the_others_out_of_the_window():
    it = page("x" * 200, "web")
    it.output("web", "out", AT, b"hi\n")
    assert lines(it) == [f"18:03:07.512 {'web':<24} out| hi"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä €", "plain ä €"),
        ("a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("10%\r20%", "10%\\r20%"),
        ("a\0b\x7f", "a\\x00b\\x7f"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_a_terminal_is_given_nothing_to_act_upon(text, shown):
    assert harmless(text) == shown


def test_bytes_that_are_no_text_are_shown_as_numbers():
    it = page()
    it.output("web", "out", AT, b"a\xff\xfeb\n")
    assert lines(it) == ["18:03:07.512 web out| a\\xff\\xfeb"]


@given(st.lists(st.tuples(st.sampled_from(["out", "err"]), st.binary(max_size=5000))))
def test_no_bytes_reach_a_terminal_as_anything_but_text_and_tabs(pieces):
    it = page()
    for stream, data in pieces:
        it.output("web", stream, AT, data)
    it.ended("web", AT, 0)
    shown = it.take().decode()
    assert it.size == 0 and not it.has_waiting
    assert all(c.isprintable() or c in "\t\n" for c in shown)
    assert shown.count("\n") <= 4 + sum(data.count(b"\n") + len(data) // 2000 + 1 for _, data in pieces)
