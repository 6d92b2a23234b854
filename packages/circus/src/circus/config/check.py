"""Looks at a file without using it: what a start would refuse, what it would warn of, and what is worth knowing.

The idea: all that ``load`` finds, and beside it what only a start of circusd meets (where it logs, its pid file). Hooks
are users' code, and to look one up is to run its module: that is for the rooms above.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping

from circus.config.build import Draft
from circus.config.load import examine
from circus.config.model import CircusConfig, Finding
from circus.config.read import Section
from circus.config.validate import Host

#: Nothing that is kept grows there.
_DEVICES = "/dev/"


def check(path: str, environ: Mapping[str, str], *, host: Host | None = None) -> tuple[CircusConfig, list[Finding]]:
    """The configuration as far as it can be understood, and everything to be said about it.

    ``environ`` is the environment that circusd would be started in.
    """
    host = host or Host()
    draft, findings = examine(path, environ, host=host)
    return draft.config, [
        *findings,
        *_about_the_start(draft.config, draft.circus, host),
        *_growing(draft),
        *_waiting(draft),
    ]


def _about_the_start(config: CircusConfig, section: Section, host: Host) -> Iterator[Finding]:
    files = {"pidfile": config.pidfile or "", "logoutput": config.logoutput}
    if config.logoutput in ("-", "stdout") or config.logoutput.startswith("syslog://"):
        del files["logoutput"]
    for key, path in files.items():
        directory = os.path.dirname(os.path.abspath(path)) if path else "/"
        if not host.is_directory(directory):
            what = f"[circus]: the directory {directory} of {key} does not exist"
            yield Finding(*section.place(key), what, f"make it, or correct {key}")
    logging = config.loggerconfig
    if logging and logging != "default" and not host.is_file(logging):
        what = f"[circus]: loggerconfig {logging} does not exist"
        yield Finding(*section.place("loggerconfig"), what, "correct the path, which starts where circusd is started")


def _waiting(draft: Draft) -> Iterator[Finding]:
    for config, section in draft.watchers:
        for key, stream in (("stdout_stream", config.stdout_stream), ("stderr_stream", config.stderr_stream)):
            if stream is None or stream.overflow != "block" or stream.stall_s != math.inf:
                continue
            what = (
                f"{config.name}: {key} is never lost: its processes stand still while nobody takes it, also without "
                f"circusd, as soon as papa keeps {stream.buffer_bytes} bytes of it"
            )
            yield Finding(*section.place(f"{key}.stall"), what, "write stall = 30s to lose the oldest instead", "note")


def _growing(draft: Draft) -> Iterator[Finding]:
    """One note, whatever their number."""
    logs: dict[str, tuple[str, int, str]] = {}
    for config, section in draft.watchers:
        for key, stream in (("stdout_stream", config.stdout_stream), ("stderr_stream", config.stderr_stream)):
            path = stream.filename if stream is not None and stream.class_name == "FileStream" else None
            is_rotated = stream is not None and (stream.max_bytes or stream.rotate_when)
            if stream is None or not path or path.startswith(_DEVICES) or (is_rotated and stream.backup_count):
                continue
            place = section.place(f"{key}.filename")
            lacks = "backup_count" if is_rotated else "max_bytes"
            if config.written.get(f"{key}.class", "").endswith("WatchedFileStream"):
                lacks = "rotation of its own"
            logs.setdefault(os.path.abspath(path), (*place, f"{config.name}: {key} has no {lacks}"))
    if not logs:
        return
    path, (file, line, what) = next(iter(logs.items()))
    count = len(logs) - 1
    others = ", and so does another log" if count == 1 else f", and so do {count} other logs" if count else ""
    hint = "write max_bytes and backup_count to rotate it, or see to it elsewhere"
    yield Finding(file, line, f"{what}: {path} grows without bound{others}", hint, "note")
