"""What circusctl shows is what the pages have, at every width, with and without colours, and in a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from circus.cli import columns
from circus.cli.words import COMMANDS
from tests.golden.circusctl import make, scenes
from tests.golden.circusctl.screen import VARIANTS

PAGES = [*scenes.SCENES, scenes.HELP]

#: Of the Python that makes the pages. Later ones have the same words, and break the lines of their help elsewhere.
MADE_BY = (3, 11)


def as_words(text: str) -> str:
    """Without what argparse of another Python does its own way: lines of a usage, and `-n N, --lines N`."""
    return re.sub(r"-(\w) [A-Z]+, --", r"-\1, --", " ".join(text.split()))


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_is_what_the_page_has(page: str) -> None:
    shown, kept = make.text_of(page), make.path_of(page).read_text(encoding="utf-8")
    if page == scenes.HELP and sys.version_info[:2] != MADE_BY:
        shown, kept = as_words(shown), as_words(kept)
    assert shown == kept, "make golden, and read what differs"


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    assert {*scenes.SCENES, *scenes.ELSEWHERE} - {"circusctl", "shell"} == {*COMMANDS}
    assert set(make.PAGES.iterdir()) == {make.path_of(page) for page in PAGES}


#: What these show at a terminal is as wide as it.
FITTING = (
    "status", "list", "stats", "dstats", "options", "get", "globaloptions", "exits", "runs", "listsockets",
    "operations", "token list", "notify list", "audit", "version",
)  # fmt: skip

#: These have no width of their own: they may be names of files, or are read by programs.
UNBOUND = ("error:", "  hint:", "warning:", "{")

_BEGUN, _ENDED = r"\\e\[[1-9][\d;]*m", r"\\e\[0m"


def sections(page: str) -> Iterator[tuple[list[str], str]]:
    """The places, and a line that is shown there."""
    places: list[str] = []
    for line in make.path_of(page).read_text(encoding="utf-8").splitlines():
        if line.startswith(("--- ", "$ ")):
            places = line[4:].split(", ") if line.startswith("--- ") else []
        else:
            yield places, line


@pytest.mark.parametrize("page", FITTING)
def test_tables_are_as_wide_as_the_terminal(page: str) -> None:
    for places, line in sections(page):
        widths = [variant.columns for variant in VARIANTS if variant.name in places and variant.columns]
        plain = re.sub(f"{_BEGUN}|{_ENDED}", "", line)
        assert not widths or plain.startswith(UNBOUND) or columns.width_of(plain) <= min(widths), line


@pytest.mark.parametrize("page", sorted({*PAGES} - {"logs"}))
def test_colours_are_where_they_are_wanted_and_end_with_the_line(page: str) -> None:
    for places, line in sections(page):
        is_forced = page == "status"  # there is one line that asks for them
        assert all("colour" in place for place in places) or is_forced or "\\e[" not in line, line
        assert len(re.findall(_BEGUN, line)) == len(re.findall(_ENDED, line)), line
