"""What a `reloadconfig` does, said before it is done: for each watcher and socket a verb and its causes. Pure.

A plan is made of a *world*, all that it depends on, as values. Its id is a hash of them: who applies a plan by its id
has seen what will be done, or is told what has moved since. Orders by hand are no part of the file, and are said beside
it: which stay, and which the file overrules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from circus.config import plan_along
from circus.config.amend import NOTHING, Edits
from circus.config.causes import Cause, Causes, Source, title_of
from circus.config.diff import ConfigPlan, WatcherChange, diff, verb_of
from circus.config.model import CircusConfig, Finding, WatcherConfig
from circus.config.read import Document

#: Of all causes of a plan. An edit of `[env]` has one for each watcher and variable, and an answer has room for 16 MiB,
#: in which each is told twice.
MAX_CHARACTERS = 4 << 20
#: Of a cause, besides what it says.
_FRAME = 100
#: Of the names of what has moved.
MAX_MOVED = 5

ID_LENGTH = 12

_MOVING = ("restart", "start")

#: (kind, name) -> a digest, or a short word.
Facts = Mapping[tuple[str, str], str]


class Up(NamedTuple):
    """How a watcher is wanted now, and with how many processes.

    Whether one that is wanted has processes at this moment is no part of the world: they come and go.
    """

    is_wanted: bool
    has_processes: bool
    numprocesses: int


@dataclass(frozen=True, slots=True)
class World:
    """What a plan depends on besides the files; ``stopped`` and ``left`` in lower case.

    ``counts``: watchers of which another number of processes was ordered than the file says. ``left``: watchers that
    were removed, and their processes not. ``sockets``: those that are held, with their ids. ``texts``: of watchers that
    do not run as the document of ``running`` has them, the one that does, and the orders over it; None: nobody knows.
    """

    running: CircusConfig
    edits: Edits = NOTHING
    up: Mapping[str, Up] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    sockets: Mapping[str, object] = field(default_factory=dict)
    texts: Mapping[str, tuple[Document | None, Edits]] = field(default_factory=dict)


class Item(NamedTuple):
    """``kind`` is circus, socket, watcher or notifier; ``file`` is empty where the file has it no more.

    Verbs of a watcher: keep, live, restart, roll, start, add (and do not start), stop, remove (it has no processes);
    of a socket: keep, live, open, reopen, close; of a notifier: keep, live, add, remove; of circus: live, later
    (after a restart of circusd).
    """

    kind: str
    name: str
    verb: str
    causes: tuple[Cause, ...] = ()
    note: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """``by_hand``: watcher -> sentences about what is not the file's; ``warnings`` are about what is new in it."""

    id: str = ""
    changes: ConfigPlan = field(default_factory=ConfigPlan)
    items: tuple[Item, ...] = ()
    by_hand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    facts: Facts = field(default_factory=dict)


def make(
    world: World,
    new: CircusConfig,
    edits: Edits,
    *,
    unheeded: Mapping[str, str],
    files: Mapping[str, str],
    environ: Mapping[str, str],
) -> Plan:
    """What leads from ``world`` to ``new``, which was read from ``files`` (path -> digest) and has ``edits`` in it.

    ``unheeded``: watchers of which the orders are not possible now, and why.
    """
    changes = diff(world.running, new)
    facts = _facts(world, files)
    return Plan(
        _id(facts),
        changes,
        tuple(_bounded(with_dependents(_items(world, new, edits, changes, environ), world, new))),
        _by_hand(world, new, edits, unheeded),
        tuple(_new_warnings(world.running, new)),
        facts,
    )


# Items ------------------------------------------------------------------------------------------------------


def _items(
    world: World, new: CircusConfig, edits: Edits, changes: ConfigPlan, environ: Mapping[str, str]
) -> Iterator[Item]:
    """In the order in which they are carried out, more or less; what stays comes last."""
    source = Source(new.document, edits, environ)
    former = {name: Source(*text, environ) for name, text in world.texts.items()}
    causes = Causes(world.running, Source(world.running.document, world.edits, environ), source, former)
    for verb, is_later in (("live", False), ("later", True)):
        names = [each.name for each in changes.circus_changes if each.restart is is_later]
        if names:
            yield Item("circus", "circus", verb, tuple(causes.of_circus(world.running, new, names)))
    running = {each.name: each for each in world.running.watchers}
    watchers = {each.name: each for each in new.watchers}
    sockets = {each.name: each for each in new.sockets}
    for name in changes.sockets_add:
        yield Item("socket", name, "open", file=sockets[name].file, line=sockets[name].line)
    for name, change in changes.sockets_change.items():
        socket = sockets[name]
        verb = "reopen" if change.reopen else "live"
        yield Item("socket", name, verb, tuple(causes.of_socket(socket)), file=socket.file, line=socket.line)
    for changed in changes.change:
        config = changed.new
        is_up = world.up[config.name].is_wanted if config.name in world.up else False
        verb, why = verb_of(changed, is_up=is_up), tuple(causes.of_watcher(changed))
        note = _remark(changed, running[config.name], is_up=is_up)
        yield Item("watcher", config.name, verb, why, note, config.file, config.line)
    for name in changes.add:
        verb, note = _beginning(watchers[name], world)
        yield Item("watcher", name, verb, (), note, *source.place(title_of(watchers[name])))
    for name in changes.remove:
        up = world.up.get(name)
        yield Item("watcher", name, "stop" if up is not None and up.has_processes else "remove")
    for name in changes.sockets_remove:
        yield Item("socket", name, "close")
    for name in changes.keep:
        yield Item("watcher", name, "keep", file=watchers[name].file, line=watchers[name].line)
    told_of = {each.name: each for each in new.notifiers}
    for name in changes.notifiers_add:
        yield Item("notifier", name, "add", file=told_of[name].file, line=told_of[name].line)
    for name, keys in changes.notifiers_change.items():
        yield Item("notifier", name, "live", (), ", ".join(keys), told_of[name].file, told_of[name].line)
    for name in changes.notifiers_remove:
        yield Item("notifier", name, "remove")
    for name, notifier in told_of.items():
        if name not in changes.notifiers_add and name not in changes.notifiers_change:
            yield Item("notifier", name, "keep", file=notifier.file, line=notifier.line)
    changing = {*changes.sockets_add, *changes.sockets_change}
    for socket in new.sockets:
        if socket.name not in changing:
            yield Item("socket", socket.name, "keep", file=socket.file, line=socket.line)


def _remark(change: WatcherChange, before: WatcherConfig, *, is_up: bool) -> str:
    """What the verb does not tell of a watcher that changes."""
    config = change.new
    needs_new = change.restart or before.digest != config.digest
    if needs_new and not is_up:
        return "is stopped: obeyed from its next start on"
    if needs_new and before.schedule and config.schedule:
        return "its next run obeys, one that goes on comes to its end"
    return "a job: it runs again" if change.restart and config.type == "oneshot" and not config.schedule else ""


def with_dependents(items: Iterable[Item], world: World, new: CircusConfig) -> list[Item]:
    """Those that require what restarts do so, too; and what is needed by what starts."""
    listed = list(items)
    names = {verb: [each.name for each in listed if each.kind == "watcher" and each.verb == verb] for verb in _MOVING}
    up = {name for name, each in world.up.items() if each.is_wanted}
    stopped = [each.name for each in new.watchers if each.name.lower() in world.stopped]
    restarting = plan_along.restarted_with(names["restart"], world.running)
    starting = plan_along.started_with(names["start"], new, stopped)
    told = []
    for item in listed:
        verb, why = ("restart", restarting) if item.name in up else ("start", starting)
        if item.kind == "watcher" and item.name in why and item.verb in ("keep", "live", "add"):
            item = item._replace(verb=verb, note=why[item.name])
        told.append(item)
    return sorted(told, key=lambda item: item.verb == "keep")


def _beginning(config: WatcherConfig, world: World) -> tuple[str, str]:
    """The verb for a watcher that there was not, and why it is not to start."""
    folded = config.name.lower()
    if folded in world.stopped:
        return "add", "not started: stopped by hand"
    if not config.autostart:
        return "add", "not started: autostart = false"
    if folded in world.left:
        return "start", "with the processes that rm --nostop left"
    if config.schedule:
        return "start", "runs when its time has come"
    return "start", "runs when a connection comes" if config.on_demand else ""


def _bounded(items: Iterable[Item]) -> Iterator[Item]:
    room = MAX_CHARACTERS
    for item in items:
        for number, cause in enumerate(item.causes):
            room -= _FRAME + len(cause.option) + len(cause.old or "") + len(cause.new or "") + len(cause.file)
            if room < 0:
                more = f"{len(item.causes) - number} more causes, which this plan has no room for"
                item = item._replace(causes=item.causes[:number], note="; ".join(filter(None, (item.note, more))))
                break
        yield item


# Orders by hand ---------------------------------------------------------------------------------------------


def _by_hand(world: World, new: CircusConfig, edits: Edits, unheeded: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Only names of options: a command or an environment may hold a secret."""
    written = {each.name.lower(): each.name for each in (*world.running.watchers, *new.watchers)}
    told: dict[str, list[str]] = {}

    def tell(name: str, what: str) -> None:
        told.setdefault(written.get(name.lower(), name), []).append(what)

    for name, keys in world.edits.options.items():
        kept = edits.options.get(name, {})
        if staying := [key for key in keys if key in kept]:
            tell(name, f"set by hand: {', '.join(sorted(staying))}")
        if gone := [key for key in keys if key not in kept]:
            tell(name, f"set by hand, overruled by the file: {', '.join(sorted(gone))}")
    for name in world.edits.added:
        tell(name, "added by hand" if name in edits.added else "added by hand, overruled by the file")
    for name in world.edits.removed:
        is_away = name in edits.removed
        tell(name, "removed by hand" if is_away else "removed by hand, brought back by the file")
    before = {each.name: each.numprocesses for each in world.running.watchers}
    after = {each.name: each.numprocesses for each in new.watchers}
    for name, count in world.counts.items():
        if after.get(name) == before[name]:
            tell(name, f"numprocesses {count} by hand, {before[name]} in the file")
        elif name in after:
            tell(name, f"numprocesses {count} by hand, overruled by the file: {after[name]}")
    for name in after:
        if name.lower() in world.stopped and name not in edits.added:
            tell(name, "stopped by hand")
    for name, why in unheeded.items():
        tell(name, why)
    return {name: tuple(what) for name, what in told.items()}


# Whether the world has moved --------------------------------------------------------------------------------


def _facts(world: World, files: Mapping[str, str]) -> dict[tuple[str, str], str]:
    running = world.running
    facts = {("file", path): digest for path, digest in files.items()}
    bare = replace(running, watchers=(), sockets=(), warnings=(), document=None)
    facts["running", "[circus]"] = _digest(bare)
    facts |= {("running", each.name): _digest(each) for each in running.watchers}
    facts |= {("running", f"socket {each.name}"): _digest(each) for each in running.sockets}
    edits = world.edits
    facts |= {("order", name): _digest(sorted(keys.items())) for name, keys in edits.options.items()}
    facts |= {("order", f"{name} (added)"): _digest(sorted(texts.items())) for name, texts in edits.added.items()}
    facts |= {("order", f"{name} (removed)"): each for name, each in edits.removed.items()}
    facts |= {("up", name): "started" if up.is_wanted else "stopped" for name, up in world.up.items()}
    facts |= {("alive", name): "" for name, up in world.up.items() if up.has_processes and not up.is_wanted}
    facts |= {("count", name): str(up.numprocesses) for name, up in world.up.items()}
    facts |= {("stopped", name): "" for name in world.stopped}
    facts |= {("left", name): "" for name in world.left}
    facts |= {("socket", name): str(each) for name, each in world.sockets.items()}
    return facts


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()


def _id(facts: Facts) -> str:
    return _digest(json.dumps(sorted((*key, value) for key, value in facts.items())))[:ID_LENGTH]


def moved(before: Facts, after: Facts) -> str:
    """What of the world is not as it was, in words."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    turned = {name.lower() for kind, name in keys if kind == "up"}
    told = [
        _moved(kind, name, before.get((kind, name)), after.get((kind, name)))
        for kind, name in keys
        if kind not in ("alive", "stopped") or name.lower() not in turned
    ]
    told = list(dict.fromkeys(told))
    if len(told) > MAX_MOVED:
        told[MAX_MOVED:] = [f"and {len(told) - MAX_MOVED} things more"]
    return "; ".join(told)


def _moved(kind: str, name: str, before: str | None, after: str | None) -> str:
    match kind:
        case "file" if after is None:
            return f"{name} is not read any more"
        case "file":
            return f"{name} was changed" if before is not None else f"{name} is read now"
        case "running":
            return f"{name} runs with other options"
        case "order":
            return f"other orders by hand about {name}"
        case "up" if before is not None and after is not None:
            return f"{name} was {after}"
        case "count" if before is not None and after is not None:
            return f"numprocesses of {name} is {after}, not {before}"
        case "up" | "count":
            return f"watcher {name} has {'come' if after is not None else 'gone'}"
        case "alive":
            return f"{name} {'has no processes any more' if after is None else 'has processes'}"
        case "socket":
            return f"socket {name} was {'closed' if after is None else 'opened'}"
        case "stopped":
            return f"{name} is {'not ' if after is None else ''}stopped by hand"
    return f"processes of {name}, which was removed, have {'come' if after is not None else 'gone'}"


def _new_warnings(running: CircusConfig, new: CircusConfig) -> Iterator[Finding]:
    """Those that nobody has been told of yet, wherever their lines are by now."""
    known = {(each.file, each.what) for each in running.warnings}
    return (each for each in new.warnings if (each.file, each.what) not in known)
