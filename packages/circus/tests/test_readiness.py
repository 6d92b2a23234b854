"""What is said of a process's readiness and health, cell by cell, and what a watcher makes of it."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from circus.supervise import events
from circus.supervise.actions import Action, CancelTimer, Finish, Probe, Publish, Signal, Spawn, StartTimer
from circus.supervise.events import (
    Adopted,
    Exited,
    Healthy,
    HookAnswered,
    NotReady,
    Ready,
    Spawned,
    TimerFired,
    TimerKey,
    Unhealthy,
)
from circus.supervise.fleet import Fleet
from circus.supervise.readiness import ADOPTED_S
from circus.supervise.slot import Aging, Down, Fault, Slot, SlotEvent, Up
from circus.supervise.states import FlappingPolicy, HealthPolicy, SlotKey, SlotState, WatcherPolicy
from circus.supervise.table import step

KEY = SlotKey("web", 1)
POLICY = WatcherPolicy("web", awaits_ready=True, start_timeout_s=60.0)
CHECKED = replace(POLICY, health=HealthPolicy("tcp 127.0.0.1:1"))
REPORTED = replace(POLICY, health=HealthPolicy("tcp 127.0.0.1:1", action="report"))

SPAWNED = Spawned(KEY, 1, 71, 101, 1.5)
READY = Ready(KEY, 1)
ILL = Unhealthy(KEY, 1, "no answer")


def after_spawn(ok: bool) -> HookAnswered:
    return HookAnswered("web", "after_spawn", ok, KEY, 1)


def tell(slot: Slot, *news: SlotEvent, policy: WatcherPolicy = POLICY, now: float = 0.0) -> tuple[Slot, list[Action]]:
    actions: tuple[Action, ...] = ()
    for event in news:
        slot, actions = step(slot, event, now, policy)
    return slot, list(actions)


def named(actions: list[Action]) -> list[str]:
    return [action.event for action in actions if isinstance(action, Publish)]


def timers(actions: list[Action]) -> list[tuple[str, float]]:
    return [(action.key.purpose, action.delay_s) for action in actions if isinstance(action, StartTimer)]


UNREADY, _ = tell(Slot(KEY), Up(), SPAWNED)
RUNNING, _ = tell(UNREADY, READY)
START = TimerKey("web", 1, "start", 1)


# Ready ------------------------------------------------------------------------------------------------------


def test_a_spawned_process_is_asked_and_timed_until_it_is_ready() -> None:
    slot, actions = tell(Slot(KEY), Up(), SPAWNED)
    assert (slot.state, slot.is_ready, slot.is_coming_up) == (SlotState.RUNNING, False, True)
    assert slot.shown_state is SlotState.STARTING
    assert named(actions) == ["spawn"]
    assert timers(actions) == [("start", 60.0)]
    assert Probe(KEY, 1, "ready") in actions


def test_a_watcher_without_the_option_has_ready_processes_at_once() -> None:
    slot, actions = tell(Slot(KEY), Up(), SPAWNED, policy=WatcherPolicy("web"))
    assert slot.is_ready
    assert slot.shown_state is SlotState.RUNNING
    assert actions == [Publish("web", "spawn", {"process_pid": 101, "time": 1.5, "wid": 1})]


def test_ready_ends_the_timer_and_begins_that_of_the_age() -> None:
    policy = replace(POLICY, max_age_s=100.0)
    unready, _ = tell(Slot(KEY), Up(), SPAWNED, policy=policy)
    slot, actions = tell(unready, READY, policy=policy, now=40.0)
    assert slot.is_ready
    assert CancelTimer(START) in actions
    assert timers(actions) == [("age", 60.0)]
    assert named(actions) == ["ready"]
    assert tell(slot, READY) == (slot, [])


def test_why_not_yet_is_the_reason_until_it_is_ready() -> None:
    slot, actions = tell(UNREADY, NotReady(KEY, 1, "connection refused"))
    assert (slot.reason, actions) == ("not ready yet: connection refused", [])
    assert tell(slot, READY)[0].reason == ""
    assert tell(RUNNING, NotReady(KEY, 1, "late news"))[0] == RUNNING


@pytest.mark.parametrize("order", [(READY, after_spawn(True)), (after_spawn(True), READY)])
def test_both_the_check_and_the_hook_must_agree(order: tuple[SlotEvent, SlotEvent]) -> None:
    policy = replace(POLICY, hooks=frozenset({"after_spawn"}))
    slot, actions = tell(Slot(KEY), Up(), SPAWNED, policy=policy)
    assert named(actions) == []
    slot, actions = tell(slot, order[0], policy=policy)
    assert not slot.is_ready
    slot, more = tell(slot, order[1], policy=policy)
    assert slot.is_ready
    assert named(actions + more) == ["spawn", "ready"]


def test_one_that_is_not_ready_in_time_is_told_to_end_and_costs_the_budget() -> None:
    slot, _ = tell(UNREADY, NotReady(KEY, 1, "connection refused (127.0.0.1:8000)"))
    slot, actions = tell(slot, TimerFired(START), now=60.0)
    assert slot.state is SlotState.STOPPING
    assert slot.is_coming_up
    assert named(actions) == ["not_ready", "kill"]
    assert any(isinstance(action, Signal) for action in actions)
    assert slot.reason == "not ready within 60 s: connection refused (127.0.0.1:8000)"
    slot, actions = tell(slot, Exited(KEY, 1, 0), now=61.0)
    assert slot.budget.short_lives == 1
    assert (slot.state, slot.fault) == (SlotState.STARTING, Fault.NONE)
    slot, _ = tell(slot, replace(SPAWNED, incarnation=2), now=61.0)
    slot, _ = tell(slot, TimerFired(TimerKey("web", 1, "start", slot.generation)), now=121.0)
    slot, actions = tell(slot, Exited(KEY, 2, 0), now=121.0)
    assert slot.state is SlotState.BACKOFF
    assert slot.reason.startswith("not ready within 60 s, the 2nd short life")
    assert named(actions) == ["reap", "backoff"]


def test_flapping_counts_processes_that_were_not_ready() -> None:
    policy = replace(POLICY, start_timeout_s=0.2, flapping=FlappingPolicy(attempts=1, max_retry=0))
    slot, _ = tell(Slot(KEY), Up(), SPAWNED, TimerFired(START), policy=policy)
    slot, actions = tell(slot, Exited(KEY, 1, 0), policy=policy)
    assert slot.state is SlotState.FATAL
    assert named(actions) == ["reap", "flapping", "fatal"]
    assert "not ready within" in slot.reason


def test_an_end_before_it_was_ready_is_said_to_be_one() -> None:
    slot, _ = tell(UNREADY, Exited(KEY, 1, 3), policy=replace(POLICY, respawn=False), now=50.0)
    assert (slot.state, slot.reason) == (SlotState.EXITED, "ended with status 3 before it was ready")
    slot, actions = tell(UNREADY, Exited(KEY, 1, 3), now=50.0)
    assert slot.budget.short_lives == 1
    assert CancelTimer(START) in actions


def test_on_trial_or_without_respawn_nothing_follows_and_the_reason_is_kept() -> None:
    policy = replace(POLICY, respawn=False)
    slot, _ = tell(UNREADY, TimerFired(START), Exited(KEY, 1, 0), policy=policy, now=60.0)
    assert (slot.state, slot.reason) == (SlotState.EXITED, "not ready within 60 s")


def test_one_that_was_not_ready_and_is_not_wanted_any_more_is_just_stopped() -> None:
    slot, actions = tell(UNREADY, TimerFired(START), Down(), Exited(KEY, 1, 0))
    assert (slot.state, slot.wants_up) == (SlotState.STOPPED, False)
    slot, actions = tell(UNREADY, TimerFired(START), Down(), Up(), Exited(KEY, 1, 0))
    assert [action for action in actions if isinstance(action, Spawn)]
    assert slot.budget.short_lives == 0


def test_it_may_ask_for_more_time() -> None:
    slot, actions = tell(UNREADY, NotReady(KEY, 1, more_s=90.0), now=50.0)
    assert CancelTimer(START) in actions
    assert timers(actions) == [("start", 90.0)]
    assert tell(slot, TimerFired(START), now=60.0) == (slot, [])


def test_without_a_limit_there_is_no_timer() -> None:
    policy = replace(POLICY, start_timeout_s=math.inf)
    slot, actions = tell(Slot(KEY), Up(), SPAWNED, policy=policy)
    assert timers(actions) == []
    assert tell(slot, NotReady(KEY, 1, more_s=3.0), policy=policy)[1] == []


def test_another_limit_counts_from_the_spawn() -> None:
    _, actions = tell(UNREADY, Aging(), policy=replace(POLICY, start_timeout_s=100.0), now=30.0)
    assert CancelTimer(START) in actions
    assert timers(actions) == [("start", 70.0)]


def test_one_of_which_nothing_says_any_more_when_it_is_ready_is_so() -> None:
    slot, actions = tell(UNREADY, Aging(), policy=replace(CHECKED, awaits_ready=False))
    assert (slot.is_ready, slot.is_coming_up, slot.reason) == (True, False, "")
    assert CancelTimer(START) in actions
    assert not timers(actions)
    assert Probe(KEY, 1, "health") in actions
    hooked = replace(POLICY, hooks=frozenset({"after_spawn"}))
    slot, _ = tell(Slot(KEY), Up(), SPAWNED, Aging(), policy=hooked)
    slot, _ = tell(slot, Aging(), policy=replace(hooked, awaits_ready=False))
    assert slot.is_coming_up, "the hook has not agreed yet"


def test_an_adopted_process_is_as_ready_as_it_was() -> None:
    slot, actions = tell(Slot(KEY), Adopted(KEY, 7, 77, 1.0, age_s=20.0))
    assert slot.is_ready
    assert not timers(actions)
    slot, actions = tell(Slot(KEY), Adopted(KEY, 7, 77, 1.0, age_s=20.0, is_ready=False))
    assert slot.is_coming_up
    assert timers(actions) == [("start", 40.0)]
    assert Probe(KEY, 1, "ready") in actions
    slot, actions = tell(Slot(KEY), Adopted(KEY, 7, 77, 1.0, age_s=3600.0, is_ready=False))
    assert timers(actions) == [("start", ADOPTED_S)]
    slot, _ = tell(Slot(KEY), Adopted(KEY, 7, 77, 1.0, is_ready=False), policy=WatcherPolicy("web"))
    assert slot.is_ready


# Healthy ----------------------------------------------------------------------------------------------------


def test_health_is_asked_for_as_soon_as_it_is_ready() -> None:
    unready, actions = tell(Slot(KEY), Up(), SPAWNED, policy=CHECKED)
    assert Probe(KEY, 1, "health") not in actions
    _, actions = tell(unready, READY, policy=CHECKED)
    assert Probe(KEY, 1, "health") in actions
    _, actions = tell(Slot(KEY), Up(), SPAWNED, policy=replace(CHECKED, awaits_ready=False))
    assert Probe(KEY, 1, "health") in actions
    _, actions = tell(Slot(KEY), Adopted(KEY, 7, 77, 1.0), policy=CHECKED)
    assert Probe(KEY, 1, "health") in actions
    _, actions = tell(RUNNING, Aging(), policy=CHECKED)
    assert Probe(KEY, 1, "health") in actions


def test_an_unhealthy_process_is_replaced_at_the_cost_of_the_budget() -> None:
    slot, actions = tell(RUNNING, ILL, policy=CHECKED)
    assert (slot.state, slot.wants_up, slot.fault) == (SlotState.STOPPING, True, Fault.UNHEALTHY)
    assert not slot.is_coming_up
    assert named(actions) == ["unhealthy", "kill"]
    slot, actions = tell(slot, Exited(KEY, 1, 0), policy=replace(CHECKED, flapping=FlappingPolicy(1, 1.0, 7.0)))
    assert slot.state is SlotState.BACKOFF
    assert slot.reason.startswith("flapping: 1 deaths within 1 s; last: unhealthy: no answer")


def test_an_illness_may_be_only_reported() -> None:
    slot, actions = tell(RUNNING, ILL, policy=REPORTED)
    assert (slot.state, slot.is_ready, slot.reason) == (SlotState.RUNNING, True, "unhealthy: no answer")
    assert named(actions) == ["unhealthy"]
    assert tell(slot, ILL, policy=REPORTED)[1] == []
    slot, actions = tell(slot, Healthy(KEY, 1), policy=REPORTED)
    assert (slot.reason, named(actions)) == ("", ["healthy"])
    assert tell(slot, Healthy(KEY, 1), policy=REPORTED) == (slot, [])


@pytest.mark.parametrize("now", [CHECKED, replace(POLICY, max_age_s=9.0)])
def test_asked_anew_or_never_again_it_is_not_ill_before_that_is_said_again(now: WatcherPolicy) -> None:
    ill, _ = tell(RUNNING, ILL, policy=REPORTED)
    slot, _ = tell(ill, Aging(), policy=now)
    assert (slot.doubt, slot.reason) == ("", "")


def test_nobody_who_is_not_ready_or_not_asked_is_ill() -> None:
    assert tell(UNREADY, ILL, policy=CHECKED) == (UNREADY, [])
    assert tell(RUNNING, ILL) == (RUNNING, [])


# Watchers ---------------------------------------------------------------------------------------------------


def give(fleet: Fleet, *news: events.Event, now: float = 0.0) -> list[Action]:
    return [action for event in news for action in fleet.step(event, now)]


def ends(actions: list[Action]) -> list[Finish]:
    return [action for action in actions if isinstance(action, Finish)]


def test_a_start_waits_until_all_are_ready_and_nobody_waits_to_begin() -> None:
    later = WatcherPolicy("later", priority=-1)
    fleet = Fleet([replace(POLICY, numprocesses=2), later])
    actions = give(fleet, events.Start(1), SPAWNED)
    assert [action.slot.wid for action in actions if isinstance(action, Spawn)] == [1, 2]
    second = SlotKey("web", 2)
    actions = give(fleet, Spawned(second, 1, 72, 102, 1.5), READY)
    assert not any(isinstance(action, Spawn) for action in actions)
    actions = give(fleet, Ready(second, 1))
    assert [action.slot.watcher for action in actions if isinstance(action, Spawn)] == ["later"]
    assert ends(give(fleet, Spawned(SlotKey("later", 1), 1, 73, 103, 1.5)))[0].ok


def test_the_pause_between_two_spawns_is_no_longer_for_who_is_not_ready() -> None:
    fleet = Fleet([replace(POLICY, numprocesses=2, warmup_delay_s=3.0)])
    actions = give(fleet, events.Start(1), SPAWNED)
    (warmup,) = [each for each in actions if isinstance(each, StartTimer) and each.key.purpose == "warmup"]
    actions = give(fleet, TimerFired(warmup.key), now=warmup.delay_s)
    assert [action.slot.wid for action in actions if isinstance(action, Spawn)] == [2]


def test_a_start_fails_when_the_second_attempt_was_not_ready_either() -> None:
    fleet = Fleet([POLICY])
    give(fleet, events.Start(1), SPAWNED)
    for incarnation, generation in ((1, 1), (2, 3)):
        actions = give(fleet, TimerFired(TimerKey("web", 1, "start", generation)), now=60.0 * incarnation)
        assert not ends(actions)
        actions = give(fleet, Exited(KEY, incarnation, 0), now=60.0 * incarnation)
        if incarnation == 1:
            assert not ends(give(fleet, replace(SPAWNED, incarnation=2), now=60.0))
    (finish,) = ends(actions)
    assert not finish.ok
    assert "not ready within 60 s" in finish.error


def test_a_start_waits_on_for_the_one_after_that_which_was_ended_before_it_was_ready() -> None:
    for ended in (events.Exceeded(KEY, 1, "memory"), events.Kill(2, "web")):
        fleet = Fleet([POLICY])
        actions = give(fleet, events.Start(1), SPAWNED, ended)
        assert 1 not in [finish.op for finish in ends(actions)]
        actions = give(fleet, Exited(KEY, 1, -15), replace(SPAWNED, incarnation=2))
        assert 1 not in [finish.op for finish in ends(actions)]
        assert 1 in [finish.op for finish in ends(give(fleet, Ready(KEY, 2)))]


def test_a_slot_that_is_not_ready_is_a_trouble_of_a_start_beside_one_that_is() -> None:
    fleet = Fleet([replace(POLICY, numprocesses=2, flapping=FlappingPolicy(attempts=1))])
    give(fleet, events.Start(1), SPAWNED, TimerFired(START), Exited(KEY, 1, 0))
    second = SlotKey("web", 2)
    (finish,) = ends(give(fleet, Spawned(second, 1, 72, 102, 1.5), Ready(second, 1)))
    assert not finish.ok
    assert "not ready" in finish.error


def test_a_reload_to_what_does_not_become_ready_leaves_the_old_ones() -> None:
    fleet = Fleet([POLICY])
    give(fleet, events.Start(1), SPAWNED, READY)
    new = SlotKey("web", 2)
    give(fleet, events.Reload(2), Spawned(new, 1, 72, 102, 1.5))
    actions = give(fleet, TimerFired(TimerKey("web", 2, "start", 1)))
    assert not ends(actions)
    (finish,) = ends(give(fleet, Exited(new, 1, 0)))
    assert "not ready within" in finish.error
    (slot,) = fleet.watchers["web"].slots.values()
    assert (slot.key, slot.is_ready) == (KEY, True)


def test_another_limit_or_check_reaches_the_running_ones() -> None:
    fleet = Fleet([POLICY])
    give(fleet, events.Start(1), SPAWNED)
    actions = give(fleet, events.ChangeWatcher(2, replace(POLICY, start_timeout_s=5.0), restart=False))
    assert ("start", 5.0) in timers(actions)
    give(fleet, READY)
    actions = give(fleet, events.ChangeWatcher(3, CHECKED, restart=False))
    assert Probe(KEY, 1, "health") in actions


def test_a_manager_that_leaves_does_not_end_what_is_not_ready() -> None:
    fleet = Fleet([replace(POLICY, outlives_quit=True)])
    give(fleet, events.Start(1), SPAWNED)
    assert CancelTimer(START) in give(fleet, events.Quit(2))


def test_what_is_shown_tells_starting_from_running_and_healthy_from_ill() -> None:
    fleet = Fleet([replace(REPORTED)])
    give(fleet, events.Start(1), SPAWNED)
    (view,) = fleet.snapshot()[0].slots
    assert (view.state, view.is_ready, view.health, view.pid) == (SlotState.STARTING, False, "", 101)
    give(fleet, READY)
    (view,) = fleet.snapshot()[0].slots
    assert (view.state, view.is_ready, view.health) == (SlotState.RUNNING, True, "healthy")
    give(fleet, ILL)
    (view,) = fleet.snapshot()[0].slots
    assert (view.health, view.reason) == ("unhealthy", "unhealthy: no answer")
