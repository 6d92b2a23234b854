"""The rows of the screen, from what circusd says: one for a watcher, one for each of its slots. Pure.

The idea: trouble is a number, so that what is wrong stands first. Each row says in its own words why it stands where it
does; nothing has to be opened to learn that.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circus.tui import sparks
from circus.tui.sparks import History


class Trouble(enum.IntEnum):
    """The worst first."""

    FAILED = 0
    BACKOFF = 1
    SHAKY = 2  # it runs again, since a moment
    BLOCKED = 3
    UNHEALTHY = 4
    UNREADY = 5
    DRIFTED = 6
    LEFT = 7  # processes of it that nobody ends
    CHANGING = 8
    WELL = 9
    DOWN = 10  # as it is wanted


#: From here on nobody has to look.
FIRST_QUIET = Trouble.CHANGING

#: What failed is not well again as soon as it runs: one that crashes every few seconds stays where it can be read.
SHAKY_S = 15.0

#: When a slot was last down, by the clock of who asks, and why.
Falls = dict[sparks.Key, tuple[float, str]]

_WORDS: dict[Trouble, str] = {
    Trouble.FAILED: "failed",
    Trouble.BACKOFF: "backoff",
    Trouble.SHAKY: "shaky",
    Trouble.BLOCKED: "blocked",
    Trouble.UNHEALTHY: "unhealthy",
    Trouble.UNREADY: "unready",
    Trouble.DRIFTED: "drifted",
    Trouble.LEFT: "leftovers",
}


@dataclass(frozen=True, slots=True)
class Row:
    """``wid`` None: the watcher itself, of whose ``wanted`` processes ``up`` run. ``cpu`` and ``memory`` are of now,
    None where nobody knows; ``cpus`` and ``memories`` of before, oldest first."""

    watcher: str
    wid: int | None
    trouble: Trouble
    state: str
    why: str
    pid: int | None
    started_at: float | None
    cpu: float | None
    memory: float | None
    cpus: tuple[float, ...] = ()
    memories: tuple[float, ...] = ()
    up: int = 0
    wanted: int = 0

    @property
    def key(self) -> tuple[str, int | None]:
        return self.watcher, self.wid

    @property
    def name(self) -> str:
        return self.watcher if self.wid is None else f"{self.watcher}.{self.wid}"


@dataclass(frozen=True, slots=True)
class Group:
    head: Row
    slots: tuple[Row, ...]


def groups(status: Mapping[str, Any], history: History, falls: Falls, now: float) -> list[Group]:
    """A group for each watcher of `/v1/status`. ``falls`` is kept from one call to the next."""
    for key in [key for key, (at, _) in falls.items() if now - at > SHAKY_S]:
        del falls[key]
    return [_group(watcher, status, history, falls, now) for watcher in status["watchers"]]


def slot_keys(status: Mapping[str, Any]) -> Iterator[sparks.Key]:
    return ((watcher["name"], slot["wid"]) for watcher in status["watchers"] for slot in watcher["slots"])


def _group(watcher: Mapping[str, Any], status: Mapping[str, Any], history: History, falls: Falls, now: float) -> Group:
    slots = tuple(_slot(watcher, slot, history, falls, now) for slot in watcher["slots"])
    return Group(_head(watcher, slots, status), slots)


def _slot(watcher: Mapping[str, Any], slot: Mapping[str, Any], history: History, falls: Falls, now: float) -> Row:
    key = watcher["name"], slot["wid"]
    uses = history.of(key)
    trouble, why = _of_slot(watcher, slot)
    if trouble <= Trouble.BACKOFF:
        falls[key] = now, why
    elif key in falls and slot["state"] in ("starting", "running"):
        trouble, why = min((trouble, why), (Trouble.SHAKY, f"just back: {falls[key][1].partition(';')[0]}"))
    own = [use for use in uses if use.pid == slot["pid"]]
    return Row(
        watcher=watcher["name"],
        wid=slot["wid"],
        trouble=trouble,
        state=_WORDS.get(trouble, str(slot["state"])),
        why=why or slot.get("said", ""),
        pid=slot["pid"],
        started_at=slot["started_at"] if slot["pid"] is not None else None,
        cpu=own[-1].cpu if own else None,
        memory=own[-1].memory if own else None,
        cpus=tuple(use.cpu or 0.0 for use in uses),
        memories=tuple(float(use.memory) for use in uses),
    )


def _of_slot(watcher: Mapping[str, Any], slot: Mapping[str, Any]) -> tuple[Trouble, str]:
    state, reason, status = slot["state"], slot["reason"], slot["last_status"]
    match state:
        case "fatal":
            return Trouble.FAILED, reason
        case "backoff":
            return Trouble.BACKOFF, reason
        case "exited" if status and not watcher.get("job"):
            return Trouble.FAILED, reason or _ending(status)
        case "stopped" if watcher["wants_up"] and reason:
            return Trouble.FAILED, reason
        case "exited" | "stopped":
            return Trouble.DOWN, reason
        case "running" if slot.get("health") == "unhealthy":
            return Trouble.UNHEALTHY, reason or "its health check fails"
        case "running" if reason:
            return Trouble.UNHEALTHY, reason
        case "running":
            return Trouble.WELL, ""
        case "starting" if reason:
            return Trouble.UNREADY, reason
        case _:
            return Trouble.CHANGING, reason


def _head(watcher: Mapping[str, Any], slots: tuple[Row, ...], status: Mapping[str, Any]) -> Row:
    trouble, why = min(_of_watcher(watcher, slots, status), key=lambda each: each[0])
    only = slots[0] if len(slots) == 1 else None
    starts = [slot.started_at for slot in slots if slot.started_at is not None]
    return Row(
        watcher=watcher["name"],
        wid=None,
        trouble=trouble,
        state=_WORDS.get(trouble, str(watcher["state"])),
        why=why,
        pid=only.pid if only else None,
        started_at=min(starts, default=None),
        cpu=_sum([slot.cpu for slot in slots]),
        memory=_sum([slot.memory for slot in slots]),
        cpus=tuple(sparks.total(slot.cpus for slot in slots)),
        memories=tuple(sparks.total(slot.memories for slot in slots)),
        up=sum(slot.pid is not None for slot in slots),
        wanted=watcher["numprocesses"],
    )


def _of_watcher(
    watcher: Mapping[str, Any], slots: tuple[Row, ...], status: Mapping[str, Any]
) -> Iterator[tuple[Trouble, str]]:
    """All that can be said of it; the worst counts."""
    name, state, is_wanted, job = watcher["name"], watcher["state"], watcher["wants_up"], watcher.get("job")
    worst = min((slot.trouble for slot in slots), default=Trouble.DOWN)
    alike = [slot for slot in slots if slot.trouble == worst]
    if worst < Trouble.CHANGING:
        of_it = f"{alike[0].name}: {alike[0].why}" if len(slots) > 1 else alike[0].why
        yield worst, f"{len(alike)} of {len(slots)}; {of_it}" if len(alike) > 1 else of_it
    elif worst == Trouble.CHANGING:
        yield worst, ""
    if waits_for := watcher.get("waits_for"):
        yield Trouble.BLOCKED, f"waits for {', '.join(waits_for)}"
    if job and job["last"] and job["last"]["state"] == "failed":
        yield Trouble.FAILED, f"the last run failed: {job['last']['reason']}"
    if is_wanted and state == "stopped" and watcher["reason"] and not (job and job["next_run"]):
        yield Trouble.FAILED, watcher["reason"]
    if drift := status.get("drift", {}).get(name):
        yield Trouble.DRIFTED, str(drift)
    if left := status.get("survivors", {}).get(name):
        yield Trouble.LEFT, f"{len(left)} left of ended processes: {', '.join(str(each['pid']) for each in left)}"
    if reload := watcher.get("reload"):
        yield Trouble.CHANGING, reload
    if state in ("starting", "stopping"):
        yield Trouble.CHANGING, watcher["reason"]
    by_hand = status.get("by_hand", {}).get(name, "")
    yield (Trouble.WELL if state == "active" else Trouble.DOWN), watcher["reason"] or by_hand


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ending(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
