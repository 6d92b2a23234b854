from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from circus.supervise.budget import (
    DEATH_DELAY_CAP_S,
    MAX_DEATHS,
    SPAWN_DELAY_CAP_S,
    UNTOUCHED,
    Again,
    Budget,
    GiveUp,
    Verdict,
    judge_death,
    judge_failure,
)
from circus.supervise.states import FlappingPolicy, WatcherPolicy

PLAIN = WatcherPolicy("web")


def fail(times: int, policy: WatcherPolicy) -> list[Verdict]:
    budget, verdicts = UNTOUCHED, []
    for _ in range(times):
        budget, verdict = judge_failure(budget, "no such program", policy)
        verdicts.append(verdict)
    return verdicts


def die(at: list[float], policy: WatcherPolicy, *, lived_s: float = 0.1) -> list[Verdict]:
    budget, verdicts = UNTOUCHED, []
    for now in at:
        budget, verdict = judge_death(budget, "ended with status 1", policy, lived_s=lived_s, now=now)
        verdicts.append(verdict)
    return verdicts


def delays(verdicts: list[Verdict]) -> list[float | None]:
    return [verdict.delay_s if isinstance(verdict, Again) else None for verdict in verdicts]


def test_spawns_that_fail_are_tried_again_ever_later_and_max_retry_times_at_most() -> None:
    assert delays(fail(5, PLAIN)) == pytest.approx([0.1, 0.2, 0.4, 0.8, None])


def test_giving_up_names_the_reason_and_the_number_of_attempts() -> None:
    assert fail(5, PLAIN)[-1] == GiveUp("no such program (gave up after 5 attempts)")
    assert fail(1, replace(PLAIN, max_retry=1)) == [GiveUp("no such program (gave up after 1 attempt)")]


def test_max_retry_0_still_means_one_attempt() -> None:
    assert delays(fail(1, replace(PLAIN, max_retry=0))) == [None]


def test_max_retry_minus_1_tries_for_ever_and_never_waits_longer_than_the_cap() -> None:
    waited = delays(fail(2000, replace(PLAIN, max_retry=-1)))
    assert None not in waited
    assert waited[-1] == SPAWN_DELAY_CAP_S


def test_the_first_short_life_is_answered_at_once_and_the_next_ones_ever_later() -> None:
    assert delays(die([0.0] * 5, PLAIN)) == pytest.approx([0.0, 0.0 + 0.1, 0.2, 0.4, 0.8])
    assert delays(die([0.0] * 100, PLAIN))[-1] == DEATH_DELAY_CAP_S


def test_a_long_life_forgives_the_short_ones() -> None:
    budget = Budget(short_lives=7)
    budget, verdict = judge_death(budget, "ended", PLAIN, lived_s=1.0, now=5.0)
    assert (budget.short_lives, verdict) == (0, Again(0.0, "ended"))


def test_a_pause_between_short_lives_says_how_many_they_were() -> None:
    verdicts = die([0.0] * 12, PLAIN)
    reasons = [verdict.reason for verdict in verdicts]
    assert reasons[0] == "ended with status 1"
    assert reasons[1].endswith("the 2nd short life in a row")
    assert reasons[2].endswith("the 3rd short life in a row")
    assert reasons[11].endswith("the 12th short life in a row")


FLAPPING = replace(PLAIN, flapping=FlappingPolicy(attempts=3, window_s=2.0, retry_in_s=7.0, max_retry=1))


def test_attempts_deaths_within_the_window_are_flapping_and_pause_the_slot() -> None:
    verdicts = die([0.0, 1.0, 2.0], FLAPPING)
    assert delays(verdicts) == [0.0, 0.0, 7.0]
    assert [verdict.is_flapping for verdict in verdicts] == [False, False, True]
    assert verdicts[-1].reason == "flapping: 3 deaths within 2 s; last: ended with status 1"


def test_deaths_further_apart_than_the_window_are_answered_at_once_for_ever() -> None:
    assert delays(die([0.0, 1.0, 2.1, 3.2, 4.3], FLAPPING)) == [0.0] * 5


def test_the_window_slides() -> None:
    assert delays(die([0.0, 1.5, 3.0, 3.4], FLAPPING)) == [0.0, 0.0, 0.0, 7.0]


def test_after_max_retry_pauses_the_next_flapping_is_the_last() -> None:
    verdicts = die([0.0, 0.1, 0.2, 7.2, 7.3, 7.4], FLAPPING)
    assert delays(verdicts) == [0.0, 0.0, 7.0, 0.0, 0.0, None]
    assert verdicts[-1].is_flapping
    assert "after 1 pauses" in verdicts[-1].reason


def test_flapping_with_max_retry_minus_1_pauses_for_ever() -> None:
    policy = replace(PLAIN, flapping=FlappingPolicy(attempts=1, max_retry=-1))
    assert delays(die([0.0] * 50, policy)) == [7.0] * 50


def test_a_life_longer_than_the_window_forgives_pauses_and_deaths() -> None:
    budget = Budget(deaths=(9.0, 9.1), pauses=1)
    budget, verdict = judge_death(budget, "ended", FLAPPING, lived_s=2.5, now=10.0)
    assert (budget, verdict) == (Budget(deaths=(10.0,)), Again(0.0, "ended"))


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), max_size=50),
    st.builds(FlappingPolicy, st.integers(-1, 10**9), st.floats(0, 10), st.floats(0, 10), st.integers(-1, 3)),
)
def test_the_tally_never_grows_beyond_its_bound(lives: list[tuple[float, float]], flapping: FlappingPolicy) -> None:
    policy, budget, now = replace(PLAIN, flapping=flapping), Budget(deaths=(0.0,) * MAX_DEATHS), 0.0
    for lived_s, waited_s in lives:
        now += lived_s + waited_s
        budget, _ = judge_death(budget, "ended", policy, lived_s=lived_s, now=now)
        assert len(budget.deaths) <= MAX_DEATHS
        assert list(budget.deaths) == sorted(budget.deaths)
