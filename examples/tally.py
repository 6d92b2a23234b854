"""Compares what tickers say they have written with what stands in log files."""

import collections
import dataclasses
import itertools
import pathlib
import re
import struct

LINE = re.compile(r"(?P<name>[\w.-]+) (?P<pid>\d+) (?P<number>\d+)$")


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
    """What became of the lines of one process."""

    written: int
    lost: int
    doubled: int
    disordered: int  # lines that stand before one with a smaller number


def written(truth):
    """(name, pid) -> number of lines, from the counters that tickers keep in the folder ``truth``."""
    counts = {}
    for path in pathlib.Path(truth).iterdir():
        name, _, pid = path.name.rpartition(".")
        if data := path.read_bytes():
            counts[name, int(pid)] = struct.unpack("<Q", data)[0]
    return counts


def logged(files):
    """(name, pid) -> the numbers of its lines, in the order in which ``files`` have them."""
    numbers = collections.defaultdict(list)
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if found := LINE.search(line):
                    numbers[found["name"], int(found["pid"])].append(int(found["number"]))
    return numbers


def rotated(path):
    """The files of a rotated log, oldest first: FILE.N, ..., FILE.1, FILE."""
    path = pathlib.Path(path)
    older = [each for each in path.parent.glob(path.name + ".*") if each.suffix[1:].isdigit()]
    older.sort(key=lambda each: -int(each.suffix[1:]))
    return [*older, *([path] if path.exists() else [])]


def tally(count, numbers):
    """Of one process that has written ``count`` lines, of which these stand there."""
    distinct = set(numbers)
    return Tally(
        written=count,
        lost=count - len(distinct & set(range(1, count + 1))),
        doubled=len(numbers) - len(distinct),
        disordered=sum(a > b for a, b in itertools.pairwise(numbers)),
    )


def compare(truth, files):
    """(name, pid) -> Tally."""
    found = logged(files)
    return {key: tally(count, found.get(key, [])) for key, count in written(truth).items()}
