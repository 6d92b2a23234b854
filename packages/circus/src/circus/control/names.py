"""Which watchers an operator means: names in any case, glob patterns, and what was perhaps meant. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from circus import nearest
from circus.errors import CircusError

#: Known names that a hint lists; more would hide the message.
MAX_NAMES_IN_HINT = 10

_GLOB = frozenset("*?[")


def find_watcher(known: Iterable[str], name: str) -> str:
    """The watcher called ``name``, as its configuration writes it; another case will do.

    Raises: CircusError not-found, with the nearest known name as its hint.
    """
    names = list(known)
    if name in names:
        return name
    wanted = name.casefold()
    for candidate in names:
        if candidate.casefold() == wanted:
            return candidate
    raise CircusError("not-found", f"watcher {name!r} not found", _hint(names, name))


def match_watchers(known: Iterable[str], patterns: Sequence[str], *, is_glob: bool = True) -> tuple[str, ...]:
    """All watchers that one of ``patterns`` names, in the order of ``patterns``, each once.

    A watcher whose name is the pattern itself comes before any reading of it as a pattern.

    Raises: CircusError not-found for the first pattern that names none.
    """
    names = list(known)
    found: dict[str, None] = {}
    for pattern in patterns:
        folded = pattern.casefold()
        if not is_glob or not _GLOB.intersection(pattern) or folded in (name.casefold() for name in names):
            found[find_watcher(names, pattern)] = None
            continue
        matches = [name for name in names if fnmatch.fnmatchcase(name.casefold(), folded)]
        if not matches:
            raise CircusError("not-found", f"no watcher matches {pattern!r}", _hint(names, pattern))
        found.update(dict.fromkeys(matches))
    return tuple(found)


def _hint(names: list[str], name: str) -> str:
    if not names:
        return "there are no watchers"
    listed = ", ".join(sorted(names)[:MAX_NAMES_IN_HINT])
    return nearest.hint(name, names, f"there are: {listed}" + (", ..." if len(names) > MAX_NAMES_IN_HINT else ""))
