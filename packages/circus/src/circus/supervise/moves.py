"""What the cells of a slot are made of: a new life, the way to an end, a pause, the timer of an age. Pure.

Each of them takes a slot and gives it back as it is then, with what is to be done. Does not belong here: which of them
follows on what (table).
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from circus.supervise.actions import Action, CancelTimer, Publish, Signal, Spawn, StartTimer
from circus.supervise.budget import Again, Budget, GiveUp, Verdict, judge_failure
from circus.supervise.events import Exited, TimerKey
from circus.supervise.slot import Fault, Slot
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


def publish(slot: Slot, event: str, **fields: object) -> Publish:
    return Publish(slot.key.watcher, event, {**fields, "wid": slot.key.wid})


def start_timer(slot: Slot, purpose: str, delay_s: float, spread_s: float = 0.0) -> tuple[Slot, StartTimer]:
    slot = replace(slot, generation=slot.generation + 1)
    return slot, StartTimer(TimerKey(slot.key.watcher, slot.key.wid, purpose, slot.generation), delay_s, spread_s)


def cancel_timer(slot: Slot, purpose: str) -> CancelTimer:
    return CancelTimer(TimerKey(slot.key.watcher, slot.key.wid, purpose, slot.generation))


def age(slot: Slot, policy: WatcherPolicy, now: float) -> Step:
    """A running slot, with the timer of its age if it has a limit."""
    if policy.max_age_s <= 0:
        return slot, ()
    left_s = max(0.0, policy.max_age_s - (now - slot.up_since))
    slot, timer = start_timer(replace(slot, is_aging=True), "age", left_s, policy.max_age_spread_s)
    return slot, (timer,)


def untimed(slot: Slot) -> Step:
    """A running slot without the timer of its age or of its start."""
    if not (slot.is_aging or slot.is_timing_start):
        return slot, ()
    cancelled = cancel_timer(slot, "age" if slot.is_aging else "start")
    return replace(slot, is_aging=False, is_timing_start=False), (cancelled,)


def spawn(slot: Slot, policy: WatcherPolicy, budget: Budget) -> Step:
    slot = replace(
        slot,
        state=SlotState.STARTING,
        wants_up=True,
        incarnation=slot.incarnation + 1,
        is_ready=False,
        awaits_hook="after_spawn" in policy.hooks,
        awaits_check=policy.awaits_ready,
        doubt="",
        fault=Fault.NONE,
        early_exit=None,
        kills=0,
        is_killed=False,
        budget=budget,
        reason="",
    )
    return slot, (Spawn(slot.key, slot.incarnation, slot.awaits_hook, policy.is_former),)


def tell_to_end(slot: Slot, policy: WatcherPolicy, reason: str) -> Step:
    is_kill = policy.stop_signal == SIGKILL
    slot, untimer = untimed(slot)
    slot = replace(slot, state=SlotState.STOPPING, wants_up=False, is_ready=False, kills=int(is_kill), reason=reason)
    slot, timer = start_timer(slot, "kill", policy.graceful_timeout_s)
    signal = Signal(
        slot.key, slot.incarnation, policy.stop_signal, is_kill, policy.stop_children, kill_mode=policy.kill_mode
    )
    return slot, (*untimer, signal, publish(slot, "kill", process_pid=slot.pid, signum=policy.stop_signal), timer)


def empty(slot: Slot, state: SlotState, reason: str) -> Slot:
    """No process is left in it."""
    return replace(
        slot,
        state=state,
        reason=reason,
        kernel_id=None,
        pid=None,
        started_at=None,
        is_ready=False,
        early_exit=None,
        rest=None,
    )


def wait_or_give_up(slot: Slot, policy: WatcherPolicy, verdict: Again | GiveUp, now: float) -> Step:
    """``slot`` has its new budget already."""
    named = ("flapping",) if verdict.is_flapping else ()
    if isinstance(verdict, GiveUp):
        slot = empty(slot, SlotState.FATAL, verdict.reason)
        said = [publish(slot, name, reason=verdict.reason) for name in (*named, "fatal")]
        return slot, tuple(said)
    if verdict.delay_s <= 0:
        return spawn(empty(slot, SlotState.STOPPED, ""), policy, slot.budget)
    slot, timer = wait(slot, str(verdict), verdict.delay_s, now, verdict.spread_s)
    said = [publish(slot, name, reason=verdict.reason, retry_in_s=verdict.delay_s) for name in (*named, "backoff")]
    return slot, (*said, timer)


def wait(slot: Slot, reason: str, pause_s: float, now: float, spread_s: float = 0.0) -> tuple[Slot, StartTimer]:
    """Up to ``spread_s`` longer than ``pause_s``, at random."""
    slot = empty(slot, SlotState.BACKOFF, reason)
    return start_timer(replace(slot, pause_ends=now + pause_s, pause_s=pause_s), "backoff", pause_s, spread_s)


def reap(slot: Slot, event: Exited) -> tuple[Slot, Publish]:
    told = publish(slot, "reap", process_pid=slot.pid, exit_code=event.status)
    return replace(slot, last_status=event.status), told


def tell_how(status: int | None) -> str:
    if status is None:
        return "ended, nobody knows how"
    return f"ended with status {status}" if status >= 0 else f"ended by signal {-status}"


def has_end(status: int | None, policy: WatcherPolicy) -> bool:
    """Whether nothing follows on an end like this."""
    if policy.oneshot:
        return status == 0
    return not policy.respawn or (policy.on_demand and status == 0)


def judge_oneshot(budget: Budget, how: str, policy: WatcherPolicy) -> tuple[Budget, Verdict]:
    """It has not ended well: it has failed as a spawn fails, where it may try again."""
    return judge_failure(budget, how, policy) if policy.respawn else (budget, GiveUp(how))
