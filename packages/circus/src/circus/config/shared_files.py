"""Log files into which several streams run: one file has one bound, whichever stream wrote it. Pure.

Of the values that are written the largest counts, so that nothing is rotated away earlier than any of them says; a
``max_bytes`` of 0 is the largest of all, because it never rotates. If one says that the file is rotated by time, it is.
A difference is told.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, NamedTuple

from circus.config.model import Finding, StreamConfig, WatcherConfig
from circus.config.read import Section

_BOUNDS = ("max_bytes", "backup_count")
_BY_TIME = ("rotate_when", "rotate_interval", "utc")

Watchers = list[tuple[WatcherConfig, Section]]


class _User(NamedTuple):
    watcher: int  # its place in the list
    key: str
    stream: StreamConfig


def agree(watchers: Watchers) -> tuple[Watchers, list[Finding]]:
    """The watchers with the bounds that count, and one warning for each file and bound that differs."""
    users: dict[str, list[_User]] = {}
    for index, (config, _) in enumerate(watchers):
        for key, stream in (("stdout_stream", config.stdout_stream), ("stderr_stream", config.stderr_stream)):
            if stream is not None and stream.filename and stream.class_name == "FileStream":
                path = stream.filename if stream.filename[0] == "/" else os.path.abspath(stream.filename)
                users.setdefault(path, []).append(_User(index, key, stream))
    agreed, findings = list(watchers), []
    for path, sharing in users.items():
        if len(sharing) == 1:
            continue
        findings += _two_formats(path, watchers, sharing)
        bounds, told = _one_rotation(path, watchers, sharing)
        findings += told
        for bound in _BOUNDS:
            writing = [user for user in sharing if f"{user.key}.{bound}" in watchers[user.watcher][0].written]
            if not writing:
                continue
            most = max(writing, key=lambda user: _size(user, bound))
            least = min(writing, key=lambda user: _size(user, bound))
            bounds[bound] = getattr(most.stream, bound)
            if _size(least, bound) != _size(most, bound):
                findings.append(_difference(path, bound, watchers, least, most))
        bounds["compress"] = any(user.stream.compress for user in sharing)
        for index, key, stream in sharing:
            config, section = agreed[index]
            stream = replace(stream, **bounds)
            if key == "stdout_stream":
                agreed[index] = replace(config, stdout_stream=stream), section
            else:
                agreed[index] = replace(config, stderr_stream=stream), section
    return agreed, findings


def _two_formats(path: str, watchers: Watchers, sharing: list[_User]) -> list[Finding]:
    """Objects among lines of text are of no use to who reads either."""
    first = sharing[0]
    other = next((user for user in sharing if user.stream.format != first.stream.format), None)
    if other is None:
        return []
    config, section = watchers[other.watcher]
    whose = first.key if first.watcher == other.watcher else f"{first.key} of {watchers[first.watcher][0].name}"
    what = (
        f"{config.name}: {other.key} writes {other.stream.format} to {path}, and {whose} writes {first.stream.format}"
    )
    key = "format" if f"{other.key}.format" in config.written else "filename"
    return [Finding(*section.place(f"{other.key}.{key}"), what, "write the same format for both, or another file")]


def _one_rotation(path: str, watchers: Watchers, sharing: list[_User]) -> tuple[dict[str, Any], list[Finding]]:
    """How a file is rotated by time, if any of its streams says so: as the first one does."""
    first = next((user for user in sharing if user.stream.rotate_when), None)
    if first is None:
        return {}, []
    by_time = {name: getattr(first.stream, name) for name in _BY_TIME}
    other = next((user for user in sharing if any(getattr(user.stream, n) != by_time[n] for n in _BY_TIME)), None)
    if other is None:
        return by_time, []
    config, section = watchers[other.watcher]
    whose = first.key if first.watcher == other.watcher else f"{first.key} of {watchers[first.watcher][0].name}"
    what = f"{config.name}: {other.key} is rotated otherwise than {whose}, which counts for {path}"
    hint = f"write the same class, {', '.join(_BY_TIME[:-1])} and {_BY_TIME[-1]} for both"
    return by_time, [Finding(*section.place(f"{other.key}.filename"), what, hint, "warning")]


def _size(user: _User, bound: str) -> float:
    value: int = getattr(user.stream, bound)
    return math.inf if bound == "max_bytes" and not value else value


def _difference(path: str, bound: str, watchers: Watchers, least: _User, most: _User) -> Finding:
    """Told where the smallest value is written."""
    config, section = watchers[least.watcher]
    other = most.key if most.watcher == least.watcher else f"{most.key} of {watchers[most.watcher][0].name}"
    what = f"{config.name}: {least.key}.{bound} is {getattr(least.stream, bound)}, "
    what += f"but {getattr(most.stream, bound)} counts for {path}"
    hint = f"{other} writes the same file; write the same {bound} for both"
    return Finding(*section.place(f"{least.key}.{bound}"), what, hint, "warning")
