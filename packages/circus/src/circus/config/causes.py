"""Why a part of the configuration is not what it was: each option with what it said, what it says, and where. Pure.

Texts are those of the files, with the names of variables in place of their values; numbers and flags are those of the
model. Values of environments, and of options of which only the name says what they hold, are never shown when they
may be secrets; those of commands are, but for what addresses in them hide (see masking).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from circus.config import amend, doors, expand, masking, options, plugins
from circus.config.amend import Edits
from circus.config.diff import PLACES, WatcherChange
from circus.config.environments import Environment, Environments
from circus.config.model import CircusConfig, SocketConfig, WatcherConfig
from circus.config.options import Option
from circus.config.read import Document, Entry, Section
from circus.config.show import text_of

#: Of a value; what is behind it tells two commands apart for nobody, and a plan of many must fit into an answer.
MAX_VALUE = 600

Place = tuple[str, int]
NOWHERE: Place = ("", 0)


class Cause(NamedTuple):
    """One option, or a socket that is not the same any more.

    ``old`` and ``new`` None: it is not set. With ``is_hidden`` they may be secrets, and are empty where it is set.
    Where both are the same, a variable that they name has changed. ``file`` is empty where nobody writes it any more.
    """

    option: str
    old: str | None = None
    new: str | None = None
    file: str = ""
    line: int = 0
    is_hidden: bool = False


class Source:
    """What is written for one configuration: that of ``document`` with ``edits`` over it. None: nobody knows."""

    def __init__(self, document: Document | None, edits: Edits, environ: Mapping[str, str]) -> None:
        self.is_known = document is not None
        self._document = amend.laid_over(document, edits) if document is not None else Document("")
        self._environ = environ
        self._environments: Environments | None = None
        self._sections: dict[str, Section] = {}
        for section in self._document.sections.values():
            kind, _, name = section.name.partition(":")
            name = name.strip().lower() if kind == "socket" else name.strip()
            self._sections.setdefault(f"{kind}:{name}" if name else kind, section)

    def place(self, title: str) -> Place:
        section = self._sections.get(title)
        return (section.file, section.line) if section else NOWHERE

    def entry(self, title: str, key: str) -> Entry | None:
        section = self._sections.get(title)
        return (section.entries.get(key) if section else None) or self._document.defaults.get(key)

    def variables(self, title: str) -> Environment:
        """Those of a watcher. What the files that they come from say was read with the document."""
        if self._environments is None:
            self._environments = Environments(self._document, self._environ, [])
        section = self._sections.get(title) or Section(title, "", 0)
        name = title if title.startswith("plugin:") else title.partition(":")[2]
        return self._environments.of(name, section)


class Causes:
    """``former``: watchers that do not run as ``old`` has them, and what does."""

    def __init__(self, running: CircusConfig, old: Source, new: Source, former: Mapping[str, Source]) -> None:
        self._old = old
        self._former = {f"watcher:{name}": source for name, source in former.items()}
        self._new = new
        self._watchers = {each.name: each for each in running.watchers}
        self._sockets = {each.name: each for each in running.sockets}

    def of_circus(self, before: CircusConfig, after: CircusConfig, names: Iterable[str]) -> list[Cause]:
        known = [options.CIRCUS[name] for name in names]
        return [
            self._option("circus", option, getattr(before, option.attribute, None), getattr(after, option.attribute))
            for option in known
        ]

    def of_socket(self, after: SocketConfig) -> list[Cause]:
        title, table = f"socket:{after.name}", {option.attribute: option for option in options.SOCKET.values()}
        return [
            self._option(title, table[name], old, new)
            for name, old, new in _differences(self._sockets[after.name], after)
            if name in table
        ]

    def of_watcher(self, change: WatcherChange) -> list[Cause]:
        before, after = self._watchers[change.new.name], change.new
        title = title_of(after)
        found = [*self._watchers_own(title, before, after)]
        if not found and before.digest != after.digest:
            # A default was written out, or removed.
            names = {**before.written, **after.written}
            keys = [name for name in names if before.written.get(name) != after.written.get(name)]
            found = [self._text(title, key)._replace(option=f"{key} as written") for key in keys]
        sockets = [reason.removeprefix("socket ") for reason in change.reasons if reason.startswith("socket ")]
        return [*found, *(Cause(f"socket {name}", None, None, *self._new.place(f"socket:{name}")) for name in sockets)]

    def _watchers_own(self, title: str, before: WatcherConfig, after: WatcherConfig) -> Iterator[Cause]:
        table = {option.attribute: option for option in options.WATCHER.values()}
        for name, old, new in _differences(before, after):
            if name in table:
                if name != "cmd" or after.plugin is None:
                    yield self._option(title, table[name], old, new)
            elif name == "env":
                yield from self._variables(title, old, new)
            elif name == "rlimits":
                for key in _changed(old, new):
                    yield self._text(title, f"rlimit_{key}")
            elif name == "extra":
                for key in _changed(old, new):
                    yield self._text(title, key)
            elif name == "plugin":
                yield self._text(title, "use")
            else:
                yield from self._dotted(title, name, before, after)

    def _dotted(self, title: str, field: str, before: WatcherConfig, after: WatcherConfig) -> Iterator[Cause]:
        """Options of one prefix, as they are written; where none of them differs, a default of theirs does."""
        keys = [key for key in {**before.written, **after.written} if key.startswith(f"{field}.")]
        keys = [key for key in keys if before.written.get(key) != after.written.get(key)]
        if keys:
            for key in keys:
                yield self._text(title, key)
            return
        old, new = getattr(before, field), getattr(after, field)
        if is_dataclass(old) and is_dataclass(new):
            table = options.FAMILIES.get(field, options.STREAM).values()
            known = {option.attribute: option for option in table}
            for name, one, other in _differences(old, new):
                if option := known.get(name):
                    values = text_of(option, one) or None, text_of(option, other) or None
                    yield Cause(f"{field}.{option.name}", *values)
        else:
            yield Cause(field, is_hidden=True)

    def _variables(self, title: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
        known = self._new.variables(title).variables
        names = [name for name in _changed(old, new) if name != plugins.VARIABLE]
        for name in names:
            each = known.get(name)
            place = (each.file, each.line) if each is not None and name in new else NOWHERE
            yield Cause(f"env {name}", *presence(old.get(name), new.get(name)), *place, is_hidden=True)

    # One option ---------------------------------------------------------------------------------------------

    def _option(self, title: str, option: Option, old: Any, new: Any) -> Cause:
        """Of the tables: it has a type and, where nobody writes it, a default."""
        before, after = self._before(title, option.name), self._new.entry(title, option.name)
        place = (after.file, after.line) if after else NOWHERE
        if option.name == "use_papa" and after is None and (entry := self._new.entry("circus", "use_papa")):
            place = entry.file, entry.line
        shown = _value(option, old, before), _value(option, new, after)
        if isinstance(old, str | tuple) and not self._former.get(title, self._old).is_known:
            # What a variable stood for may be in it.
            return Cause(option.name, *presence(*shown), *place, is_hidden=True)
        return _masked(option.name, *shown, place)

    def _before(self, title: str, key: str) -> Entry | None:
        return self._former.get(title, self._old).entry(title, key)

    def _text(self, title: str, key: str) -> Cause:
        """Any option, as it is written."""
        before, after = self._before(title, key), self._new.entry(title, key)
        place = (after.file, after.line) if after else NOWHERE
        return _masked(key, before.value if before else None, after.value if after else None, place)


def title_of(config: WatcherConfig) -> str:
    """Of its section."""
    return config.name if config.plugin is not None else f"watcher:{config.name}"


def _differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    for each in fields(new):
        before, after = getattr(old, each.name), getattr(new, each.name)
        if each.name not in PLACES and before != after:
            yield each.name, before, after


def _changed(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [key for key in sorted({*old, *new}) if key not in old or key not in new or old[key] != new[key]]


def _value(option: Option, value: Any, entry: Entry | None) -> str | None:
    if entry is not None and isinstance(value, str | tuple | None):
        return entry.value
    return text_of(option, value) or None


#: What their names mean is known: `api.key` is a path.
_OURS = options.WATCHER.keys() | doors.API.keys()


def _is_hidden(name: str) -> bool:
    return name.startswith("env.") or (name not in _OURS and masking.is_secret(name))


def shown_of(name: str, text: str) -> str | None:
    """What may be shown of an option; None: nothing."""
    return None if _is_hidden(name) else masking.mask_addresses(text)


def _masked(name: str, old: str | None, new: str | None, place: Place) -> Cause:
    if _is_hidden(name):
        return Cause(name, *presence(old, new), *place, is_hidden=True)
    before, after = _shown(old), _shown(new)
    if before == after and (old != new or not _names_variables(new or "")):
        return Cause(name, *presence(old, new), *place, is_hidden=True)
    return Cause(name, before, after, *place)


def _names_variables(text: str) -> bool:
    return any(name.lower().startswith("env.") for name in expand.variables_in(text))


def presence(old: str | None, new: str | None) -> tuple[str | None, str | None]:
    """Whether there is one, and no more."""
    return None if old is None else "", None if new is None else ""


def _shown(text: str | None) -> str | None:
    if text is None:
        return None
    text = masking.mask_addresses(text)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}... ({len(text) - MAX_VALUE} characters more)"
