"""What counts, and where it comes from: every option of one watcher or socket, or of ``[circus]``.

The idea: values are those of the model, so that what is shown is what circusd works with; places are those of the
document. What comes from the environment of whoever asks is never shown, because that may be nobody's business: its
variables stay as the file writes them. What the files themselves say is shown, secrets too: they are the reader's own.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from circus.config import expand, options, values
from circus.config.build import Draft
from circus.config.environments import OWN, Environment
from circus.config.load import examine
from circus.config.model import SocketConfig, StreamConfig, WatcherConfig
from circus.config.options import Option
from circus.config.read import TOML, Entry, Section
from circus.config.toml import as_toml
from circus.config.validate import Host
from circus.errors import CircusError

DEFAULT = "default"
SHELL = "the environment"


@dataclass(frozen=True, slots=True)
class Origin:
    """``what`` is empty for the option itself, and the place then says all."""

    what: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        what = as_toml(self.what) if self.file.endswith(TOML) else self.what
        return " ".join(filter(None, (f"{self.file}:{self.line}" if self.line else "", what)))


@dataclass(frozen=True, slots=True)
class Row:
    """``variables`` are the names that the written value refers to, with their origins."""

    option: str
    value: str
    origin: Origin
    variables: tuple[tuple[str, Origin], ...] = ()
    written: str = ""  # in the file, with the names of variables as they stand there


@dataclass(frozen=True, slots=True)
class Shown:
    kind: str
    name: str
    rows: tuple[Row, ...]


def show(path: str, environ: Mapping[str, str], name: str, *, host: Host | None = None) -> list[Shown]:
    """The watcher and the socket of that name; ``watcher:NAME`` or ``socket:NAME`` is only the one, ``circus`` itself.

    Raises:
        CircusError: failed, when the file has errors; not-found, when it has nothing of that name.
    """
    draft = _examined(path, environ, host)
    if name.lower() == "circus":
        return [Shown("circus", draft.config.name, tuple(_Reader(draft, draft.circus, None, environ).circus()))]
    kind, _, bare = name.rpartition(":") if name.startswith(("watcher:", "socket:")) else ("", "", name)
    found = [
        Shown("watcher", config.name, tuple(_Reader(draft, section, config, environ).watcher(config)))
        for config, section in draft.watchers
        if kind != "socket" and config.name.lower() == bare.lower()
    ]
    found += [
        Shown("socket", each.name, tuple(_Reader(draft, section, None, environ).socket(each)))
        for each, section in draft.sockets
        if kind != "watcher" and each.name == bare.lower()
    ]
    if not found:
        known = [*(config.name for config, _ in draft.watchers), *(config.name for config, _ in draft.sockets)]
        near = options.nearest(bare, known)
        hint = f"did you mean {near!r}?" if near else f"there are: circus, {', '.join(dict.fromkeys(known))}"
        raise CircusError("not-found", f"{path} has no watcher or socket {name!r}", hint)
    return found


def show_all(path: str, environ: Mapping[str, str], *, host: Host | None = None) -> list[Shown]:
    """`circus` itself, all sockets, all watchers.

    Raises:
        CircusError: failed, when the file has errors.
    """
    draft = _examined(path, environ, host)
    found = [Shown("circus", draft.config.name, tuple(_Reader(draft, draft.circus, None, environ).circus()))]
    found += [
        Shown("socket", each.name, tuple(_Reader(draft, section, None, environ).socket(each)))
        for each, section in draft.sockets
    ]
    found += [
        Shown("watcher", config.name, tuple(_Reader(draft, section, config, environ).watcher(config)))
        for config, section in draft.watchers
    ]
    return found


def _examined(path: str, environ: Mapping[str, str], host: Host | None) -> Draft:
    draft, findings = examine(path, environ, host=host)
    errors = sum(each.severity == "error" for each in findings)
    if errors:
        count = "1 error" if errors == 1 else f"{errors} errors"
        raise CircusError("failed", f"{path} has {count}", f"`circusctl config check {path}` lists what is wrong")
    return draft


class _Reader:
    """Makes the rows of one section."""

    def __init__(
        self, draft: Draft, section: Section, watcher: WatcherConfig | None, environ: Mapping[str, str]
    ) -> None:
        self.draft = draft
        self.section = section
        self.environ = expand.Names(environ)
        environments = draft.environments
        self.environment = environments.of(watcher.name, section) if watcher else environments.common
        self.entries: dict[str, Entry] = {**draft.document.defaults, **section.entries}

    # Kinds ------------------------------------------------------------------------------------------------

    def circus(self) -> Iterator[Row]:
        for row in self._table(options.CIRCUS, self.draft.config):
            if row.option == "name" and "name" not in self.entries and "endpoint" in self.entries:
                row = Row("name", row.value, Origin("endpoint", *self.section.place("endpoint")))
            yield row
        yield from self._variables(self.environment)

    def socket(self, config: SocketConfig) -> Iterator[Row]:
        for row in self._table(options.SOCKET, config):
            if row.option == "family" and config.path:
                row = Row("family", row.value, Origin("path", *self.section.place("path")))
            yield self._use_papa(row, config.use_papa)

    def watcher(self, config: WatcherConfig) -> Iterator[Row]:
        for row in self._table(options.WATCHER, config):
            yield self._use_papa(row, config.use_papa)
        for key, entry in self.entries.items():
            if key.startswith(("rlimit_", "hooks.")) or key in config.extra:
                yield self._row(key, self._expanded(entry))
        for name, stream in (("stdout_stream", config.stdout_stream), ("stderr_stream", config.stderr_stream)):
            if stream is not None:
                yield from self._stream(name, stream)
        for family, table in options.FAMILIES.items():
            if (chosen := getattr(config, family)) is not None:
                defaults = self.draft.document.sections.get(f"plugin:{family}") if family == "flapping" else None
                yield from self._table(table, chosen, f"{family}.", defaults)
        yield from self._variables(self.environment)

    def _stream(self, name: str, stream: StreamConfig) -> Iterator[Row]:
        for row in self._table(options.STREAM, stream, f"{name}."):
            key = row.option.removeprefix(f"{name}.")
            entry = self.entries.get(row.option)
            if key in ("max_bytes", "backup_count"):
                own = values.PARSERS[options.STREAM[key].type](self._expanded(entry)) if entry else 0
                if own != getattr(stream, key):
                    row = Row(row.option, row.value, Origin("of another stream into the same file"))
            yield row

    def _use_papa(self, row: Row, is_papa: bool) -> Row:
        circus = self.draft.circus
        if row.option != "use_papa":
            return row
        if "use_papa" not in self.entries and self.draft.config.use_papa:
            return Row(row.option, row.value, Origin("[circus]", *circus.place("use_papa")))
        if is_papa and (
            "use_papa" not in self.entries or not values.parse_flag(self._expanded(self.entries["use_papa"]))
        ):
            return Row(row.option, row.value, Origin("because a watcher that uses it outlives a quit"))
        return row

    # Rows -------------------------------------------------------------------------------------------------

    def _table(
        self, table: Mapping[str, Option], config: object, prefix: str = "", below: Section | None = None
    ) -> Iterator[Row]:
        """The options of ``table``; ``below`` is a section whose keys stand in for those that are missing."""
        for option in table.values():
            key = prefix + option.name
            entry = self.entries.get(key)
            if option.idle:
                if entry is not None:
                    yield self._row(key, self._expanded(entry), "without effect")
                continue
            if hasattr(config, option.attribute):
                text = text_of(option, getattr(config, option.attribute))
            else:
                text = self._expanded(entry) if entry else text_of(option, option.default)
            if entry is None and below is not None and option.name in below.entries:
                yield Row(key, text, Origin(f"[{below.name}]", *below.place(option.name)))
            else:
                yield self._row(key, text)

    def _row(self, key: str, value: str, more: str = "") -> Row:
        entry = self.entries.get(key)
        if entry is None:
            return Row(key, value, Origin(DEFAULT))
        where = "" if key in self.section.entries else "[DEFAULT]"
        shown = expand.expand_env(entry.value, expand.Names(self.environment.written))
        if shown == self._expanded(entry):
            shown = value
        origin = Origin(" ".join(filter(None, (where, more))), entry.file, entry.line)
        return Row(key, shown, origin, tuple(self._origins(entry.value)), entry.value)

    def _variables(self, environment: Environment) -> Iterator[Row]:
        common = self.draft.environments.common.written
        for name, each in sorted(environment.variables.items()):
            shown = each.raw
            if each.source not in ("[env]", "env_file"):
                shown = expand.expand_env(each.raw, expand.Names(common))
            yield Row(OWN + name, shown, Origin(each.source, each.file, each.line))

    def _origins(self, text: str) -> Iterator[tuple[str, Origin]]:
        for name in dict.fromkeys(expand.variables_in(text)):
            prefix, _, bare = name.partition(".")
            if prefix.lower() != "env":
                continue
            known = {key.lower(): key for key in self.environment.variables}
            found = self.environment.variables.get(bare)
            found = found or self.environment.variables.get(known.get(bare.lower(), ""))
            if found is not None:
                yield bare, Origin(found.source, found.file, found.line)
            elif self.environ.get(bare) is not None:
                yield bare, Origin(SHELL)

    def _expanded(self, entry: Entry) -> str:
        return expand.expand_env(entry.value, self.environment.names)


def text_of(option: Option, value: object) -> str:
    """A value as a configuration file writes it; nothing for one that is not set."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}" if math.isfinite(value) else "forever"
        case tuple():
            return " ".join(map(str, value))
        case int() if option.type == "octal":
            return f"{value:03o}"
        case int() if option.type == "signal":
            return signal.Signals(value).name if value in set(signal.Signals) else str(value)
    return str(value)
