"""What an edit changes: two configurations in, one plan out. Pure; nothing is touched while it is decided.

A watcher needs new processes when its digest differs or when a socket that it uses is made anew; any other
change is applied live. A plan can be printed. Reasons name options, and values only of those that hold a
number, a flag or a signal: a command or an environment may hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from circus.config import expand, notifiers, options
from circus.config.model import CircusConfig, SocketConfig, WatcherConfig
from circus.config.options import Option

#: What says where a thing was read, not what it is; ``written`` and ``digest`` are compared by themselves.
PLACES = frozenset(("file", "line", "written", "digest"))
_SHOWN_TYPES = (bool, int, float)


#: By the verb of a watcher.
_HOW = {"live": "changes live", "restart": "restarts", "roll": "rolls"}


class WatcherChange(NamedTuple):
    """``restart``: the running processes must be replaced to obey ``new``."""

    new: WatcherConfig
    restart: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SocketChange:
    """``reopen``: the socket must be closed and made anew."""

    reopen: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CircusChange:
    """An option of ``[circus]``; ``restart``: only a restart of circusd obeys it."""

    name: str
    restart: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigPlan:
    """What leads from one configuration to another, by names, in the order of the new file."""

    keep: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    change: tuple[WatcherChange, ...] = ()
    sockets_add: tuple[str, ...] = ()
    sockets_remove: tuple[str, ...] = ()
    sockets_change: Mapping[str, SocketChange] = field(default_factory=dict)
    circus_changes: tuple[CircusChange, ...] = ()
    notifiers_add: tuple[str, ...] = ()
    notifiers_remove: tuple[str, ...] = ()
    notifiers_change: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # and the options that differ

    @property
    def is_empty(self) -> bool:
        return self == ConfigPlan(keep=self.keep)

    def __str__(self) -> str:
        lines = []
        for circus in self.circus_changes:
            when = " (needs a restart of circusd)" if circus.restart else ""
            lines.append(f"[circus] {circus.reason}{when}")
        lines += [f"socket {name}: is opened" for name in self.sockets_add]
        for name, socket in self.sockets_change.items():
            how = "is opened anew" if socket.reopen else "changes live"
            lines.append(f"socket {name}: {how}: {', '.join(socket.reasons)}")
        lines += [f"socket {name}: is closed" for name in self.sockets_remove]
        lines += [f"{name}: is added" for name in self.add]
        for change in self.change:
            how = _HOW[verb_of(change, is_up=True)]
            lines.append(f"{change.new.name}: {how}: {', '.join(change.reasons)}")
        lines += [f"{name}: is stopped and removed" for name in self.remove]
        lines += [f"notifier {name}: is added" for name in self.notifiers_add]
        lines += [f"notifier {name}: changes live: {', '.join(each)}" for name, each in self.notifiers_change.items()]
        lines += [f"notifier {name}: is removed" for name in self.notifiers_remove]
        return "\n".join(lines) or "nothing changes"


def verb_of(change: WatcherChange, *, is_up: bool) -> str:
    """What is done about the processes of a watcher: ``live`` is nothing, ``restart`` is new ones, and
    so is ``roll``, by a reload that goes back if it fails.

    One that is stopped is obeyed from its next start on.
    """
    if not (change.restart and is_up):
        return "live"
    return "roll" if change.new.update == "roll" else "restart"


def diff(old: CircusConfig, new: CircusConfig) -> ConfigPlan:
    """The plan that leads from ``old`` to ``new``."""
    old_sockets = {each.name: each for each in old.sockets}
    new_sockets = {each.name: each for each in new.sockets}
    sockets_change = _socket_changes(old_sockets, new_sockets)
    moved = {name for name, each in sockets_change.items() if each.reopen}
    moved |= old_sockets.keys() ^ new_sockets.keys()
    # Names are compared as written: a change of letter case is another watcher for people and for logs.
    old_watchers = {each.name: each for each in old.watchers}
    new_watchers = {each.name: each for each in new.watchers}
    keep, change = [], []
    for name, config in new_watchers.items():
        before = old_watchers.get(name)
        if before is None:
            continue
        reasons = _watcher_reasons(before, config)
        used = {*expand.sockets_used(config, old.sockets), *expand.sockets_used(config, new.sockets)}
        reasons += [f"socket {each}" for each in sorted(used & moved)]
        if reasons:
            is_another = before.digest != config.digest or any(each.startswith("socket ") for each in reasons)
            # A run of a schedule comes to its end; the next one obeys.
            restart = is_another and not (before.schedule and config.schedule)
            change.append(WatcherChange(config, restart, tuple(reasons)))
        else:
            keep.append(name)
    old_notifiers = {each.name: each for each in old.notifiers}
    new_notifiers = {each.name: each for each in new.notifiers}
    return ConfigPlan(
        keep=tuple(keep),
        add=tuple(name for name in new_watchers if name not in old_watchers),
        remove=tuple(name for name in old_watchers if name not in new_watchers),
        change=tuple(change),
        sockets_add=tuple(name for name in new_sockets if name not in old_sockets),
        sockets_remove=tuple(name for name in old_sockets if name not in new_sockets),
        sockets_change=sockets_change,
        circus_changes=tuple(changes_of_circus(old, new)),
        notifiers_add=tuple(name for name in new_notifiers if name not in old_notifiers),
        notifiers_remove=tuple(name for name in old_notifiers if name not in new_notifiers),
        notifiers_change={
            name: notifiers.differences(old_notifiers[name], config)
            for name, config in new_notifiers.items()
            if name in old_notifiers and old_notifiers[name] != config
        },
    )


def _reasons(old: object, new: object, table: Mapping[str, Option]) -> list[str]:
    """The options whose values differ, by the names of the file."""
    names = {option.attribute: option.name for option in table.values()}
    found = []
    for each in fields(new):  # type: ignore[arg-type]
        before, after = getattr(old, each.name), getattr(new, each.name)
        if each.name in PLACES or before == after:
            continue
        found.append(_reason(names.get(each.name, each.name), before, after))
    return found


def _reason(name: str, before: object, after: object) -> str:
    if isinstance(before, _SHOWN_TYPES) and isinstance(after, _SHOWN_TYPES):
        return f"{name} {_shown(before)} -> {_shown(after)}"
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({key for key, _ in before.items() ^ after.items()})
        return f"{name} ({', '.join(keys)})"
    return name


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _watcher_reasons(old: WatcherConfig, new: WatcherConfig) -> list[str]:
    reasons = _reasons(old, new, options.WATCHER)
    if not reasons and old.digest != new.digest:
        # A default was written out, or removed: the processes need not differ, but their digest does.
        names = {**old.written, **new.written}
        return [f"{name} as written" for name in names if old.written.get(name) != new.written.get(name)]
    return reasons


def _socket_changes(old: Mapping[str, SocketConfig], new: Mapping[str, SocketConfig]) -> dict[str, SocketChange]:
    changes = {}
    for name, config in new.items():
        before = old.get(name)
        if before is None:
            continue
        reasons = _reasons(before, config, options.SOCKET)
        if reasons:
            live = {option.name for option in options.SOCKET.values() if option.change == "live"}
            reopen = any(reason.partition(" ")[0] not in live for reason in reasons)
            changes[name] = SocketChange(reopen, tuple(reasons))
    return changes


def changes_of_circus(old: CircusConfig, new: CircusConfig) -> Iterable[CircusChange]:
    for option in options.CIRCUS.values():
        before, after = getattr(old, option.attribute, None), getattr(new, option.attribute, None)
        if before != after:
            yield CircusChange(option.name, option.change == "restart", _reason(option.name, before, after))
