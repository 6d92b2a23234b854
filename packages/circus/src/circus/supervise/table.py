"""The cells of a slot: what it does in each state about each event. The module ``slot`` specifies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from circus.supervise import readiness, rest
from circus.supervise.actions import Action, RunHook, Signal
from circus.supervise.budget import UNTOUCHED, judge_failure
from circus.supervise.events import (
    Adopted,
    Exceeded,
    Exited,
    Healthy,
    HookAnswered,
    NotReady,
    OfALife,
    Ready,
    RestSeen,
    Spawned,
    SpawnFailed,
    TimerFired,
    Unhealthy,
)
from circus.supervise.moves import (
    KILL_AGAIN_S,
    SIGKILL,
    Case,
    Step,
    cancel_timer,
    empty,
    has_end,
    publish,
    reap,
    spawn,
    start_timer,
    tell_how,
    tell_to_end,
    untimed,
    wait,
    wait_or_give_up,
)
from circus.supervise.slot import Aging, Done, Down, Fault, Kill, Resume, Slot, SlotEvent, Up
from circus.supervise.states import SlotState, WatcherPolicy


def step(slot: Slot, event: SlotEvent, now: float, policy: WatcherPolicy) -> Step:
    """The slot after ``event``, and what is to be done. A slot that is returned as it was had no use for the event."""
    if _is_old_news(slot, event):
        return slot, ()
    after, actions = TABLE[slot.state][type(event)](Case(slot, event, now, policy))
    if after.state is SlotState.STOPPING and slot.state is not SlotState.STOPPING:
        after = replace(after, stopping_since=now)
    return after, actions


def _is_old_news(slot: Slot, event: SlotEvent) -> bool:
    if isinstance(event, TimerFired):
        return event.key.generation != slot.generation
    return isinstance(event, OfALife | HookAnswered) and event.incarnation != slot.incarnation


# Cells ------------------------------------------------------------------------------------------------------


def _ignore(at: Case[SlotEvent]) -> Step:
    return at.slot, ()


def _begin(at: Case[Up]) -> Step:
    return spawn(at.slot, at.policy, UNTOUCHED)


def _resume(at: Case[Resume]) -> Step:
    event = at.event
    slot = replace(at.slot, wants_up=True, budget=event.budget)
    if event.is_fatal:
        return empty(slot, SlotState.FATAL, event.reason), ()
    if event.pause_s > 0:
        slot, timer = wait(slot, event.reason, event.pause_s, at.now)
        return slot, (timer,)
    return spawn(slot, at.policy, event.budget)


def _take_done(at: Case[Done]) -> Step:
    slot = replace(empty(at.slot, SlotState.EXITED, tell_how(0)), wants_up=True, last_status=0)
    return slot, ()


def _turn_wish_up(at: Case[Up]) -> Step:
    return (at.slot if at.slot.wants_up else _wanted_again(at.slot)), ()


def _wanted_again(slot: Slot) -> Slot:
    return replace(rest.overrule(slot), wants_up=True, budget=UNTOUCHED, reason="", fault=Fault.NONE)


def _turn_wish_down(at: Case[Down]) -> Step:
    return (replace(rest.overrule(at.slot), wants_up=False) if at.slot.wants_up else at.slot), ()


def _take_over(at: Case[Adopted]) -> Step:
    is_ready = at.event.is_ready or not at.policy.awaits_ready
    slot = replace(
        at.slot,
        state=SlotState.RUNNING,
        wants_up=True,
        incarnation=at.slot.incarnation + 1,
        kernel_id=at.event.kernel_id,
        pid=at.event.pid,
        started_at=at.event.started_at,
        up_since=at.now - at.event.age_s,
        is_ready=is_ready and not at.policy.oneshot,
        awaits_hook=False,
        awaits_check=not is_ready,
        kills=0,
        budget=at.slot.budget if at.slot.state is SlotState.STOPPED else UNTOUCHED,
        reason="",
    )
    slot, actions = readiness.begin_life(slot, at.policy, at.now, is_adopted=True)
    if "after_spawn" not in at.policy.hooks:
        return slot, actions
    hook = RunHook(slot.key.watcher, "after_spawn", is_awaited=True, slot=slot.key, incarnation=slot.incarnation)
    return slot, (*actions, hook)


def _take_spawned(at: Case[Spawned]) -> Step:
    early_exit = at.slot.early_exit
    slot = replace(
        at.slot,
        state=SlotState.RUNNING,
        kernel_id=at.event.kernel_id,
        pid=at.event.pid,
        started_at=at.event.started_at,
        up_since=at.now,
        is_ready=not (at.slot.awaits_hook or at.slot.awaits_check or at.policy.oneshot),
        early_exit=None,
        # A oneshot has not succeeded before it has ended.
        budget=at.slot.budget if at.policy.oneshot else replace(at.slot.budget, failures=0),
    )
    if early_exit is None and slot.wants_up:
        return readiness.begin_life(slot, at.policy, at.now)
    told = () if slot.awaits_hook else (readiness.publish_spawn(slot),)
    if early_exit is None:
        slot, actions = tell_to_end(slot, at.policy, "")
    else:
        end = _end_by_itself if slot.wants_up else _end_as_told
        slot, actions = end(Case(slot, early_exit, at.now, at.policy))
    return slot, (*told, *actions)


def _take_failure(at: Case[SpawnFailed]) -> Step:
    if not at.slot.wants_up:
        return empty(at.slot, SlotState.STOPPED, ""), ()
    budget, verdict = judge_failure(at.slot.budget, at.event.reason, at.policy)
    return wait_or_give_up(replace(at.slot, budget=budget), at.policy, verdict, at.now)


def _keep_early_exit(at: Case[Exited]) -> Step:
    return replace(at.slot, early_exit=at.event), ()


def _hear_before_spawn(at: Case[HookAnswered]) -> Step:
    if at.event.hook != "before_spawn" or at.event.ok:
        return at.slot, ()
    reason = "the hook before_spawn refused" if at.slot.wants_up else ""
    return replace(empty(at.slot, SlotState.STOPPED, reason), wants_up=False), ()


def _hear_after_spawn(at: Case[HookAnswered]) -> Step:
    if at.event.hook != "after_spawn":
        return at.slot, ()
    if not at.event.ok:
        return tell_to_end(at.slot, at.policy, f"the hook after_spawn refused process {at.slot.pid}")
    return readiness.agree(at.slot, at.policy) if at.slot.awaits_hook else (at.slot, ())


def _end(at: Case[Down]) -> Step:
    return tell_to_end(at.slot, at.policy, "")


def _run_out(at: Case[TimerFired]) -> Step:
    """It was not ready in time, or is too old."""
    if at.slot.is_timing_start:
        return readiness.end_unready(at)
    slot = replace(at.slot, is_aging=False)
    if at.policy.max_age_s <= 0:
        return slot, ()
    slot, actions = tell_to_end(slot, at.policy, f"renewed, as it is older than {at.policy.max_age_s:g} s")
    return replace(slot, wants_up=True, budget=UNTOUCHED), actions


def _time_anew(at: Case[Aging]) -> Step:
    return readiness.time_anew(at.slot, at.policy, at.now)


def _end_by_itself(at: Case[Exited]) -> Step:
    slot, untimer = untimed(at.slot)
    slot, reaped = reap(slot, at.event)
    slot = readiness.mark_end(slot)
    how = readiness.how_it_died(slot, at.event)
    verdict = None
    if not has_end(at.event.status, at.policy):
        budget, verdict = readiness.judge(slot, how, at.policy, at.now)
        slot = replace(slot, budget=budget)
    if at.policy.ends_trees:
        slot, actions = rest.hold(slot, at.policy, at.event, at.now, own_end=verdict, is_own=True)
    elif verdict is None:
        slot, actions = empty(slot, SlotState.EXITED, how), ()
    else:
        slot, actions = wait_or_give_up(slot, at.policy, verdict, at.now)
    return slot, (*untimer, reaped, *actions)


def _kill_by_hand(at: Case[Kill]) -> Step:
    signum, grace_s = at.event.signum, at.event.grace_s
    policy = replace(
        at.policy,
        stop_signal=at.policy.stop_signal if signum is None else signum,
        graceful_timeout_s=at.policy.graceful_timeout_s if grace_s is None else grace_s,
    )
    slot, actions = tell_to_end(at.slot, policy, "killed by hand")
    budget = slot.budget if at.policy.oneshot else UNTOUCHED
    return replace(slot, wants_up=True, is_killed=True, budget=budget), actions


def _kill_once_more(at: Case[Kill]) -> Step:
    policy = at.policy
    if at.slot.rest is not None:
        return rest.kill_once_more(at.slot, at.slot.rest, policy, at.event)
    signum = policy.stop_signal if at.event.signum is None else at.event.signum
    slot = replace(at.slot, kills=at.slot.kills + (signum == SIGKILL))
    signal = Signal(
        slot.key, slot.incarnation, signum, signum == SIGKILL, policy.stop_children, kill_mode=policy.kill_mode
    )
    actions: tuple[Action, ...] = (signal, publish(slot, "kill", process_pid=slot.pid, signum=signum))
    if at.event.grace_s is None:
        return slot, actions
    cancelled = cancel_timer(slot, "kill")
    slot, timer = start_timer(slot, "kill", at.event.grace_s)
    return slot, (*actions, cancelled, timer)


def _end_as_told(at: Case[Exited]) -> Step:
    if at.slot.rest is not None:
        return at.slot, ()  # told once more
    slot, reaped = reap(at.slot, at.event)
    if at.policy.ends_trees:
        slot, actions = rest.hold(slot, at.policy, at.event, at.now, own_end=None, is_own=False)
        return slot, (reaped, *actions)
    timer = (cancel_timer(slot, "kill"),) if slot.state is SlotState.STOPPING else ()
    slot, actions = rest.end_as_told(slot, at.event.status, at.policy, at.now)
    return slot, (*timer, reaped, *actions)


def _kill(at: Case[TimerFired]) -> Step:
    if at.slot.rest is not None:
        return rest.kill(at.slot, at.slot.rest, at.policy, at.now)
    slot, timer = start_timer(replace(at.slot, kills=at.slot.kills + 1), "kill", KILL_AGAIN_S)
    signal = Signal(slot.key, slot.incarnation, SIGKILL, is_kill=True, children=True, kill_mode=at.policy.kill_mode)
    return slot, (signal, publish(slot, "kill", process_pid=slot.pid, signum=SIGKILL), timer)


def _try_again(at: Case[TimerFired]) -> Step:
    return spawn(at.slot, at.policy, at.slot.budget)


def _try_at_once(at: Case[Up]) -> Step:
    slot, actions = spawn(at.slot, at.policy, UNTOUCHED)
    return slot, (cancel_timer(at.slot, "backoff"), *actions)


def _stop_waiting(at: Case[Down]) -> Step:
    return replace(empty(at.slot, SlotState.STOPPED, ""), wants_up=False), (cancel_timer(at.slot, "backoff"),)


def _clear(at: Case[Down]) -> Step:
    return replace(empty(at.slot, SlotState.STOPPED, ""), wants_up=False), ()


Cell = Callable[[Case[Any]], Step]

#: What is said of a process that is not running is of no use.
_UNTOLD: Mapping[type, Cell] = {
    Ready: _ignore,
    NotReady: _ignore,
    Unhealthy: _ignore,
    Healthy: _ignore,
    Exceeded: _ignore,
}

_AT_REST: Mapping[type, Cell] = {
    **_UNTOLD,
    Up: _begin,
    Resume: _ignore,
    Done: _ignore,
    Down: _clear,
    Aging: _ignore,
    Kill: _ignore,
    Adopted: _take_over,
    Spawned: _ignore,
    SpawnFailed: _ignore,
    Exited: _ignore,
    RestSeen: _ignore,
    TimerFired: _ignore,
    HookAnswered: _ignore,
}

#: Every state answers every event.
TABLE: Mapping[SlotState, Mapping[type, Cell]] = {
    SlotState.STOPPED: {**_AT_REST, Resume: _resume, Done: _take_done, Down: _ignore},
    SlotState.STARTING: {
        **_UNTOLD,
        Up: _turn_wish_up,
        Resume: _ignore,
        Done: _ignore,
        Down: _turn_wish_down,
        Aging: _ignore,
        Kill: _ignore,
        Adopted: _ignore,
        Spawned: _take_spawned,
        SpawnFailed: _take_failure,
        Exited: _keep_early_exit,
        RestSeen: _ignore,
        TimerFired: _ignore,
        HookAnswered: _hear_before_spawn,
    },
    SlotState.RUNNING: {
        Up: _ignore,
        Resume: _ignore,
        Done: _ignore,
        Down: _end,
        Aging: _time_anew,
        Kill: _kill_by_hand,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _end_by_itself,
        RestSeen: _ignore,
        TimerFired: _run_out,
        HookAnswered: _hear_after_spawn,
        Ready: readiness.take_ready,
        NotReady: readiness.take_doubt,
        Unhealthy: readiness.take_illness,
        Healthy: readiness.take_health,
        Exceeded: readiness.take_excess,
    },
    SlotState.STOPPING: {
        **_UNTOLD,
        Up: _turn_wish_up,
        Resume: _ignore,
        Done: _ignore,
        Down: _turn_wish_down,
        Aging: _ignore,
        Kill: _kill_once_more,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _end_as_told,
        RestSeen: rest.see,
        TimerFired: _kill,
        HookAnswered: _ignore,
    },
    SlotState.BACKOFF: {
        **_UNTOLD,
        Up: _try_at_once,
        Resume: _ignore,
        Done: _ignore,
        Down: _stop_waiting,
        Aging: _ignore,
        Kill: _ignore,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _ignore,
        RestSeen: _ignore,
        TimerFired: _try_again,
        HookAnswered: _ignore,
    },
    SlotState.EXITED: _AT_REST,
    SlotState.FATAL: _AT_REST,
}
