"""What the machine says about a process: memory, cpu, age, children; under the ancestors' field names.

Blocking reads of /proc: called in a worker thread. Samples are taken when asked for; a cpu percentage is the mean
since the same process was last asked about.
"""

from __future__ import annotations

import os
import threading
import time

import psutil

#: Processes whose last cpu sample is kept; beyond it the oldest are forgotten and start anew.
MAX_KNOWN = 20_000

Info = dict[str, object]

_known: dict[tuple[int, float], psutil.Process] = {}
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
    try:
        process = psutil.Process(pid)
        with _lock:
            process = _known.setdefault((pid, process.create_time()), process)
            while len(_known) > MAX_KNOWN:
                del _known[next(iter(_known))]
        return _read(process, with_children=with_children)
    except psutil.NoSuchProcess:
        return "No such process (stopped?)"


def descendants(pid: int) -> list[psutil.Process]:
    """All living processes below ``pid``, or none when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def children(pid: int) -> list[psutil.Process]:
    """The living direct children of ``pid``."""
    try:
        return psutil.Process(pid).children()
    except psutil.Error:
        return []


def _read(process: psutil.Process, *, with_children: bool) -> Info:
    with process.oneshot():
        info: Info = {"pid": process.pid}
        denied = "N/A"
        try:
            memory = process.memory_info()
            info["mem_info1"], info["mem_info2"] = render_bytes(memory.rss), render_bytes(memory.vms)
        except psutil.AccessDenied:
            info["mem_info1"] = info["mem_info2"] = denied
        try:
            info["cpu"] = process.cpu_percent()
            times = process.cpu_times()
            info["ctime"] = render_cpu_time(times.user + times.system)
        except psutil.AccessDenied:
            info["cpu"] = info["ctime"] = denied
        try:
            info["mem"] = round(process.memory_percent(), 3)
        except psutil.AccessDenied:
            info["mem"] = denied
        try:
            info["username"] = process.username()
        except psutil.AccessDenied:
            info["username"] = denied
        try:
            info["nice"] = "Zombie" if process.status() == psutil.STATUS_ZOMBIE else process.nice()
        except psutil.AccessDenied:
            info["nice"] = denied
        created_at = process.create_time()
        info["create_time"] = created_at
        info["age"] = max(0.0, time.time() - created_at)
        try:
            argv = process.cmdline()
            info["cmdline"] = os.path.basename(argv[0]) if argv and argv[0] else process.name()
        except psutil.AccessDenied:
            info["cmdline"] = denied
    if with_children:
        info["children"] = [found for child in children(process.pid) if isinstance(found := read(child.pid), dict)]
    return info


def signal_process(process: psutil.Process, signum: int) -> None:
    """Send ``signum``; psutil compares the creation time first, so that a reused pid is never hit."""
    try:
        process.send_signal(signum)
    except psutil.Error:
        return
