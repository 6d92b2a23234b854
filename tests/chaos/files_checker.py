"""Log files compared, byte for byte, with what was written: texts in, faults out.

A file of one stream must be that stream. In a file that several share each line must be whole and somebody's next one.
Nothing may stand there that nobody wrote but the newline behind the last line of a process that did not end it, and
what was asked for: `undress` takes it away.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import scribe

#: A shorter line may have been ended by the end of its writer before it says whose it is.
LONGEST_NAME = 40

#: Of the variant with times.
TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
TIME = re.compile(rb"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) \[(?P<pid>\d+)\] \| ")

#: Backups are numbered, or named after when an even second began.
BACKUP = re.compile(r"\.(?:(?P<date>\d{14})(?:\.(?P<again>\d+))?|(?P<number>\d{1,9}))(?:\.gz)?")
INTERVAL_S = 2

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


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log, or a backup of it. ``interval``: when that began of a backup that is named after it."""

    data: bytes
    interval: str = ""


def read_files(log: Path) -> list[LogFile]:
    """The log's backups, plain or compressed, the oldest first, and the log."""
    found: dict[tuple[str, int], Path] = {}
    for path in log.parent.glob(f"{log.name}.*"):
        if name := BACKUP.fullmatch(path.name.removeprefix(log.name)):
            at = (name["date"], int(name["again"] or 1)) if name["date"] else ("", -int(name["number"]))
            if at in found:
                raise AssertionError(f"{path} and {found[at]} are both there")
            found[at] = path
    files = []
    for (interval, _), path in sorted(found.items()):
        data = path.read_bytes()
        files.append(LogFile(gzip.decompress(data) if path.suffix == ".gz" else data, interval))
    return files + [LogFile(log.read_bytes())] * log.exists()


def undress(files: Sequence[LogFile], variants: Sequence[str]) -> tuple[list[bytes], list[str]]:
    """The files as they would be without what the variants add to each line, and what is wrong with that."""
    if "json" in variants:
        return _unpack(files)
    if "stamped" not in variants:
        return [file.data for file in files], []
    bare: list[bytes] = []
    broken: list[str] = []
    latest: dict[bytes, bytes] = {}
    for file in files:
        lines = []
        for line in file.data.split(b"\n"):
            time = TIME.match(line)
            text = line[time.end() :] if time else line
            said = LINE.match(text)
            if (line and not time) or (time and said and said["pid"] != time["pid"]):
                broken.append(f"not the time and the pid: {line[:120]!r}")
            elif time and said:
                if time["time"] < latest.get(said["name"], b""):
                    broken.append(f"a time before that of the line before: {line[:120]!r}")
                if file.interval and _digits(time["time"]) >= int(file.interval) + INTERVAL_S:
                    broken.append(f"a line of later in the file of {file.interval}: {line[:120]!r}")
                latest[said["name"]] = time["time"]
            lines.append(text)
        bare.append(b"\n".join(lines))
    return bare, broken


def _unpack(files: Sequence[LogFile]) -> tuple[list[bytes], list[str]]:
    """Of objects. The parts of a line that came in parts are put together; before somebody else's it had no end."""
    bare: list[bytes] = []
    broken: list[str] = []
    begun: dict[tuple[int, str], bytes] = {}
    for number, file in enumerate(files):
        lines = []
        for text in file.data.split(b"\n")[:-1]:
            try:
                said = json.loads(text)
                key = said["pid"], {"stdout": "out", "stderr": "err"}.get(said["stream"], said["stream"])
                line = base64.b64decode(said["raw"]) if "raw" in said else said["line"].encode()
            except (ValueError, KeyError) as error:
                broken.append(f"not the object of a line: {error!r} {text[:120]!r}")
                continue
            line = begun.pop(key, b"") + line
            lines += [each + b"\n" for each in begun.values()]
            begun.clear()
            if said.get("partial"):
                begun[key] = line
                continue
            name = LINE.match(line)
            if name and (int(name["pid"]), name["name"].rpartition(b".")[2].decode()) != key:
                broken.append(f"somebody else's name: {text[:120]!r}")
            lines.append(line + b"\n")
        if file.data and not file.data.endswith(b"\n"):
            broken.append(f"an object without its end: {file.data[-120:]!r}")
        if number == len(files) - 1:
            lines += begun.values()
        bare.append(b"".join(lines))
    return bare, broken


def _digits(time: bytes) -> int:
    """As a backup is named."""
    return int(bytes(byte for byte in time.partition(b".")[0] if byte in b"0123456789"))


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
            tail = max((each for each in tails if rest.startswith(each)), key=len, default=b"")
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
