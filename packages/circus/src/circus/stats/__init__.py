"""What the machine says about processes: memory, cpu, age, children; under the ancestors' field names.

Samples are taken when asked for, all processes that are asked for at once; a cpu percentage is the mean since the same
process was last asked about. Blocking: called in a worker thread.
"""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

from circus import procfs
from circus.procfs import Row

#: Processes whose last cpu sample is kept; beyond it the oldest are forgotten and start anew.
MAX_KNOWN = 20_000

#: Generations of children that are told of.
MAX_DEPTH = 16

Info = dict[str, object]

GONE = "No such process (stopped?)"
DENIED = "N/A"

#: By pid and start: the ticks of cpu that it had used, and when (time.monotonic).
_known: dict[tuple[int, int], tuple[int, float]] = {}
_lock = threading.Lock()


def render_bytes(size: int) -> str:
    """``1.52M``; below 1 K bare bytes, ``100B``."""
    value = float(size)
    if value < 1024:
        return f"{size}B"
    for unit in "KMGTPEZ":
        value /= 1024
        if value < 1024:
            return f"{value:.2f}{unit}"
    return f"{value / 1024:.2f}Y"


def render_cpu_time(seconds: float) -> str:
    """``M:SS.cc``, minutes unbounded."""
    return f"{int(seconds // 60)}:{seconds % 60:05.2f}"


def read(pid: int, *, with_children: bool = True) -> Info | str:
    """The facts about ``pid``, or a sentence when there is no such process."""
    return read_many([pid], with_children=with_children)[pid]


def read_many(pids: Iterable[int], *, with_children: bool = True) -> dict[int, Info | str]:
    """As `read`, for each of them; one look at the machine for all."""
    if with_children:
        return tell(pids, procfs.rows())
    pids = list(pids)
    return _tell(pids, {pid: procfs.row(pid) for pid in pids}, {}, with_children=False)


def tell(pids: Iterable[int], rows: Mapping[int, Row]) -> dict[int, Info | str]:
    """The same, when the machine was looked at already: ``rows`` are all of its processes."""
    return _tell(pids, rows, procfs.families(rows), with_children=True)


def _tell(
    pids: Iterable[int], rows: Mapping[int, Row | None], below: Mapping[int, list[Row]], *, with_children: bool
) -> dict[int, Info | str]:
    booted_at, now = procfs.boot_time(), time.time()
    found: dict[int, Info | str] = {}
    for pid in pids:
        row = rows.get(pid)
        found[pid] = GONE if row is None else _info(row, below, booted_at, now, 0 if with_children else MAX_DEPTH)
    return found


def _info(row: Row, below: Mapping[int, list[Row]], booted_at: float, now: float, depth: int) -> Info:
    created_at = booted_at + row.start_ticks / procfs.TICKS_S
    info: Info = {
        "pid": row.pid,
        "mem_info1": render_bytes(row.resident_bytes),
        "mem_info2": render_bytes(row.virtual_bytes),
        "cpu": _cpu_percent(row),
        "ctime": render_cpu_time(row.cpu_ticks / procfs.TICKS_S),
        "mem": round(row.resident_bytes / procfs.MEMORY_BYTES * 100, 3),
        "username": _username(row.pid),
        "nice": "Zombie" if row.state == "Z" else row.nice,
        "create_time": created_at,
        "age": max(0.0, now - created_at),
        "cmdline": _command(row),
    }
    if depth < MAX_DEPTH:
        children = below.get(row.pid, ())
        info["children"] = [_info(child, below, booted_at, now, depth + 1) for child in children]
    return info


def _cpu_percent(row: Row) -> float:
    """Of one processor, since the last sample; 0.0 for the first one, like what runs for the first time."""
    key, now = (row.pid, row.start_ticks), time.monotonic()
    with _lock:
        ticks, at = _known.get(key, (row.cpu_ticks, now))
        _known[key] = row.cpu_ticks, now
        while len(_known) > MAX_KNOWN:
            del _known[next(iter(_known))]
    return round((row.cpu_ticks - ticks) / procfs.TICKS_S / (now - at) * 100, 1) if now > at else 0.0


def _username(pid: int) -> str:
    try:
        uid = procfs.owner(pid)
    except PermissionError:
        return DENIED
    return DENIED if uid is None else _name_of(uid)


@lru_cache(maxsize=100)
def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(row: Row) -> str:
    """The name of the program as it was called; what the system calls it where that is not known."""
    try:
        words = procfs.command(row.pid)
    except PermissionError:
        return DENIED
    return os.path.basename(words[0]) if words and words[0] else row.name
