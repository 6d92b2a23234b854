"""What a watcher and its slots wait for at this moment, each in words, with the timer that ends it. Pure.

Nothing is counted for this: it follows from the phase of the watcher and from the states of its slots. What is as it
shall be waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from circus.supervise.budget import Budget
from circus.supervise.events import TimerKey
from circus.supervise.progress import WHY
from circus.supervise.ring import Phase
from circus.supervise.slot import Slot
from circus.supervise.states import SlotState, WatcherPolicy
from circus.supervise.watcher import Watcher

_HOOKS = frozenset({Phase.BEFORE_START, Phase.AFTER_START, Phase.BEFORE_STOP, Phase.AFTER_STOP})


class Wait(Struct, frozen=True):
    """``kind``: dependency, connection, time, hook, warm-up, reload, spawn, ready, backoff, order, end.

    ``wid`` None: the whole watcher. ``since`` is monotonic. ``timer``: it ends then, and ``then`` says how.
    """

    kind: str
    what: str
    wid: int | None = None
    since: float | None = None
    timer: TimerKey | None = None
    then: str = ""


def waits(watcher: Watcher) -> list[Wait]:
    """What the watcher waits for, then its slots in the order of their wids."""
    found = [] if (own := _of_watcher(watcher)) is None else [own]
    for wid in sorted(watcher.slots):
        found += _of_slot(watcher.slots[wid], watcher.policy)
    return found


def _of_watcher(watcher: Watcher) -> Wait | None:
    match watcher.phase:
        case Phase.HELD:
            return Wait("dependency", watcher.blocked or f"waits for {', '.join(watcher.waits_for)}")
        case Phase.YIELDING:
            return Wait("dependency", WHY[watcher.phase])
        case Phase.WAITING:
            return Wait("time" if watcher.policy.scheduled else "connection", watcher.view().reason)
        case phase if phase in _HOOKS:
            return Wait("hook", WHY[phase])
        case Phase.RISING if watcher.warmup is not None:
            return Wait("warm-up", "the pause after a start", timer=watcher.warmup, then="the next process is started")
        case Phase.RELOADING:
            return Wait("reload", watcher.reloading or WHY[watcher.phase])
        case _:
            return None


def _of_slot(slot: Slot, policy: WatcherPolicy) -> Iterator[Wait]:
    wid = slot.key.wid
    match slot.state:
        case SlotState.BACKOFF:
            tried = tally(slot.budget, policy)
            then = f"the next attempt{f' ({tried})' if tried else ''}"
            yield Wait("backoff", slot.reason, wid, timer=_timer(slot, "backoff"), then=then)
        case SlotState.FATAL | SlotState.EXITED:
            yield Wait("order", slot.reason, wid)
        case SlotState.STARTING:
            yield Wait("spawn", "papa starts its process", wid)
        case SlotState.STOPPING:
            yield _of_end(slot)
        case SlotState.RUNNING:
            if slot.awaits_hook:
                yield Wait("hook", "the hook after_spawn", wid, since=slot.up_since)
            if slot.awaits_check:
                timer = _timer(slot, "start") if slot.is_timing_start else None
                then = "it is ended, as it was not ready in time" if timer else ""
                yield Wait("ready", slot.doubt or "its check of readiness", wid, slot.up_since, timer, then)


def _of_end(slot: Slot) -> Wait:
    what = "the end of its process"
    if slot.rest is not None:
        what = slot.reason or "the end of what its process has started"
    if slot.kills:
        times = "once" if slot.kills == 1 else f"{slot.kills} times"
        what = f"{what}; SIGKILL was sent {times}"
    then = "SIGKILL once more" if slot.kills else "SIGKILL"
    return Wait("end", what, slot.key.wid, slot.stopping_since, _timer(slot, "kill"), then)


def _timer(slot: Slot, purpose: str) -> TimerKey:
    """A slot has at most one, its latest."""
    return TimerKey(slot.key.watcher, slot.key.wid, purpose, slot.generation)


def tally(budget: Budget, policy: WatcherPolicy) -> str:
    """How many attempts there were, and how many there may be."""
    if policy.backoff is not None:
        return _of(budget.setbacks, policy.backoff.attempts, "failure in a row", "failures in a row")
    if budget.failures:
        return _of(budget.failures, policy.max_retry, "attempt has failed", "attempts have failed")
    if policy.flapping is not None and budget.pauses:
        return _of(budget.pauses, policy.flapping.max_retry, "pause for flapping", "pauses for flapping")
    if budget.short_lives:
        return _of(budget.short_lives, -1, "short life", "short lives in a row")
    return ""


def _of(count: int, most: int, one: str, more: str) -> str:
    if most < 0:
        return f"{count} {one if count == 1 else more}, without a bound"
    return f"{count} of {most} {more}"
