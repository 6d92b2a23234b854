"""Log files compared, byte for byte, with what was written: texts in, faults out.

A file of one stream must be that stream. In a file that several share each line must be whole and somebody's next one.
Nothing may stand there that nobody wrote but the newline behind the last line of a process that did not end it, and
what was asked for: `undress` takes it away.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import scribe

#: A shorter line may have been ended by the end of its writer before it says whose it is.
LONGEST_NAME = 40

#: Of the variant with times.
TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
TIME = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) \[(\d+)\] \| ")

LINE = re.compile(rb"(?P<name>[\w-]+-(?P<pid>\d+)\.(?:out|err)) ")


@dataclass(frozen=True, slots=True)
class Life:
    """What one process wrote to one stream: at least ``done`` bytes, at most ``going``."""

    key: str
    stream: str
    began_ns: int
    done: int
    going: int

    @property
    def name(self) -> str:
        return f"{self.key}.{self.stream}"


def read_truth(folder: Path) -> list[Life]:
    """Of all processes that there were, the earlier ones first."""
    lives = []
    for path in folder.iterdir():
        began_ns, *counts = scribe.TRUTH.unpack(path.read_bytes().ljust(scribe.TRUTH.size, b"\0"))
        for at, stream in enumerate(("out", "err")):
            lives.append(Life(path.name, stream, began_ns, counts[2 * at], counts[2 * at + 1]))
    return sorted(lives, key=lambda life: life.began_ns)


def read_files(log: Path) -> list[bytes]:
    """The file's backups, plain or compressed, the oldest first, and the file."""
    found: dict[int, Path] = {}
    for path in log.parent.glob(f"{log.name}.*"):
        number = path.name.removeprefix(log.name + ".").removesuffix(".gz")
        if number.isdigit():
            if int(number) in found:
                raise AssertionError(f"{path} and {found[int(number)]} are both there")
            found[int(number)] = path
    paths = [found[number] for number in sorted(found, reverse=True)] + [log] * log.exists()
    return [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in paths]


def undress(files: Sequence[bytes], variant: str) -> tuple[list[bytes], list[str]]:
    """The files as they would be without what the variant adds to each line, and what is wrong with that."""
    if variant != "stamped":
        return list(files), []
    bare: list[bytes] = []
    broken: list[str] = []
    latest: dict[bytes, bytes] = {}
    for data in files:
        lines = []
        for line in data.split(b"\n"):
            time = TIME.match(line)
            text = line[time.end() :] if time else line
            said = LINE.match(text)
            if (line and not time) or (time and said and said["pid"] != time[2]):
                broken.append(f"not the time and the pid: {line[:120]!r}")
            elif time and said and time[1] < latest.get(said["name"], b""):
                broken.append(f"a time before that of the line before: {line[:120]!r}")
            if time and said:
                latest[said["name"]] = time[1]
            lines.append(text)
        bare.append(b"\n".join(lines))
    return bare, broken


def check_shared(files: Sequence[bytes], lives: Sequence[Life]) -> list[str]:
    """A file into which all of ``lives`` ran at once. A file may end with somebody's unended last line."""
    got: dict[str, list[bytes]] = {life.name: [] for life in lives}
    broken: list[str] = []
    tails: list[bytes] = []  # too short to say whose they are
    lines = (line for data in files for line in data.split(b"\n"))
    for number, line in enumerate(lines):
        found = LINE.match(line)
        name = found["name"].decode() if found else ""
        if name in got:
            got[name] += (line, b"\n")
        elif 0 < len(line) < LONGEST_NAME:
            tails.append(line)
        elif line:
            broken.append(f"line {number} is nobody's: {line[:120]!r}")
    for life in lives:
        here = b"".join(got[life.name])
        size = _common(here, life)
        if here[size:] in (b"", b"\n"):
            rest = scribe.text(life.key, life.stream, life.going)[size:]
            tail = next((each for each in tails if rest.startswith(each)), b"")
            if tail:
                tails.remove(tail)
            if size + len(tail) < life.done:
                broken.append(f"{life.name}: {size} bytes arrived of {life.done}")
        else:
            broken.append(_difference(here, size, life))
    return broken + [f"a line is nobody's: {tail!r}" for tail in tails]


def check_sole(files: Sequence[bytes], lives: Sequence[Life]) -> list[str]:
    """A file of ``lives`` that followed each other."""
    at, data = 0, b"".join(files)
    for life in lives:
        if at and data[at - 1 : at] != b"\n" and data[at : at + 1] == b"\n":
            at += 1
        size = _common(data[at : at + life.going], life)
        if size < life.done:
            return [_difference(data[at:], size, life)]
        at += size
    return [f"{len(data) - at} bytes more than were written: {data[at : at + 120]!r}"] if at < len(data) else []


def _common(data: bytes, life: Life) -> int:
    """How much ``data`` and what was written have in common."""
    expected = scribe.text(life.key, life.stream, life.going)
    if data[: len(expected)] == expected:
        return len(expected)
    both = zip(data, expected, strict=False)
    return next((at for at, (one, other) in enumerate(both) if one != other), min(len(data), len(expected)))


def _difference(data: bytes, at: int, life: Life) -> str:
    expected = scribe.text(life.key, life.stream, life.going)
    return (
        f"{life.name}: at byte {at} of {life.done} to {life.going} stands"
        f" {data[max(0, at - 40) : at]!r} {data[at : at + 120]!r} and not {expected[at : at + 120]!r}"
    )
