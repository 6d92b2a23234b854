"""Log files into which several streams run: one file has one bound, whichever stream wrote it. Pure.

The largest of the values counts, so that nothing is rotated away earlier than any of them says; a difference is told.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from circus.config.model import Finding, StreamConfig, WatcherConfig
from circus.config.read import Section

_BOUNDS = ("max_bytes", "backup_count")

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
        differing = [bound for bound in _BOUNDS if len({getattr(user.stream, bound) for user in sharing}) > 1]
        if not differing:
            continue
        findings += [_difference(path, bound, watchers, sharing) for bound in differing]
        max_bytes = max(user.stream.max_bytes for user in sharing)
        backup_count = max(user.stream.backup_count for user in sharing)
        for index, key, stream in sharing:
            config, section = agreed[index]
            stream = replace(stream, max_bytes=max_bytes, backup_count=backup_count)
            if key == "stdout_stream":
                agreed[index] = replace(config, stdout_stream=stream), section
            else:
                agreed[index] = replace(config, stderr_stream=stream), section
    return agreed, findings


def _difference(path: str, bound: str, watchers: Watchers, sharing: Sequence[_User]) -> Finding:
    """Told where the smallest value is written."""
    least = min(sharing, key=lambda user: int(getattr(user.stream, bound)))
    most = max(sharing, key=lambda user: int(getattr(user.stream, bound)))
    config, section = watchers[least.watcher]
    other = most.key if most.watcher == least.watcher else f"{most.key} of {watchers[most.watcher][0].name}"
    what = f"{config.name}: {least.key}.{bound} is {getattr(least.stream, bound)}, "
    what += f"but {getattr(most.stream, bound)} counts for {path}"
    hint = f"{other} writes the same file; write the same {bound} for both"
    return Finding(*section.place(f"{least.key}.{bound}"), what, hint, "warning")
