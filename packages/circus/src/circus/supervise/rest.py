"""What follows on the end of a main process where its whole tree has to go (``kill_mode`` group or tree). Pure.

The slot is held, as *stopping*, until nobody is left. Whoever is left gets the stop signal, and after the grace
SIGKILL, as the main process did; if that one took SIGKILL, so do they at once. What follows then was decided when the
main process ended: its own end is judged by the budget at that moment, one that was ordered costs nothing. An order
that comes meanwhile counts more.

Who does not go by ``GIVE_UP_KILLS`` SIGKILLs hangs in the system, or may not be signalled: they are left, and named.

Does not belong here: who belongs to a tree (tree), how they are found and signalled (engine/trees).
"""

from __future__ import annotations

from msgspec.structs import replace

from circus.supervise import readiness
from circus.supervise.actions import Action, EndRest, LeaveRest
from circus.supervise.budget import UNTOUCHED, GiveUp, Verdict
from circus.supervise.events import Exited, RestSeen
from circus.supervise.moves import (
    KILL_AGAIN_S,
    SIGKILL,
    Case,
    Step,
    cancel_timer,
    empty,
    has_end,
    judge_oneshot,
    spawn,
    start_timer,
    tell_how,
    wait_or_give_up,
)
from circus.supervise.slot import Fault, Kill, Rest, Slot
from circus.supervise.states import SlotState, WatcherPolicy

#: So many SIGKILLs the rest of a tree is given: longer than a disk takes to answer, shorter than a person waits.
GIVE_UP_KILLS = 3

#: Who hears of the end only when the main process has gone has so long at least, if the grace is not shorter.
REST_S = 5.0


def hold(
    slot: Slot, policy: WatcherPolicy, event: Exited, now: float, *, own_end: Verdict | None, is_own: bool
) -> Step:
    """The main process has ended: by itself, judged as ``own_end`` (None: nothing follows), or as it was told."""
    actions: list[Action] = []
    grace_s = policy.graceful_timeout_s
    if slot.state is SlotState.STOPPING:
        actions.append(cancel_timer(slot, "kill"))
        grace_s = max(min(REST_S, grace_s), grace_s - (now - slot.stopping_since))
    slot = replace(
        slot, state=SlotState.STOPPING, is_ready=False, rest=Rest(event, own_end, is_own, slot.reason, policy.kill_mode)
    )
    is_kill = slot.kills > 0
    actions.append(EndRest(slot.key, slot.incarnation, SIGKILL if is_kill else policy.stop_signal, policy.kill_mode))
    slot, timer = start_timer(slot, "kill", KILL_AGAIN_S if is_kill else grace_s)
    return slot, (*actions, timer)


def see(at: Case[RestSeen]) -> Step:
    rest = at.slot.rest
    if rest is None:
        return at.slot, ()
    if at.event.left:
        what = "its main process " + tell_how(rest.exit.status)
        return replace(at.slot, reason=f"{what}; {at.event.left} of its tree left: {at.event.told}"), ()
    slot, actions = _go_on(at.slot, rest, at.policy, at.now)
    return slot, (cancel_timer(at.slot, "kill"), *actions)


def kill(slot: Slot, rest: Rest, policy: WatcherPolicy, now: float) -> Step:
    """The grace is over."""
    if slot.kills >= GIVE_UP_KILLS:
        left = LeaveRest(slot.key, slot.incarnation)
        slot, actions = _go_on(slot, rest, policy, now)
        return slot, (left, *actions)
    slot, timer = start_timer(replace(slot, kills=slot.kills + 1), "kill", KILL_AGAIN_S)
    return slot, (EndRest(slot.key, slot.incarnation, SIGKILL, rest.kill_mode), timer)


def kill_once_more(slot: Slot, rest: Rest, policy: WatcherPolicy, event: Kill) -> Step:
    signum = policy.stop_signal if event.signum is None else event.signum
    slot = replace(slot, kills=slot.kills + (signum == SIGKILL))
    again = EndRest(slot.key, slot.incarnation, signum, rest.kill_mode)
    if event.grace_s is None:
        return slot, (again,)
    cancelled = cancel_timer(slot, "kill")
    slot, timer = start_timer(slot, "kill", event.grace_s)
    return slot, (again, cancelled, timer)


def overrule(slot: Slot) -> Slot:
    """There is an order: what the end of the main process would have caused counts no more."""
    return slot if slot.rest is None else replace(slot, rest=replace(slot.rest, is_own=False), fault=Fault.NONE)


def end_as_told(slot: Slot, status: int | None, policy: WatcherPolicy, now: float) -> Step:
    if slot.wants_up and slot.fault is not Fault.NONE:
        return readiness.after_fault(slot, policy, now)
    if slot.is_killed and slot.wants_up and policy.oneshot:  # and has failed, whatever its status is
        budget, verdict = judge_oneshot(slot.budget, f"{tell_how(status)}, as it was killed", policy)
        return wait_or_give_up(replace(slot, budget=budget), policy, verdict, now)
    if slot.is_killed and slot.wants_up and has_end(status, policy):
        return empty(slot, SlotState.EXITED, tell_how(status)), ()
    slot = empty(slot, SlotState.STOPPED, slot.reason)
    return spawn(slot, policy, UNTOUCHED) if slot.wants_up else (slot, ())


def _go_on(slot: Slot, rest: Rest, policy: WatcherPolicy, now: float) -> Step:
    if not (rest.is_own and slot.wants_up):
        slot = replace(slot, reason=rest.reason)
        return end_as_told(slot, rest.exit.status, policy, now)
    if rest.verdict is None or has_end(rest.exit.status, policy):
        return empty(slot, SlotState.EXITED, tell_how(rest.exit.status)), ()
    verdict = rest.verdict
    if not policy.respawn:  # since it was judged: the manager leaves, or the options are others
        verdict = GiveUp(verdict.reason)
    return wait_or_give_up(slot, policy, verdict, now)
