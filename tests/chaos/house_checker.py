"""The one checker of the house's invariants: what was promised, compared with what is there."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import machine

from tests.chaos import house_cast
from tests.house import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import tally

#: A mark in a log, and how many bytes are missing there. It stands on a line of its own, which may cost a newline.
MARK = re.compile(rb"\[papa: (\d+) bytes of output were dropped here\]\n")

#: So many ends of a watcher are remembered; and for so many of the last it is sure that these are among them.
EXITS, SURE_EXITS = 50, 45

#: Of a writer whose lines can be cut.
WHOLE_LINE = re.compile(rb"^([\w-]+) (\d+) (\d{10})$", re.MULTILINE)
LONGEST_LINE = 40

#: So much may have been written by one that was killed before it counted that (FLOOD lines, see actor.py).
LAST_WRITE = 400 * LONGEST_LINE

#: So many descriptors more than in the beginning are nobody's fault: a rotation, a look, a sample in between.
MORE_FDS = 4


def check_living(now: dict[str, set[int]], before: dict[str, set[int]], ended: set[int]) -> list[str]:
    """While the world lives: every wanted process runs once, and none that nobody ended was replaced."""
    broken = []
    for watcher, pids in now.items():
        if len(pids) != len(before[watcher]):
            broken.append(f"{watcher}: {len(pids)} processes instead of {len(before[watcher])}: {sorted(pids)}")
        if gone := before[watcher] - pids - ended:
            broken.append(f"{watcher}: nobody ended {sorted(gone)}, but they are gone")
    return broken


def pids_of(answer: str) -> Counter[int]:
    """Of `circusctl exits --json`."""
    return Counter(exit["pid"] for exit in json.loads(answer)["exits"])


def ended(truth: Path) -> dict[str, list[int]]:
    """watcher -> the pids of its processes that have ended by now, those that wrote last at the end."""
    ends: dict[str, list[int]] = {}
    for path in sorted(truth.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        name, _, pid = path.name.rpartition(".")
        if not name.endswith(".by") and not machine.is_alive(int(pid)):
            ends.setdefault(name.rpartition("-")[0], []).append(int(pid))
    return ends


def check_exits(ends: dict[str, list[int]], told: dict[str, Counter[int]]) -> list[str]:
    """While the world lives: of what had ended before it was asked each is told, once, and none that lives. A watcher
    that was removed is not asked."""
    broken = []
    for watcher, here in told.items():
        pids = ends.get(watcher, [])[-SURE_EXITS:]
        broken += [f"the end of a {watcher} (pid {pid}) is not told" for pid in pids if not here[pid]]
        broken += [f"the end of pid {pid} is told {count} times" for pid, count in here.items() if count > 1]
        broken += [f"pid {pid} is said to have ended, and lives" for pid in here if machine.is_alive(pid)]
    return broken


def check_output(truth: Path, logs: Iterable[Path]) -> list[str]:
    """After the end: every line of every writer stands in its log once, in order; or a mark says what is missing."""
    broken = []
    counts = tally.written(truth)
    for log in logs:
        files = tally.rotated(log)
        watcher = log.name.removesuffix(".log")
        lives = {key: count for key, count in counts.items() if key[0].startswith(f"{watcher}-")}
        if watcher in house_cast.MAY_DROP:
            broken += check_marked(watcher, lives, files)
            continue
        found = tally.logged(files)
        for key, count in lives.items():
            each = tally.tally(count, found.get(key, []))
            # One that was killed may have died between its write and its count.
            if each.lost > 0 or each.doubled or each.disordered:
                broken.append(f"{key[0]} pid={key[1]}: {each}")
    return broken if counts else ["no writer has written anything"]


def check_marked(watcher: str, lives: dict[tuple[str, int], int], files: Sequence[Path]) -> list[str]:
    """Of lines with ten digits: what is missing is what marks say."""
    data = b"".join(path.read_bytes() for path in files)
    said = [int(size) for size in MARK.findall(data)]
    got: dict[tuple[str, int], list[int]] = {key: [] for key in lives}
    for name, pid, number in WHOLE_LINE.findall(data):
        # The rest of a line may look like one of somebody else.
        got.get((name.decode(), int(pid)), []).append(int(number))
    broken = []
    missing = 0
    for (name, pid), count in lives.items():
        numbers = got[name, pid]
        if any(one >= other for one, other in itertools.pairwise(numbers)):
            broken.append(f"{name} pid={pid}: a line stands there twice, or before an earlier one")
        missing += max(0, count - len(numbers)) * len(f"{name} {pid} {0:010d}\n")
    # A gap cuts a line at each of its ends, and those are missing as a whole; what was written last may not be counted.
    cut, uncounted = 2 * LONGEST_LINE * len(said), LAST_WRITE * len(lives)
    if not -uncounted - cut <= missing - sum(said) <= cut:
        broken.append(f"{watcher}: {missing} bytes are missing, and {len(said)} marks say {sum(said)}")
    return broken


def check_nothing_left(folder: Path) -> list[str]:
    """After the end: no process of ours."""
    return [f"left behind: {pid} {command}" for pid, command in machine.marked(str(folder)).items()]


def check_files_left(root: Path) -> list[str]:
    """After the end: no socket and no file of a kernel that has gone."""
    return [f"left behind: {path}" for path in root.rglob("*") if path.is_socket() or "/output/" in str(path)]
