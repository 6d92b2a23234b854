"""Reads files into sections, and remembers of every key the file and the line. TOML files are read by ``toml``.

The syntax of INI files is the ancestors': keys are case-sensitive; ``=`` or ``:`` separates; a line that begins with
``#``, ``;`` or the word ``rem`` is a comment, and so is the rest of a line behind `` ;``; an indented line
continues the value above; ``""`` is the empty value; ``%`` means nothing. Sections that occur several times
are one, and of a key that is given twice the first counts. A fault never ends the reading: all of them are
found.

``parse_ini`` is pure; ``read`` opens the file and those that it includes. What keys mean does not belong
here.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from circus.config import expand
from circus.config.model import Finding

#: Of the largest configurations known (thousands of watchers) each is below 1 MiB.
MAX_FILE_BYTES = 8 << 20
#: One file a watcher, and as many watchers as a host bears.
MAX_FILES = 2000

#: How the name of a file in TOML ends; all others are INI files.
TOML = ".toml"

_REMARK = re.compile(r"rem(\s|$)", re.IGNORECASE)
_HEADER = re.compile(r"\[([^]]+)\]")
_KEY = re.compile(r"([^:=\s][^:=]*?)\s*[:=](.*)")


@dataclass(slots=True)
class Entry:
    """One key of a section. ``more`` are the lines that continue the value: (line, text)."""

    key: str
    value: str
    file: str
    line: int
    more: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    name: str
    file: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)

    def place(self, key: str = "") -> tuple[str, int]:
        """Where a finding about ``key`` points to: to the key if it is written, else to the section."""
        entry = self.entries.get(key)
        return (entry.file, entry.line) if entry else (self.file, self.line)


@dataclass(slots=True)
class Document:
    """All sections by name, in the order of their first occurrence, without ``[DEFAULT]``.

    ``env_files`` are the texts of the files that they name (None: it is missing, and may be), as they were when they
    were needed first: what is built of the document later does not differ by what somebody has written there meanwhile.
    """

    path: str
    sections: dict[str, Section] = field(default_factory=dict)
    defaults: dict[str, Entry] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    env_files: dict[str, str | Finding | None] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # of the texts of all configuration files that were read

    def texts(self, name: str) -> dict[str, str]:
        """The keys of a section with their values as written; empty if there is no such section."""
        section = self.sections.get(name)
        return {key: entry.value for key, entry in section.entries.items()} if section else {}


def parse_ini(text: str, file: str) -> tuple[list[Section], list[Finding]]:
    """The sections of one file, one for each header, and what is wrong with its syntax."""
    sections: list[Section] = []
    findings: list[Finding] = []
    entry: Entry | None = None
    in_dark = False  # behind a header that could not be read: its keys are not blamed as well
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        if not line.strip() or line[0] in "#;" or _REMARK.match(line):
            continue
        if line[0].isspace():
            if entry is not None:
                entry.more.append((number, line.strip()))
            elif not in_dark:
                hint = "a line that begins with white space continues the value above; begin it in column 1"
                findings.append(Finding(file, number, "this line has nothing to continue", hint))
            continue
        header = _HEADER.match(line)
        if header is not None:
            sections.append(Section(header[1].strip(), file, number))
            entry, in_dark = None, False
            continue
        if line[0] == "[":
            findings.append(Finding(file, number, "this header is not closed", "write [name] on one line"))
            entry, in_dark = None, True
            continue
        match = _KEY.match(line)
        if match is None:
            entry = None
            if not in_dark:
                hint = "write key = value; a line that continues a value begins with white space"
                findings.append(Finding(file, number, f"{line.strip()[:60]!r} has no '='", hint))
        elif in_dark:
            entry = None
        elif not sections:
            entry = None
            hint = "write a header like [circus] or [watcher:NAME] above it"
            findings.append(Finding(file, number, f"{match[1]!r} stands before the first section", hint))
        else:
            entry = Entry(match[1], _without_comment(match[2]), file, number)
            earlier = sections[-1].entries.setdefault(entry.key, entry)
            if earlier is not entry:
                sections.append(Section(sections[-1].name, file, sections[-1].line, {entry.key: entry}))
    for section in sections:
        for each in section.entries.values():
            if each.more:
                each.value = "\n".join([each.value, *(text for _, text in each.more)]).strip()
            if each.value == '""':
                each.value = ""
    return sections, findings


def _without_comment(value: str) -> str:
    """``a ; b`` is a; only the first semicolon is looked at, so that ``a;b ; c`` stays as it is."""
    at = value.find(";")
    if at == 0 or (at > 0 and value[at - 1].isspace()):
        value = value[: max(at, 0)]
    return value.strip()


def read(path: str, environ: Mapping[str, str]) -> Document:
    """The file at ``path`` and the files it includes, merged; problems are in ``findings``."""
    main = os.path.abspath(path)
    document = Document(main)
    if not _read_into(document, main, (path, 0), "error"):
        return document
    circus = document.sections.get("circus")
    if circus is not None:
        included = _included_files(document, circus, environ)
        seen = {os.path.realpath(main)}
        for name, place in included:
            real = os.path.realpath(name)
            if real not in seen:
                seen.add(real)
                _read_into(document, name, place, "error")
    return document


def _included_files(
    document: Document, circus: Section, environ: Mapping[str, str]
) -> list[tuple[str, tuple[str, int]]]:
    base = os.path.dirname(document.path)
    names = expand.file_names(document.texts("env"), environ)
    found: list[tuple[str, tuple[str, int]]] = []
    for key in ("include", "include_dir"):
        entry = circus.entries.get(key)
        if entry is None:
            continue
        place = (entry.file, entry.line)
        for pattern in expand.expand_env(entry.value, names).split():
            patterns = [pattern]
            if key == "include_dir":
                # A *.toml beside INI files may be anything.
                suffixes = (".ini", TOML) if document.path.endswith(TOML) else (".ini",)
                patterns = [os.path.join(pattern, f"*{suffix}") for suffix in suffixes]
            matches = sorted(name for each in patterns for name in glob.glob(each, root_dir=base))
            if not matches:
                what = f"[circus] {key}: nothing matches {' or '.join(patterns)}"
                document.findings.append(Finding(*place, what, f"relative patterns start at {base}", "warning"))
            found.extend((os.path.join(base, each), place) for each in matches)
    if len(found) > MAX_FILES:
        what = f"[circus] includes {len(found)} files, more than {MAX_FILES}"
        document.findings.append(Finding(*circus.place("include"), what, "narrow the patterns"))
    return found[:MAX_FILES]


def _read_into(document: Document, path: str, place: tuple[str, int], severity: str) -> bool:
    """Parse one file and merge it; ``place`` is to blame when it cannot be read."""
    text = read_text(path, MAX_FILE_BYTES)
    if isinstance(text, Finding):
        if text.line:
            document.findings.append(text)
        else:
            what, hint = f"the configuration file {text.what}", text.hint
            if not place[1]:
                hint = f"{hint}, or write one by `circusctl init`"
            document.findings.append(Finding(*place, what, hint, severity))
        return False
    document.digests[path] = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    if path.endswith(TOML):
        from circus.config.toml import parse_toml  # it needs this module, and most circusds do not need it

        sections, findings = parse_toml(text, path)
    else:
        sections, findings = parse_ini(text, path)
    document.findings.extend(findings)
    for section in sections:
        _merge(document, section)
    return True


def read_text(path: str, max_bytes: int) -> str | Finding:
    """The text of a file, or why there is none: with the line that is to blame, or 0 if it is the file."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(max_bytes + 1)
    except FileNotFoundError:
        return Finding(path, 0, f"{path} does not exist", "give the path of an existing file that this user may read")
    except OSError as error:
        hint = "give the path of an existing file that this user may read"
        return Finding(path, 0, f"{path} cannot be read: {error.strerror or error}", hint)
    if len(data) > max_bytes:
        return Finding(path, 0, f"{path} is larger than {max_bytes >> 20} MiB", "is it the right one? Split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        return Finding(path, number, "this line is not UTF-8", "save the file as UTF-8")
    if "\0" in text:
        return Finding(path, text.count("\n", 0, text.index("\0")) + 1, "this line has a NUL in it", "remove it")
    return text


def _merge(document: Document, section: Section) -> None:
    """The first value of a key counts, also across files; one that says something else is told of."""
    if section.name == "DEFAULT":
        known = document.defaults
    else:
        known = document.sections.setdefault(section.name, Section(section.name, section.file, section.line)).entries
    for key, entry in section.entries.items():
        first = known.setdefault(key, entry)
        if first is entry or first.value == entry.value:
            continue
        if section.name == "circus" and key in ("include", "include_dir"):
            continue
        what = f"[{section.name}] {key} is given twice; the first counts"
        hint = f"that is {first.file}:{first.line}; remove one of them"
        document.findings.append(Finding(entry.file, entry.line, what, hint, "warning"))
