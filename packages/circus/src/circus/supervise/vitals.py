"""When a process whose health is asked for counts as ill, and when as well again. Pure.

So many failures in a row as the policy has make it ill; one success makes it well. Failures in the time that it has
to settle down do not count. Does not belong here: asking, and what follows on an illness (readiness).
"""

from __future__ import annotations

import enum

from msgspec import Struct
from msgspec.structs import replace

from circus.config.model import HealthPolicy


class Turn(enum.Enum):
    NONE = "none"
    ILL = "ill"
    WELL = "well"


class Vitals(Struct, frozen=True):
    failures: int = 0  # in a row
    is_ill: bool = False


def note(vitals: Vitals, policy: HealthPolicy, *, is_well: bool, ready_for_s: float) -> tuple[Vitals, Turn]:
    """A check was answered, of a process that has been ready for so long."""
    if is_well:
        return Vitals(), Turn.WELL if vitals.is_ill else Turn.NONE
    if ready_for_s < policy.start_period_s:
        return vitals, Turn.NONE
    vitals = replace(vitals, failures=vitals.failures + 1)
    if vitals.is_ill or vitals.failures < policy.threshold:
        return vitals, Turn.NONE
    return replace(vitals, is_ill=True), Turn.ILL


def note_silence(
    vitals: Vitals, policy: HealthPolicy, *, silent_for_s: float, allowed_s: float, ready_for_s: float
) -> tuple[Vitals, Turn, float]:
    """Of a watchdog, that was silent for so long; and when to look again. One failure is enough."""
    if silent_for_s < allowed_s:
        return Vitals(), Turn.WELL if vitals.is_ill else Turn.NONE, allowed_s - silent_for_s
    if ready_for_s < policy.start_period_s:
        return vitals, Turn.NONE, policy.start_period_s - ready_for_s
    return Vitals(1, is_ill=True), Turn.NONE if vitals.is_ill else Turn.ILL, allowed_s
