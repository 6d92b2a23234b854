"""One section while it is turned into values: its texts, expanded, and what is wrong with them. Pure.

A sheet knows tables of options, not what the options are for; ``build`` puts the values together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from circus.config import expand, options, values
from circus.config.model import Finding
from circus.config.options import Option
from circus.config.read import Entry, Section

#: These are expanded once more at each spawn, so that what is unknown now may be known then.
LATE = frozenset(("cmd", "args", "shell_args", "ready", "health.check"))
#: Texts are quoted in findings up to this length.
MAX_QUOTED = 60

_ASSIGNMENT = re.compile(r"([\w.]+)\s*[:=]")


class Sheet:
    """The options of ``section``; those of ``defaults`` stand in where it has none."""

    def __init__(
        self,
        section: Section,
        *,
        title: str,
        names: expand.Names,
        defaults: Mapping[str, Entry],
        findings: list[Finding],
    ) -> None:
        self.section = section
        self.title = title
        self.texts = {key: entry.value for key, entry in defaults.items()}
        self.texts.update((key, entry.value) for key, entry in section.entries.items())
        self._findings = findings
        for key, text in self.texts.items():
            if "circus." not in text.lower():
                continue
            self.texts[key] = text = expand.expand_env(text, names)
            if key not in LATE:
                for name in expand.variables_in(text):
                    self.warn(key, f"{key} refers to circus.{name}, which is not known", "define it in [env]")

    def error(self, key: str, what: str, hint: str) -> None:
        self._findings.append(Finding(*self.section.place(key), f"{self.title}: {what}", hint))

    def warn(self, key: str, what: str, hint: str) -> None:
        place = self.section.place(key)
        self._findings.append(Finding(*place, f"{self.title}: {what}", hint, "warning"))

    def parse(self, key: str, kind: str, *, is_lenient: bool = False) -> Any:
        """The value of a key that is written; None, and a finding, if it has none of that type."""
        text = self.texts[key]
        try:
            return values.PARSERS[kind](text)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            quoted = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "..."
            blame = self.warn if is_lenient else self.error
            blame(key, f"{key} = {quoted!r} {what}", hint)
            return None

    def take(self, table: Mapping[str, Option], prefix: str = "") -> dict[str, Any]:
        """The values of the options of ``table`` that are written, by the model's names."""
        taken: dict[str, Any] = {}
        for option in table.values():
            key = prefix + option.name
            if key not in self.texts:
                continue
            value = self.parse(key, option.type, is_lenient=option.type == "level")
            if value is None:
                continue
            if not option.idle:
                taken[option.attribute] = value
            elif value != option.default:
                self.warn(key, f"{key} has no effect", option.idle)
        return taken

    def tell_unknown(self, known: Iterable[str], is_known: Callable[[str], bool], *, is_free: bool) -> list[str]:
        """Warn of the keys that nothing knows, and return them.

        With ``is_free``, where a section may have keys of its own, only of those that look like a slip.
        """
        unknown = [key for key in self.section.entries if not is_known(key)]
        known = tuple(known) if unknown else ()
        for key in unknown:
            meant = options.ALIASES.get(key) if is_free else None
            meant = meant or options.nearest(key, known)
            if meant is not None:
                self.warn(key, f"unknown option {key}", f"did you mean {meant}?")
            elif not is_free:
                self.warn(key, f"unknown option {key}", "it has no effect; remove it")
        for entry in self.section.entries.values():
            for line, text in entry.more:
                match = _ASSIGNMENT.match(text)
                if match and is_known(match[1]):
                    what = f"{self.title}: this line continues {entry.key}, but it looks like an option"
                    hint = "if it is one, begin it in column 1"
                    self._findings.append(Finding(entry.file, line, what, hint, "warning"))
        return unknown
