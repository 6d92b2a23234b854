"""Every answer of circusctl --json is as it is published, and says nothing that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.golden.circusctl import make, scenes
from tests.golden.circusctl.screen import VARIANTS

from circus.cli import shapes, shapespage
from circus.cli.words import COMMANDS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"

#: What these have besides comes from users' hooks.
OPEN = frozenset(("ProcessInfo",))


def closed(shape: Any, name: str = "") -> Any:
    """Without room for fields that are not described."""
    if isinstance(shape, list):
        return [closed(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    found = {key: closed(each, key) for key, each in shape.items()}
    is_struct = isinstance(shape.get("properties"), dict) and "additionalProperties" not in shape
    return found | {"additionalProperties": False} if is_struct and name not in OPEN else found


DEFINITIONS = closed(shapes.describe())["$defs"]


def problems(command: str, answer: object) -> list[str]:
    """Of what it prints, with its command or as an error."""
    kinds = [{"$ref": f"#/$defs/{key}"} for key in (shapes.key(command), shapes.ERROR) if key in DEFINITIONS]
    validator = jsonschema_rs.validator_for({"anyOf": kinds, "$defs": DEFINITIONS})
    return [str(error) for error in validator.iter_errors(answer)]


def command_of(line: str) -> str:
    words = line.split()
    return next(
        (name for name in sorted(COMMANDS, key=len, reverse=True) if name.split() == words[: name.count(" ") + 1]), ""
    )


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
        command = command_of(line)
        if not command:
            continue
        lines = shown.text.splitlines()
        assert lines and shown.told.count("\n") <= 1, (line, shown)
        assert len(lines) == 1 or command in shapes.STREAMS
        wrong += [
            (line, told, problems(command, json.loads(told))) for told in lines if problems(command, json.loads(told))
        ]
    assert wrong == []
