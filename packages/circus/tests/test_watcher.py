"""One watcher and its rooms (ring, places, asking, reload, tickets), told by hand what happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from circus.supervise.actions import (
    Action,
    AwaitDemand,
    CancelTimer,
    EssentialEnded,
    Publish,
    RunHook,
    Signal,
    Spawn,
    StartTimer,
)
from circus.supervise.events import Adopted, Demanded, Exited, HookAnswered, Spawned, SpawnFailed, TimerFired, TimerKey
from circus.supervise.operation import DETAIL
from circus.supervise.ring import Phase
from circus.supervise.states import FlappingPolicy, SlotKey, SlotState, WatcherPolicy, WatcherState
from circus.supervise.tickets import Ticket
from circus.supervise.watcher import Watcher


class Scene:
    """Answers what it is told to answer, and keeps what was not answered yet. The pid is 100 * wid + incarnation."""

    def __init__(self, **policy: Any) -> None:
        hooks = frozenset(policy.pop("hooks", ()))
        self.now = 0.0
        self.actions: list[Action] = []
        self.watcher = Watcher(WatcherPolicy("web", hooks=hooks, **policy), self.carry_out)
        self.spawns: list[tuple[int, int]] = []  # wid, incarnation
        self.timers: dict[TimerKey, float] = {}
        self.signals: list[tuple[int, int]] = []  # wid, signal
        self.hooks: list[str] = []
        self.awaits: list[bool] = []
        self.said: list[str] = []

    def carry_out(self, action: Action) -> None:
        self.actions.append(action)
        match action:
            case Spawn(slot, incarnation):
                self.spawns.append((slot.wid, incarnation))
            case Signal(slot, _, signum):
                self.signals.append((slot.wid, signum))
            case StartTimer(key, delay_s):
                self.timers[key] = delay_s
            case CancelTimer(key):
                del self.timers[key]
            case AwaitDemand(_, is_wanted):
                self.awaits.append(is_wanted)
            case RunHook(_, hook):
                self.hooks.append(hook)
            case Publish(_, event):
                self.said.append(event)

    def spawn(self, *wids: int, hook: bool | None = None) -> None:
        """Answer the spawns of ``wids`` well, or all that are open now; then say what after_spawn says."""
        for wid, incarnation in [each for each in self.spawns if not wids or each[0] in wids]:
            self.spawns.remove((wid, incarnation))
            pid, slot = 100 * wid + incarnation, SlotKey("web", wid)
            self.watcher.take(Spawned(slot, incarnation, pid, pid, self.now), self.now)
            if hook is not None:
                self.watcher.take(HookAnswered("web", "after_spawn", hook, slot, incarnation), self.now)

    def fail(self, wid: int, times: int = 1) -> None:
        for _ in range(times):
            incarnation = next(each[1] for each in self.spawns if each[0] == wid)
            self.spawns.remove((wid, incarnation))
            self.watcher.take(SpawnFailed(SlotKey("web", wid), incarnation, "no such program"), self.now)
            for key in [key for key in self.timers if key.wid == wid]:
                self.fire(key)

    def exit(self, *wids: int, status: int = -15) -> None:
        for wid in wids:
            incarnation = self.watcher.slots[wid].incarnation
            self.watcher.take(Exited(SlotKey("web", wid), incarnation, status), self.now)

    def fire(self, key: TimerKey | None = None) -> None:
        key = key or next(iter(self.timers))
        self.now += self.timers.pop(key)
        self.watcher.take(TimerFired(key), self.now)

    def answer(self, hook: str, ok: bool = True) -> None:
        self.hooks.remove(hook)
        self.watcher.take(HookAnswered("web", hook, ok), self.now)

    def adopt(self, *wids: int) -> None:
        for age, wid in enumerate(wids):
            self.watcher.take(Adopted(SlotKey("web", wid), wid, 1000 + wid, float(age)), self.now)

    def demand(self) -> None:
        self.watcher.take(Demanded("web"), self.now)

    def start(self) -> Ticket:
        return self.watcher.start(self.now)

    def stop(self) -> Ticket:
        return self.watcher.stop(self.now)

    def stop_and_end(self) -> Ticket:
        ticket = self.stop()
        self.exit(*[wid for wid, state in self.states().items() if state is SlotState.STOPPING])
        return ticket

    def restart(self) -> Ticket:
        return self.watcher.restart(self.now)

    def reload(self, *, is_sequential: bool = False) -> Ticket:
        return self.watcher.reload(self.now, is_sequential=is_sequential)

    def count(self, count: int | None = None, delta: int = 0) -> Ticket:
        return self.watcher.set_count(self.now, count=count, delta=delta)

    @property
    def pids(self) -> list[int]:
        return [slot.pid for _, slot in sorted(self.watcher.slots.items()) if slot.pid is not None]

    def states(self) -> dict[int, SlotState]:
        return {wid: slot.state for wid, slot in sorted(self.watcher.slots.items())}


def running(**policy: Any) -> Scene:
    scene = Scene(**policy)
    scene.start()
    while scene.spawns:
        scene.spawn(hook=True if "after_spawn" in scene.watcher.policy.hooks else None)
    while scene.hooks:
        scene.answer(scene.hooks[0])
    assert scene.watcher.state is WatcherState.ACTIVE
    scene.said.clear()
    return scene


def outcome(ticket: Ticket) -> tuple[bool, str, dict[str, object]]:
    """Ended well? Why not? What is told of it?"""
    assert ticket.is_done, "still open"
    return ticket.ok, ticket.error, {key: ticket.detail[key] for key in DETAIL[ticket.verb]}


def kill_timer(wid: int, scene: Scene) -> TimerKey:
    return next(key for key in scene.timers if key.wid == wid and key.purpose == "kill")


# Start ------------------------------------------------------------------------------------------------------


def test_processes_start_one_after_another_and_then_the_watcher_is_active() -> None:
    scene = Scene(numprocesses=2)
    ticket = scene.start()
    assert (scene.spawns, scene.watcher.state) == ([(1, 1)], WatcherState.STARTING)
    scene.spawn()
    assert (scene.spawns, scene.watcher.state) == ([(2, 1)], WatcherState.STARTING)
    scene.spawn()
    assert outcome(ticket) == (True, "", {"started": [101, 201], "kept": []})
    assert scene.watcher.state is WatcherState.ACTIVE
    assert scene.said == ["spawn", "spawn", "start"]


def test_the_warmup_follows_each_spawn_less_the_time_that_it_took_also_the_last() -> None:
    scene = Scene(numprocesses=2, warmup_delay_s=3.0)
    ticket = scene.start()
    scene.now = 1.0
    scene.spawn()
    assert list(scene.timers.values()) == [2.0]
    assert scene.spawns == []
    scene.fire()
    scene.spawn()
    assert (list(scene.timers.values()), ticket.is_done) == ([3.0], False)
    scene.fire()
    assert ticket.ok and ticket.is_done


def test_a_spawn_that_took_longer_than_the_warmup_is_not_waited_for() -> None:
    scene = Scene(warmup_delay_s=3.0)
    ticket = scene.start()
    scene.now = 3.5
    scene.spawn()
    assert ticket.is_done and not scene.timers


def test_an_exit_during_the_warmup_is_answered_at_once_and_the_sequence_goes_on() -> None:
    scene = Scene(numprocesses=2, warmup_delay_s=3.0)
    scene.start()
    scene.spawn()
    scene.exit(1, status=1)
    assert scene.spawns == [(1, 2)]
    scene.spawn()
    scene.fire()
    assert scene.spawns == [(2, 1)]


def test_no_processes_are_wanted_and_the_watcher_is_active_all_the_same() -> None:
    scene = Scene(numprocesses=0)
    assert outcome(scene.start()) == (True, "", {"started": [], "kept": []})
    assert scene.watcher.state is WatcherState.ACTIVE
    assert outcome(scene.stop()) == (True, "", {})


def test_starting_what_runs_keeps_it() -> None:
    scene = running(numprocesses=2)
    assert outcome(scene.start()) == (True, "", {"started": [], "kept": [101, 201]})
    assert scene.said == []


def test_two_starts_are_joined() -> None:
    scene = Scene()
    first, second = scene.start(), scene.start()
    assert scene.spawns == [(1, 1)]
    scene.spawn()
    assert outcome(first) == outcome(second) == (True, "", {"started": [101], "kept": []})


def test_a_failed_spawn_is_tried_again_and_then_the_start_has_worked() -> None:
    scene = Scene()
    ticket = scene.start()
    scene.fail(1, times=4)
    assert not ticket.is_done
    scene.spawn()
    assert outcome(ticket) == (True, "", {"started": [105], "kept": []})


def test_a_program_that_cannot_be_spawned_stops_the_watcher_and_the_reason_is_kept() -> None:
    scene = Scene(numprocesses=2)
    ticket = scene.start()
    scene.fail(1, times=5)
    scene.fail(2, times=5)
    ok, error, _ = outcome(ticket)
    assert (ok, scene.watcher.state, scene.watcher.wants_up) == (False, WatcherState.STOPPED, True)
    assert "web.1: no such program (gave up after 5 attempts)" in error
    assert scene.watcher.reason == error
    assert scene.states() == {1: SlotState.FATAL, 2: SlotState.FATAL}
    assert "fatal" in scene.said


def test_a_slot_that_waits_for_its_next_attempt_does_not_hold_up_the_next_slot() -> None:
    scene = Scene(numprocesses=2, warmup_delay_s=9.0)
    scene.start()
    scene.fail(1)
    assert scene.spawns == [(2, 1), (1, 2)]


def test_a_slot_that_gave_up_does_not_take_its_siblings_with_it() -> None:
    scene = Scene(numprocesses=2)
    ticket = scene.start()
    scene.spawn()
    scene.fail(2, times=5)
    assert scene.watcher.state is WatcherState.ACTIVE
    assert outcome(ticket)[:2] == (False, "web.2: no such program (gave up after 5 attempts)")
    assert scene.states() == {1: SlotState.RUNNING, 2: SlotState.FATAL}


def test_start_gives_a_slot_that_gave_up_another_chance() -> None:
    scene = Scene(numprocesses=2)
    scene.start()
    scene.spawn()
    scene.fail(2, times=5)
    ticket = scene.start()
    scene.spawn(2)
    assert outcome(ticket) == (True, "", {"started": [206], "kept": [101]})


def test_start_does_not_wait_for_the_end_of_a_pause() -> None:
    scene = running(flapping=FlappingPolicy(attempts=1))
    scene.exit(1, status=1)
    ticket = scene.start()
    assert (scene.spawns, scene.timers) == ([(1, 2)], {})
    scene.spawn()
    assert outcome(ticket)[0]


def test_start_after_the_watcher_gave_up_begins_from_the_beginning() -> None:
    scene = Scene()
    scene.start()
    scene.fail(1, times=5)
    ticket = scene.start()
    assert (scene.spawns, scene.watcher.reason) == ([(1, 6)], "")
    scene.spawn()
    assert outcome(ticket)[0]


def test_attempts_without_end_do_not_keep_anybody_waiting_and_go_on() -> None:
    scene = Scene(max_retry=-1)
    ticket = scene.start()
    incarnation = scene.spawns.pop()[1]
    scene.watcher.take(SpawnFailed(SlotKey("web", 1), incarnation, "no such program"), 0.0)
    assert outcome(ticket)[:2] == (False, "web.1: no such program; next attempt after 0.1 s")
    assert scene.watcher.state is WatcherState.STARTING
    scene.fire()
    scene.spawn()
    assert scene.watcher.state is WatcherState.ACTIVE


def test_attempts_without_end_of_one_slot_are_told_and_the_watcher_is_active() -> None:
    scene = Scene(numprocesses=2, max_retry=-1)
    ticket = scene.start()
    scene.spawn()
    scene.spawns.remove((2, 1))
    scene.watcher.take(SpawnFailed(SlotKey("web", 2), 1, "no such program"), 0.0)
    assert outcome(ticket)[:2] == (False, "web.2: no such program; next attempt after 0.1 s")
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_pause_for_flapping_keeps_no_start_waiting() -> None:
    scene = Scene(numprocesses=2, warmup_delay_s=1.0, flapping=FlappingPolicy(attempts=1))
    ticket = scene.start()
    scene.spawn()
    scene.exit(1, status=1)
    scene.fire()
    scene.spawn()
    scene.fire(next(key for key in scene.timers if key.purpose == "warmup"))
    assert outcome(ticket)[:2] == (True, "")


def test_a_reload_of_a_watcher_that_tries_without_end_is_told_so() -> None:
    scene = Scene(max_retry=-1)
    scene.start()
    scene.spawns.clear()
    scene.watcher.take(SpawnFailed(SlotKey("web", 1), 1, "no such program"), 0.0)
    assert outcome(scene.reload())[:2] == (False, "web.1: no such program; next attempt after 0.1 s")


def test_without_respawn_the_watcher_stops_when_none_is_left() -> None:
    scene = running(numprocesses=2, respawn=False)
    scene.exit(1, status=0)
    assert scene.watcher.state is WatcherState.ACTIVE
    scene.exit(2, status=0)
    assert (scene.watcher.state, scene.watcher.wants_up) == (WatcherState.STOPPED, False)
    assert scene.watcher.reason == "web.1: ended with status 0; web.2: ended with status 0"
    assert scene.said == ["reap", "reap", "stop"]


def test_a_program_that_ran_once_during_its_start_has_been_started() -> None:
    scene = Scene(respawn=False, warmup_delay_s=1.0)
    ticket = scene.start()
    scene.spawn()
    scene.exit(1, status=0)
    scene.fire()
    assert outcome(ticket)[:2] == (True, "")
    assert scene.watcher.state is WatcherState.STOPPED


def test_flapping_pauses_only_the_slot_that_flaps_and_in_the_end_it_gives_up() -> None:
    scene = running(numprocesses=2, flapping=FlappingPolicy(attempts=2, window_s=1.0, retry_in_s=7.0, max_retry=1))
    for _ in range(2):
        scene.exit(1, status=1)
        scene.spawn()
        scene.exit(1, status=1)
        if scene.timers:
            assert scene.states() == {1: SlotState.BACKOFF, 2: SlotState.RUNNING}
            assert list(scene.timers.values()) == [7.0]
            scene.fire()
            scene.spawn()
    assert scene.states() == {1: SlotState.FATAL, 2: SlotState.RUNNING}
    assert scene.watcher.state is WatcherState.ACTIVE
    assert scene.said.count("flapping") == 2


def test_a_watcher_of_which_nothing_lives_but_attempts_go_on_is_starting() -> None:
    scene = running(flapping=FlappingPolicy(attempts=1))
    scene.exit(1, status=1)
    assert (scene.watcher.state, scene.watcher.wants_up) == (WatcherState.STARTING, True)


# Stop -------------------------------------------------------------------------------------------------------


def test_all_processes_are_told_to_end_at_once_and_the_stop_is_done_with_the_last() -> None:
    scene = running(numprocesses=2)
    ticket = scene.stop()
    assert (scene.signals, scene.watcher.state) == ([(1, 15), (2, 15)], WatcherState.STOPPING)
    scene.exit(2)
    assert not ticket.is_done
    scene.exit(1)
    assert outcome(ticket) == (True, "", {})
    assert (scene.watcher.state, scene.states(), scene.timers) == (WatcherState.STOPPED, {}, {})
    assert scene.said == ["kill", "kill", "reap", "reap", "stop"]


def test_stopping_what_is_stopped_does_nothing() -> None:
    scene = Scene()
    assert outcome(scene.stop()) == (True, "", {})
    assert scene.actions == []


def test_a_stop_during_the_start_overrules_it_and_cancels_the_warmup() -> None:
    scene = Scene(numprocesses=3, warmup_delay_s=9.0)
    start = scene.start()
    scene.spawn()
    (warmup,) = scene.timers
    stop = scene.stop()
    assert warmup not in scene.timers
    scene.exit(1)
    assert outcome(start)[:2] == (False, "stopped by a later order")
    assert outcome(stop)[0]
    scene.watcher.take(TimerFired(warmup), 9.0)
    assert scene.spawns == [] and scene.watcher.state is WatcherState.STOPPED


def test_a_stop_waits_for_the_spawn_under_way_and_ends_what_comes_of_it() -> None:
    scene = Scene()
    scene.start()
    stop = scene.stop()
    scene.spawn()
    assert scene.signals == [(1, 15)] and not stop.is_done
    scene.exit(1)
    assert stop.is_done


def test_a_spawn_that_fails_while_stopping_is_not_tried_again() -> None:
    scene = Scene()
    scene.start()
    stop = scene.stop()
    scene.fail(1)
    assert outcome(stop)[0]
    assert scene.spawns == [] and not scene.timers


def test_a_stop_during_a_pause_does_not_wait_for_it() -> None:
    scene = Scene()
    scene.start()
    scene.watcher.take(SpawnFailed(SlotKey("web", 1), 1, "x"), 0.0)
    assert scene.timers
    assert outcome(scene.stop())[0]
    assert not scene.timers


def test_a_stop_by_hand_forgets_why_the_watcher_had_given_up() -> None:
    scene = Scene()
    scene.start()
    scene.fail(1, times=5)
    scene.stop()
    assert (scene.watcher.reason, scene.states(), scene.watcher.wants_up) == ("", {}, False)


def test_a_process_that_survives_sigkill_leaves_the_watcher_stopping_but_overdue() -> None:
    scene = running()
    stop = scene.stop()
    for expected in (False, False, True):
        assert scene.watcher.is_overdue is expected
        scene.fire(kill_timer(1, scene))
    assert [signum for _, signum in scene.signals] == [15, 9, 9, 9]
    assert (scene.watcher.state, stop.is_done) == (WatcherState.STOPPING, False)
    scene.exit(1, status=-9)
    assert stop.is_done


def test_a_watcher_whose_hook_has_not_answered_is_not_overdue() -> None:
    scene = running(hooks={"before_stop"})
    scene.stop()
    assert not scene.watcher.is_overdue


def test_slots_that_gave_up_do_not_keep_a_watcher_from_being_overdue() -> None:
    scene = Scene(numprocesses=2)
    scene.start()
    scene.spawn()
    scene.fail(2, times=5)
    scene.stop()
    scene.fire(kill_timer(1, scene))
    scene.fire(kill_timer(1, scene))
    assert scene.watcher.is_overdue


def test_all_is_dropped_at_once_when_a_watcher_is_abandoned() -> None:
    scene = Scene(warmup_delay_s=5.0)
    start, reload = scene.start(), scene.reload()
    scene.spawn()
    scene.watcher.abandon()
    assert (scene.timers, scene.signals) == ({}, [])
    for ticket in (start, reload):
        assert outcome(ticket)[:2] == (False, "removed by a later order")


# Restart ----------------------------------------------------------------------------------------------------


def test_a_restart_stops_and_starts() -> None:
    scene = running(numprocesses=2)
    ticket = scene.restart()
    scene.exit(1, 2)
    scene.spawn()
    scene.spawn()
    assert outcome(ticket) == (True, "", {"stopped": [101, 201], "started": [102, 202], "kept": []})
    assert scene.said == ["kill", "kill", "reap", "reap", "stop", "spawn", "spawn", "start"]


def test_a_restart_during_a_stop_joins_it_and_starts_again() -> None:
    scene = running()
    stop, restart = scene.stop(), scene.restart()
    assert scene.signals == [(1, 15)]
    scene.exit(1)
    assert stop.is_done and not restart.is_done
    scene.spawn()
    assert outcome(restart)[0]
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_stop_during_a_restart_overrules_it() -> None:
    scene = running()
    restart, stop = scene.restart(), scene.stop()
    scene.exit(1)
    assert outcome(restart)[:2] == (False, "stopped by a later order")
    assert outcome(stop)[0]
    assert scene.spawns == []


def test_a_start_during_a_stop_waits_for_the_end_of_it() -> None:
    scene = running()
    stop, start = scene.stop(), scene.start()
    assert scene.spawns == []
    scene.exit(1)
    assert outcome(stop)[0]
    scene.spawn()
    assert outcome(start) == (True, "", {"started": [102], "kept": []})


def test_a_restart_of_what_is_stopped_starts_it() -> None:
    scene = Scene()
    ticket = scene.restart()
    scene.spawn()
    assert outcome(ticket) == (True, "", {"stopped": [], "started": [101], "kept": []})


def test_a_restart_during_the_start_replaces_what_is_there_already() -> None:
    scene = Scene(numprocesses=2)
    start = scene.start()
    scene.spawn(1)
    restart = scene.restart()
    scene.exit(1)
    scene.spawn(2)
    scene.exit(2)
    assert scene.spawns == [(1, 2)]
    scene.spawn()
    scene.spawn()
    assert outcome(start)[0] and outcome(restart)[0]


# Count ------------------------------------------------------------------------------------------------------


def test_more_processes_take_the_lowest_free_wids_with_the_warmup_between_them() -> None:
    scene = running(numprocesses=1)
    scene.watcher.policy = WatcherPolicy("web", warmup_delay_s=1.0)
    ticket = scene.count(delta=+2)
    scene.spawn()
    assert scene.spawns == []
    scene.fire()
    scene.spawn()
    scene.fire()
    assert outcome(ticket) == (True, "", {"numprocesses": 3})
    assert scene.pids == [101, 201, 301]
    assert scene.watcher.state is WatcherState.ACTIVE
    assert scene.said == ["updated", "spawn", "spawn"], "no second start"


def test_fewer_processes_end_the_oldest_and_the_count_is_done_when_they_have_gone() -> None:
    scene = Scene(numprocesses=3)
    scene.start()
    while scene.spawns:
        scene.now += 1
        scene.spawn()
    scene.exit(1, status=1)
    scene.now += 1
    scene.spawn()
    ticket = scene.count(1)
    assert scene.signals == [(2, 15), (3, 15)], "wid 1 has the newest process"
    scene.exit(2)
    assert not ticket.is_done
    scene.exit(3)
    assert outcome(ticket) == (True, "", {"numprocesses": 1})


def test_slots_without_a_process_go_before_those_that_serve() -> None:
    scene = running(numprocesses=2, flapping=FlappingPolicy(attempts=1))
    scene.exit(2, status=1)
    assert scene.states()[2] is SlotState.BACKOFF
    assert outcome(scene.count(1))[0]
    assert (scene.states(), scene.timers) == ({1: SlotState.RUNNING}, {})


def test_the_floor_is_0_and_a_singleton_never_has_more_than_one() -> None:
    scene = running(numprocesses=1, singleton=True)
    assert outcome(scene.count(5))[2] == {"numprocesses": 1}
    ticket = scene.count(delta=-3)
    scene.exit(1)
    assert outcome(ticket)[2] == {"numprocesses": 0}
    assert scene.watcher.state is WatcherState.ACTIVE


def test_more_while_starting_is_part_of_the_same_sequence() -> None:
    scene = Scene(numprocesses=1)
    start = scene.start()
    more = scene.count(delta=1)
    scene.spawn()
    assert not start.is_done
    scene.spawn()
    assert outcome(start)[2] == {"started": [101, 201], "kept": []}
    assert outcome(more)[0]


def test_fewer_while_starting_ends_the_spawn_under_way_when_it_is_answered() -> None:
    scene = Scene(numprocesses=1)
    scene.start()
    ticket = scene.count(0)
    scene.spawn()
    assert scene.signals == [(1, 15)]
    scene.exit(1)
    assert outcome(ticket)[0]


def test_a_slot_that_is_not_wanted_any_more_is_not_waited_for_by_the_next_one() -> None:
    scene = Scene()
    scene.start()
    scene.count(0)
    scene.count(1)
    assert scene.spawns == [(1, 1), (2, 1)]


def test_a_count_that_waits_for_the_last_to_end_is_not_hurt_by_a_stop() -> None:
    scene = running(numprocesses=2)
    count = scene.count(1)
    scene.stop()
    scene.exit(1, 2)
    assert outcome(count) == (True, "", {"numprocesses": 1})


def test_the_count_of_a_stopped_or_stopping_watcher_is_set_at_once() -> None:
    scene = Scene()
    assert outcome(scene.count(3)) == (True, "", {"numprocesses": 3})
    scene = running()
    scene.stop()
    assert outcome(scene.count(3)) == (True, "", {"numprocesses": 3})
    assert scene.spawns == []


def test_a_count_whose_processes_cannot_be_spawned_says_so() -> None:
    scene = running()
    ticket = scene.count(2)
    scene.fail(2, times=5)
    assert outcome(ticket) == (
        False,
        "web.2: no such program (gave up after 5 attempts)",
        {"numprocesses": 2},
    )


def test_a_wid_that_is_used_again_goes_on_above_its_old_numbers() -> None:
    scene = running(numprocesses=2)
    scene.count(1)
    scene.exit(1)
    scene.count(2)
    assert scene.spawns == [(1, 2)]
    scene.watcher.take(Exited(SlotKey("web", 1), 1, 0), 0.0)
    scene.spawn()
    assert scene.pids == [102, 201]


# Change -----------------------------------------------------------------------------------------------------


def test_a_change_that_needs_a_restart_replaces_the_processes_under_the_new_policy() -> None:
    scene = running()
    ticket = scene.watcher.change(0.0, WatcherPolicy("web", numprocesses=2), must_restart=True)
    assert "updated" in scene.said
    scene.exit(1)
    scene.spawn()
    scene.spawn()
    assert outcome(ticket)[2] == {"stopped": [101], "started": [102, 202], "kept": []}


def test_a_live_change_touches_no_process_and_sets_the_count() -> None:
    scene = running()
    ticket = scene.watcher.change(0.0, WatcherPolicy("web", numprocesses=2, stop_signal=3), must_restart=False)
    scene.spawn()
    assert outcome(ticket)[0] and scene.pids == [101, 201]
    scene.stop()
    assert scene.signals == [(1, 3), (2, 3)]


def test_a_graceful_change_has_the_new_processes_up_before_the_old_ones_go() -> None:
    scene = running()
    ticket = scene.watcher.change(0.0, WatcherPolicy("web"), must_restart=True, is_graceful=True, keys=("cmd", "uid"))
    assert scene.spawns == [(2, 1)] and scene.signals == []
    told = [
        action.fields["key"] for action in scene.actions if isinstance(action, Publish) and action.event == "updated"
    ]
    assert told == ["cmd", "uid"], "once for each option"
    scene.spawn()
    scene.exit(1)
    assert outcome(ticket) == (True, "", {"stopped": [101], "started": [201], "kept": []})


def test_a_graceful_change_whose_processes_do_not_come_up_leaves_the_old_ones() -> None:
    scene = running(max_retry=0)
    ticket = scene.watcher.change(0.0, scene.watcher.policy, must_restart=True, is_graceful=True)
    scene.fail(2)
    assert outcome(ticket)[0] is False
    assert scene.pids == [101]


@pytest.mark.parametrize("option", ["singleton", "send_hup"])
def test_a_graceful_change_restarts_what_bears_no_second_generation_or_reloads_by_a_signal(option: str) -> None:
    scene = running(**{option: True})
    scene.watcher.change(0.0, scene.watcher.policy, must_restart=True, is_graceful=True)
    assert scene.spawns == [] and scene.signals == [(1, 15)]


def test_a_graceful_change_of_what_does_not_come_up_begins_anew() -> None:
    scene = Scene(max_retry=-1)
    scene.start()
    incarnation = scene.spawns.pop()[1]
    scene.watcher.take(SpawnFailed(SlotKey("web", 1), incarnation, "no such program"), scene.now)
    scene.watcher.change(0.0, scene.watcher.policy, must_restart=True, is_graceful=True)
    assert scene.spawns == [(1, 2)], "without waiting for the next attempt"


def test_a_change_does_not_start_what_is_stopped_but_what_had_given_up() -> None:
    scene = Scene()
    assert outcome(scene.watcher.change(0.0, WatcherPolicy("web"), must_restart=True))[0]
    assert scene.spawns == []
    scene.start()
    scene.fail(1, times=5)
    scene.watcher.change(0.0, WatcherPolicy("web"), must_restart=True)
    assert scene.spawns == [(1, 6)]


# Kill -------------------------------------------------------------------------------------------------------


def killed(scene: Scene, pid: int | None = None, signum: int | None = None, grace_s: float | None = None) -> Ticket:
    return scene.watcher.kill(scene.now, pid=pid, signum=signum, grace_s=grace_s)


def test_a_kill_is_over_when_the_processes_have_gone_and_others_follow() -> None:
    scene = running(numprocesses=2)
    ticket = killed(scene, signum=2)
    assert scene.signals == [(1, 2), (2, 2)]
    scene.exit(1)
    scene.spawn()
    assert not ticket.is_done
    scene.exit(2)
    assert outcome(ticket) == (True, "", {"stopped": [101, 201]})
    scene.spawn()
    assert scene.pids == [102, 202] and scene.watcher.state is WatcherState.ACTIVE


def test_a_kill_of_one_process_touches_no_other() -> None:
    scene = running(numprocesses=2)
    ticket = killed(scene, pid=201)
    assert scene.signals == [(2, 15)]
    scene.exit(2)
    assert outcome(ticket)[2] == {"stopped": [201]}
    assert outcome(killed(scene, pid=201))[2] == {"stopped": []}, "it has gone already"


def test_two_kills_of_the_same_process_end_together() -> None:
    scene = running()
    first, second = killed(scene), killed(scene, signum=9, grace_s=0.0)
    assert scene.signals == [(1, 15), (1, 9)]
    scene.exit(1, status=-9)
    assert first.is_done and second.is_done
    scene.spawn()
    assert outcome(scene.stop_and_end())[0], "and a stop after it is a stop"


def test_without_respawn_a_watcher_whose_last_process_was_killed_is_stopped() -> None:
    scene = running(respawn=False)
    ticket = killed(scene)
    scene.exit(1)
    assert outcome(ticket)[0] and scene.watcher.state is WatcherState.STOPPED


def test_a_kill_is_awaited_also_by_a_manager_that_leaves() -> None:
    scene = running(outlives_quit=True)
    ticket = killed(scene)
    scene.watcher.freeze(scene.now)
    assert scene.watcher.is_busy and not ticket.is_done
    scene.exit(1)
    assert outcome(ticket)[0]


# Reload -----------------------------------------------------------------------------------------------------


def test_with_send_hup_each_process_gets_a_plain_hangup_and_nothing_else_happens() -> None:
    scene = running(numprocesses=2, send_hup=True)
    assert outcome(scene.reload()) == (True, "", {"stopped": [], "started": [], "kept": [101, 201]})
    assert scene.signals == [(1, 1), (2, 1)]
    assert all(action.is_plain for action in scene.actions if isinstance(action, Signal))
    assert scene.said == ["reload"]


def test_a_graceful_reload_raises_new_ones_beside_the_old_which_end_when_all_new_are_there() -> None:
    scene = running(numprocesses=2, warmup_delay_s=0.0)
    ticket = scene.reload()
    assert scene.spawns == [(3, 1), (4, 1)], "at once, at the next free wids"
    scene.spawn(3)
    assert scene.signals == []
    scene.spawn(4)
    assert scene.signals == [(1, 15), (2, 15)]
    assert scene.watcher.state is WatcherState.ACTIVE
    scene.exit(1, 2)
    assert outcome(ticket) == (True, "", {"stopped": [101, 201], "started": [301, 401], "kept": []})
    assert scene.said == ["spawn", "spawn", "kill", "kill", "reload", "reap", "reap"]


def test_the_wid_of_a_single_process_alternates_from_reload_to_reload() -> None:
    scene = running()
    wids = []
    for _ in range(3):
        scene.reload()
        wids.append(scene.spawns[0][0])
        scene.spawn()
        scene.exit(3 - wids[-1])
    assert wids == [2, 1, 2]


def test_new_ones_wait_for_after_spawn_and_each_that_is_refused_leaves_an_old_one() -> None:
    scene = running(numprocesses=2, hooks={"after_spawn"})
    ticket = scene.reload()
    scene.spawn(3, hook=False)
    assert scene.signals == [(3, 15)]
    scene.spawn(4)
    assert scene.signals == [(3, 15)], "not ready yet"
    scene.watcher.take(HookAnswered("web", "after_spawn", True, SlotKey("web", 4), 1), 0.0)
    assert scene.signals == [(3, 15), (1, 15)]
    scene.exit(3, 1)
    ok, error, detail = outcome(ticket)
    assert (ok, detail) == (False, {"stopped": [101], "started": [401], "kept": [201]})
    assert error == "not replaced, the old processes stay: web.3: the hook after_spawn refused process 301"
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_reload_whose_new_processes_cannot_be_spawned_keeps_all_the_old_ones() -> None:
    scene = running()
    ticket = scene.reload()
    scene.fail(2)
    ok, error, detail = outcome(ticket)
    assert (ok, detail) == (False, {"stopped": [], "started": [], "kept": [101]})
    assert "web.2: no such program (gave up after 1 attempt)" in error
    assert "reload" not in scene.said
    assert (scene.states(), scene.signals) == ({1: SlotState.RUNNING}, [])


def test_a_reload_whose_new_process_before_spawn_refuses_keeps_the_old_one() -> None:
    scene = running(hooks={"before_spawn"})
    ticket = scene.reload()
    scene.spawns.clear()
    scene.watcher.take(HookAnswered("web", "before_spawn", False, SlotKey("web", 2), 1), 0.0)
    assert outcome(ticket)[:2] == (
        False,
        "not replaced, the old processes stay: web.2: the hook before_spawn refused",
    )
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_new_process_that_ends_before_the_others_are_ready_has_failed() -> None:
    scene = running(numprocesses=2)
    ticket = scene.reload()
    scene.spawn(3)
    scene.exit(3, status=1)
    assert scene.spawns == [(4, 1)], "no second chance"
    scene.spawn(4)
    scene.exit(1)
    assert outcome(ticket)[:2] == (
        False,
        "not replaced, the old processes stay: web.3: ended with status 1",
    )
    assert scene.pids == [201, 401]


def test_a_count_that_changes_during_a_reload_is_obeyed_at_its_end() -> None:
    scene = running(numprocesses=2)
    reload, count = scene.reload(), scene.count(1)
    scene.spawn()
    assert [wid for wid, _ in scene.signals] == [1, 2, 3]
    scene.exit(1, 2, 3)
    assert outcome(reload)[2] == {"stopped": [101, 201], "started": [401], "kept": []}
    assert outcome(count)[0]


def test_a_second_reload_waits_until_the_first_old_generation_has_gone() -> None:
    scene = running()
    first, second = scene.reload(), scene.reload()
    third = scene.reload()
    scene.spawn()
    assert scene.spawns == []
    scene.exit(1)
    assert first.is_done
    assert scene.spawns == [(1, 2)]
    scene.spawn()
    scene.exit(2)
    assert second.is_done and third.is_done, "who waits for the same gets the same"
    assert scene.spawns == []


def test_a_reload_of_what_is_stopped_starts_it() -> None:
    scene = Scene()
    ticket = scene.reload()
    scene.spawn()
    assert outcome(ticket) == (True, "", {"stopped": [], "started": [101], "kept": []})
    assert "reload" not in scene.said


def test_a_reload_during_the_start_follows_it() -> None:
    scene = Scene()
    scene.start()
    ticket = scene.reload()
    scene.spawn()
    assert scene.spawns == [(2, 1)] and not ticket.is_done


def test_a_reload_that_waits_for_the_start_is_overruled_by_a_stop() -> None:
    scene = Scene()
    scene.start()
    reload = scene.reload()
    scene.stop()
    scene.fail(1)
    assert outcome(reload)[:2] == (False, "stopped by a later order")


def test_a_reload_that_waits_for_the_start_is_made_up_for_by_a_restart() -> None:
    scene = Scene()
    scene.start()
    reload = scene.reload()
    scene.restart()
    scene.spawn()
    scene.exit(1)
    scene.spawn()
    assert outcome(reload)[2] == {"stopped": [], "started": [102], "kept": []}
    assert scene.spawns == []


def test_reloads_of_different_kinds_follow_each_other() -> None:
    scene = running()
    graceful, sequential = scene.reload(), scene.reload(is_sequential=True)
    scene.spawn()
    scene.exit(1)
    assert graceful.is_done and not sequential.is_done
    assert scene.signals == [(1, 15), (2, 15)]
    scene.exit(2)
    scene.spawn()
    assert outcome(sequential)[2] == {"stopped": [101], "started": [202], "kept": []}


def test_reloads_of_different_kinds_that_wait_together_are_done_one_by_one() -> None:
    scene = Scene()
    scene.start()
    graceful, sequential = scene.reload(), scene.reload(is_sequential=True)
    scene.spawn()
    scene.spawn()
    scene.exit(1)
    assert graceful.is_done and not sequential.is_done


def test_a_stop_during_a_reload_ends_both_generations() -> None:
    scene = running()
    reload = scene.reload()
    stop = scene.stop()
    scene.spawn()
    assert scene.signals == [(1, 15), (2, 15)]
    scene.exit(1, 2)
    assert outcome(reload)[:2] == (False, "stopped by a later order")
    assert outcome(stop)[0]


def test_a_restart_during_a_reload_does_what_the_reload_was_for() -> None:
    scene = running()
    reload, restart = scene.reload(), scene.restart()
    scene.spawn()
    scene.exit(1, 2)
    scene.spawn()
    assert outcome(reload)[0] and outcome(restart)[0]


def test_a_sequential_reload_replaces_one_after_another_with_the_warmup_between() -> None:
    scene = running(numprocesses=2)
    scene.watcher.policy = WatcherPolicy("web", numprocesses=2, warmup_delay_s=4.0)
    ticket = scene.reload(is_sequential=True)
    assert scene.signals == [(1, 15)]
    scene.exit(1)
    assert scene.spawns == [(1, 2)]
    scene.spawn()
    assert (scene.signals, list(scene.timers.values())) == ([(1, 15)], [4.0])
    scene.fire()
    scene.exit(2)
    scene.spawn()
    assert outcome(ticket)[2] == {"stopped": [101, 201], "started": [102, 202], "kept": []}


def test_a_sequential_reload_leaves_the_rest_alone_when_one_does_not_come_up_again() -> None:
    scene = running(numprocesses=2)
    ticket = scene.reload(is_sequential=True)
    scene.exit(1)
    scene.fail(1, times=5)
    ok, error, _ = outcome(ticket)
    assert not ok
    assert error.startswith("web.1 did not come up again, the others stay as they are: no such program")
    assert scene.states() == {1: SlotState.FATAL, 2: SlotState.RUNNING}


# Hooks ------------------------------------------------------------------------------------------------------

ALL_HOOKS = ("before_start", "after_start", "before_stop", "after_stop")


def test_hooks_are_waited_for_in_their_order() -> None:
    scene = Scene(hooks=ALL_HOOKS)
    start = scene.start()
    assert (scene.hooks, scene.spawns) == (["before_start"], [])
    scene.answer("before_start")
    scene.spawn()
    assert (scene.hooks, start.is_done, scene.watcher.state) == (["after_start"], False, WatcherState.STARTING)
    scene.answer("after_start")
    assert start.is_done
    stop = scene.stop()
    assert (scene.hooks, scene.signals) == (["before_stop"], [])
    scene.answer("before_stop", ok=False)
    assert scene.signals == [(1, 15)], "its answer does not matter"
    scene.exit(1)
    assert (scene.hooks, stop.is_done) == (["after_stop"], False)
    scene.answer("after_stop")
    assert stop.is_done


def test_before_start_that_refuses_leaves_the_watcher_stopped_and_nothing_was_begun() -> None:
    scene = Scene(hooks=ALL_HOOKS)
    ticket = scene.start()
    scene.answer("before_start", ok=False)
    assert outcome(ticket)[:2] == (False, "the hook before_start refused")
    assert (scene.watcher.state, scene.watcher.reason) == (WatcherState.STOPPED, "the hook before_start refused")
    assert scene.spawns == [] and scene.hooks == []
    assert scene.said == ["fatal"]


def test_after_start_that_refuses_stops_the_watcher() -> None:
    scene = Scene(hooks={"after_start"})
    ticket = scene.start()
    scene.spawn()
    scene.answer("after_start", ok=False)
    scene.exit(1)
    assert outcome(ticket)[:2] == (False, "the hook after_start refused")
    assert scene.watcher.state is WatcherState.STOPPED
    assert "start" not in scene.said


def test_before_spawn_that_refuses_stops_the_watcher_also_when_it_was_up() -> None:
    scene = running(numprocesses=2, hooks={"before_spawn"})
    scene.exit(1, status=1)
    scene.spawns.clear()
    scene.watcher.take(HookAnswered("web", "before_spawn", False, SlotKey("web", 1), 2), 0.0)
    assert scene.signals == [(2, 15)]
    scene.exit(2)
    assert (scene.watcher.state, scene.watcher.reason) == (WatcherState.STOPPED, "the hook before_spawn refused")


def test_after_spawn_that_refuses_stops_the_watcher() -> None:
    scene = Scene(numprocesses=2, hooks={"after_spawn"})
    ticket = scene.start()
    scene.spawn(hook=False)
    scene.exit(1)
    assert outcome(ticket)[:2] == (False, "the hook after_spawn refused")


def test_a_refusal_about_an_old_life_stops_nothing() -> None:
    scene = running(hooks={"after_spawn"})
    scene.watcher.take(HookAnswered("web", "after_spawn", False, SlotKey("web", 1), 0), 0.0)
    scene.watcher.take(HookAnswered("web", "after_spawn", False, SlotKey("web", 9), 1), 0.0)
    assert (scene.signals, scene.watcher.state) == ([], WatcherState.ACTIVE)


def test_a_refusal_of_what_is_not_wanted_any_more_stops_nothing() -> None:
    scene = Scene(hooks={"before_spawn"})
    scene.start()
    scene.count(0)
    scene.watcher.take(HookAnswered("web", "before_spawn", False, SlotKey("web", 1), 1), 0.0)
    assert (scene.watcher.state, scene.watcher.reason) == (WatcherState.ACTIVE, "")


def test_a_refusal_during_the_stop_is_no_reason() -> None:
    scene = Scene(hooks={"before_stop", "after_spawn"})
    scene.start()
    scene.spawn()
    scene.stop()
    scene.watcher.take(HookAnswered("web", "after_spawn", False, SlotKey("web", 1), 1), 0.0)
    scene.answer("before_stop")
    scene.exit(1)
    assert (scene.watcher.state, scene.watcher.reason) == (WatcherState.STOPPED, "")


def test_a_refusal_for_an_old_process_during_a_reload_stops_the_watcher() -> None:
    scene = running(hooks={"before_spawn"})
    scene.reload()
    scene.exit(1, status=1)
    scene.watcher.take(HookAnswered("web", "before_spawn", False, SlotKey("web", 1), 2), 0.0)
    assert scene.watcher.reason == "the hook before_spawn refused"


def test_the_next_process_waits_for_after_spawn_of_the_one_before() -> None:
    scene = Scene(numprocesses=2, hooks={"after_spawn"})
    scene.start()
    scene.spawn()
    assert scene.spawns == []
    scene.watcher.take(HookAnswered("web", "after_spawn", True, SlotKey("web", 1), 1), 0.0)
    assert scene.spawns == [(2, 1)]


def test_a_stop_does_not_wait_for_a_hook_of_the_start() -> None:
    scene = Scene(hooks={"before_start"})
    start = scene.start()
    assert outcome(scene.stop())[0]
    assert outcome(start)[:2] == (False, "stopped by a later order")


def test_a_hook_is_not_asked_again_before_its_old_answer_came_and_that_one_does_not_count() -> None:
    scene = Scene(hooks={"before_start"})
    scene.start()
    scene.stop()
    scene.start()
    assert scene.hooks == ["before_start"]
    scene.answer("before_start", ok=False)
    assert (scene.hooks, scene.watcher.state) == (["before_start"], WatcherState.STARTING)
    scene.answer("before_start")
    assert scene.spawns == [(1, 1)]


def test_an_answer_that_nobody_waits_for_any_more_does_not_count() -> None:
    scene = Scene(hooks={"after_start"})
    scene.start()
    scene.spawn()
    scene.stop()
    scene.answer("after_start", ok=False)
    scene.exit(1)
    assert (scene.watcher.state, scene.watcher.reason) == (WatcherState.STOPPED, "")
    scene.watcher.take(HookAnswered("web", "after_start", False), 0.0)
    assert scene.watcher.reason == ""


def test_a_process_that_dies_while_before_stop_runs_is_not_replaced() -> None:
    scene = running(numprocesses=2, hooks={"before_stop"})
    stop = scene.stop()
    scene.exit(1, status=1)
    assert scene.spawns == []
    scene.answer("before_stop")
    scene.exit(2)
    assert outcome(stop)[0]


def test_a_pause_that_ends_while_before_stop_runs_spawns_nothing() -> None:
    scene = running(hooks={"before_stop"}, flapping=FlappingPolicy(attempts=1))
    scene.exit(1, status=1)
    scene.stop()
    assert not scene.timers


# Adoption ---------------------------------------------------------------------------------------------------


def test_adopted_processes_are_kept_and_missing_ones_started_without_before_start() -> None:
    scene = Scene(numprocesses=2, hooks={"before_start", "after_start"})
    scene.adopt(2)
    assert (scene.watcher.state, scene.spawns, scene.watcher.wants_up) == (WatcherState.ACTIVE, [], True)
    ticket = scene.start()
    assert scene.hooks == []
    scene.spawn()
    scene.answer("after_start")
    assert outcome(ticket) == (True, "", {"started": [101], "kept": [1002]})


def test_of_too_many_adopted_the_oldest_end() -> None:
    scene = Scene(numprocesses=1)
    scene.adopt(3, 1)
    ticket = scene.start()
    assert outcome(ticket)[2] == {"started": [], "kept": [1001]}
    assert scene.signals == [(3, 15)]


def test_an_adopted_process_that_dies_before_any_order_is_replaced() -> None:
    scene = Scene()
    scene.adopt(1)
    scene.exit(1, status=1)
    assert scene.spawns == [(1, 2)]


def test_an_adopted_watcher_can_be_stopped_restarted_or_reloaded_by_its_first_order() -> None:
    scene = Scene()
    scene.adopt(1)
    stop = scene.stop()
    scene.exit(1)
    assert outcome(stop)[0]

    scene = Scene(hooks={"before_start"})
    scene.adopt(1)
    restart = scene.restart()
    scene.exit(1)
    scene.answer("before_start")
    scene.spawn()
    assert outcome(restart)[2] == {"stopped": [1001], "started": [102], "kept": []}

    scene = Scene()
    scene.adopt(1)
    reload = scene.reload()
    scene.spawn()
    scene.exit(1)
    assert outcome(reload)[2] == {"stopped": [1001], "started": [201], "kept": []}


def test_after_spawn_that_refuses_an_adopted_process_stops_the_watcher() -> None:
    scene = Scene(hooks={"after_spawn"})
    scene.adopt(1)
    scene.start()
    scene.watcher.take(HookAnswered("web", "after_spawn", False, SlotKey("web", 1), 1), 0.0)
    scene.exit(1)
    assert scene.watcher.state is WatcherState.STOPPED


# Frozen -----------------------------------------------------------------------------------------------------


def test_a_frozen_watcher_begins_nothing_and_says_so_to_those_who_wait() -> None:
    scene = Scene(numprocesses=2, warmup_delay_s=5.0)
    ticket = scene.start()
    scene.spawn()
    scene.watcher.freeze(0.0)
    assert outcome(ticket)[:2] == (False, "circusd is leaving")
    assert not scene.timers and not scene.watcher.is_busy
    scene.exit(1, status=1)
    assert scene.spawns == []


def test_those_who_wait_for_a_reload_of_a_frozen_watcher_are_told() -> None:
    scene = running()
    under_way, waiting = scene.reload(), scene.reload()
    scene.watcher.freeze(0.0)
    for ticket in (under_way, waiting):
        assert outcome(ticket)[:2] == (False, "circusd is leaving")


def test_before_spawn_that_refuses_in_a_frozen_watcher_ends_nothing_else() -> None:
    scene = Scene(numprocesses=2, hooks={"before_spawn"})
    scene.start()
    scene.spawn()
    scene.watcher.freeze(0.0)
    scene.watcher.take(HookAnswered("web", "before_spawn", False, SlotKey("web", 2), 1), 0.0)
    assert (scene.states(), scene.signals) == ({1: SlotState.RUNNING}, [])
    assert not scene.watcher.is_busy


def test_after_spawn_that_agrees_in_a_frozen_watcher_is_told_of() -> None:
    scene = Scene(hooks={"after_spawn"})
    scene.start()
    scene.watcher.freeze(0.0)
    scene.spawn(hook=True)
    assert scene.said == ["spawn"]


def test_a_frozen_watcher_keeps_what_a_spawn_under_way_brings() -> None:
    scene = Scene()
    scene.start()
    scene.watcher.freeze(0.0)
    assert scene.watcher.is_busy
    scene.spawn()
    assert (scene.states(), scene.watcher.is_busy) == ({1: SlotState.RUNNING}, False)


def test_a_frozen_watcher_tries_no_spawn_again() -> None:
    scene = Scene(numprocesses=2)
    scene.start()
    scene.watcher.take(SpawnFailed(SlotKey("web", 1), 1, "x"), 0.0)
    scene.watcher.freeze(0.0)
    assert not scene.timers
    scene.spawns.remove((1, 1))
    scene.watcher.take(SpawnFailed(SlotKey("web", 2), 1, "x"), 0.0)
    assert not scene.timers


def test_a_frozen_watcher_finishes_the_replacement_of_a_process_that_was_told_to_end() -> None:
    scene = running(numprocesses=2)
    scene.reload(is_sequential=True)
    scene.watcher.freeze(0.0)
    assert scene.watcher.is_busy
    scene.exit(1)
    scene.spawn()
    assert (scene.pids, scene.signals, scene.watcher.is_busy) == ([102, 201], [(1, 15)], False)


def test_a_frozen_watcher_finishes_its_stop_but_not_its_restart() -> None:
    scene = running(hooks={"before_stop", "after_stop"})
    stop, restart = scene.stop(), scene.restart()
    scene.watcher.freeze(0.0)
    assert outcome(restart)[:2] == (False, "circusd is leaving")
    scene.answer("before_stop")
    scene.exit(1)
    assert scene.watcher.is_busy
    scene.answer("after_stop")
    assert outcome(stop)[0]
    assert (scene.spawns, scene.watcher.is_busy) == ([], False)


@pytest.mark.parametrize("hook", ["before_start", "after_start"])
def test_a_frozen_watcher_does_not_wait_for_a_hook_of_its_start(hook: str) -> None:
    scene = Scene(hooks={hook})
    scene.start()
    scene.spawn()
    scene.watcher.freeze(0.0)
    assert not scene.watcher.is_busy
    scene.answer(hook)
    assert scene.spawns == []
    assert (scene.watcher.state is WatcherState.STOPPED) == (hook == "before_start")


def test_a_frozen_watcher_leaves_even_a_process_alone_that_after_spawn_refuses() -> None:
    scene = Scene(hooks={"after_spawn"})
    scene.start()
    scene.watcher.freeze(0.0)
    scene.spawn(hook=False)
    assert (scene.signals, scene.states()) == ([], {1: SlotState.RUNNING})


# What is shown ----------------------------------------------------------------------------------------------


def test_a_new_limit_of_age_counts_at_once_and_no_more_when_circusd_leaves() -> None:
    scene = running(numprocesses=2)
    scene.watcher.change(scene.now, replace(scene.watcher.policy, max_age_s=60.0), must_restart=False)
    assert [(key.wid, key.purpose) for key in scene.timers] == [(1, "age"), (2, "age")]
    scene.fire()
    assert scene.signals == [(1, 15)]
    scene.exit(1)
    assert [wid for wid, _ in scene.spawns] == [1]
    scene.spawn()
    assert len(scene.timers) == 2
    scene.watcher.freeze(scene.now)
    assert scene.timers == {}


def test_a_process_that_was_too_old_when_it_was_to_end_is_not_followed() -> None:
    scene = running(max_age_s=60.0)
    scene.fire()
    scene.stop()
    scene.exit(1)
    assert scene.spawns == []
    assert scene.watcher.state is WatcherState.STOPPED


# On demand ---------------------------------------------------------------------------------------------------


def test_on_demand_a_started_watcher_waits_for_a_connection() -> None:
    scene = Scene(on_demand=True, numprocesses=2)
    ticket = scene.start()
    assert ticket.is_done and not ticket.error
    assert scene.spawns == []
    assert scene.awaits == [True]
    assert (scene.watcher.state, scene.watcher.view().reason) == (WatcherState.STOPPED, "waits for a connection")
    scene.demand()
    assert scene.awaits == [True, False]
    scene.spawn()
    scene.spawn()
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_good_end_of_all_processes_is_followed_by_waiting_a_bad_one_by_another_process() -> None:
    scene = Scene(on_demand=True, numprocesses=2)
    scene.start()
    scene.demand()
    scene.spawn()
    scene.spawn()
    scene.exit(1, status=1)
    scene.spawn()
    scene.exit(1, status=0)
    assert scene.awaits == [True, False]
    scene.exit(2, status=0)
    assert scene.awaits == [True, False, True]
    assert scene.spawns == []
    scene.demand()
    assert len(scene.spawns) == 1


def test_a_watcher_that_waits_is_stopped_and_changed_without_a_process() -> None:
    scene = Scene(on_demand=True)
    scene.start()
    assert scene.restart().is_done and scene.reload().is_done and scene.count(3).is_done
    assert scene.awaits == [True]
    assert scene.stop().is_done
    assert scene.awaits == [True, False]
    scene.demand()
    assert scene.spawns == []
    scene.start()
    scene.watcher.change(scene.now, replace(scene.watcher.policy, on_demand=False), must_restart=False)
    assert scene.awaits == [True, False, True, False]
    assert len(scene.spawns) == 1


def test_a_watcher_that_waits_when_circusd_leaves_begins_nothing() -> None:
    scene = Scene(on_demand=True)
    scene.start()
    scene.watcher.freeze(scene.now)
    assert scene.awaits == [True, False]
    scene.demand()
    assert scene.spawns == []


def test_an_adopted_process_of_an_on_demand_watcher_just_goes_on() -> None:
    scene = Scene(on_demand=True)
    scene.adopt(1)
    scene.start()
    assert scene.awaits == []
    assert scene.watcher.state is WatcherState.ACTIVE


def test_a_view_shows_every_slot_in_the_order_of_wids() -> None:
    scene = running(numprocesses=2)
    scene.exit(1, status=3)
    view = scene.watcher.view()
    assert (view.name, view.numprocesses, view.wants_up, view.state) == ("web", 2, True, WatcherState.ACTIVE)
    assert [(slot.wid, slot.state, slot.pid, slot.last_status) for slot in view.slots] == [
        (1, SlotState.STARTING, None, 3),
        (2, SlotState.RUNNING, 201, None),
    ]


def test_a_watcher_whose_only_process_is_replaced_stays_active() -> None:
    scene = running()
    scene.exit(1, status=3)
    assert scene.watcher.state is WatcherState.ACTIVE


def test_numbers_go_on_above_the_high_water_mark_of_an_earlier_watcher() -> None:
    scene = running(numprocesses=2)
    scene.stop()
    scene.exit(1, 2)
    again = Scene()
    again.watcher = Watcher(WatcherPolicy("web"), again.carry_out, base=scene.watcher.high_water)
    again.start()
    assert again.spawns == [(1, 2)]


def lines(names: Iterable[Phase]) -> set[str]:
    return {phase.value for phase in names}


def test_every_phase_has_its_line_in_the_specification() -> None:
    from circus.supervise import ring

    assert ring.__doc__ is not None
    assert {name for name in lines(Phase) if name not in ring.__doc__} == set()


# Essential -------------------------------------------------------------------------------------------------------


def ends(scene: Scene) -> list[int | None]:
    """The statuses with which an essential watcher was said to have ended."""
    return [each.status for each in scene.actions if isinstance(each, EssentialEnded)]


@pytest.mark.parametrize(
    ("statuses", "told"), [((0, 0), 0), ((0, 3), 3), ((-9, 0), -9), ((None, 0), 0), ((None, None), None)]
)
def test_an_essential_watcher_that_ended_by_itself_is_told_of_once_all_have(
    statuses: tuple[int | None, ...], told: int | None
) -> None:
    scene = running(numprocesses=2, respawn=False, essential=True)
    for wid, status in enumerate(statuses, 1):
        assert ends(scene) == []
        scene.exit(wid, status=status)  # type: ignore[arg-type]
    assert ends(scene) == [told]


def test_an_essential_watcher_that_is_given_up_has_ended() -> None:
    scene = Scene(essential=True, max_retry=0)
    scene.start()
    scene.fail(1)
    assert scene.watcher.phase is Phase.DOWN
    assert ends(scene) == [None]


def test_one_whose_hook_refuses_has_ended_after_it_has_fallen() -> None:
    scene = Scene(essential=True, hooks=["after_start"])
    scene.start()
    scene.spawn()
    scene.answer("after_start", ok=False)
    assert ends(scene) == []
    scene.exit(1)
    assert ends(scene) == [None], "it was us who ended the process"


def test_an_essential_watcher_that_somebody_stops_or_leaves_has_not_ended() -> None:
    scene = running(essential=True)
    scene.stop_and_end()
    assert ends(scene) == []
    scene = running(essential=True, respawn=False)
    scene.watcher.freeze(scene.now)
    scene.exit(1, status=1)
    assert ends(scene) == []


def test_an_order_for_another_life_overrules_the_end() -> None:
    scene = Scene(essential=True, respawn=False, hooks=["before_stop"])
    scene.start()
    scene.spawn()
    scene.exit(1, status=1)
    scene.start()
    scene.answer("before_stop")
    assert ends(scene) == []


def test_others_may_end_as_they_like() -> None:
    scene = running(respawn=False)
    scene.exit(1, status=1)
    assert ends(scene) == []
