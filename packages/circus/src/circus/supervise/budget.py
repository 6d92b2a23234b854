"""How often a slot may try again: pure judgements over a small tally.

One idea: the slot reports what happened, the budget answers with a delay or with the end of patience. Where the
watcher has a policy of back-off, one tally counts all failures in a row, spawns that failed and deaths alike: the
pause grows from ``first_s`` by ``factor`` to ``max_s``, ``attempts`` failures are the end, and a life of ``stable_s``
forgives all of them. Else there are three:

- *Spawns that failed.* ``max_retry`` attempts in a row, with a pause that doubles from 0.1 s to 10 s; then
  the slot gives up. -1 tries for ever, at least one attempt is always made.
- *Flapping*, where the watcher has a policy for it: ``attempts`` deaths of the slot within ``window_s`` make
  it pause for ``retry_in_s``; after ``max_retry`` pauses the next flapping is the last. A life longer than
  the window forgives everything.
- *Short lives*, where it has none: the first is answered at once, those that follow wait longer and longer,
  up to the pace at which the ancestors looked (5 s), so that a program that cannot live does not eat the
  host.

Only deaths that nobody ordered are reported here. Does not belong here: timers, states, what a watcher does
about it.
"""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from circus.config.model import BackoffPolicy, FlappingPolicy
from circus.supervise.states import WatcherPolicy

#: The pause after the first spawn that failed; it doubles. Short, because most such failures pass at once or never.
FIRST_DELAY_S = 0.1
#: No spawn waits longer: a missing mount or a full table of processes is found again soon after it is mended.
SPAWN_DELAY_CAP_S = 10.0
#: A life shorter than this is a short one: the program did not get beyond its own start.
SHORT_LIFE_S = 1.0
#: The longest pause between short lives: the ancestors' default pace (check_delay).
DEATH_DELAY_CAP_S = 5.0
#: Deaths that are kept at most, whatever ``attempts`` says: the tally of each slot stays small.
MAX_DEATHS = 1000
#: Who uses too much again within a minute is replaced after a pause of a second, of two, ..., of a minute.
EXCESS = BackoffPolicy(jitter=0.0)
#: Doubling stops here; every cap above is reached long before.
MAX_DOUBLINGS = 16


class Budget(Struct, frozen=True):
    failures: int = 0  # spawns in a row that failed
    short_lives: int = 0  # in a row
    deaths: tuple[float, ...] = ()  # monotonic times of the latest, oldest first
    pauses: int = 0  # for flapping, in a row
    excesses: int = 0  # ends as it used too much, each soon after the one before
    setbacks: int = 0  # under a policy of back-off: spawns that failed and deaths, in a row


UNTOUCHED = Budget()


class Recollection(Struct, frozen=True):
    """What the next manager shall know of a slot: its budget, and that it gave up, or waits until ``pause_ends``."""

    wid: int
    budget: Budget
    reason: str = ""
    is_fatal: bool = False
    pause_ends: float = 0.0  # monotonic
    pause_s: float = 0.0  # the whole of it


class Again(Struct, frozen=True):
    """Try again after ``delay_s`` (0: at once), up to ``spread_s`` later; ``reason`` says why it waits."""

    delay_s: float
    reason: str
    is_flapping: bool = False
    spread_s: float = 0.0

    def __str__(self) -> str:
        latest = f" to {self.delay_s + self.spread_s:g}" if self.spread_s else ""
        return f"{self.reason}; next attempt after {self.delay_s:g}{latest} s"


class GiveUp(Struct, frozen=True):
    reason: str
    is_flapping: bool = False


Verdict = Again | GiveUp


def judge_failure(budget: Budget, reason: str, policy: WatcherPolicy) -> tuple[Budget, Verdict]:
    """A spawn failed for ``reason``."""
    failures = budget.failures + 1
    budget = replace(budget, failures=failures)
    if policy.backoff is not None:
        return _judge_setback(budget, reason, policy.backoff)
    if policy.max_retry >= 0 and failures >= policy.max_retry:
        tries = "1 attempt" if failures == 1 else f"{failures} attempts"
        return budget, GiveUp(f"{reason} (gave up after {tries})")
    return budget, Again(_doubled(failures - 1, SPAWN_DELAY_CAP_S), reason)


def judge_death(
    budget: Budget, how: str, policy: WatcherPolicy, *, lived_s: float, now: float
) -> tuple[Budget, Verdict]:
    """A process ended after ``lived_s`` without an order; ``how`` says in what way."""
    if policy.backoff is not None:
        kept = Budget() if lived_s >= policy.backoff.stable_s else replace(budget, failures=0)
        return _judge_setback(kept, f"{how} after {tell_duration(lived_s)}" if lived_s else how, policy.backoff)
    if policy.flapping is not None:
        return _judge_flapping(budget, how, policy.flapping, lived_s=lived_s, now=now)
    short_lives = budget.short_lives + 1 if lived_s < SHORT_LIFE_S else 0
    delay_s = _doubled(short_lives - 2, DEATH_DELAY_CAP_S) if short_lives > 1 else 0.0
    budget = replace(budget, failures=0, short_lives=short_lives)
    return budget, Again(delay_s, f"{how}, the {_ordinal(short_lives)} short life in a row" if delay_s else how)


def judge_excess(budget: Budget, reason: str, policy: WatcherPolicy, *, lived_s: float) -> tuple[Budget, Again]:
    """A process that used too much is replaced, ``lived_s`` after its start. Of that there is no end."""
    backoff = policy.backoff or EXCESS
    if lived_s >= backoff.stable_s:
        return Budget(excesses=1), Again(0.0, reason)
    excesses = budget.excesses + 1
    pause_s = pause_after(backoff, excesses - 1) if excesses > 1 else 0.0
    again = f"{reason}, the {_ordinal(excesses)} time in a row" if excesses > 1 else reason
    return replace(budget, excesses=excesses), Again(pause_s, again, spread_s=pause_s * backoff.jitter)


def _judge_setback(budget: Budget, what: str, backoff: BackoffPolicy) -> tuple[Budget, Verdict]:
    setbacks = budget.setbacks + 1
    budget = replace(budget, setbacks=setbacks)
    if 0 <= backoff.attempts <= setbacks:
        tries = "1 attempt" if setbacks == 1 else f"{setbacks} attempts in a row"
        return budget, GiveUp(f"gave up after {tries}, the last: {what}")
    pause_s = pause_after(backoff, setbacks)
    reason = what if setbacks == 1 else f"{what}, the {_ordinal(setbacks)} failure in a row"
    return budget, Again(pause_s, reason, spread_s=pause_s * backoff.jitter)


def pause_after(backoff: BackoffPolicy, setbacks: int) -> float:
    """After so many failures in a row, without the jitter."""
    if backoff.factor == 1:
        return min(backoff.first_s, backoff.max_s)
    doublings = math.log(max(1.0, backoff.max_s / backoff.first_s), backoff.factor)
    return backoff.max_s if setbacks - 1 >= doublings else backoff.first_s * backoff.factor ** (setbacks - 1)


def tell_duration(seconds: float) -> str:
    """``0.02 s``, ``3.2 s``, ``90 s``: for people."""
    return f"{round(seconds, 2 if seconds < 1 else 1 if seconds < 10 else 0):g} s"


def _judge_flapping(
    budget: Budget, how: str, flapping: FlappingPolicy, *, lived_s: float, now: float
) -> tuple[Budget, Verdict]:
    attempts = min(max(1, flapping.attempts), MAX_DEATHS)
    deaths, pauses = budget.deaths, budget.pauses
    if lived_s > flapping.window_s:
        deaths, pauses = (), 0
    deaths = (*deaths, now)[-attempts:]
    if len(deaths) < attempts or deaths[-1] - deaths[0] > flapping.window_s:
        return Budget(deaths=deaths, pauses=pauses), Again(0.0, how)
    seen = f"flapping: {attempts} deaths within {flapping.window_s:g} s"
    if 0 <= flapping.max_retry <= pauses:
        return Budget(pauses=pauses), GiveUp(f"{seen}, after {pauses} pauses; last: {how}", is_flapping=True)
    return Budget(pauses=pauses + 1), Again(flapping.retry_in_s, f"{seen}; last: {how}", is_flapping=True)


def _doubled(times: int, cap_s: float) -> float:
    return min(FIRST_DELAY_S * 2.0 ** min(times, MAX_DOUBLINGS), cap_s)


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
