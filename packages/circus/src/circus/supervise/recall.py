"""What of a watcher outlives the manager: how often its slots have failed, and that they wait or gave up. Pure.

The idea: a start of circusd is no reason to forgive a crash loop, an order of a person is. Times travel as wall clock,
which may have been stepped meanwhile, or a reboot may lie between: then deaths keep their distances and none lies in
the future, and no pause is longer than it was, or than the policy says now.

Does not belong here: where it is kept (engine/memory).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from circus.supervise.budget import (
    DEATH_DELAY_CAP_S,
    EXCESS,
    MAX_DEATHS,
    SPAWN_DELAY_CAP_S,
    UNTOUCHED,
    Budget,
    GiveUp,
    Recollection,
    judge_death,
)
from circus.supervise.moves import has_end, judge_oneshot, tell_how
from circus.supervise.slot import Slot
from circus.supervise.states import SlotState, WatcherPolicy
from circus.supervise.watcher import Watcher

#: Reasons are sentences; what a program made of them must not fill the memory.
MAX_REASON = 1000


#: Counts of a budget that are only written where there are some; earlier releases knew none of them.
_RARE = ("excesses", "setbacks")


class Standing(Struct, frozen=True):
    """A watcher as the next manager shall know it."""

    slots: tuple[Recollection, ...] = ()
    given_up: str = ""


NOTHING = Standing()


def standing_of(watcher: Watcher) -> Standing:
    """NOTHING for one about which there is nothing to say."""
    known = dict(watcher.places.recalled)  # of slots that are still to come
    known |= {wid: _recollect(slot) for wid, slot in watcher.slots.items() if _is_marked(slot)}
    return Standing(tuple(known[wid] for wid in sorted(known)), watcher.given_up)


def _is_marked(slot: Slot) -> bool:
    has_budget = slot.budget != UNTOUCHED and slot.state is not SlotState.EXITED
    return slot.wants_up and (has_budget or slot.state is SlotState.FATAL)


def _recollect(slot: Slot) -> Recollection:
    told = Recollection(slot.key.wid, slot.budget)
    match slot.state:
        case SlotState.FATAL:
            return replace(told, is_fatal=True, reason=slot.reason[:MAX_REASON])
        case SlotState.BACKOFF:
            return replace(told, reason=slot.reason[:MAX_REASON], pause_ends=slot.pause_ends, pause_s=slot.pause_s)
        case _:
            return told


def after_death(
    known: Recollection, status: int | None, policy: WatcherPolicy, *, lived_s: float, ended: float
) -> Recollection:
    """What is to be known of a slot whose process ended, at ``ended`` (monotonic), while no manager was there."""
    if has_end(status, policy):
        return known
    if policy.oneshot:
        budget, verdict = judge_oneshot(known.budget, tell_how(status), policy)
    else:
        budget, verdict = judge_death(known.budget, tell_how(status), policy, lived_s=lived_s, now=ended)
    if isinstance(verdict, GiveUp):
        return Recollection(known.wid, budget, verdict.reason, is_fatal=True)
    if verdict.delay_s <= 0:
        return Recollection(known.wid, budget)
    return Recollection(known.wid, budget, str(verdict), pause_ends=ended + verdict.delay_s, pause_s=verdict.delay_s)


# To the disk and back ---------------------------------------------------------------------------------------


def to_json(standing: Standing, *, now: float, wall: float) -> dict[str, Any]:
    """``now`` is monotonic, ``wall`` the same moment."""
    past = wall - now
    return {
        "given_up": standing.given_up[:MAX_REASON],
        "slots": [
            {
                "wid": each.wid,
                "failures": each.budget.failures,
                "short_lives": each.budget.short_lives,
                "deaths": [round(past + death, 3) for death in each.budget.deaths],
                "pauses": each.budget.pauses,
                "reason": each.reason,
                "fatal": each.is_fatal,
                "pause_ends": round(past + each.pause_ends, 3) if each.pause_s else None,
                "pause": each.pause_s,
                **{key: count for key in _RARE if (count := getattr(each.budget, key))},
            }
            for each in standing.slots
        ],
    }


def from_json(content: Mapping[str, Any], policy: WatcherPolicy, *, now: float, wall: float) -> Standing:
    """Raises: ValueError, KeyError, TypeError for what `to_json` has not made."""
    slots = tuple(_slot_from(fields, policy, now=now, wall=wall) for fields in content["slots"])
    return Standing(slots, str(content["given_up"]))


def _number(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number")
    return number


def _slot_from(fields: Mapping[str, Any], policy: WatcherPolicy, *, now: float, wall: float) -> Recollection:
    deaths = sorted(_number(death) for death in fields["deaths"][-MAX_DEATHS:])
    past = now - max([wall, *deaths[-1:]])
    budget = Budget(
        failures=int(fields["failures"]),
        short_lives=int(fields["short_lives"]),
        deaths=tuple(past + death for death in deaths),
        pauses=int(fields["pauses"]),
        **{key: int(fields.get(key, 0)) for key in _RARE},
    )
    told = Recollection(int(fields["wid"]), budget, str(fields["reason"]), bool(fields["fatal"]))
    if told.wid < 1:
        raise ValueError(f"wid {told.wid}")
    if fields["pause_ends"] is None:
        return told
    pause_s = min(_number(fields["pause"]), _longest_pause_s(budget, policy))
    left_s = min(_number(fields["pause_ends"]) - wall, pause_s)
    return replace(told, pause_ends=now + left_s, pause_s=pause_s)


def _longest_pause_s(budget: Budget, policy: WatcherPolicy) -> float:
    if policy.backoff is not None:
        return policy.backoff.max_s
    if budget.excesses:
        return EXCESS.max_s
    if budget.failures:
        return SPAWN_DELAY_CAP_S
    return policy.flapping.retry_in_s if policy.flapping is not None else DEATH_DELAY_CAP_S
