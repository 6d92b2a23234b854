"""A restart of circusd forgives nothing: what a slot knows of its failures goes over it, whatever the clock does."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.supervise import actions, events
from circus.supervise.budget import DEATH_DELAY_CAP_S, SPAWN_DELAY_CAP_S, UNTOUCHED, Budget, Recollection
from circus.supervise.fleet import Fleet
from circus.supervise.recall import Standing, after_death, from_json, standing_of, to_json
from circus.supervise.states import BackoffPolicy, FlappingPolicy, SlotKey, SlotState, WatcherPolicy, WatcherState

BACKOFF = WatcherPolicy("web", backoff=BackoffPolicy(0.5, 3.0, 20.0, 0.0, 1.0, 6))
FLAPPING = WatcherPolicy("web", flapping=FlappingPolicy(attempts=3, window_s=10.0, retry_in_s=7.0, max_retry=2))
PLAIN = WatcherPolicy("web", max_retry=2)

times = st.floats(0, 1e6)
budgets = st.builds(
    Budget,
    failures=st.integers(0, 9),
    short_lives=st.integers(0, 9),
    deaths=st.lists(times, max_size=5).map(lambda each: tuple(sorted(each))),
    pauses=st.integers(0, 5),
)
recollections = st.builds(
    Recollection,
    wid=st.integers(1, 99),
    budget=budgets,
    reason=st.text(max_size=20),
    is_fatal=st.booleans(),
    pause_ends=times,
    pause_s=st.sampled_from([0.0, 0.1, 7.0, 300.0]),
)


@given(
    st.lists(recollections, max_size=3),
    st.text(max_size=9),
    st.floats(0, 1e5),
    st.floats(1e9, 2e9),
    st.floats(-1e9, 1e9),
)
def test_no_pause_is_longer_than_the_policy_says_and_no_death_lies_in_the_future(
    slots: list[Recollection], given_up: str, away_s: float, wall: float, step_s: float
) -> None:
    standing = Standing(tuple(slots), given_up)
    content = json.loads(json.dumps(to_json(standing, now=1e6, wall=wall)))
    back = from_json(content, FLAPPING, now=50.0, wall=wall + away_s + step_s)
    assert back.given_up == given_up
    for was, known in zip(slots, back.slots, strict=True):
        assert (known.wid, known.is_fatal, known.reason) == (was.wid, was.is_fatal, was.reason)
        assert (known.budget.failures, known.budget.pauses) == (was.budget.failures, was.budget.pauses)
        assert known.pause_ends - 50.0 <= min(was.pause_s, SPAWN_DELAY_CAP_S if was.budget.failures else 7.0) + 1e-6
        assert all(death <= 50.001 for death in known.budget.deaths)
        assert len(known.budget.deaths) == len(was.budget.deaths)
        if was.budget.deaths:
            lasted = was.budget.deaths[-1] - was.budget.deaths[0]
            assert known.budget.deaths[-1] - known.budget.deaths[0] == pytest.approx(lasted, abs=0.01)


def test_with_an_honest_clock_the_rest_of_the_pause_is_left() -> None:
    known = Recollection(1, Budget(deaths=(990.0, 995.0), pauses=1), "why", pause_ends=1005.0, pause_s=7.0)
    content = to_json(Standing((known,)), now=1000.0, wall=5000.0)
    (back,) = from_json(content, FLAPPING, now=70.0, wall=5003.0).slots
    assert back == Recollection(1, Budget(deaths=(57.0, 62.0), pauses=1), "why", pause_ends=72.0, pause_s=7.0)
    content["slots"][0]["pause"] = 900.0
    content["slots"][0]["pause_ends"] = 9999.0
    assert from_json(content, FLAPPING, now=70.0, wall=5003.0).slots[0].pause_ends == 77.0, "the option is the limit"
    assert from_json(content, PLAIN, now=70.0, wall=5003.0).slots[0].pause_ends == 70.0 + DEATH_DELAY_CAP_S


@pytest.mark.parametrize(
    "damage", [{"wid": 0}, {"wid": None}, {"deaths": 3}, {"pause_ends": float("nan")}, {"deaths": [float("inf")]}]
)
def test_damage_is_told(damage: dict[str, object]) -> None:
    content = to_json(Standing((Recollection(1, UNTOUCHED, pause_ends=3.0, pause_s=3.0),)), now=1.0, wall=1.0)
    content["slots"][0] |= damage
    with pytest.raises((ValueError, TypeError)):
        from_json(content, PLAIN, now=1.0, wall=1.0)


def test_a_death_without_a_manager_counts_as_with_one() -> None:
    known = Recollection(1, Budget(deaths=(1.0, 2.0)))
    waits = after_death(known, 1, FLAPPING, lived_s=0.5, ended=3.0)
    assert (waits.pause_ends, waits.budget.pauses) == (10.0, 1)
    assert "flapping" in waits.reason and "next attempt after 7 s" in waits.reason
    last = Recollection(1, Budget(deaths=(1.0, 2.0), pauses=2))
    assert after_death(last, 1, FLAPPING, lived_s=0.5, ended=3.0).is_fatal
    assert after_death(last, 1, FLAPPING, lived_s=11.0, ended=13.0).budget == Budget(deaths=(13.0,))
    once = WatcherPolicy("job", respawn=False)
    assert after_death(last, 1, once, lived_s=0.5, ended=3.0) == last, "nothing follows on its end"


# With the cores ---------------------------------------------------------------------------------------------


class Machine:
    """Managers that come and go over processes of one watcher, each of which lives for ``lives_s``."""

    def __init__(self, policy: WatcherPolicy, lives_s: float) -> None:
        self.policy = policy
        self.lives_s = lives_s
        self.now = 1000.0
        self.spawned_at: list[float] = []
        self.life: tuple[SlotKey, int, float] | None = None
        self.timers: dict[events.TimerKey, float] = {}
        self.fleet = Fleet([policy])
        self.tell(events.Start(1, resumes=True))

    def tell(self, event: events.Event) -> None:
        for action in self.fleet.step(event, self.now):
            match action:
                case actions.Spawn(slot, incarnation):
                    self.spawned_at.append(self.now)
                    if self.lives_s < 0:
                        self.tell(events.SpawnFailed(slot, incarnation, "no such program"))
                    else:
                        self.life = (slot, incarnation, self.now)
                        self.tell(events.Spawned(slot, incarnation, 1, len(self.spawned_at), self.now))
                case actions.StartTimer(key, delay_s):
                    self.timers[key] = self.now + delay_s
                case actions.CancelTimer(key):
                    del self.timers[key]

    def restart(self) -> None:
        """Another manager, in another boot perhaps: only the wall clock goes on."""
        watcher = self.fleet.watchers["web"]
        content = json.loads(json.dumps(to_json(standing_of(watcher), now=self.now, wall=self.now + 5e8)))
        shift = random.Random(self.now).uniform(-900, 900)
        standing = from_json(content, self.policy, now=self.now + shift, wall=self.now + 5e8)
        self.now += shift
        self.spawned_at = [at + shift for at in self.spawned_at]
        self.fleet, self.timers = Fleet([self.policy]), {}
        self.tell(events.Recalled("web", standing.slots, standing.given_up))
        if self.life is not None:
            slot, _, at = self.life
            self.life = None
            age_s = self.now - (at + shift)
            self.tell(events.Adopted(slot, 1, len(self.spawned_at), at, age_s))
            self.life = (slot, self.fleet.watchers["web"].slots[slot.wid].incarnation, at + shift)
        if not standing.given_up:
            self.tell(events.Start(1, resumes=True))

    def pass_until(self, end: float) -> None:
        while True:
            dies_at = self.life[2] + self.lives_s if self.life is not None else end
            fires_at = min(self.timers.values(), default=end)
            if min(dies_at, fires_at) >= end:
                self.now = end
                return
            self.now = max(self.now, min(dies_at, fires_at))
            if dies_at <= fires_at and self.life is not None:
                slot, incarnation, _ = self.life
                self.life = None
                self.tell(events.Exited(slot, incarnation, 1))
            else:
                key = min(self.timers, key=lambda key: self.timers[key])
                del self.timers[key]
                self.tell(events.TimerFired(key))

    @property
    def pauses_s(self) -> list[float]:
        return [round(b - a, 2) for a, b in zip(self.spawned_at, self.spawned_at[1:], strict=False)]


@pytest.mark.parametrize("policy", [FLAPPING, BACKOFF, WatcherPolicy("web"), PLAIN, WatcherPolicy("web", max_retry=-1)])
@pytest.mark.parametrize("lives_s", [-1, 0.05, 0.5, 2.0])
def test_restarts_at_any_moment_change_nothing_of_a_crash_loop(policy: WatcherPolicy, lives_s: float) -> None:
    steady = Machine(policy, lives_s)
    steady.pass_until(steady.now + 99.3)
    for seed in range(10):
        rng = random.Random(seed)
        restless = Machine(policy, lives_s)
        left_s = 99.3
        while left_s > 0:
            step_s = min(left_s, rng.choice([0.01, 0.3, 2.0, 9.0]))
            restless.pass_until(restless.now + step_s)
            left_s -= step_s
            restless.restart()
        assert restless.pauses_s == pytest.approx(steady.pauses_s, abs=0.02), f"seed {seed}"
        views = [machine.fleet.watchers["web"].view() for machine in (steady, restless)]
        assert views[0].state == views[1].state and views[0].wants_up == views[1].wants_up
        assert [slot.state for slot in views[0].slots] == [slot.state for slot in views[1].slots]


def given_up() -> Machine:
    machine = Machine(FLAPPING, 0.1)
    machine.pass_until(machine.now + 100)
    assert machine.fleet.watchers["web"].given_up
    return machine


def test_who_gave_up_is_shown_as_before_and_begins_anew_when_a_person_starts_it() -> None:
    machine = given_up()
    before = machine.fleet.watchers["web"].view()
    spawns = len(machine.spawned_at)
    machine.restart()
    view = machine.fleet.watchers["web"].view()
    assert (view.state, view.reason, view.wants_up) == (WatcherState.STOPPED, before.reason, before.wants_up)
    assert [slot.state for slot in view.slots] == [SlotState.FATAL]
    machine.pass_until(machine.now + 100)
    assert len(machine.spawned_at) == spawns
    machine.tell(events.Start(2))
    machine.pass_until(machine.now + 100)
    assert len(machine.spawned_at) == 2 * spawns, "with a new budget"


@pytest.mark.parametrize("order", [events.Start, events.Restart])
def test_an_order_of_a_person_forgives_what_an_earlier_manager_knew(order: type[events.Start]) -> None:
    fleet = Fleet([FLAPPING])
    known = Recollection(1, Budget(pauses=2), "why", pause_ends=50.0, pause_s=7.0)
    fleet.step(events.Recalled("web", (known,)), 45.0)
    caused = fleet.step(order(1), 45.0)
    assert any(isinstance(action, actions.Spawn) for action in caused)
    assert fleet.watchers["web"].slots[1].budget == UNTOUCHED


def test_a_slot_keeps_its_place_and_what_is_not_wanted_any_more_is_forgotten() -> None:
    fleet = Fleet([FLAPPING])
    known = [Recollection(wid, Budget(pauses=1), "why", pause_ends=50.0, pause_s=7.0) for wid in (3, 5)]
    fleet.step(events.Recalled("web", tuple(known)), 45.0)
    fleet.step(events.Start(1, resumes=True), 45.0)
    (slot,) = fleet.watchers["web"].slots.values()
    assert (slot.key.wid, slot.state) == (3, SlotState.BACKOFF)
    assert not fleet.watchers["web"].places.recalled
