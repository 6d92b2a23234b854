"""The cells of a slot: what it does in each state about each event. The module ``slot`` specifies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from circus.supervise.actions import Action, CancelTimer, Publish, RunHook, Signal, Spawn, StartTimer
from circus.supervise.budget import UNTOUCHED, Again, Budget, GiveUp, judge_death, judge_failure
from circus.supervise.events import Adopted, Exited, HookAnswered, Spawned, SpawnFailed, TimerFired, TimerKey
from circus.supervise.slot import Aging, Down, Kill, Resume, Slot, SlotEvent, Up
from circus.supervise.states import SlotState, WatcherPolicy

SIGKILL = 9

#: After SIGKILL a process goes at once or hangs in the system; asked again at this pace, it is gone soon after.
KILL_AGAIN_S = 5.0

Step = tuple[Slot, tuple[Action, ...]]

E = TypeVar("E")


class Case(NamedTuple, Generic[E]):
    """What a cell of the table is asked."""

    slot: Slot
    event: E
    now: float
    policy: WatcherPolicy


def step(slot: Slot, event: SlotEvent, now: float, policy: WatcherPolicy) -> Step:
    """The slot after ``event``, and what is to be done. A slot that is returned as it was had no use for the event."""
    if _is_old_news(slot, event):
        return slot, ()
    return TABLE[slot.state][type(event)](Case(slot, event, now, policy))


def _is_old_news(slot: Slot, event: SlotEvent) -> bool:
    match event:
        case Spawned() | SpawnFailed() | Exited() | HookAnswered():
            return event.incarnation != slot.incarnation
        case TimerFired(key):
            return key.generation != slot.generation
        case _:
            return False


# What cells are made of -------------------------------------------------------------------------------------


def _publish(slot: Slot, event: str, **fields: object) -> Publish:
    return Publish(slot.key.watcher, event, {**fields, "wid": slot.key.wid})


def _start_timer(slot: Slot, purpose: str, delay_s: float, spread_s: float = 0.0) -> tuple[Slot, StartTimer]:
    slot = replace(slot, generation=slot.generation + 1)
    return slot, StartTimer(TimerKey(slot.key.watcher, slot.key.wid, purpose, slot.generation), delay_s, spread_s)


def _cancel_timer(slot: Slot, purpose: str) -> CancelTimer:
    return CancelTimer(TimerKey(slot.key.watcher, slot.key.wid, purpose, slot.generation))


def _age(slot: Slot, policy: WatcherPolicy, now: float) -> Step:
    """A running slot, with the timer of its age if it has a limit."""
    if policy.max_age_s <= 0:
        return slot, ()
    left_s = max(0.0, policy.max_age_s - (now - slot.up_since))
    slot, timer = _start_timer(replace(slot, is_aging=True), "age", left_s, policy.max_age_spread_s)
    return slot, (timer,)


def _age_no_more(slot: Slot) -> Step:
    if not slot.is_aging:
        return slot, ()
    return replace(slot, is_aging=False), (_cancel_timer(slot, "age"),)


def _spawn(slot: Slot, policy: WatcherPolicy, budget: Budget) -> Step:
    slot = replace(
        slot,
        state=SlotState.STARTING,
        wants_up=True,
        incarnation=slot.incarnation + 1,
        is_ready=False,
        awaits_hook="after_spawn" in policy.hooks,
        early_exit=None,
        kills=0,
        is_killed=False,
        budget=budget,
        reason="",
    )
    return slot, (Spawn(slot.key, slot.incarnation, slot.awaits_hook),)


def _tell_to_end(slot: Slot, policy: WatcherPolicy, reason: str) -> Step:
    is_kill = policy.stop_signal == SIGKILL
    slot, aged = _age_no_more(slot)
    slot = replace(slot, state=SlotState.STOPPING, wants_up=False, is_ready=False, kills=int(is_kill), reason=reason)
    slot, timer = _start_timer(slot, "kill", policy.graceful_timeout_s)
    signal = Signal(slot.key, slot.incarnation, policy.stop_signal, is_kill, policy.stop_children)
    return slot, (*aged, signal, _publish(slot, "kill", process_pid=slot.pid, signum=policy.stop_signal), timer)


def _empty(slot: Slot, state: SlotState, reason: str) -> Slot:
    """No process is left in it."""
    return replace(
        slot, state=state, reason=reason, kernel_id=None, pid=None, started_at=None, is_ready=False, early_exit=None
    )


def _wait_or_give_up(slot: Slot, policy: WatcherPolicy, verdict: Again | GiveUp, now: float) -> Step:
    """``slot`` has its new budget already."""
    named = ("flapping",) if verdict.is_flapping else ()
    if isinstance(verdict, GiveUp):
        slot = _empty(slot, SlotState.FATAL, verdict.reason)
        said = [_publish(slot, name, reason=verdict.reason) for name in (*named, "fatal")]
        return slot, tuple(said)
    if verdict.delay_s <= 0:
        return _spawn(_empty(slot, SlotState.STOPPED, ""), policy, slot.budget)
    slot, timer = _wait(slot, f"{verdict.reason}; next attempt after {verdict.delay_s:g} s", verdict.delay_s, now)
    said = [_publish(slot, name, reason=verdict.reason, retry_in_s=verdict.delay_s) for name in (*named, "backoff")]
    return slot, (*said, timer)


def _wait(slot: Slot, reason: str, pause_s: float, now: float) -> tuple[Slot, StartTimer]:
    slot = _empty(slot, SlotState.BACKOFF, reason)
    return _start_timer(replace(slot, pause_ends=now + pause_s, pause_s=pause_s), "backoff", pause_s)


def _reap(slot: Slot, event: Exited) -> tuple[Slot, Publish]:
    reap = _publish(slot, "reap", process_pid=slot.pid, exit_code=event.status)
    return replace(slot, last_status=event.status), reap


def tell_how(status: int | None) -> str:
    if status is None:
        return "ended, nobody knows how"
    return f"ended with status {status}" if status >= 0 else f"ended by signal {-status}"


# Cells ------------------------------------------------------------------------------------------------------


def _ignore(at: Case[SlotEvent]) -> Step:
    return at.slot, ()


def _begin(at: Case[Up]) -> Step:
    return _spawn(at.slot, at.policy, UNTOUCHED)


def _resume(at: Case[Resume]) -> Step:
    event = at.event
    slot = replace(at.slot, wants_up=True, budget=event.budget)
    if event.is_fatal:
        return _empty(slot, SlotState.FATAL, event.reason), ()
    if event.pause_s > 0:
        slot, timer = _wait(slot, event.reason, event.pause_s, at.now)
        return slot, (timer,)
    return _spawn(slot, at.policy, event.budget)


def _turn_wish_up(at: Case[Up]) -> Step:
    return (at.slot if at.slot.wants_up else replace(at.slot, wants_up=True, budget=UNTOUCHED, reason="")), ()


def _turn_wish_down(at: Case[Down]) -> Step:
    return (replace(at.slot, wants_up=False) if at.slot.wants_up else at.slot), ()


def _take_over(at: Case[Adopted]) -> Step:
    slot = replace(
        at.slot,
        state=SlotState.RUNNING,
        wants_up=True,
        incarnation=at.slot.incarnation + 1,
        kernel_id=at.event.kernel_id,
        pid=at.event.pid,
        started_at=at.event.started_at,
        up_since=at.now - at.event.age_s,
        is_ready=True,
        kills=0,
        budget=at.slot.budget if at.slot.state is SlotState.STOPPED else UNTOUCHED,
        reason="",
    )
    slot, aging = _age(slot, at.policy, at.now)
    actions = (_publish_spawn(slot), *aging)
    if "after_spawn" not in at.policy.hooks:
        return slot, actions
    hook = RunHook(slot.key.watcher, "after_spawn", is_awaited=True, slot=slot.key, incarnation=slot.incarnation)
    return slot, (*actions, hook)


def _publish_spawn(slot: Slot) -> Publish:
    return _publish(slot, "spawn", process_pid=slot.pid, time=slot.started_at)


def _take_spawned(at: Case[Spawned]) -> Step:
    early_exit = at.slot.early_exit
    slot = replace(
        at.slot,
        state=SlotState.RUNNING,
        kernel_id=at.event.kernel_id,
        pid=at.event.pid,
        started_at=at.event.started_at,
        up_since=at.now,
        is_ready=not at.slot.awaits_hook,
        early_exit=None,
        budget=replace(at.slot.budget, failures=0),
    )
    actions: tuple[Action, ...] = (_publish_spawn(slot),) if slot.is_ready else ()
    if early_exit is not None:
        end = _end_by_itself if slot.wants_up else _end_as_told
        slot, more = end(Case(slot, early_exit, at.now, at.policy))
    elif not slot.wants_up:
        slot, more = _tell_to_end(slot, at.policy, "")
    else:
        slot, more = _age(slot, at.policy, at.now)
    return slot, (*actions, *more)


def _take_failure(at: Case[SpawnFailed]) -> Step:
    if not at.slot.wants_up:
        return _empty(at.slot, SlotState.STOPPED, ""), ()
    budget, verdict = judge_failure(at.slot.budget, at.event.reason, at.policy)
    return _wait_or_give_up(replace(at.slot, budget=budget), at.policy, verdict, at.now)


def _keep_early_exit(at: Case[Exited]) -> Step:
    return replace(at.slot, early_exit=at.event), ()


def _hear_before_spawn(at: Case[HookAnswered]) -> Step:
    if at.event.hook != "before_spawn" or at.event.ok:
        return at.slot, ()
    reason = "the hook before_spawn refused" if at.slot.wants_up else ""
    return replace(_empty(at.slot, SlotState.STOPPED, reason), wants_up=False), ()


def _hear_after_spawn(at: Case[HookAnswered]) -> Step:
    if at.event.hook != "after_spawn":
        return at.slot, ()
    if not at.event.ok:
        return _tell_to_end(at.slot, at.policy, f"the hook after_spawn refused process {at.slot.pid}")
    if at.slot.is_ready:
        return at.slot, ()
    return replace(at.slot, is_ready=True), (_publish_spawn(at.slot),)


def _end(at: Case[Down]) -> Step:
    return _tell_to_end(at.slot, at.policy, "")


def _renew(at: Case[TimerFired]) -> Step:
    """It is too old."""
    slot = replace(at.slot, is_aging=False)
    if at.policy.max_age_s <= 0:
        return slot, ()
    slot, actions = _tell_to_end(slot, at.policy, f"renewed, as it is older than {at.policy.max_age_s:g} s")
    return replace(slot, wants_up=True, budget=UNTOUCHED), actions


def _age_anew(at: Case[Aging]) -> Step:
    slot, aged = _age_no_more(at.slot)
    slot, aging = _age(slot, at.policy, at.now)
    return slot, (*aged, *aging)


def _end_by_itself(at: Case[Exited]) -> Step:
    slot, aged = _age_no_more(at.slot)
    slot, reap = _reap(slot, at.event)
    how = tell_how(at.event.status)
    if has_end(at.event.status, at.policy):
        return _empty(slot, SlotState.EXITED, how), (*aged, reap)
    budget, verdict = judge_death(slot.budget, how, at.policy, lived_s=at.now - slot.up_since, now=at.now)
    slot, actions = _wait_or_give_up(replace(slot, budget=budget), at.policy, verdict, at.now)
    return slot, (*aged, reap, *actions)


def has_end(status: int | None, policy: WatcherPolicy) -> bool:
    """Whether nothing follows on an end like this."""
    return not policy.respawn or (policy.on_demand and status == 0)


def _kill_by_hand(at: Case[Kill]) -> Step:
    signum, grace_s = at.event.signum, at.event.grace_s
    policy = replace(
        at.policy,
        stop_signal=at.policy.stop_signal if signum is None else signum,
        graceful_timeout_s=at.policy.graceful_timeout_s if grace_s is None else grace_s,
    )
    slot, actions = _tell_to_end(at.slot, policy, "killed by hand")
    return replace(slot, wants_up=True, is_killed=True, budget=UNTOUCHED), actions


def _kill_once_more(at: Case[Kill]) -> Step:
    policy = at.policy
    signum = policy.stop_signal if at.event.signum is None else at.event.signum
    slot = replace(at.slot, kills=at.slot.kills + (signum == SIGKILL))
    signal = Signal(slot.key, slot.incarnation, signum, signum == SIGKILL, policy.stop_children)
    actions: tuple[Action, ...] = (signal, _publish(slot, "kill", process_pid=slot.pid, signum=signum))
    if at.event.grace_s is None:
        return slot, actions
    cancelled = _cancel_timer(slot, "kill")
    slot, timer = _start_timer(slot, "kill", at.event.grace_s)
    return slot, (*actions, cancelled, timer)


def _end_as_told(at: Case[Exited]) -> Step:
    slot, reap = _reap(at.slot, at.event)
    timer = (_cancel_timer(slot, "kill"),) if slot.state is SlotState.STOPPING else ()
    if slot.is_killed and slot.wants_up and has_end(at.event.status, at.policy):
        return _empty(slot, SlotState.EXITED, tell_how(at.event.status)), (*timer, reap)
    slot = _empty(slot, SlotState.STOPPED, slot.reason)
    slot, actions = _spawn(slot, at.policy, UNTOUCHED) if slot.wants_up else (slot, ())
    return slot, (*timer, reap, *actions)


def _kill(at: Case[TimerFired]) -> Step:
    slot, timer = _start_timer(replace(at.slot, kills=at.slot.kills + 1), "kill", KILL_AGAIN_S)
    signal = Signal(slot.key, slot.incarnation, SIGKILL, is_kill=True, children=True)
    return slot, (signal, _publish(slot, "kill", process_pid=slot.pid, signum=SIGKILL), timer)


def _try_again(at: Case[TimerFired]) -> Step:
    return _spawn(at.slot, at.policy, at.slot.budget)


def _try_at_once(at: Case[Up]) -> Step:
    slot, actions = _spawn(at.slot, at.policy, UNTOUCHED)
    return slot, (_cancel_timer(at.slot, "backoff"), *actions)


def _stop_waiting(at: Case[Down]) -> Step:
    return replace(_empty(at.slot, SlotState.STOPPED, ""), wants_up=False), (_cancel_timer(at.slot, "backoff"),)


def _clear(at: Case[Down]) -> Step:
    return replace(_empty(at.slot, SlotState.STOPPED, ""), wants_up=False), ()


Cell = Callable[[Case[Any]], Step]

_AT_REST: Mapping[type, Cell] = {
    Up: _begin,
    Resume: _ignore,
    Down: _clear,
    Aging: _ignore,
    Kill: _ignore,
    Adopted: _take_over,
    Spawned: _ignore,
    SpawnFailed: _ignore,
    Exited: _ignore,
    TimerFired: _ignore,
    HookAnswered: _ignore,
}

#: Every state answers every event.
TABLE: Mapping[SlotState, Mapping[type, Cell]] = {
    SlotState.STOPPED: {**_AT_REST, Resume: _resume, Down: _ignore},
    SlotState.STARTING: {
        Up: _turn_wish_up,
        Resume: _ignore,
        Down: _turn_wish_down,
        Aging: _ignore,
        Kill: _ignore,
        Adopted: _ignore,
        Spawned: _take_spawned,
        SpawnFailed: _take_failure,
        Exited: _keep_early_exit,
        TimerFired: _ignore,
        HookAnswered: _hear_before_spawn,
    },
    SlotState.RUNNING: {
        Up: _ignore,
        Resume: _ignore,
        Down: _end,
        Aging: _age_anew,
        Kill: _kill_by_hand,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _end_by_itself,
        TimerFired: _renew,
        HookAnswered: _hear_after_spawn,
    },
    SlotState.STOPPING: {
        Up: _turn_wish_up,
        Resume: _ignore,
        Down: _turn_wish_down,
        Aging: _ignore,
        Kill: _kill_once_more,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _end_as_told,
        TimerFired: _kill,
        HookAnswered: _ignore,
    },
    SlotState.BACKOFF: {
        Up: _try_at_once,
        Resume: _ignore,
        Down: _stop_waiting,
        Aging: _ignore,
        Kill: _ignore,
        Adopted: _ignore,
        Spawned: _ignore,
        SpawnFailed: _ignore,
        Exited: _ignore,
        TimerFired: _try_again,
        HookAnswered: _ignore,
    },
    SlotState.EXITED: _AT_REST,
    SlotState.FATAL: _AT_REST,
}
