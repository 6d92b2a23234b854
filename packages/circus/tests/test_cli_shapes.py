"""Every answer of circusctl --json is as it is published, and says nothing that is not."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tests.golden.circusctl import make, scenes
from tests.golden.circusctl.screen import VARIANTS
from tests.published import command_of, problems

from circus.cli import shapes, shapespage
from circus.cli.words import COMMANDS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"


def test_what_is_published_is_what_is_made() -> None:
    assert (REFERENCE / "circusctl.schema.json").read_text(encoding="utf-8") == shapes.text(), "make reference"
    assert (REFERENCE / "circusctl.md").read_text(encoding="utf-8") == shapespage.page(), "make reference"


def test_every_command_is_in_it() -> None:
    assert shapes.ANSWERS.keys() == COMMANDS.keys()
    assert {*shapes.STREAMS} <= COMMANDS.keys()


@pytest.mark.parametrize("page", scenes.SCENES)
def test_what_is_answered_is_as_it_is_published(page: str) -> None:
    wrong = []
    for line, shown in make.play(page, VARIANTS[0], "--json"):
        command = command_of(shlex.split(line))
        if not command:
            continue
        lines = shown.text.splitlines()
        assert lines and shown.told.count("\n") <= 1, (line, shown)
        assert len(lines) == 1 or command in shapes.STREAMS
        wrong += [(line, found) for told in lines if (found := problems(command, json.loads(told)))]
    assert wrong == []
