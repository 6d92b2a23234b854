"""What becomes of each instant of a schedule, and of each run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from circus.supervise.jobs import (
    FAR_BACK_S,
    LATE_S,
    MAX_LOOKED_AT,
    MAX_MISSED,
    MAX_WAITING,
    End,
    Job,
    JobPolicy,
    Launch,
    Mark,
    Note,
    Run,
    RunState,
    Step,
)

EVERY_S = 10.0


def every_ten(after: float) -> float:
    return (after // EVERY_S + 1) * EVERY_S


def job(at: float = 1000.0, **options: object) -> Job:
    """An active one that waits for its time."""
    made = Job(JobPolicy(**options), every_ten, life="this boot")  # type: ignore[arg-type]
    made.activate(at)
    made.is_open = True
    return made


def launched(steps: list[Step]) -> list[float]:
    return [step.run.due for step in steps if isinstance(step, Launch)]


def states(made: Job) -> dict[float, str]:
    return {due: run.state.value for due, run in made.runs.items()}


def run_one(made: Job, now: float) -> float:
    (due,) = launched(made.look(now))
    made.begun(due, 7, now, digest="")
    made.is_open = False
    return due


def finish(made: Job, due: float, now: float, status: int | None = 0) -> list[Step]:
    steps = made.ended(due, status, now, pid=7, started_at=now, digest="")
    made.is_open = True
    return steps


def test_nothing_is_due_before_its_time() -> None:
    made = job()
    assert made.look(1009.9) == []
    assert made.next_due() == 1010.0


def test_a_run_is_noted_before_it_is_launched() -> None:
    steps = job().look(1010.0)
    assert [type(step) for step in steps] == [Note, Note, Launch]
    assert isinstance(steps[1], Note) and steps[1].run.state is RunState.STARTING


def test_an_instant_is_launched_once_however_often_somebody_looks() -> None:
    made = job()
    assert launched(made.look(1010.0)) == [1010.0]
    assert launched(made.look(1010.0)) == [] and launched(made.look(1019.0)) == []


def test_a_run_is_done_with_status_0_and_failed_with_another() -> None:
    made = job()
    finish(made, run_one(made, 1010.0), 1011.0)
    finish(made, run_one(made, 1020.0), 1021.0, 3)
    finish(made, run_one(made, 1030.0), 1031.0, -9)
    finish(made, run_one(made, 1040.0), 1041.0, None)
    assert list(states(made).values()) == ["done", "failed", "failed", "failed"]
    assert [run.reason for run in made.runs.values()][1:] == [
        "ended with status 3",
        "ended by signal 9",
        "ended, nobody knows how",
    ]


def test_an_end_that_is_told_twice_counts_once() -> None:
    made = job()
    due = run_one(made, 1010.0)
    finish(made, due, 1011.0)
    assert finish(made, due, 1012.0, 1) == []
    assert made.runs[due].state is RunState.DONE


def test_a_run_waits_until_the_watcher_is_ready_for_it() -> None:
    made = job()
    made.is_open = False
    assert launched(made.look(1010.0)) == []
    made.is_open = True
    assert launched(made.look(1015.0)) == [1010.0]


# Overlap ----------------------------------------------------------------------------------------------------


def test_an_instant_is_skipped_while_the_run_before_goes_on() -> None:
    made = job()
    due = run_one(made, 1010.0)
    assert launched(made.look(1020.0)) == []
    assert made.runs[1020.0].state is RunState.SKIPPED
    assert made.runs[1020.0].reason == "the run before was not over"
    finish(made, due, 1021.0)
    assert launched(made.look(1021.0)) == []


def test_an_instant_waits_for_the_run_before_with_queue() -> None:
    made = job(overlap="queue")
    due = run_one(made, 1010.0)
    made.look(1020.0)
    made.look(1030.0)
    finish(made, due, 1031.0)
    assert launched(made.look(1031.0)) == [1020.0]
    made.begun(1020.0, 8, 1031.0, digest="")
    made.is_open = False
    finish(made, 1020.0, 1032.0)
    assert launched(made.look(1032.0)) == [1030.0]


def test_no_more_runs_wait_than_there_is_room_for() -> None:
    made = job(overlap="queue", history=1000)
    run_one(made, 1010.0)
    for number in range(MAX_WAITING + 5):
        made.look(1020.0 + number * EVERY_S)
    assert len(made.waiting) == MAX_WAITING
    assert list(states(made).values()).count("skipped") == 5


def test_the_run_before_is_ended_with_replace_and_only_the_last_instant_follows() -> None:
    made = job(overlap="replace")
    due = run_one(made, 1010.0)
    assert [type(step) for step in made.look(1020.0)] == [Note, Note, End]
    assert not any(isinstance(step, End) for step in made.look(1030.0)), "told twice to end"
    finish(made, due, 1031.0, 0)
    assert made.runs[due].state is RunState.FAILED and made.runs[due].reason == "ended for the next run"
    assert launched(made.look(1031.0)) == [1030.0]
    assert made.runs[1020.0].state is RunState.SKIPPED


# Missed -----------------------------------------------------------------------------------------------------


def missed(policy: str, away_s: float) -> Job:
    made = job(missed=policy, history=10_000, overlap="queue")
    made.look(1000.0 + away_s)
    return made


def test_what_is_a_little_late_is_run_whatever_the_policy_says() -> None:
    made = job()
    assert launched(made.look(1010.0 + LATE_S - 1)) == [1010.0]


def test_missed_runs_are_skipped_and_said() -> None:
    made = missed("skip", 200.0)
    first = next(iter(made.runs.values()))
    assert (first.state, first.count) == (RunState.SKIPPED, 14)
    assert "missed" in first.reason
    assert first.due == 1140.0


def test_the_last_of_the_missed_runs_is_made_up_for_with_once() -> None:
    made = missed("once", 200.0)
    assert made.runs[1130.0].count == 13
    assert made.runs[1140.0].state is RunState.STARTING


def test_all_missed_runs_are_made_up_for_as_far_as_there_is_room() -> None:
    made = missed("all", 500.0)
    assert len([run for run in made.runs.values() if run.state is not RunState.SKIPPED]) == 50
    made = missed("all", 10_000.0)
    made_up = [run.due for run in made.runs.values() if run.due <= 11_000.0 - LATE_S and run.state.value != "skipped"]
    assert len(made_up) == MAX_MISSED
    assert made_up[0] == 1010.0


def test_an_absence_of_years_is_looked_at_in_bounded_time() -> None:
    asked = 0

    def counted(after: float) -> float:
        nonlocal asked
        asked += 1
        return every_ten(after)

    made = Job(JobPolicy(), counted, life="")
    made.activate(1000.0)
    made.is_open = True
    steps = made.look(1e9)
    assert asked < MAX_LOOKED_AT + 20
    assert len(launched(steps)) == 1
    assert made.decided_until == 1e9


# Clocks -----------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    made = job()
    finish(made, run_one(made, 1100.0), 1101.0)
    count = len(made.runs)
    for now in (1005.0, 1050.0, 1099.0):
        assert launched(made.look(now)) == []
    assert len(made.runs) == count
    assert launched(made.look(1110.0)) == [1110.0]


def test_a_clock_that_was_far_ahead_does_not_stop_the_schedule_for_years() -> None:
    made = job(1e9)
    steps = made.look(5000.0)
    assert steps == [Mark(5000.0, True)]
    assert launched(made.look(5010.0)) == [5010.0]


def test_what_ran_while_the_clock_was_wrong_is_not_run_again() -> None:
    made = job()
    finish(made, run_one(made, 1010.0), 1011.0)
    made.decided_until = 1000.0 + FAR_BACK_S * 2
    made.look(1000.0)
    assert launched(made.look(1010.0)) == []


# Orders -----------------------------------------------------------------------------------------------------


def test_a_stopped_schedule_decides_nothing_and_drops_what_waits() -> None:
    made = job(overlap="queue")
    run_one(made, 1010.0)
    made.look(1020.0)
    made.deactivate(1021.0)
    assert made.runs[1020.0].state is RunState.SKIPPED
    assert made.look(1030.0) == []
    assert made.next_due() is None
    made.activate(1500.0)
    assert made.next_due() == 1510.0


def test_a_run_by_hand_is_known_by_a_moment_of_its_own() -> None:
    made = job()
    (first,) = launched(made.order(1003.0))
    made.over("refused", 1003.0)
    (second,) = launched(made.order(1003.0))
    assert first != second
    assert made.runs[first].reason == "refused"


def test_the_time_limit_ends_a_run_which_has_failed_whatever_its_status() -> None:
    made = job(time_limit_s=5.0)
    due = run_one(made, 1010.0)
    assert isinstance(made.exceed(due)[-1], End)
    assert made.exceed(due) == []
    finish(made, due, 1016.0, 0)
    assert made.runs[due].state is RunState.FAILED
    assert made.runs[due].reason == "ended, as it took longer than 5 s"


def test_no_run_of_yesterday_is_ended_by_a_limit_of_today() -> None:
    made = job(time_limit_s=5.0)
    due = run_one(made, 1010.0)
    finish(made, due, 1011.0)
    assert made.exceed(due) == []


# What an earlier circusd has left ---------------------------------------------------------------------------


def left(state: RunState, **facts: object) -> Job:
    made = job()
    run = Run(1010.0, state, 1010.0, life="this boot")
    made.runs[run.due] = replace(run, **facts)  # type: ignore[arg-type]
    made.decided_until = 1010.0
    return made


def test_a_run_that_never_began_is_launched() -> None:
    made = left(RunState.STARTING)
    made.settle(set(), 1015.0)
    assert launched(made.look(1015.0)) == [1010.0]


def test_a_run_that_may_have_begun_before_the_machine_went_down_is_not_run_again() -> None:
    made = left(RunState.STARTING, life="another boot")
    made.settle(set(), 1015.0)
    assert launched(made.look(1015.0)) == []
    assert made.runs[1010.0].state is RunState.FAILED


def test_a_run_by_hand_that_never_began_has_failed() -> None:
    made = left(RunState.STARTING, is_by_hand=True)
    made.settle(set(), 1015.0)
    assert made.runs[1010.0].state is RunState.FAILED


def test_a_run_that_papa_has_lost_has_failed() -> None:
    made = left(RunState.RUNNING)
    made.settle(set(), 1015.0)
    assert made.runs[1010.0].state is RunState.FAILED


@pytest.mark.parametrize("state", [RunState.STARTING, RunState.RUNNING])
def test_a_run_that_goes_on_is_taken_over(state: RunState) -> None:
    made = left(state)
    made.begun(1010.0, 9, 1010.5, digest="")
    assert made.settle({1010.0}, 1015.0) == []
    assert made.current is not None and made.current.pid == 9


def test_old_runs_are_forgotten_and_open_ones_are_not() -> None:
    made = job(history=3, overlap="queue")
    due = run_one(made, 1010.0)
    made.look(1020.0)
    for number in range(10):
        made._skip(2000.0 + number, 1021.0, "for the test")
    assert set(states(made)) == {due, 1020.0, 2007.0, 2008.0, 2009.0}


# Without a schedule -----------------------------------------------------------------------------------------


def test_a_oneshot_is_done_in_this_life_of_the_machine_with_these_options() -> None:
    made = Job(JobPolicy(), None, life="this boot")
    made.digest = "later ones"  # by which nothing has run yet
    made.begun(5.0, 7, 5.0, digest="options")
    assert not made.is_done("this boot", "options")
    made.ended(5.0, 0, 6.0, pid=7, started_at=5.0, digest="options")
    assert made.is_done("this boot", "options")
    assert not made.is_done("another boot", "options")
    assert not made.is_done("this boot", "others")
    made.ended(7.0, 1, 8.0, pid=8, started_at=7.0, digest="options")
    assert not made.is_done("this boot", "options")
