from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from circus.supervise.actions import Action, CancelTimer, Publish, RunHook, Signal, Spawn, StartTimer
from circus.supervise.budget import Budget
from circus.supervise.events import (
    Adopted,
    Exceeded,
    Exited,
    HookAnswered,
    RestSeen,
    Spawned,
    SpawnFailed,
    TimerFired,
    TimerKey,
)
from circus.supervise.moves import KILL_AGAIN_S
from circus.supervise.slot import Aging, Down, Kill, Resume, Slot, SlotEvent, Up
from circus.supervise.states import FlappingPolicy, SlotKey, SlotState, WatcherPolicy
from circus.supervise.table import TABLE, step

KEY = SlotKey("web", 1)
PLAIN = WatcherPolicy("web", graceful_timeout_s=30.0)
HOOKED = replace(PLAIN, hooks=frozenset({"after_spawn", "before_spawn"}))


def spawned(incarnation: int = 1) -> Spawned:
    return Spawned(KEY, incarnation, 70 + incarnation, 100 + incarnation, 1.5)


def after_spawn(ok: bool, incarnation: int = 1) -> HookAnswered:
    return HookAnswered("web", "after_spawn", ok, KEY, incarnation)


def tell(slot: Slot, *news: SlotEvent, policy: WatcherPolicy = PLAIN, now: float = 0.0) -> tuple[Slot, list[Action]]:
    """The slot after all of ``news``, and what the last of them caused, without what is only published."""
    actions: tuple[Action, ...] = ()
    for event in news:
        slot, actions = step(slot, event, now, policy)
    return slot, [action for action in actions if not isinstance(action, Publish)]


def published(slot: Slot, event: SlotEvent, policy: WatcherPolicy = PLAIN, now: float = 0.0) -> list[str]:
    return [action.event for action in step(slot, event, now, policy)[1] if isinstance(action, Publish)]


EMPTY = Slot(KEY)
STARTING, _ = tell(EMPTY, Up())
RUNNING, _ = tell(STARTING, spawned())
UNREADY, _ = tell(EMPTY, Up(), spawned(), policy=HOOKED)
STOPPING, _ = tell(RUNNING, Down())
BACKOFF, _ = tell(STARTING, SpawnFailed(KEY, 1, "no such program"))
FATAL, _ = tell(STARTING, SpawnFailed(KEY, 1, "no such program"), policy=replace(PLAIN, max_retry=1))
EXITED, _ = tell(RUNNING, Exited(KEY, 1, 0), policy=replace(PLAIN, respawn=False))
ALL = {slot.state: slot for slot in (EMPTY, STARTING, RUNNING, STOPPING, BACKOFF, FATAL, EXITED)}

KILL = TimerKey("web", 1, "kill", 1)
RETRY = TimerKey("web", 1, "backoff", 1)

#: One of each, fitting the first incarnation and the first timer.
NEWS: list[SlotEvent] = [
    Up(),
    Resume(Budget(failures=2)),
    Resume(Budget(pauses=1), "flapping", 3.0),
    Resume(Budget(pauses=1), "flapping", is_fatal=True),
    Down(),
    Aging(),
    Kill(),
    Kill(9, 0.5),
    Adopted(KEY, 7, 77, 1.0),
    spawned(),
    SpawnFailed(KEY, 1, "no such program"),
    Exited(KEY, 1, 1),
    RestSeen(KEY, 1, 0),
    Exceeded(KEY, 1, "memory 2.0G of 1.0G for 30 s"),
    TimerFired(KILL),
    HookAnswered("web", "before_spawn", False, KEY, 1),
    after_spawn(True),
    after_spawn(False),
]


# The table --------------------------------------------------------------------------------------------------


def test_every_state_answers_every_event() -> None:
    assert set(TABLE) == set(SlotState)
    for row in TABLE.values():
        assert set(row) == set(get_args(SlotEvent))


@pytest.mark.parametrize("event", NEWS, ids=repr)
@pytest.mark.parametrize("state", SlotState, ids=lambda state: state.value)
def test_the_answer_to_any_news_is_a_slot_that_keeps_its_promises(state: SlotState, event: SlotEvent) -> None:
    slot, actions = step(ALL[state], event, 1.0, PLAIN)
    assert_promises(slot)
    assert sum(isinstance(action, Spawn) for action in actions) == (slot.incarnation - ALL[state].incarnation) - (
        isinstance(event, Adopted) and slot is not ALL[state]
    )


def assert_promises(slot: Slot) -> None:
    assert (slot.pid is not None) == (slot.kernel_id is not None) == (slot.started_at is not None) == slot.is_alive
    assert slot.wants_up or slot.state in (SlotState.STOPPED, SlotState.STARTING, SlotState.STOPPING)
    assert not (slot.state is SlotState.STOPPED and slot.wants_up)
    assert not slot.is_ready or slot.state is SlotState.RUNNING
    assert slot.early_exit is None or slot.state is SlotState.STARTING
    assert slot.reason or slot.state not in (SlotState.BACKOFF, SlotState.FATAL, SlotState.EXITED)


@pytest.mark.parametrize("state", SlotState, ids=lambda state: state.value)
@pytest.mark.parametrize(
    "old",
    [
        spawned(0),
        SpawnFailed(KEY, 0, "late"),
        Exited(KEY, 0, 1),
        Exceeded(KEY, 0, "memory 2.0G of 1.0G for 30 s"),
        TimerFired(TimerKey("web", 1, "kill", 0)),
        after_spawn(False, 0),
    ],
    ids=repr,
)
def test_news_of_an_old_life_changes_nothing(state: SlotState, old: SlotEvent) -> None:
    slot = replace(ALL[state], incarnation=3, generation=3)
    assert step(slot, old, 1.0, PLAIN) == (slot, ())


# Up ---------------------------------------------------------------------------------------------------------


def test_up_spawns_a_new_incarnation() -> None:
    slot, actions = tell(EMPTY, Up())
    assert (slot.state, slot.incarnation, actions) == (SlotState.STARTING, 1, [Spawn(KEY, 1)])


def test_a_spawned_process_runs_and_is_ready() -> None:
    assert (RUNNING.state, RUNNING.is_ready, RUNNING.pid, RUNNING.kernel_id) == (SlotState.RUNNING, True, 101, 71)
    assert published(STARTING, spawned()) == ["spawn"]


def test_with_after_spawn_a_process_is_ready_and_told_of_when_the_hook_agrees() -> None:
    assert not UNREADY.is_ready and UNREADY.is_coming_up
    assert published(tell(EMPTY, Up(), policy=HOOKED)[0], spawned(), HOOKED) == []
    assert tell(EMPTY, Up(), policy=HOOKED)[1] == [Spawn(KEY, 1, awaits_hook=True)]
    assert tell(UNREADY, after_spawn(True), policy=HOOKED)[0].is_ready
    assert published(UNREADY, after_spawn(True), HOOKED) == ["spawn"]


def test_after_spawn_that_agrees_twice_is_told_of_once() -> None:
    ready, _ = tell(UNREADY, after_spawn(True), policy=HOOKED)
    assert step(ready, after_spawn(True), 0.0, HOOKED) == (ready, ())


def test_whether_the_hook_is_awaited_is_decided_when_the_process_is_spawned() -> None:
    slot, _ = tell(tell(EMPTY, Up())[0], spawned(), policy=HOOKED)
    assert slot.is_ready


def test_after_spawn_that_refuses_ends_the_process_and_it_is_not_wanted_any_more() -> None:
    slot, actions = tell(UNREADY, after_spawn(False), policy=HOOKED)
    assert (slot.state, slot.wants_up) == (SlotState.STOPPING, False)
    assert slot.reason == "the hook after_spawn refused process 101"
    assert isinstance(actions[0], Signal)
    assert tell(slot, Exited(KEY, 1, -15))[0].reason == slot.reason


def test_before_spawn_that_refuses_leaves_the_slot_empty() -> None:
    slot, actions = tell(STARTING, HookAnswered("web", "before_spawn", False, KEY, 1))
    assert (slot.state, slot.wants_up, actions) == (SlotState.STOPPED, False, [])
    assert slot.reason == "the hook before_spawn refused"


def test_before_spawn_that_agrees_is_no_news() -> None:
    assert step(STARTING, HookAnswered("web", "before_spawn", True, KEY, 1), 0.0, PLAIN) == (STARTING, ())
    assert step(RUNNING, HookAnswered("web", "before_spawn", False, KEY, 1), 0.0, PLAIN) == (RUNNING, ())
    assert step(STARTING, after_spawn(False), 0.0, PLAIN) == (STARTING, ())


def test_an_adopted_process_runs_and_is_ready_under_a_number_of_its_own() -> None:
    slot, actions = tell(replace(EMPTY, incarnation=4), Adopted(KEY, 7, 77, 1.0))
    assert (slot.state, slot.is_ready, slot.incarnation, slot.pid) == (SlotState.RUNNING, True, 5, 77)
    assert (slot.started_at, actions) == (1.0, [])


def test_after_spawn_runs_for_an_adopted_process_too_and_may_refuse_it() -> None:
    slot, actions = tell(EMPTY, Adopted(KEY, 7, 77, 1.0), policy=HOOKED)
    assert actions == [RunHook("web", "after_spawn", is_awaited=True, slot=KEY, incarnation=1)]
    assert slot.is_ready
    assert tell(slot, after_spawn(True), policy=HOOKED) == (slot, [])
    assert tell(slot, after_spawn(False), policy=HOOKED)[0].state is SlotState.STOPPING


# Spawns that fail -------------------------------------------------------------------------------------------


def test_a_failed_spawn_waits_and_is_tried_again() -> None:
    assert BACKOFF.state is SlotState.BACKOFF
    slot, actions = tell(STARTING, SpawnFailed(KEY, 1, "no such program"))
    assert actions == [StartTimer(RETRY, 0.1)]
    assert slot.reason == "no such program; next attempt after 0.1 s"
    slot, actions = tell(slot, TimerFired(RETRY))
    assert actions == [Spawn(KEY, 2)]
    slot, actions = tell(slot, SpawnFailed(KEY, 2, "no such program"))
    assert actions == [StartTimer(replace(RETRY, generation=2), 0.2)]


def test_the_last_failed_spawn_is_fatal_and_the_reason_is_kept() -> None:
    assert (FATAL.state, FATAL.wants_up) == (SlotState.FATAL, True)
    assert FATAL.reason == "no such program (gave up after 1 attempt)"
    assert published(STARTING, SpawnFailed(KEY, 1, "x"), replace(PLAIN, max_retry=1)) == ["fatal"]


def test_a_spawn_that_works_forgives_those_that_failed() -> None:
    slot, _ = tell(BACKOFF, TimerFired(RETRY), spawned(2))
    assert slot.budget.failures == 0


def test_a_failed_spawn_of_a_slot_that_is_not_wanted_any_more_leaves_it_empty() -> None:
    slot, actions = tell(STARTING, Down(), SpawnFailed(KEY, 1, "x"))
    assert (slot.state, actions) == (SlotState.STOPPED, [])


def test_up_does_not_wait_for_the_next_attempt_and_forgives_the_past() -> None:
    slot, actions = tell(BACKOFF, Up())
    assert actions == [CancelTimer(RETRY), Spawn(KEY, 2)]
    assert slot.budget.failures == 0


def test_down_ends_the_waiting() -> None:
    slot, actions = tell(BACKOFF, Down())
    assert (slot.state, slot.wants_up, actions) == (SlotState.STOPPED, False, [CancelTimer(RETRY)])


@pytest.mark.parametrize("spent", [FATAL, EXITED], ids=["fatal", "exited"])
def test_what_has_ended_for_good_begins_anew_with_up_only(spent: Slot) -> None:
    slot, actions = tell(spent, Up())
    assert actions == [Spawn(KEY, 2)]
    assert slot.budget.failures == 0
    slot, actions = tell(spent, Down())
    assert (slot.state, slot.wants_up, actions) == (SlotState.STOPPED, False, [])


# Deaths -----------------------------------------------------------------------------------------------------


def test_a_process_that_ends_by_itself_is_followed_by_another_at_once() -> None:
    slot, actions = tell(RUNNING, Exited(KEY, 1, -11), now=5.0)
    assert (slot.state, slot.last_status, actions) == (SlotState.STARTING, -11, [Spawn(KEY, 2)])
    assert published(RUNNING, Exited(KEY, 1, -11)) == ["reap"]


def test_a_program_that_cannot_live_is_started_ever_more_slowly() -> None:
    slot, _ = tell(RUNNING, Exited(KEY, 1, 1), spawned(2), now=0.0)
    slot, actions = tell(slot, Exited(KEY, 2, 1), now=0.1)
    assert (slot.state, actions) == (SlotState.BACKOFF, [StartTimer(RETRY, 0.1)])


def test_flapping_pauses_and_says_so() -> None:
    policy = replace(PLAIN, flapping=FlappingPolicy(attempts=1, retry_in_s=7.0, max_retry=0))
    assert published(RUNNING, Exited(KEY, 1, 1), replace(policy, flapping=FlappingPolicy(attempts=1))) == [
        "reap",
        "flapping",
        "backoff",
    ]
    assert published(RUNNING, Exited(KEY, 1, 1), policy) == ["reap", "flapping", "fatal"]


def test_without_respawn_the_end_is_the_end_and_how_it_came_is_kept() -> None:
    assert (EXITED.state, EXITED.reason, EXITED.last_status) == (SlotState.EXITED, "ended with status 0", 0)
    policy = replace(PLAIN, respawn=False)
    assert tell(RUNNING, Exited(KEY, 1, -9), policy=policy)[0].reason == "ended by signal 9"
    assert tell(RUNNING, Exited(KEY, 1, None), policy=policy)[0].reason == "ended, nobody knows how"


def test_an_exit_that_overtakes_its_spawn_counts_as_soon_as_the_spawn_is_answered() -> None:
    slot, actions = tell(STARTING, Exited(KEY, 1, 3))
    assert (slot.state, actions) == (SlotState.STARTING, [])
    slot, actions = tell(slot, spawned())
    assert (slot.state, slot.incarnation, slot.last_status, actions) == (SlotState.STARTING, 2, 3, [Spawn(KEY, 2)])


def test_an_exit_that_overtakes_its_spawn_empties_a_slot_that_is_not_wanted_any_more() -> None:
    slot, actions = tell(STARTING, Down(), Exited(KEY, 1, 3), spawned())
    assert (slot.state, slot.last_status, actions) == (SlotState.STOPPED, 3, [])


# Down -------------------------------------------------------------------------------------------------------


def test_down_sends_the_stop_signal_and_watches_the_grace() -> None:
    slot, actions = tell(RUNNING, Down(), policy=replace(PLAIN, stop_signal=3, stop_children=True))
    assert slot.state is SlotState.STOPPING
    assert actions == [Signal(KEY, 1, 3, children=True), StartTimer(KILL, 30.0)]
    assert published(RUNNING, Down()) == ["kill"]


def test_sigkill_as_stop_signal_cannot_be_vetoed() -> None:
    _, actions = tell(RUNNING, Down(), policy=replace(PLAIN, stop_signal=9))
    assert actions[0] == Signal(KEY, 1, 9, is_kill=True)


def test_the_end_of_a_stopping_process_empties_the_slot_and_ends_the_grace() -> None:
    slot, actions = tell(STOPPING, Exited(KEY, 1, -15))
    assert (slot.state, slot.last_status, actions) == (SlotState.STOPPED, -15, [CancelTimer(KILL)])
    assert published(STOPPING, Exited(KEY, 1, -15)) == ["reap"]


def test_after_the_grace_comes_sigkill_again_and_again_until_the_process_goes() -> None:
    slot, actions = tell(STOPPING, TimerFired(KILL))
    second = replace(KILL, generation=2)
    assert actions == [Signal(KEY, 1, 9, is_kill=True, children=True), StartTimer(second, KILL_AGAIN_S)]
    slot, actions = tell(slot, TimerFired(second))
    assert isinstance(actions[0], Signal)
    assert (slot.state, slot.kills) == (SlotState.STOPPING, 2)


def test_a_late_timer_of_an_earlier_grace_kills_nobody() -> None:
    slot, _ = tell(STOPPING, Up(), Exited(KEY, 1, -15), spawned(2), Down())
    assert step(slot, TimerFired(KILL), 0.0, PLAIN) == (slot, ())


def test_down_during_the_spawn_ends_the_process_as_soon_as_it_is_there() -> None:
    slot, actions = tell(STARTING, Down())
    assert (slot.state, actions) == (SlotState.STARTING, [])
    slot, actions = tell(slot, spawned())
    assert slot.state is SlotState.STOPPING
    assert actions == [Signal(KEY, 1, 15), StartTimer(KILL, 30.0)]


def test_up_after_down_during_the_spawn_keeps_the_process() -> None:
    slot, actions = tell(STARTING, Down(), Up(), spawned())
    assert (slot.state, actions) == (SlotState.RUNNING, [])


def test_up_while_stopping_spawns_when_the_old_process_has_gone() -> None:
    slot, actions = tell(STOPPING, Up())
    assert (slot.state, actions) == (SlotState.STOPPING, [])
    slot, actions = tell(slot, Exited(KEY, 1, -15), policy=replace(PLAIN, respawn=False))
    assert actions == [CancelTimer(KILL), Spawn(KEY, 2)]


def test_an_ordered_death_costs_nothing_of_the_budget() -> None:
    flapping = replace(PLAIN, flapping=FlappingPolicy(attempts=1))
    slot, _ = tell(STOPPING, Up(), Exited(KEY, 1, -15), policy=flapping)
    assert (slot.state, slot.budget.deaths) == (SlotState.STARTING, ())


def test_down_while_stopping_takes_the_wish_back() -> None:
    slot, actions = tell(STOPPING, Up(), Down(), Exited(KEY, 1, -15))
    assert (slot.state, actions) == (SlotState.STOPPED, [CancelTimer(KILL)])


# Killed by hand ---------------------------------------------------------------------------------------------


def test_a_kill_ends_a_process_as_a_stop_does_it_and_another_one_follows() -> None:
    slot, actions = tell(RUNNING, Kill())
    assert (slot.state, slot.wants_up) == (SlotState.STOPPING, True)
    assert actions == [Signal(KEY, 1, 15), StartTimer(KILL, 30.0)]
    slot, actions = tell(slot, Exited(KEY, 1, -15), policy=replace(PLAIN, flapping=FlappingPolicy(attempts=1)))
    assert actions == [CancelTimer(KILL), Spawn(KEY, 2)]
    assert (slot.is_killed, slot.budget.deaths) == (False, ())


def test_a_kill_has_a_signal_and_a_grace_of_its_own() -> None:
    slot, actions = tell(RUNNING, Kill(2, 0.5))
    assert actions == [Signal(KEY, 1, 2), StartTimer(KILL, 0.5)]
    slot, actions = tell(slot, TimerFired(KILL))
    assert actions[0] == Signal(KEY, 1, 9, is_kill=True, children=True)


@pytest.mark.parametrize(
    ("policy", "status", "state"),
    [
        (replace(PLAIN, respawn=False), -15, SlotState.EXITED),
        (replace(PLAIN, on_demand=True), 0, SlotState.EXITED),
        (replace(PLAIN, on_demand=True), -15, SlotState.STARTING),
    ],
)
def test_what_follows_on_a_kill_is_what_follows_on_an_end_by_itself(
    policy: WatcherPolicy, status: int, state: SlotState
) -> None:
    slot, actions = tell(RUNNING, Kill(), Exited(KEY, 1, status), policy=policy)
    assert (slot.state, slot.wants_up, actions[0]) == (state, True, CancelTimer(KILL))


def test_a_second_kill_sends_the_signal_again_and_leaves_the_grace() -> None:
    slot, actions = tell(RUNNING, Kill(), Kill(9))
    assert actions == [Signal(KEY, 1, 9, is_kill=True)]
    assert (slot.generation, slot.kills) == (1, 1)
    _, actions = tell(slot, Kill(None, 0.5))
    assert actions == [Signal(KEY, 1, 15), CancelTimer(KILL), StartTimer(replace(KILL, generation=2), 0.5)]
    assert published(slot, Kill()) == ["kill"]


def test_a_kill_of_what_is_being_stopped_does_not_bring_it_back() -> None:
    slot, actions = tell(STOPPING, Kill(9), Exited(KEY, 1, -9))
    assert (slot.state, actions) == (SlotState.STOPPED, [CancelTimer(KILL)])


def test_a_stop_of_what_was_killed_leaves_the_slot_empty() -> None:
    slot, actions = tell(RUNNING, Kill(), Down(), Exited(KEY, 1, -15), policy=replace(PLAIN, respawn=False))
    assert (slot.state, actions) == (SlotState.STOPPED, [CancelTimer(KILL)])


@pytest.mark.parametrize("slot", [EMPTY, STARTING, BACKOFF, FATAL, EXITED], ids=lambda slot: slot.state.value)
def test_where_there_is_no_process_a_kill_does_nothing(slot: Slot) -> None:
    assert step(slot, Kill(9, 0.0), 0.0, PLAIN) == (slot, ())


# Any story --------------------------------------------------------------------------------------------------


# Age --------------------------------------------------------------------------------------------------------

AGING = replace(PLAIN, max_age_s=60.0, max_age_spread_s=30.0)
AGE = TimerKey("web", 1, "age", 1)


def test_a_process_that_is_too_old_is_told_to_end_and_another_one_follows() -> None:
    slot, actions = tell(STARTING, spawned(), policy=AGING)
    assert actions == [StartTimer(AGE, 60.0, 30.0)]
    slot, actions = tell(slot, TimerFired(AGE), policy=AGING, now=70.0)
    kill = replace(KILL, generation=2)
    assert (slot.state, slot.wants_up) == (SlotState.STOPPING, True)
    assert slot.reason == "renewed, as it is older than 60 s"
    assert actions == [Signal(KEY, 1, 15), StartTimer(kill, 30.0)]
    slot, actions = tell(slot, Exited(KEY, 1, -15), policy=AGING)
    assert actions == [CancelTimer(kill), Spawn(KEY, 2)]
    assert slot.reason == ""


@pytest.mark.parametrize(("age_s", "left_s"), [(0.0, 60.0), (50.0, 10.0), (1e9, 0.0)])
def test_the_age_of_an_adopted_process_counts_from_its_start(age_s: float, left_s: float) -> None:
    _, actions = tell(EMPTY, Adopted(KEY, 7, 77, 1.0, age_s), policy=AGING, now=5.0)
    assert actions == [StartTimer(AGE, left_s, 30.0)]


@pytest.mark.parametrize("end", [Down(), Exited(KEY, 1, 1)])
def test_who_ends_before_is_not_waited_for_any_more(end: SlotEvent) -> None:
    slot, actions = tell(STARTING, spawned(), end, policy=AGING)
    assert actions[0] == CancelTimer(AGE)
    assert not slot.is_aging


def test_another_limit_counts_from_the_start_of_the_process_too() -> None:
    slot, _ = tell(STARTING, spawned(), policy=AGING)
    less = replace(AGING, max_age_s=20.0)
    again, actions = tell(slot, Aging(), policy=less, now=15.0)
    assert actions == [CancelTimer(AGE), StartTimer(replace(AGE, generation=2), 5.0, 30.0)]
    _, actions = tell(again, Aging(), policy=PLAIN, now=16.0)
    assert actions == [CancelTimer(replace(AGE, generation=2))]
    assert tell(RUNNING, Aging(), policy=less, now=15.0)[1] == [StartTimer(AGE, 5.0, 30.0)]


class SlotStory(RuleBasedStateMachine):
    """A slot, and a world that answers its spawns late, ends processes, and repeats old news."""

    def __init__(self) -> None:
        super().__init__()
        self.slot = EMPTY
        self.now = 0.0
        self.policy = replace(
            PLAIN, hooks=frozenset({"after_spawn"}), max_retry=3, flapping=FlappingPolicy(attempts=3, max_retry=2)
        )
        self.wants_up = False
        self.asked: int | None = None  # incarnation of the open spawn
        self.alive: int | None = None
        self.hook: int | None = None
        self.timer: TimerKey | None = None
        self.past: list[SlotEvent] = []

    def tell(self, event: SlotEvent) -> None:
        self.past.append(event)
        self.slot, actions = step(self.slot, event, self.now, self.policy)
        for action in actions:
            match action:
                case Spawn(_, incarnation, awaits_hook):
                    assert self.asked is None and self.alive is None, "a second life"
                    assert self.wants_up, "nobody wants it"
                    self.asked = incarnation
                    self.hook = incarnation if awaits_hook else None
                case StartTimer(key, _):
                    assert self.timer is None, "a second timer"
                    self.timer = key
                case CancelTimer(key):
                    assert self.timer == key
                    self.past.append(TimerFired(key))
                    self.timer = None
                case Signal(_, incarnation):
                    assert incarnation == self.slot.incarnation

    @rule()
    def up(self) -> None:
        self.wants_up = True
        self.tell(Up())

    @rule(signum=st.sampled_from([None, 9]), grace_s=st.sampled_from([None, 0.0, 2.0]))
    def kill(self, signum: int | None, grace_s: float | None) -> None:
        self.tell(Kill(signum, grace_s))

    @rule()
    def down(self) -> None:
        self.wants_up = False
        self.tell(Down())

    @rule(respawn=st.booleans(), max_age_s=st.sampled_from([0.0, 2.0]))
    def change(self, respawn: bool, max_age_s: float) -> None:
        self.policy = replace(self.policy, respawn=respawn, max_age_s=max_age_s)
        self.tell(Aging())

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.asked)
    @rule()
    def answer(self) -> None:
        self.alive, self.asked = self.asked, None
        self.tell(spawned(self.alive or 0))

    @precondition(lambda self: self.asked)
    @rule()
    def fail(self) -> None:
        asked, self.asked, self.hook = self.asked, None, None
        self.tell(SpawnFailed(KEY, asked or 0, "no such program"))

    @precondition(lambda self: self.asked)
    @rule()
    def refuse(self) -> None:
        asked, self.asked, self.hook, self.wants_up = self.asked, None, None, False
        self.tell(HookAnswered("web", "before_spawn", False, KEY, asked))

    @precondition(lambda self: self.asked)
    @rule()
    def end_before_the_answer(self) -> None:
        asked, self.asked, self.hook = self.asked or 0, None, None
        early = Exited(KEY, asked, 1)
        self.slot, _ = step(self.slot, early, self.now, self.policy)
        self.tell(spawned(asked))

    @precondition(lambda self: self.alive)
    @rule(status=st.sampled_from([0, 1, -9]))
    def end(self, status: int) -> None:
        alive, self.alive = self.alive or 0, None
        self.tell(Exited(KEY, alive, status))

    @precondition(lambda self: self.hook and self.alive)
    @rule(ok=st.booleans())
    def agree(self, ok: bool) -> None:
        hook, self.hook = self.hook or 0, None
        if not ok:
            self.wants_up = self.wants_up and self.slot.state is not SlotState.RUNNING
        self.tell(after_spawn(ok, hook))

    @precondition(lambda self: self.timer)
    @rule()
    def fire(self) -> None:
        key, self.timer = self.timer, None
        assert key is not None
        self.tell(TimerFired(key))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        facts = [each for each in self.past if not isinstance(each, Up | Down | Aging | Kill)]
        if facts:
            old: Any = data.draw(st.sampled_from(facts))
            slot, actions = step(self.slot, old, self.now, self.policy)
            assert (slot, actions) == (self.slot, ())

    @invariant()
    def promises(self) -> None:
        assert_promises(self.slot)
        state = self.slot.state
        assert (state is SlotState.STARTING) == (self.asked is not None)
        assert self.slot.is_alive == (self.alive is not None)
        waits = state in (SlotState.STOPPING, SlotState.BACKOFF) or self.slot.is_aging
        assert waits == (self.timer is not None)
        assert state is SlotState.RUNNING or not self.slot.is_aging
        assert self.slot.is_aging == (state is SlotState.RUNNING and self.policy.max_age_s > 0)
        assert self.slot.wants_up == self.wants_up
        if self.slot.is_alive and not self.wants_up:
            assert state is SlotState.STOPPING
        if state is SlotState.RUNNING and not self.slot.is_ready:
            assert self.hook == self.slot.incarnation


TestSlotStory = SlotStory.TestCase
