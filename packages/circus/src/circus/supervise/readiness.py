"""The cells of a slot about readiness and health: what the checks of a process say, and what follows. Pure.

**Ready.** A process of a watcher with the option ``ready`` is not ready before its check has passed: `Ready` says so,
`NotReady` says why not yet, and may ask for more time. Until then the slot's timer is that of ``start_timeout``; when
it fires the process is told to end, and its death costs something of the budget, as a life that never came to anything.
While such a process goes the slot is still *coming up*: an attempt is under way.

**Healthy.** One that is ready and has a check of its health is looked at from then on (the action Probe). `Unhealthy`
is told by who counted the failures; what follows is the policy's: it is told to end, and dies at the cost of the
budget, or it is only reported, until `Healthy`.

**Too much.** One that uses more than it may (`Exceeded`) is told to end, too; that costs no more than a pause.

Does not belong here: how it is asked (engine/probing).
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from circus.supervise.actions import Action, Probe
from circus.supervise.budget import Budget, Verdict, judge_death, judge_excess
from circus.supervise.events import Exceeded, Exited, Healthy, NotReady, Ready, TimerFired, Unhealthy
from circus.supervise.moves import (
    Case,
    Step,
    age,
    empty,
    judge_oneshot,
    publish,
    start_timer,
    tell_how,
    tell_to_end,
    untimed,
    wait_or_give_up,
)
from circus.supervise.slot import Fault, Slot
from circus.supervise.states import SlotState, WatcherPolicy

#: An adopted process has at least so long: what it said while no circusd was there is still to be read.
ADOPTED_S = 5.0


def begin_life(slot: Slot, policy: WatcherPolicy, now: float, *, is_adopted: bool = False) -> Step:
    """A running slot with its timer, and what is asked of it from now on."""
    told = () if slot.awaits_hook else (publish_spawn(slot),)
    if slot.awaits_check:
        slot, timed = time_start(slot, policy, now, least_s=ADOPTED_S if is_adopted else 0.0)
        return slot, (*told, *timed, Probe(slot.key, slot.incarnation, "ready"))
    slot, aging = age(slot, policy, now)
    return slot, (*told, *aging, *_watch(slot, policy))


def publish_spawn(slot: Slot) -> Action:
    return publish(slot, "spawn", process_pid=slot.pid, time=slot.started_at)


def time_start(slot: Slot, policy: WatcherPolicy, now: float, *, least_s: float = 0.0) -> Step:
    """With the timer of ``start_timeout``, if it has a limit."""
    if policy.start_timeout_s == math.inf:
        return slot, ()
    left_s = policy.start_timeout_s - (now - slot.up_since)
    slot, timer = start_timer(replace(slot, is_timing_start=True), "start", max(least_s, left_s))
    return slot, (timer,)


def _watch(slot: Slot, policy: WatcherPolicy) -> tuple[Action, ...]:
    if not slot.is_ready or policy.health is None:
        return ()
    return (Probe(slot.key, slot.incarnation, "health"),)


def time_anew(slot: Slot, policy: WatcherPolicy, now: float) -> Step:
    """The policy's times are others, or nothing says any more when it is ready: then it is. Who was ill is so when
    that is said once more."""
    slot, off = untimed(slot)
    if slot.is_ready and slot.doubt:
        slot = replace(slot, reason="", doubt="")
    if slot.awaits_check and not policy.awaits_ready:
        is_ready = not (slot.awaits_hook or policy.oneshot)
        slot = replace(slot, awaits_check=False, is_ready=is_ready, reason="", doubt="")
    slot, on = time_start(slot, policy, now) if slot.awaits_check else age(slot, policy, now)
    return slot, (*off, *on, *_watch(slot, policy))


def agree(slot: Slot, policy: WatcherPolicy) -> Step:
    """The hook after_spawn did."""
    slot = replace(slot, awaits_hook=False, is_ready=not (slot.awaits_check or policy.oneshot))
    return slot, (publish_spawn(slot), *_become_ready(slot, policy))


def _become_ready(slot: Slot, policy: WatcherPolicy) -> tuple[Action, ...]:
    told = (publish(slot, "ready", process_pid=slot.pid),) if policy.awaits_ready and slot.is_ready else ()
    return (*told, *_watch(slot, policy))


def take_ready(at: Case[Ready]) -> Step:
    if not at.slot.awaits_check:
        return at.slot, ()
    slot, off = untimed(at.slot)
    slot = replace(slot, awaits_check=False, is_ready=not slot.awaits_hook, reason="", doubt="")
    slot, aging = age(slot, at.policy, at.now)
    return slot, (*off, *aging, *_become_ready(slot, at.policy))


def take_doubt(at: Case[NotReady]) -> Step:
    slot, event = at.slot, at.event
    if not slot.awaits_check:
        return slot, ()
    if event.reason:
        slot = replace(slot, doubt=event.reason, reason=f"not ready yet: {event.reason}")
    if event.more_s is None or not slot.is_timing_start:
        return slot, ()
    slot, off = untimed(slot)
    slot, timer = start_timer(replace(slot, is_timing_start=True), "start", event.more_s)
    return slot, (*off, timer)


def end_unready(at: Case[TimerFired]) -> Step:
    """It was not ready in time."""
    lived_s = round(at.now - at.slot.up_since, 1)
    reason = f"not ready within {lived_s:g} s" + (f": {at.slot.doubt}" if at.slot.doubt else "")
    slot = replace(at.slot, is_timing_start=False)
    told = publish(slot, "not_ready", process_pid=slot.pid, reason=reason)
    slot, actions = tell_to_end(slot, at.policy, reason)
    return replace(slot, wants_up=True, fault=Fault.NOT_READY), (told, *actions)


def take_illness(at: Case[Unhealthy]) -> Step:
    slot, policy = at.slot, at.policy
    if not slot.is_ready or policy.health is None:
        return slot, ()
    reason = f"unhealthy: {at.event.reason}"
    told = publish(slot, "unhealthy", process_pid=slot.pid, reason=at.event.reason)
    if policy.health.action != "restart":
        return replace(slot, doubt=at.event.reason, reason=reason), (() if slot.doubt else (told,))
    slot, actions = tell_to_end(slot, policy, reason)
    return replace(slot, wants_up=True, fault=Fault.UNHEALTHY), (told, *actions)


def take_health(at: Case[Healthy]) -> Step:
    slot = at.slot
    if not slot.is_ready or not slot.doubt:
        return slot, ()
    slot = replace(slot, doubt="", reason="")
    return slot, (publish(slot, "healthy", process_pid=slot.pid),)


def take_excess(at: Case[Exceeded]) -> Step:
    slot, actions = tell_to_end(at.slot, at.policy, at.event.reason)
    return replace(slot, wants_up=True, fault=Fault.EXCESS), actions


def how_it_died(slot: Slot, event: Exited) -> str:
    how = tell_how(event.status)
    return f"{how} before it was ready" if slot.awaits_check else how


def after_fault(slot: Slot, policy: WatcherPolicy, now: float) -> Step:
    """It has ended because it had a fault, and is wanted still."""
    if not (policy.respawn or policy.oneshot):
        return empty(slot, SlotState.EXITED, slot.reason), ()
    budget, verdict = judge(slot, slot.reason, policy, now)
    return wait_or_give_up(replace(slot, budget=budget), policy, verdict, now)


def mark_end(slot: Slot) -> Slot:
    """It has ended by itself."""
    return replace(slot, fault=Fault.NOT_READY) if slot.awaits_check else slot


def judge(slot: Slot, how: str, policy: WatcherPolicy, now: float) -> tuple[Budget, Verdict]:
    """What follows on a death that nobody ordered. A life that was never ready was none."""
    if policy.oneshot:
        return judge_oneshot(slot.budget, how, policy)
    if slot.fault is Fault.EXCESS:
        return judge_excess(slot.budget, how, policy, lived_s=now - slot.up_since)
    lived_s = 0.0 if slot.fault is Fault.NOT_READY else now - slot.up_since
    return judge_death(slot.budget, how, policy, lived_s=lived_s, now=now)
