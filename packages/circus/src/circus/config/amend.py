"""What people ordered by hand about the configuration, laid over what its file says. Pure.

The idea: an order is text like that of the file, and goes the same way: it is put into the document before anything is
built, so that it is understood, checked and carried out as if the file had been edited. Each order remembers what the
file said when it came, and holds until the file says something else there.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from circus.config import options
from circus.config.read import Document, Entry, Section
from circus.errors import CircusError

#: Where findings about an order point to.
BY_HAND = "by hand"

#: All orders together, as JSON; a tenth of it is a large configuration, and it must fit into the memory's file.
MAX_BYTES = 1 << 20

_WATCHER = "watcher:"
_NESTED = ("hooks", "env", "stdout_stream", "stderr_stream", *options.FAMILIES)
_PREFIXES = {
    "hooks.": tuple(options.HOOKS),
    "stdout_stream.": None,
    "stderr_stream.": None,
    **{f"{family}.": tuple(table) for family, table in options.FAMILIES.items()},
}


class Amendment(NamedTuple):
    """One option of a watcher that the file has; ``in_file`` is what the file said when it was ordered."""

    text: str
    in_file: str | None


@dataclass(frozen=True, slots=True)
class Edits:
    """``options``: watcher -> option -> order, and ``removed``: watcher -> digest of its section, by names in lower
    case; ``added``: watcher as written -> option -> text."""

    options: Mapping[str, Mapping[str, Amendment]] = field(default_factory=dict)
    added: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)

    @property
    def watchers(self) -> tuple[str, ...]:
        """The names of those that are, in some way, not as the file has them."""
        return (*self.options, *self.added, *self.removed)

    def only(self, names: Iterable[str]) -> Edits:
        meant = frozenset(names)
        return Edits(
            {name: each for name, each in self.options.items() if name in meant},
            {name: each for name, each in self.added.items() if name in meant},
            {name: each for name, each in self.removed.items() if name in meant},
        )


NOTHING = Edits()


def as_in(edits: Edits, other: Edits, watcher: str) -> Edits:
    """``edits``, but about ``watcher`` what ``other`` says."""
    folded = watcher.lower()

    def merged(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: each for name, each in mine.items() if name.lower() != folded}
        return kept | {name: each for name, each in theirs.items() if name.lower() == folded}

    return Edits(
        merged(edits.options, other.options), merged(edits.added, other.added), merged(edits.removed, other.removed)
    )


# Orders -----------------------------------------------------------------------------------------------------


def texts_of(given: Mapping[str, object]) -> dict[str, str]:
    """Options as programs give them (numbers, flags, objects), as a file would write them.

    Raises: CircusError bad-request for what no file could say.
    """
    texts: dict[str, str] = {}
    for key, value in given.items():
        if key == "hooks" and isinstance(value, str):
            value = _pairs(key, value, ":")
        elif key == "env" and isinstance(value, str):
            value = _pairs(key, value, "=")
        if key in _NESTED and isinstance(value, Mapping):
            texts |= {f"{key}.{name}": _text_of(f"{key}.{name}", each) for name, each in value.items()}
        else:
            texts[key] = _text_of(key, value)
    return texts


def _pairs(key: str, text: str, sign: str) -> dict[str, str]:
    """``NAME:VALUE,NAME:VALUE``, as the ancestors write several in one word."""
    pairs = {}
    for part in text.split(","):
        name, found, value = part.partition(sign)
        if not found or not name.strip():
            hint = f"write NAME{sign}VALUE,NAME{sign}VALUE"
            raise CircusError("bad-request", f"{key}: {part[:40]!r} has no {sign!r}", hint)
        pairs[name.strip()] = value.strip()
    return pairs


def _text_of(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and "\0" not in value:
        return value
    if isinstance(value, int | float):
        return str(value)
    if key in ("cmd", "args") and isinstance(value, list) and all(isinstance(word, str) for word in value):
        return shlex.join(value)
    raise CircusError("bad-request", f"{key}: its value has no form that a file could have", "give text, or a number")


def check_keys(watcher: str, keys: Iterable[str]) -> None:
    """Options that would have no effect are refused; those that nothing knows belong to hooks.

    Raises: CircusError config-invalid.
    """
    for key in keys:
        hint = _what_is_wrong(key)
        if hint is not None:
            raise CircusError("config-invalid", f"{watcher}: unknown option {key}", hint)
        option = options.WATCHER.get(key)
        if option is not None and option.idle:
            raise CircusError("config-invalid", f"{watcher}: {key} has no effect", option.idle)


def _what_is_wrong(key: str) -> str | None:
    """A hint for a name that is probably a slip, or that no file could have."""
    if not key.isprintable() or not key.strip() or key != key.strip() or key.startswith("_"):
        return "write the name of an option"
    if key in options.WATCHER or key.startswith(("env.", "rlimit_")):
        return None
    for prefix, known in _PREFIXES.items():
        name = key.removeprefix(prefix)
        if name == key:
            continue
        if known is not None and name not in known:
            near = options.nearest(name, known)
            return f"did you mean {prefix}{near}?" if near else f"write one of {', '.join(known)}"
        if known is None and name not in options.STREAM and (near := options.nearest(name, options.STREAM)):
            return f"did you mean {prefix}{near}?"
        return None
    meant = options.ALIASES.get(key) or options.nearest(key, options.watcher_names())
    return f"did you mean {meant}?" if meant else None


def with_options(document: Document, edits: Edits, watcher: str, texts: Mapping[str, str]) -> Edits:
    """``edits`` and these options of a watcher; what the file says as well is no order."""
    for name, have in edits.added.items():
        if name.lower() == watcher.lower():
            return _bounded(replace(edits, added={**edits.added, name: {**have, **texts}}))
    folded = watcher.lower()
    _check_section(document, watcher)
    ordered = dict(edits.options.get(folded, {}))
    for key, text in texts.items():
        said = _in_file(document, watcher, key)
        if text == said:
            ordered.pop(key, None)
        else:
            ordered[key] = Amendment(text, said)
    rest = {name: each for name, each in edits.options.items() if name != folded}
    return _bounded(replace(edits, options={**rest, folded: ordered} if ordered else rest))


def with_watcher(edits: Edits, watcher: str, texts: Mapping[str, str]) -> Edits:
    """``edits`` and a watcher that the file does not have."""
    return _bounded(replace(edits, added={**edits.added, watcher: dict(texts)}))


def without_watcher(document: Document, edits: Edits, watcher: str) -> Edits:
    """``edits`` and no such watcher."""
    folded = watcher.lower()
    added = {name: texts for name, texts in edits.added.items() if name.lower() != folded}
    if len(added) < len(edits.added):
        return replace(edits, added=added)
    ordered = {name: keys for name, keys in edits.options.items() if name != folded}
    _check_section(document, watcher)
    return replace(edits, options=ordered, removed={**edits.removed, folded: digest(_sections(document)[folded])})


def as_in_file(edits: Edits, watcher: str) -> Edits:
    """The watcher that was removed is there again."""
    return replace(edits, removed={name: each for name, each in edits.removed.items() if name != watcher.lower()})


def without(edits: Edits, watchers: Iterable[str]) -> Edits:
    """``edits`` and no orders about these watchers, by their names in lower case."""
    gone = frozenset(watchers)
    return edits.only(name for name in edits.watchers if name.lower() not in gone)


def _check_section(document: Document, watcher: str) -> None:
    if watcher.lower() not in _sections(document):
        hint = "change the file, then `circusctl reloadconfig`"
        raise CircusError("bad-request", f"{watcher} is made by another section than [watcher:{watcher}]", hint)


def _bounded(edits: Edits) -> Edits:
    size = len(json.dumps((edits.options, edits.added, edits.removed)))
    if size > MAX_BYTES:
        raise CircusError(
            "limit", f"what was ordered by hand is larger than {MAX_BYTES >> 10} KiB", "write it into the file"
        )
    return edits


# The document -----------------------------------------------------------------------------------------------


def in_force(document: Document, edits: Edits) -> Edits:
    """Those orders about which the file still says what it said when they came."""
    sections = _sections(document)
    known: dict[str, dict[str, Amendment]] = {}
    for name, keys in edits.options.items():
        section = sections.get(name)
        if section is None:
            continue
        watcher = section.name.removeprefix(_WATCHER)
        kept = {key: each for key, each in keys.items() if _in_file(document, watcher, key) == each.in_file}
        if kept:
            known[name] = kept
    removed = {
        name: each for name, each in edits.removed.items() if name in sections and each == digest(sections[name])
    }
    in_file = sections.keys() - removed.keys()
    added = {name: each for name, each in edits.added.items() if name.lower() not in in_file}
    return Edits(known, added, removed)


def laid_over(document: Document, edits: Edits) -> Document:
    """``document`` as it would be if the file said what was ordered; the original is left as it is."""
    if edits == NOTHING:
        return document
    sections = {
        name: section
        for name, section in document.sections.items()
        if _folded(section) is None or _folded(section) not in edits.removed
    }
    for name, texts in edits.added.items():
        section = Section(_WATCHER + name, BY_HAND, 0)
        _write(section, texts)
        sections[section.name] = section
    for section in [*sections.values()]:
        if ordered := edits.options.get(_folded(section) or ""):
            changed = replace(section, entries=dict(section.entries))
            _write(changed, {key: each.text for key, each in ordered.items()})
            sections[section.name] = changed
    return replace(document, sections=sections, findings=list(document.findings))


def digest(section: Section) -> str:
    texts = {key: entry.value for key, entry in section.entries.items()}
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _write(section: Section, texts: Mapping[str, str]) -> None:
    section.entries.update((key, Entry(key, text, BY_HAND, 0)) for key, text in texts.items())


def _folded(section: Section) -> str | None:
    """The name of a watcher, in lower case."""
    is_watcher = section.name.startswith(_WATCHER)
    return section.name.removeprefix(_WATCHER).strip().lower() if is_watcher else None


def _sections(document: Document) -> dict[str, Section]:
    return {name: section for section in document.sections.values() if (name := _folded(section)) and section.entries}


def _in_file(document: Document, watcher: str, key: str) -> str | None:
    section = _sections(document).get(watcher.lower())
    entry = section.entries.get(key) or document.defaults.get(key) if section else None
    return entry.value if entry else None
