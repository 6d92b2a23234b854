"""What circusctl shows is what the pages have, at every width, with and without colours, and in a pipe."""

from __future__ import annotations

import re
import sys

import pytest

from circus.cli.words import COMMANDS
from tests.golden.circusctl import make, scenes

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
