from __future__ import annotations

import math

from circus.config.model import HealthPolicy
from circus.supervise.vitals import Turn, Vitals, note, note_silence

POLICY = HealthPolicy("tcp x:1", threshold=2, start_period_s=10.0)
FRESH, OLD = 5.0, 100.0


def played(*answers: bool, ready_for_s: float = OLD) -> list[Turn]:
    vitals, turns = Vitals(), []
    for is_well in answers:
        vitals, turn = note(vitals, POLICY, is_well=is_well, ready_for_s=ready_for_s)
        turns.append(turn)
    return turns


def test_so_many_failures_in_a_row_make_it_ill_once_and_one_success_makes_it_well() -> None:
    none, ill, well = Turn.NONE, Turn.ILL, Turn.WELL
    assert played(False, True, False, False, False, True, True) == [none, none, none, ill, none, well, none]


def test_failures_do_not_count_while_it_settles_down() -> None:
    assert played(False, False, False, ready_for_s=FRESH) == [Turn.NONE] * 3


def test_a_silence_that_is_too_long_is_an_illness_until_it_speaks() -> None:
    vitals, turn, wait_s = note_silence(Vitals(), POLICY, silent_for_s=1.0, allowed_s=3.0, ready_for_s=OLD)
    assert (turn, wait_s) == (Turn.NONE, 2.0)
    vitals, turn, _ = note_silence(vitals, POLICY, silent_for_s=3.0, allowed_s=3.0, ready_for_s=OLD)
    assert turn is Turn.ILL
    vitals, turn, _ = note_silence(vitals, POLICY, silent_for_s=math.inf, allowed_s=3.0, ready_for_s=OLD)
    assert turn is Turn.NONE
    vitals, turn, _ = note_silence(vitals, POLICY, silent_for_s=0.0, allowed_s=3.0, ready_for_s=OLD)
    assert turn is Turn.WELL


def test_a_silence_while_it_settles_down_is_looked_at_afterwards() -> None:
    _, turn, wait_s = note_silence(Vitals(), POLICY, silent_for_s=4.0, allowed_s=3.0, ready_for_s=FRESH)
    assert (turn, wait_s) == (Turn.NONE, 5.0)
