"""Who names whom in ``after``, ``requires`` and ``wants``: names are found as they are spelled, circles are told. Pure.

A socket may be named as ``socket:NAME``. Sockets are opened before anything starts, so that nothing follows but that
there must be such a socket.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from circus.config import options
from circus.config.model import Finding, SocketConfig, WatcherConfig
from circus.config.read import Section

KEYS = ("requires", "wants", "after")
SOCKET = "socket:"
PLUGIN = "plugin:"

Watchers = list[tuple[WatcherConfig, Section]]


def find_circle(named: Mapping[str, Iterable[str]]) -> list[str]:
    """Names of which each names the next, the first one again at the end; empty if there is no circle."""
    try:
        graphlib.TopologicalSorter(named).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def watchers_named(config: WatcherConfig) -> tuple[str, ...]:
    """Each once."""
    named = (name for key in KEYS for name in getattr(config, key) if not name.startswith(SOCKET))
    return tuple(dict.fromkeys(named))


def resolve(watchers: Watchers, sockets: Sequence[tuple[SocketConfig, Section]]) -> tuple[Watchers, list[Finding]]:
    """The watchers with the names of others as those are spelled, and what is wrong with them."""
    if not any(getattr(config, key) for config, _ in watchers for key in KEYS):
        return watchers, []
    spelled = {config.name.lower(): config.name for config, _ in watchers}
    spelled |= {SOCKET + config.name: SOCKET + config.name for config, _ in sockets}
    resolved, findings = [], []
    for config, section in watchers:
        found: dict[str, Any] = {}
        for key in KEYS:
            names = dict.fromkeys(getattr(config, key))
            told = (_trouble(config, section, key, name, spelled) for name in names)
            findings += [finding for finding in told if finding is not None]
            found[key] = tuple(spelled[name.lower()] for name in names if _is_good(name, spelled))
        resolved.append((replace(config, **found), section))
    findings += _circles(resolved)
    return resolved, findings


def _is_good(name: str, spelled: Mapping[str, str]) -> bool:
    return name.lower() in spelled and not name.lower().startswith(PLUGIN)


def _trouble(
    config: WatcherConfig, section: Section, key: str, name: str, spelled: Mapping[str, str]
) -> Finding | None:
    if _is_good(name, spelled):
        return None
    file, line = section.place(key)
    if name.lower().startswith(PLUGIN):
        return Finding(file, line, f"{config.name}: {key} names {name}, a plugin", "name watchers and sockets")
    near = options.nearest(name, [each for each in spelled.values() if not each.startswith(PLUGIN)])
    what, kind = name, "watcher"
    if name.lower().startswith(SOCKET):
        what, kind = name[len(SOCKET) :], "socket"
    hint = f"did you mean {near}?" if near else f"write a section [{kind}:{what}], or remove the name"
    severity = "warning" if key == "wants" else "error"
    return Finding(file, line, f"{config.name}: {key} names {name}, which is not defined", hint, severity)


def _circles(watchers: Watchers) -> list[Finding]:
    """One finding for each circle."""
    named = {config.name: watchers_named(config) for config, _ in watchers}
    ranks = {config.name: rank for rank, (config, _) in enumerate(watchers)}
    findings = []
    while circle := find_circle(named):
        at = min(range(len(circle) - 1), key=lambda place: ranks[circle[place]])
        circle = [*circle[at:-1], *circle[: at + 1]]
        first, second = circle[0], circle[1]
        config, section = watchers[ranks[first]]
        key = next(key for key in KEYS if second in getattr(config, key))
        file, line = section.place(key)
        what = f"{first}: {key} makes a circle, {' -> '.join(circle)}"
        findings.append(Finding(file, line, what, "take one of the names away: each of them would wait for the next"))
        named[first] = tuple(name for name in named[first] if name != second)
    return findings
