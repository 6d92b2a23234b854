"""Objects of a program that has circus inside, under names like ``circus.given.on_start_1``.

A configuration is text. What a program gives as an object (a function as a hook, an object as a stream) gets a path,
which is found as all others are (see `importing`), for as long as it is held.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

_objects: dict[str, object] = {}
_numbers = itertools.count(1)


def hold(thing: object, called: str = "") -> str:
    """The path of ``thing``; ``called`` is for people."""
    stem = re.sub(r"\W+", "_", called or getattr(thing, "__name__", type(thing).__name__)).strip("_") or "object"
    name = f"{stem if stem[0].isalpha() else f'a_{stem}'}_{next(_numbers)}"
    _objects[name] = thing
    return f"{__name__}.{name}"


def release(paths: Iterable[str]) -> None:
    for path in paths:
        _objects.pop(path.rpartition(".")[2], None)


def __getattr__(name: str) -> object:
    try:
        return _objects[name]
    except KeyError:
        raise AttributeError(f"nothing is held as {__name__}.{name}: its program has let go of it") from None
