"""Watchers that are jobs: a oneshot has come up when it has ended well, a scheduled one runs when its time has come."""

from __future__ import annotations

from typing import Any

from circus.supervise import actions, events
from circus.supervise.budget import Budget, Recollection
from circus.supervise.fleet import Fleet
from circus.supervise.ring import Phase
from circus.supervise.states import SlotKey, SlotState, WatcherPolicy, WatcherState
from circus.supervise.watcher import Watcher

SLOT = SlotKey("job", 1)


class Told:
    """A fleet with one job, and all that it has told."""

    def __init__(self, **policy: Any) -> None:
        self.fleet = Fleet([WatcherPolicy("job", respawn=policy.pop("respawn", False), **policy)])
        self.actions: list[actions.Action] = []
        self.now = 100.0

    @property
    def watcher(self) -> Watcher:
        return self.fleet.watchers["job"]

    def tell(self, event: events.Event) -> list[actions.Action]:
        caused = self.fleet.step(event, self.now)
        self.actions += caused
        return caused

    def came(self) -> events.Spawned:
        spawn = next(each for each in reversed(self.actions) if isinstance(each, actions.Spawn))
        fact = events.Spawned(SLOT, spawn.incarnation, spawn.incarnation, 70 + spawn.incarnation, self.now)
        self.tell(fact)
        return fact

    def ended(self, status: int) -> list[actions.Action]:
        return self.tell(events.Exited(SLOT, self.watcher.slots[1].incarnation, status))

    def run(self, status: int) -> list[actions.Action]:
        self.came()
        return self.ended(status)

    def said(self, kind: type) -> list[Any]:
        return [each for each in self.actions if isinstance(each, kind)]

    @property
    def spawns(self) -> int:
        return len(self.said(actions.Spawn))

    @property
    def finishes(self) -> list[actions.Finish]:
        return self.said(actions.Finish)


# oneshot ----------------------------------------------------------------------------------------------------


def test_a_oneshot_has_started_when_it_has_ended_well() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.came()
    assert told.finishes == [] and told.watcher.state is WatcherState.STARTING
    told.ended(0)
    assert [finish.ok for finish in told.finishes] == [True]
    assert told.watcher.is_done and told.watcher.state is WatcherState.ACTIVE
    assert told.watcher.view().reason == "job.1: ended with status 0"
    assert told.watcher.slots[1].state is SlotState.EXITED


def test_a_oneshot_at_work_does_not_hold_up_the_watchers_behind_it() -> None:
    fleet = Fleet([WatcherPolicy("job", oneshot=True, priority=1), WatcherPolicy("web")])
    (spawn,) = fleet.step(events.Start(1), 0.0)
    assert spawn == actions.Spawn(SLOT, 1)
    caused = fleet.step(events.Spawned(SLOT, 1, 1, 71, 0.0), 0.0)
    assert actions.Spawn(SlotKey("web", 1), 1) in caused


def test_a_oneshot_that_ends_badly_has_failed_and_says_why() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.run(3)
    assert [finish.error for finish in told.finishes] == ["job: job.1: ended with status 3"]
    assert told.watcher.state is WatcherState.STOPPED and told.watcher.given_up
    assert told.spawns == 1


def test_a_oneshot_with_respawn_is_tried_as_often_as_it_may_be() -> None:
    told = Told(oneshot=True, respawn=True, max_retry=3)
    told.tell(events.Start(1))
    for _ in range(3):
        told.run(1)
        told.now += 20
        for timer in told.said(actions.StartTimer)[-1:]:
            told.tell(events.TimerFired(timer.key))
    assert told.spawns == 3
    assert "gave up after 3 attempts" in told.finishes[0].error


def test_a_oneshot_with_respawn_that_succeeds_at_last_is_done() -> None:
    told = Told(oneshot=True, respawn=True)
    told.tell(events.Start(1))
    told.run(1)
    told.tell(events.TimerFired(told.said(actions.StartTimer)[-1].key))
    told.run(0)
    assert told.watcher.is_done and told.finishes[0].ok


def test_a_oneshot_that_is_killed_has_failed_whatever_its_status_is() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.came()
    told.tell(events.Kill(2, "job"))
    told.ended(0)
    assert told.watcher.given_up


def test_a_oneshot_that_used_too_much_has_failed_whatever_its_status_is() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.came()
    told.tell(events.Exceeded(SLOT, 1, "memory 2.0G of 1.0G for 30 s"))
    told.ended(0)
    assert not told.watcher.is_done and "memory 2.0G" in told.watcher.given_up
    assert told.spawns == 1


def test_a_start_of_all_leaves_alone_what_is_done_and_a_start_by_name_runs_it_again() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.run(0)
    told.tell(events.Start(2))
    assert told.spawns == 1
    told.tell(events.Start(3, ("job",)))
    assert told.spawns == 2


def test_a_reload_runs_no_job_again() -> None:
    told = Told(oneshot=True)
    told.tell(events.Start(1))
    told.run(0)
    told.tell(events.Reload(2, ("job",)))
    assert told.spawns == 1 and len(told.finishes) == 2


def test_a_oneshot_that_was_done_under_an_earlier_circusd_is_up_and_is_stopped_as_any_other() -> None:
    told = Told(oneshot=True)
    told.tell(events.Recalled("job", (), is_done=True))
    assert told.watcher.is_done and told.watcher.state is WatcherState.ACTIVE and told.spawns == 0
    told.tell(events.Stop(1))
    assert told.watcher.state is WatcherState.STOPPED and not told.watcher.slots


def test_an_adopted_oneshot_is_not_done_before_it_has_ended() -> None:
    told = Told(oneshot=True)
    told.tell(events.Adopted(SLOT, 1, 71, 50.0))
    told.tell(events.Start(1, ("job",), resumes=True))
    assert told.finishes == []
    told.ended(0)
    assert told.finishes[0].ok and told.spawns == 0


def test_a_job_has_one_process() -> None:
    told = Told(oneshot=True)
    told.tell(events.SetCount(1, "job", 5))
    assert told.finishes[0].detail == {"numprocesses": 1}


# scheduled --------------------------------------------------------------------------------------------------


def scheduled() -> Told:
    told = Told(scheduled=True)
    told.tell(events.Start(1))
    return told


def test_a_scheduled_watcher_waits_for_its_time_and_comes_back_whatever_became_of_the_run() -> None:
    told = scheduled()
    assert told.finishes[0].ok and told.spawns == 0
    assert told.watcher.view().reason == "waits for its time"
    for status in (0, 3, -9):
        told.tell(events.RunDue("job"))
        told.run(status)
    assert told.spawns == 3
    assert len(told.said(actions.RunOver)) == 3
    assert told.actions[-1] == actions.AwaitDemand("job", is_wanted=True)


def test_a_run_that_cannot_be_spawned_is_over_and_the_schedule_goes_on() -> None:
    told = Told(scheduled=True, max_retry=1)
    told.tell(events.Start(1))
    told.tell(events.RunDue("job"))
    told.tell(events.SpawnFailed(SLOT, 1, "no such program"))
    assert told.said(actions.RunOver) == [
        actions.RunOver("job", "job.1: no such program (gave up after 1 attempt)"),
    ]
    told.tell(events.RunDue("job"))
    assert told.spawns == 2


def test_a_hook_refuses_one_run_only() -> None:
    told = Told(scheduled=True, hooks=frozenset({"before_start"}))
    told.tell(events.Start(1))
    told.tell(events.RunDue("job"))
    told.tell(events.HookAnswered("job", "before_start", False))
    assert told.said(actions.RunOver) == [actions.RunOver("job", "the hook before_start refused")]
    told.tell(events.RunDue("job"))
    told.tell(events.HookAnswered("job", "before_start", True))
    assert told.spawns == 1


def test_a_run_by_hand_of_a_stopped_schedule_is_the_only_one() -> None:
    told = Told(scheduled=True)
    told.tell(events.RunDue("job"))
    assert told.spawns == 0, "only by hand"
    told.tell(events.RunDue("job", is_by_hand=True))
    assert not told.watcher.is_to_be_up
    told.run(0)
    assert told.watcher.state is WatcherState.STOPPED and not told.watcher.wants_up
    assert not told.said(actions.AwaitDemand)


def test_a_start_during_the_only_run_begins_the_schedule() -> None:
    told = Told(scheduled=True)
    told.tell(events.RunDue("job", is_by_hand=True))
    told.tell(events.Start(1, ("job",)))
    told.run(0)
    assert told.said(actions.AwaitDemand) == [actions.AwaitDemand("job", is_wanted=True)]


def test_a_stop_ends_the_run_and_the_schedule() -> None:
    told = scheduled()
    told.tell(events.RunDue("job"))
    told.came()
    caused = told.tell(events.Stop(2))
    assert any(isinstance(each, actions.Signal) for each in caused)
    told.ended(-15)
    assert told.watcher.state is WatcherState.STOPPED and told.finishes[1].ok


def test_a_change_of_a_scheduled_watcher_waits_for_the_end_of_the_run() -> None:
    told = scheduled()
    told.tell(events.RunDue("job"))
    told.came()
    caused = told.tell(events.ChangeWatcher(2, WatcherPolicy("job", scheduled=True, respawn=False), restart=True))
    assert not any(isinstance(each, actions.Signal) for each in caused)
    assert told.finishes[1].ok


def test_a_watcher_that_becomes_a_job_gets_rid_of_its_process() -> None:
    told = Told(respawn=True)
    told.tell(events.Start(1))
    told.came()
    caused = told.tell(events.ChangeWatcher(2, WatcherPolicy("job", scheduled=True, respawn=False), restart=False))
    assert any(isinstance(each, actions.Signal) for each in caused)
    told.ended(-15)
    assert told.actions[-2] == actions.AwaitDemand("job", is_wanted=True)


def test_an_adopted_run_goes_to_its_end_and_the_schedule_follows_only_a_start() -> None:
    for starts in (True, False):
        told = Told(scheduled=True)
        told.tell(events.Adopted(SLOT, 1, 71, 50.0))
        if starts:
            told.tell(events.Start(1, ("job",), resumes=True))
        assert told.spawns == 0
        told.ended(0)
        assert len(told.said(actions.AwaitDemand)) == starts
        assert told.watcher.wants_up is starts


def test_nothing_runs_when_circusd_leaves() -> None:
    told = scheduled()
    told.tell(events.Quit(2))
    told.tell(events.RunDue("job"))
    assert told.spawns == 0


def test_a_budget_of_a_job_is_that_of_its_attempts() -> None:
    told = Told(oneshot=True, respawn=True, max_retry=2)
    told.tell(events.Recalled("job", (Recollection(1, Budget(failures=1)),)))
    told.tell(events.Start(1, None, resumes=True))
    told.run(1)
    assert told.watcher.given_up


def test_a_start_of_a_schedule_adds_nothing_to_a_run_that_has_ended_while_its_hook_is_asked() -> None:
    told = Told(scheduled=True, hooks=frozenset({"after_start"}))
    told.tell(events.Start(1))
    told.tell(events.RunDue("job", is_by_hand=False))
    told.run(0)
    assert told.watcher.phase is Phase.AFTER_START
    told.tell(events.Start(2))
    told.tell(events.HookAnswered("job", "after_start", True))
    assert told.spawns == 1 and told.watcher.phase is Phase.WAITING
