"""The published schema of `circusctl --json`, as tests ask it: more strictly than who relies on it should."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from circus.cli import shapes
from circus.cli.words import COMMANDS

#: What these have besides comes from users' hooks.
OPEN = frozenset(("ProcessInfo",))


def _closed(shape: Any, name: str = "", *, is_whole: bool = True) -> Any:
    """Without room for fields that are not described; ``is_whole``: what is required is there."""
    if isinstance(shape, list):
        return [_closed(each, is_whole=is_whole) for each in shape]
    if not isinstance(shape, dict):
        return shape
    kept = shape if is_whole else {key: each for key, each in shape.items() if key != "required"}
    found = {key: _closed(each, key, is_whole=is_whole) for key, each in kept.items()}
    is_struct = isinstance(shape.get("properties"), dict) and "additionalProperties" not in shape
    return found | {"additionalProperties": False} if is_struct and name not in OPEN else found


_WHOLE = _closed(shapes.describe())["$defs"]
_PARTS = _closed(shapes.describe(), is_whole=False)["$defs"]


def problems(command: str, answer: object, *, is_whole: bool = True) -> list[str]:
    """Of what the command prints: it is neither one of its answers nor an error. Not ``is_whole``: from an elder."""
    definitions = _WHOLE if is_whole else _PARTS
    kinds = [{"$ref": f"#/$defs/{key}"} for key in (shapes.key(command), shapes.ERROR) if key in definitions]
    validator = jsonschema_rs.validator_for({"anyOf": kinds, "$defs": definitions})
    return [f"{answer}: {error}" for error in validator.iter_errors(answer)]


def command_of(words: list[str]) -> str:
    """Which command the words begin with; empty where none."""
    by_length = sorted(COMMANDS, key=lambda name: -len(name.split()))
    return next((name for name in by_length if name.split() == words[: len(name.split())]), "")
