"""The variables that a configuration gives to processes: from which sections and files, and which of them counts.

The idea: what is nearer to the watcher wins, and of two that are equally near the ``env_file``: sections hold what all
installations have in common, such a file what one host or deployment sets, its secrets for instance. So, each over
the one before it: ``[env]``, ``env_file`` of ``[circus]``, ``[env:PATTERNS]`` in the order of the file, ``env.NAME`` of
the watcher, ``env_file`` of the watcher. Watchers with the same sections share one environment.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from circus.config import dotenv, expand
from circus.config.model import Finding
from circus.config.read import Document, Entry, Section, read_text

#: Thousands of variables; the system hands no process much more than this (execve(2), MAX_ARG_STRLEN and ARG_MAX).
MAX_ENV_FILE_BYTES = 1 << 20

#: How a watcher's own variables begin; compared as a slice, because that is asked of every option of every watcher.
OWN = "env."


class Variable(NamedTuple):
    """``raw`` is what was written, ``text`` the same after stage 1 of ``expand``, ``value`` what a process gets."""

    raw: str
    text: str
    value: str
    source: str
    file: str
    line: int


Variables = dict[str, Variable]


class Environment:
    """The variables of one set of sections and files."""

    __slots__ = ("expanded", "names", "variables", "written")

    def __init__(self, variables: Variables, below: expand.Names) -> None:
        self.variables = variables
        self.written = {name: each.text for name, each in variables.items()}
        self.expanded = {name: each.value for name, each in variables.items()}
        self.names = expand.Names(self.written, below)


class Environments:
    """Of one document. ``environ`` is circusd's own; what is wrong goes into ``findings``."""

    def __init__(self, document: Document, environ: Mapping[str, str], findings: list[Finding]) -> None:
        self._document = document
        self._environ = environ
        self._findings = findings
        self._files: dict[str, Variables] = {}
        self._shared: dict[tuple[str, ...], Environment] = {}
        self._inherited = expand.Names(environ)
        self._patterns: list[tuple[list[str], Section]] = []
        variables: Variables = {}
        if (section := document.sections.get("env")) is not None:
            variables = self._written(section.entries, self._inherited, f"[{section.name}]")
        circus = document.sections.get("circus") or Section("circus", document.path, 0)
        variables |= self._files_of(circus, "[circus]", Environment(variables, self._inherited))
        self.common = self._shared[()] = Environment(variables, self._inherited)
        for section in document.sections.values():
            kind, colon, patterns = section.name.partition(":")
            if kind == "env" and colon and patterns.strip() and section.entries:
                self._patterns.append(([each.strip() for each in patterns.split(",")], section))
        self._check_sections()

    def of(self, name: str, watcher: Section) -> Environment:
        """What the processes of a watcher get."""
        matching = self.matching(name)
        key = tuple([section.name for section in matching])
        environment = self._shared.get(key)
        if environment is None:
            variables = dict(self.common.variables)
            for section in matching:
                variables |= self._written(section.entries, self.common.names, f"[{section.name}]")
            environment = self._shared[key] = Environment(variables, self._inherited)
        options = {**self._document.defaults, **watcher.entries}
        own = {key[4:]: entry for key, entry in options.items() if key[:4] == OWN}
        if own:
            self._check_names(name, own)
            written = self._written(own, environment.names, f"[{watcher.name}]")
            environment = Environment(environment.variables | written, self._inherited)
        from_files = self._files_of(watcher, name, environment)
        return Environment(environment.variables | from_files, self._inherited) if from_files else environment

    def matching(self, name: str) -> list[Section]:
        """The ``[env:...]`` sections that are for this watcher."""
        return [
            section
            for patterns, section in self._patterns
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ]

    def tell_unused_patterns(self, names: Iterable[str]) -> None:
        for patterns, section in self._patterns:
            for pattern in patterns:
                if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
                    what = f"[{section.name}]: no watcher is named {pattern}"
                    hint = "patterns are compared with the names of watchers, and letter case counts"
                    self._findings.append(Finding(section.file, section.line, what, hint, "warning"))

    # From sections ----------------------------------------------------------------------------------------

    def _written(self, entries: Mapping[str, Entry], names: expand.Names, source: str) -> Variables:
        variables: Variables = {}
        for name, entry in entries.items():
            text = expand.expand_env(entry.value, names)
            value = expand.expand_shell(text, self._environ)
            variables[name] = Variable(entry.value, text, value, source, entry.file, entry.line)
        return variables

    def _check_names(self, title: str, entries: Mapping[str, Entry]) -> None:
        for name, entry in entries.items():
            if not name or "=" in name:
                what = f"{title}: {name!r} cannot be the name of a variable"
                self._findings.append(Finding(entry.file, entry.line, what, "a name has at least one letter, and no ="))

    def _check_sections(self) -> None:
        for section in (self._document.sections.get("env"), *(section for _, section in self._patterns)):
            if section is None:
                continue
            self._check_names(f"[{section.name}]", section.entries)
            for key, entry in section.entries.items():
                for variable in expand.variables_in(expand.expand_env(entry.value, self.common.names)):
                    what = f"[{section.name}]: {key} refers to circus.{variable}, which is not known"
                    hint = "circus.env.NAME is known here, for the names in [env] and in circusd's environment"
                    self._findings.append(Finding(entry.file, entry.line, what, hint, "warning"))

    # From files -------------------------------------------------------------------------------------------

    def _files_of(self, section: Section, title: str, environment: Environment) -> Variables:
        """The variables of the files that the section names; a later file wins."""
        entry = section.entries.get("env_file") or self._document.defaults.get("env_file")
        variables: Variables = {}
        for word in expand.expand_env(entry.value, environment.names).split() if entry else ():
            if word not in self._files:
                assert entry is not None
                self._files[word] = self._read(word, Finding(entry.file, entry.line, title))
            variables |= self._files[word]
        return variables

    def _read(self, word: str, asked: Finding) -> Variables:
        path = os.path.join(os.path.dirname(self._document.path), word.removeprefix("-"))
        known = self._document.env_files
        if word not in known:
            is_missing = word[0] == "-" and not os.path.lexists(path)
            known[word] = None if is_missing else read_text(path, MAX_ENV_FILE_BYTES)
        text = known[word]
        if text is None:
            return {}
        if isinstance(text, Finding):
            if not text.line:
                hint = text.hint if os.path.lexists(path) else f"make it, or write -{word} if it may be missing"
                text = Finding(asked.file, asked.line, f"{asked.what}: env_file: {text.what}", hint)
            self._findings.append(text)
            return {}
        found, fault = dotenv.parse(text)
        if fault is not None:
            self._findings.append(Finding(path, fault.line, f"env_file: {fault.what}", fault.hint))
        return {name: Variable(value, value, value, "env_file", path, line) for name, (value, line) in found.items()}
