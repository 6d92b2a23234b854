"""Patterns of names, as strangers send them: what would keep the loop busy is not tried. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

#: Of one pattern; a name has at most 64 characters or so.
MAX_PATTERN = 256

#: Repetitions and alternatives in a regular expression: with each more there are some 60 times as many ways to try.
MAX_CHOICES = 4

_REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT)


def why_not(message: object) -> str:
    """Empty: it may be tried; what is wrong with it otherwise is found then."""
    properties = message.get("properties") if isinstance(message, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str) or not isinstance(properties, Mapping):
        return ""
    if len(name) > MAX_PATTERN:
        return f"a name or pattern has at most {MAX_PATTERN} characters"
    if properties.get("match") != "regex":
        return ""
    try:
        choices = _choices(parser.parse(name))
    except (re.error, OverflowError, RecursionError):
        return ""
    if choices > MAX_CHOICES:
        return f"{name!r} may take for ever: at most {MAX_CHOICES} repetitions and alternatives, none inside another"
    return ""


def _choices(tree: Any) -> int:
    """Those inside of a repetition are too many."""
    found = 0
    for op, value in tree:
        parts = value if isinstance(value, tuple | list) else (value,)
        trees = [each for part in parts for each in (part if isinstance(part, list) else [part])]
        inside = sum(_choices(each) for each in trees if isinstance(each, parser.SubPattern))
        if op in _REPEATS:
            inside = 1 + inside * (MAX_CHOICES + 1)
        found += inside + (op is constants.BRANCH)
    return found
