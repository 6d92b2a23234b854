"""Reads TOML files into the same sections as INI files, so that everything behind the reading is one.

The idea: a table is a section (``[watcher.web]`` is ``[watcher:web]``), a table in it a prefix (``[watcher.web.hooks]``
are the keys ``hooks.``), and a value becomes the text that an INI file would have, which the one parser of its type
reads. Only what has no such text, or one that would mislead, is refused here.

``tomllib`` tells no lines, so the text is scanned once more for those of the keys, by a scanner that relies on what
``tomllib`` has accepted. What stands in an inline table has the line of the table.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from circus.config import options
from circus.config.model import Finding
from circus.config.notifiers import NOTIFIER
from circus.config.options import Option
from circus.config.read import Entry, Section

Path = tuple[str, ...]

_TABLES: Mapping[str, Mapping[str, Option]] = {
    "circus": options.CIRCUS,
    "watcher": options.WATCHER,
    "socket": options.SOCKET,
    "notifier": NOTIFIER,
    "DEFAULT": options.CIRCUS | options.SOCKET | options.WATCHER,
}
#: Types whose values may be lists.
_LISTS = ("words", "list", "addresses")

#: Tables of tables; the others are sections themselves.
_NAMED = ("watcher", "socket", "plugin", "notifier")

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_SECTION = re.compile(r"\[(watcher|socket|plugin|notifier|env):([^\]]*)\]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_STRING = r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
_PART = re.compile(rf"[ \t]*({_BARE_KEY.pattern}|{_STRING})[ \t]*(\.?)")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_VALUE = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|'
    + r"'''(?:[^']|'{1,2}(?!'))*'{3,5}|"
    + rf"{_STRING}|#[^\n]*|[][{{}}\n]|[^]['\"#{{}}\n]+",
    re.DOTALL,
)


def parse_toml(text: str, file: str) -> tuple[list[Section], list[Finding]]:
    """The sections of one file, and what is wrong with it before anything is known of options' values."""
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        return [], [Finding(file, 0, "this is nested too deeply", "options need tables of four levels")]
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        what = f"this is not TOML: {_AT_LINE.sub('', str(error))}"
        return [], [Finding(file, line, what, "texts need quotes; a table is [watcher.NAME]")]
    reader = _Reader(file, key_lines(text))
    for key, value in tables.items():
        reader.read(key, value)
    return reader.sections, reader.findings


def key_lines(text: str) -> dict[Path, int]:
    """The line in which each key and each table is named first; ``text`` is sound TOML."""
    lines: dict[Path, int] = {}
    table: Path = ()
    at = counted = 0
    line = 1
    while (at := _end(_SPACE.match(text, at))) < len(text):
        line += text.count("\n", counted, at)
        counted = at
        is_header = text[at] == "["
        if is_header:
            at += 2 if text.startswith("[[", at) else 1
        keys, at = _dotted(text, at)
        path = keys if is_header else table + keys
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
        if is_header:
            table = path
            at = text.index("]", at) + 1
            at += text.startswith("]", at)
        else:
            at = _behind_value(text, text.index("=", at) + 1)
    return lines


def _end(match: re.Match[str] | None) -> int:
    assert match is not None
    return match.end()


def _dotted(text: str, at: int) -> tuple[Path, int]:
    parts: list[str] = []
    while True:
        match = _PART.match(text, at)
        assert match is not None
        part, at = match[1], match.end()
        parts.append(tomllib.loads(f"x = {part}")["x"] if part[0] in "\"'" else part)
        if not match[2]:
            return tuple(parts), at


def _behind_value(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        match = _VALUE.match(text, at)
        assert match is not None
        if match[0] == "\n" and not depth:
            break
        depth += (match[0] in ("[", "{")) - (match[0] in ("]", "}"))
        at = match.end()
    return at


class _Reader:
    def __init__(self, file: str, lines: Mapping[Path, int]) -> None:
        self.file = file
        self.lines = lines
        self.sections: list[Section] = []
        self.findings: list[Finding] = []

    def read(self, key: str, value: Any) -> None:
        """One key of the top level, in most files a table."""
        kind = key.strip()
        if not isinstance(value, dict):
            hint = (
                f"write [{kind}.NAME]" if kind in _NAMED else "write a header like [circus] or [watcher.NAME] above it"
            )
            self._tell((key,), f"{key!r} is no table", hint)
            return
        tables = {name: each for name, each in value.items() if isinstance(each, dict)}
        others = {name: each for name, each in value.items() if name not in tables}
        if kind == "env":
            self._section("env", (key,), others)
        elif kind in _NAMED:
            for name in others:
                self._tell(
                    (key, name), f"[{kind}]: {name} stands outside of a [{kind}.NAME]", f"write [{kind}.NAME] above it"
                )
        elif others or not tables or kind in _TABLES:
            self._section(kind, (key,), value)
            return
        for name, each in tables.items():
            self._section(f"{kind}:{name.strip()}", (key, name), each)

    def _section(self, name: str, path: Path, table: Mapping[str, Any]) -> None:
        section = Section(name, self.file, self._line(path))
        known = _TABLES.get(name.partition(":")[0], {})
        for key, value, full in self._flat(table, path):
            text = self._text(known.get(key), value, full)
            if text is not None:
                section.entries[key] = Entry(key, text, self.file, self._line(full))
        self.sections.append(section)

    def _flat(self, table: Mapping[str, Any], path: Path, prefix: str = "") -> Iterator[tuple[str, Any, Path]]:
        """(key as in an INI file, value, path in this one)."""
        for key, value in table.items():
            full = (*path, key)
            if not isinstance(value, dict):
                yield prefix + key, value, full
            elif key == "rlimits" and not prefix:
                yield from self._flat(value, full, "rlimit_")
            else:
                yield from self._flat(value, full, f"{prefix}{key}.")

    def _text(self, option: Option | None, value: Any, path: Path) -> str | None:
        key = ".".join(path[1:] if len(path) < 3 else path[2:])
        if isinstance(value, list) and option is not None and option.type in _LISTS:
            words = [self._text(None, each, path) for each in value]
            if any(word is not None and len(word.split()) != 1 for word in words):
                self._tell(
                    path, f"{key}: an element is empty or has white space in it", "write one path or pattern each"
                )
                return None
            return " ".join(word for word in words if word is not None)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and option is not None and option.type == "octal":
            self._tell(path, f"{key} = {value} may be octal or not", f'write a text: {key} = "022"')
        elif isinstance(value, str) and "\0" in value:
            self._tell(path, f"{key} has a NUL in it", "remove it")
        elif isinstance(value, str):
            return value
        elif isinstance(value, (int, float)):
            return str(value)
        else:
            kind = "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"
            self._tell(path, f"{key} is {kind}", "write a text, a number, true or false")
        return None

    def _line(self, path: Path) -> int:
        """Of the innermost table or key on the way that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def _tell(self, path: Path, what: str, hint: str) -> None:
        self.findings.append(Finding(self.file, self._line(path), what, hint))


def as_toml(text: str) -> str:
    """Names of sections as TOML writes them: ``[env:w*]`` is ``[env."w*"]``."""

    def _named(match: re.Match[str]) -> str:
        name = match[2] if _BARE_KEY.fullmatch(match[2]) else f'"{match[2]}"'
        return f"[{match[1]}.{name}]"

    return _SECTION.sub(_named, text)
