"""What a section `[notifier:NAME]` says: whom circusd tells of events, of which, and how patiently. Pure."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from circus.config import options
from circus.config.model import NotifierConfig
from circus.config.option import Option, table
from circus.config.sheet import Sheet

#: Headers of a message begin so: `header.Authorization`.
HEADER = "header."

#: Those that the message itself decides.
_OURS = ("host", "content-length", "content-type", "connection", "transfer-encoding", "expect")

#: Enough for a token; a request head of more is refused by common servers.
MAX_HEADERS = 20
MAX_HEADER = 4096

#: Whose message does not come through by then is told of something that nobody remembers.
MAX_RETRIES = 100
MAX_QUEUE = 10_000

#: What happens, by the names under which it is told. Others may come, of plugins and later versions.
EVENTS = (
    "spawn", "reap", "kill", "start", "stop", "reload", "updated", "add", "remove", "joined", "blocked", "fatal",
    "backoff", "flapping", "reload_failed", "ready", "not_ready", "healthy", "unhealthy", "limit", "limit_cleared",
    "rest", "survivors", "hook_success", "hook_failure", "file_changed", "commit_failed", "sink_failed",
    "sink_recovered", "output_dropped", "output_held", "output_freed", "output_doubt", "compress_failed",
    "compress_recovered", "run_waiting", "run_starting", "run_running", "run_done", "run_failed", "run_skipped",
)  # fmt: skip

_LISTED = "docs/operating.md lists the events"

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: Keys of a section [notifier:NAME].
NOTIFIER = table(
    Option("url", "text", None, "Where each message is sent by POST, as JSON: `http://` or `https://`. Either this or "
           "`cmd`.", "live"),
    Option("cmd", "text", None, "The command that is run for each message, which it gets as JSON on its standard "
           "input; split like a shell does.", "live"),
    Option("events", "list", (), "Events that it tells of, by name; `*` may stand in one. Default: those that "
           "somebody should look at.", "live"),
    Option("watchers", "list", ("*",), "Of these watchers; `*` may stand in a name. Events that are about no "
           "watcher are told of where `*` itself is among them.", "live"),
    Option("timeout", "interval", 10.0, "An attempt that takes longer has failed.", "live", field="timeout_s"),
    Option("retries", "count", 5, "So often an attempt that has failed is made again.", "live"),
    Option("backoff", "pause", 1.0, "The pause before the second attempt; each further one is twice as long, up to "
           "5 minutes.", "live", field="backoff_s"),
    Option("queue", "positive", 100, "So many messages wait; when one more comes the oldest is dropped, and the next "
           "that gets through says how many were.", "live"),
    Option("every", "seconds", 60.0, "The same event of the same watcher is told of once in so many seconds; what "
           "comes meanwhile is counted, and told of together. 0: each by itself.", "live", field="every_s"),
)  # fmt: skip


def of(name: str, sheet: Sheet) -> NotifierConfig | None:
    """None where it cannot be said whom it tells; the findings say why."""
    taken: dict[str, Any] = sheet.take(NOTIFIER)
    sheet.tell_unknown(
        NOTIFIER, lambda key: key in NOTIFIER or (key.startswith(HEADER) and key != HEADER), is_free=False
    )
    url, cmd = taken.pop("url", None), taken.pop("cmd", None)
    if (url is None) == (cmd is None):
        hint = "write url = https://HOST/PATH, or cmd = PROGRAM"
        sheet.error("url" if url else "", "there must be one of url and cmd", hint)
        return None
    for pattern in taken.get("events", ()):
        if not any(fnmatch.fnmatchcase(event, pattern) for event in EVENTS):
            near = options.nearest(pattern, EVENTS)
            sheet.warn("events", f"{pattern} is no event that is known", f"did you mean {near}?" if near else _LISTED)
    headers = _headers(sheet)
    if cmd is not None:
        return _command(name, cmd, taken, sheet)
    if trouble := _trouble(url):
        # Not quoted: a token may be in it.
        sheet.error("url", f"url {trouble}", "write http://HOST[:PORT]/PATH or https://...")
        return None
    file, line = sheet.section.place()
    return _bounded(NotifierConfig(name=name, url=url, headers=headers, **taken, file=file, line=line), sheet)


def _command(name: str, cmd: str, taken: Mapping[str, Any], sheet: Sheet) -> NotifierConfig | None:
    for key in sheet.texts:
        if key.startswith(HEADER):
            sheet.warn(key, f"{key} has no effect for a command", "remove it")
    try:
        argv = tuple(shlex.split(cmd))
    except ValueError as error:
        sheet.error("cmd", f"cmd cannot be split: {str(error).lower()}", "close the quotes")
        return None
    if not argv:
        sheet.error("cmd", "cmd names no program", "write cmd = PROGRAM")
        return None
    file, line = sheet.section.place()
    return _bounded(NotifierConfig(name=name, argv=argv, **taken, file=file, line=line), sheet)


def _bounded(config: NotifierConfig, sheet: Sheet) -> NotifierConfig:
    if config.retries > MAX_RETRIES:
        sheet.error("retries", f"retries = {config.retries} is too many", f"write at most {MAX_RETRIES}")
    if config.queue > MAX_QUEUE:
        sheet.error("queue", f"queue = {config.queue} is too long", f"write at most {MAX_QUEUE}")
    return config


def _headers(sheet: Sheet) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for key, text in sheet.texts.items():
        if not key.startswith(HEADER) or key == HEADER:
            continue
        name = key[len(HEADER) :]
        if not _TOKEN.fullmatch(name):
            sheet.error(key, f"{key}: this is no name of a header", "write header.NAME = VALUE")
        elif name.lower() in _OURS:
            sheet.error(key, f"{key} is decided by the message itself", "remove it")
        elif name.lower() in found:
            sheet.error(key, f"{key} is given twice; letter case does not count", "remove one of them")
        elif len(text) > MAX_HEADER or not (text.isascii() and text.isprintable()):
            # Not quoted: it may be a token.
            hint = f"write at most {MAX_HEADER} printable letters of ASCII, on one line"
            sheet.error(key, f"{key} has a value that cannot be sent", hint)
        else:
            found[name.lower()] = (name, text)
    if len(found) > MAX_HEADERS:
        sheet.error("", f"there are {len(found)} headers", f"write at most {MAX_HEADERS}")
    return tuple(found.values())


def _trouble(url: str) -> str:
    """What is wrong with it, as the end of a sentence, without a word of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in ("http", "https"):
        return "begins neither with http:// nor with https://"
    if not parts.hostname:
        return "names no host"
    if port == 0 or not (url.isascii() and url.isprintable()) or " " in url:
        return "is no address; what is not ASCII has to be percent-encoded"
    if parts.username is not None:
        return "has a user in it; write header.Authorization instead"
    return ""


def differences(old: NotifierConfig, new: NotifierConfig) -> tuple[str, ...]:
    """The options that are not the same, by their names; no value, as it may be a secret."""
    names = {option.attribute: option.name for option in NOTIFIER.values()} | {"argv": "cmd"}
    found = [names.get(each.name, "") for each in fields(new) if getattr(old, each.name) != getattr(new, each.name)]
    before, after = dict(old.headers), dict(new.headers)
    found += [f"{HEADER}{name}" for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return tuple(name for name in found if name)
