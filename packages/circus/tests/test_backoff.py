"""Back-off: pauses that grow after failures in a row, and an end to them."""

from __future__ import annotations

import dataclasses
import random

import pytest
from msgspec.structs import replace

from circus.supervise import actions, events
from circus.supervise.budget import (
    UNTOUCHED,
    Again,
    Budget,
    GiveUp,
    Recollection,
    Verdict,
    judge_death,
    judge_failure,
    pause_after,
)
from circus.supervise.fleet import Fleet
from circus.supervise.recall import after_death, standing_of
from circus.supervise.states import BackoffPolicy, FlappingPolicy, SlotState, WatcherPolicy, WatcherState

POLICY = BackoffPolicy(first_s=1.0, factor=2.0, max_s=5.0, jitter=0.5, stable_s=30.0, attempts=5)
WEB = WatcherPolicy("web", backoff=POLICY, max_retry=1, flapping=FlappingPolicy(attempts=1))


def fail(policy: WatcherPolicy, *lives_s: float | None) -> list[Verdict]:
    """Each life in turn; None is a spawn that failed."""
    budget, verdicts = UNTOUCHED, []
    for lived_s in lives_s:
        if lived_s is None:
            budget, verdict = judge_failure(budget, "no such program", policy)
        else:
            budget, verdict = judge_death(budget, "ended with status 1", policy, lived_s=lived_s, now=0.0)
        verdicts.append(verdict)
    return verdicts


def pauses(verdicts: list[Verdict]) -> list[float | None]:
    return [each.delay_s if isinstance(each, Again) else None for each in verdicts]


def test_the_pause_grows_by_the_factor_to_its_longest_for_spawns_and_deaths_alike() -> None:
    assert pauses(fail(WEB, 0.2, None, 3.0, None, None)) == [1.0, 2.0, 4.0, 5.0, None]


def test_the_end_comes_with_exactly_so_many_attempts_and_says_why() -> None:
    assert fail(WEB, *[0.2] * 5)[-1] == GiveUp(
        "gave up after 5 attempts in a row, the last: ended with status 1 after 0.2 s"
    )
    assert fail(WEB, *[None] * 5)[-1] == GiveUp("gave up after 5 attempts in a row, the last: no such program")
    once = replace(WEB, backoff=dataclasses.replace(POLICY, attempts=1))
    assert fail(once, 12.0) == [GiveUp("gave up after 1 attempt, the last: ended with status 1 after 12 s")]


def test_a_pause_says_after_what_and_how_many_failures_it_comes() -> None:
    first, _, third = fail(WEB, 0.2, 0.2, 0.2)
    assert first == Again(1.0, "ended with status 1 after 0.2 s", spread_s=0.5)
    assert third == Again(4.0, "ended with status 1 after 0.2 s, the 3rd failure in a row", spread_s=2.0)


def test_a_life_that_was_stable_forgives_all_before() -> None:
    assert pauses(fail(WEB, 1.0, 1.0, 29.9, 30.0, 1.0)) == [1.0, 2.0, 4.0, 1.0, 2.0]


def test_minus_1_tries_for_ever_and_no_numbers_are_too_large() -> None:
    for factor in (1.0, 1.000001, 2.0, 1000.0):
        policy = replace(WEB, backoff=BackoffPolicy(factor=factor, max_s=366 * 86400.0, attempts=-1))
        _, verdict = judge_failure(Budget(setbacks=10**9), "no such program", policy)
        assert isinstance(verdict, Again) and 1.0 <= verdict.delay_s <= 366 * 86400.0


def test_without_a_back_off_nothing_of_it_is_counted() -> None:
    budget, _ = judge_death(UNTOUCHED, "ended", WatcherPolicy("web"), lived_s=0.1, now=0.0)
    assert budget.setbacks == 0


# Whole watchers, by seeds -----------------------------------------------------------------------------------


class Loop:
    """One watcher whose processes never live for long; time passes from timer to timer."""

    def __init__(self, policy: WatcherPolicy, rng: random.Random) -> None:
        self.rng = rng
        self.fleet = Fleet([policy])
        self.now = 1000.0
        self.timers: dict[events.TimerKey, float] = {}
        self.spawned_at: list[float] = []
        self.failed_at: list[float] = []
        self.published: list[actions.Publish] = []
        self.finished: list[actions.Finish] = []

    def tell(self, event: events.Event) -> None:
        for action in self.fleet.step(event, self.now):
            match action:
                case actions.Spawn(slot, incarnation):
                    self.spawned_at.append(self.now)
                    self.fail(slot, incarnation)
                case actions.StartTimer(key, delay_s, spread_s):
                    self.timers[key] = self.now + delay_s + self.rng.uniform(0, spread_s)
                case actions.CancelTimer(key):
                    del self.timers[key]
                case actions.Publish():
                    self.published.append(action)
                case actions.Finish():
                    self.finished.append(action)

    def fail(self, slot: events.SlotKey, incarnation: int) -> None:
        if self.rng.random() < 0.3:
            self.failed_at.append(self.now)
            self.tell(events.SpawnFailed(slot, incarnation, "no such program"))
            return
        self.tell(events.Spawned(slot, incarnation, 1, len(self.spawned_at), self.now))
        self.now += self.rng.uniform(0, POLICY.stable_s - 0.1)
        self.failed_at.append(self.now)
        self.tell(events.Exited(slot, incarnation, 1))

    def run(self, timers: int = 1000) -> None:
        while self.timers and timers:
            key = min(self.timers, key=lambda key: self.timers[key])
            self.now = max(self.now, self.timers.pop(key))
            self.tell(events.TimerFired(key))
            timers -= 1


@pytest.mark.parametrize("seed", range(60))
def test_a_crash_loop_is_slower_and_slower_and_ends_once_as_the_policy_says(seed: int) -> None:
    rng = random.Random(seed)
    first_s = rng.choice([0.1, 1.0, 3.0])
    backoff = BackoffPolicy(
        first_s, rng.choice([1.0, 1.5, 2.0, 10.0]), first_s * rng.choice([1, 4, 60]), rng.choice([0.0, 0.1, 1.0]),
        POLICY.stable_s, rng.choice([1, 2, 6, 20]),
    )  # fmt: skip
    loop = Loop(WatcherPolicy("web", backoff=backoff), rng)
    loop.tell(events.Start(1))
    loop.run()
    assert len(loop.spawned_at) == len(loop.failed_at) == backoff.attempts, "fatal exactly after so many attempts"
    waited = [later - failed for failed, later in zip(loop.failed_at, loop.spawned_at[1:], strict=False)]
    least = [pause_after(backoff, number) for number in range(1, backoff.attempts)]
    assert least == sorted(least) and max(least, default=0.0) <= backoff.max_s
    assert all(low - 1e-6 <= each <= low * (1 + backoff.jitter) + 1e-6 for low, each in zip(least, waited, strict=True))
    assert [each.event for each in loop.published].count("fatal") == 1
    (slot,) = loop.fleet.watchers["web"].slots.values()
    assert (slot.state, loop.fleet.watchers["web"].state) == (SlotState.FATAL, WatcherState.STOPPED)
    assert loop.finished and slot.reason.startswith("gave up after")

    loop.tell(events.Start(2))
    loop.run()
    assert len(loop.spawned_at) == 2 * backoff.attempts, "a start begins anew"


def test_a_start_tells_the_first_failure_and_does_not_wait_for_the_pauses() -> None:
    fleet = Fleet([WatcherPolicy("web", backoff=dataclasses.replace(POLICY, attempts=-1))])
    (spawn,) = [each for each in fleet.step(events.Start(1), 0.0) if isinstance(each, actions.Spawn)]
    caused = fleet.step(events.SpawnFailed(spawn.slot, spawn.incarnation, "no such program"), 0.0)
    (finish,) = [each for each in caused if isinstance(each, actions.Finish)]
    assert not finish.ok and "no such program; next attempt after 1 to 1.5 s" in finish.error


def test_what_lives_keeps_its_count_for_the_next_manager() -> None:
    fleet = Fleet([WEB])
    fleet.step(events.Start(1), 0.0)
    key = fleet.watchers["web"].slots[1].key
    fleet.step(events.Spawned(key, 1, 1, 1, 0.0), 0.0)
    (timer,) = [each for each in fleet.step(events.Exited(key, 1, 1), 1.0) if isinstance(each, actions.StartTimer)]
    fleet.step(events.TimerFired(timer.key), 2.0)
    fleet.step(events.Spawned(key, 2, 1, 1, 0.0), 2.0)
    (known,) = standing_of(fleet.watchers["web"]).slots
    assert known.budget.setbacks == 1


@pytest.mark.parametrize("order", [events.Quit, events.Shutdown])
def test_a_manager_that_leaves_begins_no_other_attempt(order: type[events.Quit]) -> None:
    fleet = Fleet([replace(WEB, outlives_quit=True)])
    fleet.step(events.Start(1), 0.0)
    key = fleet.watchers["web"].slots[1].key
    fleet.step(order(2), 0.0)
    caused = fleet.step(events.SpawnFailed(key, 1, "no such program"), 0.0)
    assert any(isinstance(each, actions.Leave) for each in caused)
    assert not any(isinstance(each, actions.StartTimer | actions.Spawn) for each in caused)


def test_a_death_that_nobody_saw_is_told_with_its_pause_as_any_other() -> None:
    known = after_death(Recollection(1, Budget(setbacks=1)), 1, WEB, lived_s=0.2, ended=3.0)
    assert known.reason.endswith("the 2nd failure in a row; next attempt after 2 to 3 s")
    assert (known.pause_ends, known.budget.setbacks) == (5.0, 2)
