"""What a slot does between the end of its main process and that of the last one of its tree."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from circus.supervise.actions import Action, CancelTimer, EndRest, Leave, LeaveRest, Publish, Signal, Spawn, StartTimer
from circus.supervise.events import Exited, Quit, RestSeen, Spawned, Start, TimerFired, TimerKey
from circus.supervise.fleet import Fleet
from circus.supervise.moves import KILL_AGAIN_S
from circus.supervise.rest import GIVE_UP_KILLS, REST_S
from circus.supervise.slot import Down, Kill, Slot, SlotEvent, Up
from circus.supervise.states import FlappingPolicy, SlotKey, SlotState, WatcherPolicy
from circus.supervise.table import step

KEY = SlotKey("web", 1)
TREE = WatcherPolicy("web", graceful_timeout_s=30.0, kill_mode="tree")
SPAWNED = Spawned(KEY, 1, 71, 101, 1.5)
ENDED = Exited(KEY, 1, 0)
GONE = RestSeen(KEY, 1, 0)


def tell(slot: Slot, *news: SlotEvent, policy: WatcherPolicy = TREE, now: float = 0.0) -> tuple[Slot, list[Action]]:
    """The slot after all of ``news``, and what the last of them caused, without what is only published."""
    actions: tuple[Action, ...] = ()
    for event in news:
        slot, actions = step(slot, event, now, policy)
    return slot, [action for action in actions if not isinstance(action, Publish)]


def timer(generation: int) -> TimerKey:
    return TimerKey("web", 1, "kill", generation)


RUNNING, _ = tell(Slot(KEY), Up(), SPAWNED)
STOPPING, _ = tell(RUNNING, Down())
HELD, _ = tell(STOPPING, ENDED)


def test_signals_say_what_the_kill_mode_is() -> None:
    _, (signal, _) = tell(RUNNING, Down(), policy=replace(TREE, kill_mode="group"))
    assert signal == Signal(KEY, 1, 15, kill_mode="group")
    _, (signal, _) = tell(STOPPING, TimerFired(timer(1)))
    assert signal == Signal(KEY, 1, 9, is_kill=True, children=True, kill_mode="tree")


@pytest.mark.parametrize("mode", ["group", "tree"])
def test_after_the_main_process_its_rest_is_told_to_end_and_the_slot_waits(mode: str) -> None:
    slot, actions = tell(STOPPING, ENDED, policy=replace(TREE, kill_mode=mode), now=10.0)
    assert slot.state is SlotState.STOPPING
    assert slot.is_busy
    assert actions == [CancelTimer(timer(1)), EndRest(KEY, 1, 15, mode), StartTimer(timer(2), 20.0)]


def test_with_the_mode_process_its_end_is_the_end() -> None:
    slot, actions = tell(STOPPING, ENDED, policy=replace(TREE, kill_mode="process"))
    assert slot.state is SlotState.STOPPED
    assert actions == [CancelTimer(timer(1))]


@pytest.mark.parametrize(("grace_s", "now", "left_s"), [(30.0, 29.0, REST_S), (3.0, 2.0, 3.0), (0.0, 0.0, 0.0)])
def test_the_rest_has_some_seconds_of_its_own(grace_s: float, now: float, left_s: float) -> None:
    policy = replace(TREE, graceful_timeout_s=grace_s)
    _, actions = tell(STOPPING, ENDED, policy=policy, now=now)
    assert actions[-1] == StartTimer(timer(2), left_s)


def test_the_stop_is_done_when_nobody_is_left() -> None:
    slot, actions = tell(HELD, RestSeen(KEY, 1, 2, "102 (sleep)"))
    assert slot.state is SlotState.STOPPING
    assert slot.reason == "its main process ended with status 0; 2 of its tree left: 102 (sleep)"
    assert not actions
    slot, actions = tell(slot, GONE)
    assert slot.state is SlotState.STOPPED
    assert slot.pid is None
    assert not slot.reason
    assert actions == [CancelTimer(timer(2))]


def test_what_is_seen_of_another_life_or_while_the_main_process_lives_counts_nothing() -> None:
    assert tell(HELD, RestSeen(KEY, 0, 0)) == (HELD, [])
    assert tell(STOPPING, GONE) == (STOPPING, [])
    assert tell(RUNNING, GONE) == (RUNNING, [])


def test_an_end_that_is_told_twice_counts_once() -> None:
    assert tell(HELD, ENDED) == (HELD, [])


def test_who_stays_is_killed_again_and_again_and_left_in_the_end() -> None:
    slot = HELD
    for number in range(1, GIVE_UP_KILLS + 1):
        slot, actions = tell(slot, TimerFired(timer(number + 1)))
        assert actions == [EndRest(KEY, 1, 9, "tree"), StartTimer(timer(number + 2), KILL_AGAIN_S)]
        assert slot.kills == number
    slot, actions = tell(slot, TimerFired(timer(GIVE_UP_KILLS + 2)))
    assert slot.state is SlotState.STOPPED
    assert actions == [LeaveRest(KEY, 1)]


def test_the_rest_of_one_that_took_sigkill_is_killed_at_once() -> None:
    killed, _ = tell(STOPPING, TimerFired(timer(1)))
    _, actions = tell(killed, Exited(KEY, 1, -9))
    assert actions == [CancelTimer(timer(2)), EndRest(KEY, 1, 9, "tree"), StartTimer(timer(3), KILL_AGAIN_S)]


def test_after_an_own_end_the_next_one_comes_when_nobody_is_left() -> None:
    slot, actions = tell(RUNNING, ENDED, now=50.0)
    assert slot.state is SlotState.STOPPING
    assert slot.is_coming_up
    assert actions == [EndRest(KEY, 1, 15, "tree"), StartTimer(timer(1), 30.0)]
    slot, actions = tell(slot, GONE, now=51.0)
    assert slot.state is SlotState.STARTING
    assert actions == [CancelTimer(timer(1)), Spawn(KEY, 2)]


def test_an_own_end_is_judged_when_it_happens() -> None:
    policy = replace(TREE, flapping=FlappingPolicy(attempts=1, window_s=1.0, retry_in_s=7.0))
    slot, _ = tell(RUNNING, ENDED, policy=policy, now=0.5)
    assert slot.budget.pauses == 1
    slot, actions = tell(slot, GONE, policy=policy, now=20.0)
    assert slot.state is SlotState.BACKOFF
    assert actions[-1] == StartTimer(TimerKey("web", 1, "backoff", 2), 7.0)


@pytest.mark.parametrize("when", ["at the end", "afterwards"])
def test_nothing_follows_where_nothing_may(when: str) -> None:
    """Afterwards: the manager leaves meanwhile."""
    last = replace(TREE, respawn=False)
    slot, _ = tell(RUNNING, ENDED, policy=last if when == "at the end" else TREE)
    slot, actions = tell(slot, GONE, policy=last)
    assert slot.state is SlotState.EXITED
    assert slot.reason == "ended with status 0"
    assert actions == [CancelTimer(timer(1))]


def test_a_job_that_has_failed_is_not_tried_again_by_a_manager_that_leaves_meanwhile() -> None:
    fleet = Fleet([replace(TREE, oneshot=True, outlives_quit=True)])
    for event in (Start(1), SPAWNED, Exited(KEY, 1, 1), Quit(2)):
        fleet.step(event, 0.0)
    actions = fleet.step(GONE, 0.0)
    assert actions[-1] == Leave()
    assert not any(isinstance(action, StartTimer | Spawn) for action in actions)


def test_an_order_counts_more_than_an_own_end() -> None:
    flapping = replace(TREE, flapping=FlappingPolicy(attempts=1, max_retry=0))
    slot, _ = tell(RUNNING, ENDED, policy=flapping)
    down, _ = tell(slot, Down(), policy=flapping)
    assert not down.wants_up
    assert not down.is_coming_up
    assert tell(down, GONE, policy=flapping)[0].state is SlotState.STOPPED
    up, actions = tell(down, Up(), GONE, policy=flapping)
    assert up.state is SlotState.STARTING
    assert actions == [CancelTimer(timer(1)), Spawn(KEY, 2)]
    assert tell(slot, GONE, policy=flapping)[0].state is SlotState.FATAL


def test_a_kill_by_hand_goes_to_the_rest() -> None:
    slot, actions = tell(HELD, Kill(9, 0.5))
    assert actions == [EndRest(KEY, 1, 9, "tree"), CancelTimer(timer(2)), StartTimer(timer(3), 0.5)]
    assert slot.kills == 1
    slot, actions = tell(HELD, Kill())
    assert actions == [EndRest(KEY, 1, 15, "tree")]
    assert slot.kills == 0


def test_after_a_kill_by_hand_the_next_one_comes_when_nobody_is_left() -> None:
    held, _ = tell(RUNNING, Kill(), Exited(KEY, 1, -15))
    assert held.state is SlotState.STOPPING
    assert tell(held, GONE)[1] == [CancelTimer(timer(2)), Spawn(KEY, 2)]
    assert tell(held, GONE, policy=replace(TREE, respawn=False))[0].state is SlotState.EXITED


def test_an_end_that_overtook_its_spawn_has_a_rest_as_well() -> None:
    starting, _ = tell(Slot(KEY), Up())
    slot, actions = tell(starting, ENDED, SPAWNED)
    assert actions == [EndRest(KEY, 1, 15, "tree"), StartTimer(timer(1), 30.0)]
    assert tell(slot, GONE)[1][-1] == Spawn(KEY, 2)
    slot, actions = tell(starting, Down(), ENDED, SPAWNED)
    assert actions == [EndRest(KEY, 1, 15, "tree"), StartTimer(timer(1), 30.0)]
    assert tell(slot, GONE)[0].state is SlotState.STOPPED


def test_a_manager_that_leaves_begins_with_no_rest() -> None:
    fleet = Fleet([replace(TREE, outlives_quit=True)])
    for event in (Start(1), SPAWNED, Quit(2)):
        actions = fleet.step(event, 0.0)
    assert Leave() in actions
    assert not any(isinstance(action, EndRest) for action in fleet.step(ENDED, 0.0))
    assert not fleet.watchers["web"].is_busy
    assert fleet.watchers["web"].is_left_alone
