from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.logfiles import SECOND, LogFiles

from circus.logbook import pages, reading
from circus.logbook.matching import Literal, all_lines
from circus.logbook.pages import Page, Want, read


class Pages(LogFiles):
    def page(self, limit: int = 100, **asked: Any) -> Page:
        return read(str(self.folder), Want("web", limit, **asked))

    def all(self, limit: int, **asked: Any) -> list[str]:
        """Page by page."""
        found: list[str] = []
        cursor = None
        while True:
            page = self.page(limit, cursor=cursor, **asked)
            found += texts(page)
            assert len(page.lines) <= limit
            if not page.has_more:
                return found
            assert cursor != page.positions, "it goes on"
            cursor = page.positions


def texts(page: Page) -> list[str]:
    return [line.data.decode() for line in page.lines]


@pytest.fixture
def logs(tmp_path: Path) -> Pages:
    logs = Pages(tmp_path)
    logs.write("stdout", (1, "one"), (3, "three"), (5, "five"))
    logs.write("stderr", (2, "two"), (4, "four"), wid=2)
    return logs


def test_lines_of_several_logs_come_in_the_order_of_writing_page_by_page(logs: Pages) -> None:
    whole = ["one", "two", "three", "four", "five"]
    for limit in range(1, 7):
        assert logs.all(limit) == whole
        assert logs.all(limit, is_backward=True) == whole[::-1]
    logs.rotate("stdout")
    logs.write("stdout", (6, "six"))
    for limit in (1, 2, 100):
        assert logs.all(limit) == [*whole, "six"]
        assert logs.all(limit, is_backward=True) == ["six", *whole[::-1]]


def test_a_page_says_where_the_next_lines_will_be(logs: Pages) -> None:
    page = logs.page(is_backward=True, limit=2)
    assert (texts(page), page.has_more) == (["five", "four"], True)
    logs.write("stderr", (7, "seven"))
    assert texts(logs.page(cursor=page.ends)) == ["seven"]
    assert texts(logs.page(cursor=page.positions, is_backward=True)) == ["three", "two", "one"]
    assert texts(logs.page(cursor=page.positions, ends=page.ends)) == ["four", "five"]


def test_what_is_wanted_can_be_said(logs: Pages) -> None:
    for backward in (False, True):
        for asked, wanted in (
            ({"stream": "stderr"}, ["two", "four"]),
            ({"wid": 1}, ["one", "three", "five"]),
            ({"contains": "o"}, ["one", "two", "four"]),
            ({"contains": "e", "wid": 1}, ["one", "three", "five"]),
            ({"since_ns": 3 * SECOND}, ["three", "four", "five"]),
            ({"until_ns": 3 * SECOND}, ["one", "two", "three"]),
            ({"since_ns": 2 * SECOND, "until_ns": 4 * SECOND}, ["two", "three", "four"]),
            ({"contains": "[a-z]*"}, []),
            ({"contains": "one\nthree"}, []),
        ):
            assert logs.all(2, is_backward=backward, **asked) == (wanted[::-1] if backward else wanted), asked
    assert read(str(logs.folder), Want("db", 5)).lines == []


def test_what_is_not_found_is_looked_for_in_parts(logs: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.write("stdout", *((10, f"line {number}") for number in range(500)))
    monkeypatch.setattr(pages, "MAX_READ_BYTES", 64)
    monkeypatch.setattr(reading, "PIECE", 100)
    for name in ("CHUNK",):
        monkeypatch.setattr(f"circus.logbook.files.{name}", 128)
    page = logs.page(contains="line 499")
    assert (texts(page), page.has_more) == ([], True)
    assert logs.all(5, contains="line 499") == ["line 499"]
    assert logs.all(5, contains="one", is_backward=True) == ["one"]
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 20)
    assert len(logs.page().lines) < 10
    assert len(logs.all(1000)) == 505


def test_a_line_that_has_no_end_yet_and_one_that_is_not_indexed_yet_are_waited_for(
    logs: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "INDEX_S", 1000.0)
    with open(logs.folder / "stdout.log", "ab") as file:
        file.write(b"not indexed\n")
    assert texts(logs.page(stream="stdout")) == ["one", "three", "five"]
    os.utime(logs.folder / "stdout.log", (1, 1))
    assert texts(logs.page(stream="stdout"))[-1] == "not indexed", "its index does not come any more"
    with open(logs.folder / "stdout.log", "ab") as file:
        file.write(b"no end")
    os.utime(logs.folder / "stdout.log", (1, 1))
    assert texts(logs.page(stream="stdout"))[-1] == "not indexed"


def test_what_is_gone_is_told(logs: Pages) -> None:
    before = logs.page(limit=1, stream="stdout").positions
    os.unlink(logs.folder / "stdout.log")
    logs.write("stdout", (6, "six"))
    page = logs.page(stream="stdout", cursor=before)
    assert (texts(page), page.missing) == (["six"], {os.path.realpath(logs.folder / "stdout.log"): 11})


LINES = st.lists(st.sampled_from([b"", b"a", b"ab", b"ba\xff", b"aab" * 40]), max_size=40)


@given(LINES, st.sampled_from(["a", "ab", "b", "zz", "aa"]), st.booleans())
def test_a_text_is_found_in_the_lines_that_hold_it(lines: list[bytes], text: str, has_end: bool) -> None:
    chunk = b"\n".join(lines) + (b"\n" if has_end and lines else b"")
    wanted = [chunk[start:end] for start, end in all_lines(chunk) if text.encode() in chunk[start:end]]
    found: Callable[..., Any] = Literal(text).lines_of
    assert [chunk[start:end] for start, end in found(chunk, is_raw=True, is_json=False)] == wanted


@given(LINES, st.integers(1, 50))
def test_chunks_are_cut_at_ends_of_lines(lines: list[bytes], size: int) -> None:
    chunk = b"".join(line + b"\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE", size)
        parts = list(reading._pieces([(7, chunk)]))
    assert b"".join(part for _, part in reversed(parts)) == chunk
    assert all(part.endswith(b"\n") and chunk[at - 7 :].startswith(part) for at, part in parts)
