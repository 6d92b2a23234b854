from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from circus.supervise.actions import Action, CancelTimer, Finish, Leave, Publish, RunHook, Signal, Spawn, StartTimer
from circus.supervise.events import (
    AddWatcher,
    Adopted,
    ChangeWatcher,
    Event,
    Exited,
    HookAnswered,
    Kill,
    Order,
    Quit,
    Reload,
    RemoveWatcher,
    Restart,
    SetCount,
    Shutdown,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    TimerFired,
    TimerKey,
)
from circus.supervise.fleet import Fleet
from circus.supervise.leading import MAX_CROWD
from circus.supervise.states import SlotKey, SlotState, WatcherPolicy, WatcherState


class Scene:
    """A fleet that is told by hand what happens. Pids are 101, 102... in the order of spawns."""

    def __init__(self, *policies: WatcherPolicy, warmup_delay_s: float = 0.0) -> None:
        self.fleet = Fleet(policies, warmup_delay_s=warmup_delay_s)
        self.now = 0.0
        self.spawns: list[tuple[SlotKey, int]] = []
        self.signals: list[tuple[str, int]] = []
        self.timers: dict[TimerKey, float] = {}
        self.hooks: list[tuple[str, str]] = []
        self.said: list[tuple[str, str]] = []
        self.finished: dict[int, Finish] = {}
        self.has_left = False
        self._ops = 0
        self._pids = 100

    def tell(self, event: Event) -> list[Action]:
        actions = self.fleet.step(event, self.now)
        for action in actions:
            match action:
                case Spawn(slot, incarnation):
                    self.spawns.append((slot, incarnation))
                case Signal(slot, _, signum):
                    self.signals.append((slot.watcher, signum))
                case StartTimer(key, delay_s):
                    self.timers[key] = delay_s
                case CancelTimer(key):
                    del self.timers[key]
                case RunHook(watcher, hook):
                    self.hooks.append((watcher, hook))
                case Publish(watcher, event_name):
                    self.said.append((watcher, event_name))
                case Finish(op):
                    assert op not in self.finished
                    self.finished[op] = action
                case Leave():
                    self.has_left = True
        return actions

    def order(self, make: Callable[..., Order], *args: Any, **kwargs: Any) -> int:
        self._ops += 1
        self.tell(make(self._ops, *args, **kwargs))
        return self._ops

    def spawn(self, *watchers: str) -> None:
        for slot, incarnation in [each for each in self.spawns if not watchers or each[0].watcher in watchers]:
            self.spawns.remove((slot, incarnation))
            self._pids += 1
            self.tell(Spawned(slot, incarnation, self._pids, self._pids, self.now))

    def fail(self, watcher: str) -> None:
        slot, incarnation = next(each for each in self.spawns if each[0].watcher == watcher)
        self.spawns.remove((slot, incarnation))
        self.tell(SpawnFailed(slot, incarnation, "no such program"))

    def exit(self, *watchers: str, status: int = -15) -> None:
        for watcher in watchers:
            for slot in [*self.fleet.watchers[watcher].slots.values()]:
                if slot.is_alive:
                    self.tell(Exited(slot.key, slot.incarnation, status))

    def fire(self, key: TimerKey) -> None:
        self.now += self.timers.pop(key)
        self.tell(TimerFired(key))

    def start_all(self) -> None:
        self.order(Start)
        while self.spawns:
            self.spawn()
        self.said.clear()

    def spawning(self) -> list[str]:
        return [slot.watcher for slot, _ in self.spawns]

    def states(self) -> dict[str, str]:
        return {view.name: view.state.value for view in self.fleet.snapshot()}


def watcher(name: str, **changes: Any) -> WatcherPolicy:
    return WatcherPolicy(name, **changes)


FLEET_WARMUP = TimerKey("", 0, "warmup", 1)


# The order of start and stop --------------------------------------------------------------------------------


def test_watchers_start_one_after_another_by_priority_then_by_name() -> None:
    scene = Scene(watcher("b"), watcher("a"), watcher("first", priority=9), watcher("last", priority=-1))
    op = scene.order(Start)
    order = []
    while scene.spawns:
        order += scene.spawning()
        scene.spawn()
    assert order == ["first", "a", "b", "last"]
    assert scene.finished[op] == Finish(op, True, {"started": [101, 102, 103, 104], "kept": []})
    assert [view.name for view in scene.fleet.snapshot()] == order


def test_neighbours_that_wait_for_nothing_are_asked_for_together_and_in_order() -> None:
    crowd = [watcher(f"w{number:02}") for number in range(MAX_CROWD + 1)]
    scene = Scene(watcher("first", priority=1), *crowd)
    op = scene.order(Start)
    assert scene.spawning() == ["first"], "never beside one of another priority"
    scene.spawn()
    assert scene.spawning() == [each.name for each in crowd[:MAX_CROWD]]
    scene.spawn()
    assert scene.spawning() == [crowd[-1].name]
    scene.spawn()
    assert scene.finished[op].ok


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_delay_s": 1.0},
        {"numprocesses": 2},
        {"awaits_ready": True},
        {"oneshot": True},
        {"hooks": frozenset({"before_spawn"})},
    ],
)
def test_who_has_something_to_wait_for_starts_alone(changes: dict[str, Any]) -> None:
    scene = Scene(watcher("a"), watcher("b", **changes), watcher("c"))
    scene.order(Start)
    assert scene.spawning() == ["a"]
    scene.spawn()
    assert scene.spawning() == ["b"]


def test_the_next_watcher_waits_for_the_warmups_of_the_one_before_and_then_for_the_fleets() -> None:
    scene = Scene(watcher("a", warmup_delay_s=2.0), watcher("b"), warmup_delay_s=5.0)
    op = scene.order(Start)
    scene.spawn()
    (own,) = scene.timers
    assert (own.watcher, scene.timers[own], scene.spawns) == ("a", 2.0, [])
    scene.fire(own)
    assert (scene.timers, scene.spawns) == ({FLEET_WARMUP: 5.0}, [])
    scene.fire(FLEET_WARMUP)
    scene.spawn()
    assert scene.finished[op].ok
    assert not scene.timers, "none after the last"


def test_the_fleets_warmup_is_spared_where_nothing_was_started() -> None:
    scene = Scene(watcher("a"), watcher("b"), warmup_delay_s=5.0)
    scene.tell(Adopted(SlotKey("a", 1), 1, 11, 0.0))
    scene.tell(Adopted(SlotKey("b", 1), 2, 12, 0.0))
    op = scene.order(Start)
    assert scene.finished[op].detail == {"started": [], "kept": [11, 12]}


def test_a_watcher_whose_spawns_fail_does_not_hold_up_the_others() -> None:
    scene = Scene(watcher("a", priority=1), watcher("b"))
    op = scene.order(Start)
    scene.fail("a")
    assert scene.spawning() == ["b"]
    scene.spawn()
    assert op not in scene.finished


def test_a_hook_that_refuses_one_watcher_does_not_keep_the_others_from_starting() -> None:
    scene = Scene(watcher("a", hooks=frozenset({"before_start"})), watcher("b"))
    op = scene.order(Start)
    scene.tell(HookAnswered("a", "before_start", False))
    scene.spawn()
    assert scene.finished[op] == Finish(op, False, {"started": [101], "kept": []}, "a: the hook before_start refused")


def test_start_without_names_means_autostart_and_adopted_ones() -> None:
    scene = Scene(watcher("a", autostart=False), watcher("b"), watcher("c", autostart=False))
    scene.tell(Adopted(SlotKey("c", 1), 1, 11, 0.0))
    op = scene.order(Start)
    assert scene.spawning() == ["b"]
    scene.spawn()
    assert scene.finished[op].detail == {"started": [101], "kept": [11]}


@pytest.mark.parametrize("make", [Start, Restart, Reload])
def test_all_among_some_are_no_more_of_them_than_without_names(make: Callable[..., Order]) -> None:
    scene = Scene(watcher("down", autostart=False), watcher("up"), watcher("stranger"), watcher("held"))
    scene.start_all()
    scene.order(Stop, ("held",))
    scene.exit("held")
    scene.signals.clear()
    scene.order(make, among=frozenset(("down", "up", "held")))
    touched = {watcher for watcher, _ in scene.signals} | set(scene.spawning())
    assert touched == {Start: {"held"}, Restart: {"up"}, Reload: {"up"}}[make]  # type: ignore[index]


def test_a_stop_of_all_goes_backwards_and_those_of_one_priority_stop_together() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"), watcher("job"))
    scene.start_all()
    op = scene.order(Stop)
    assert scene.signals == [("web", 15), ("job", 15)]
    scene.exit("job")
    assert ("db", 15) not in scene.signals
    scene.exit("web")
    assert scene.signals[-1] == ("db", 15)
    scene.exit("db")
    assert scene.finished[op] == Finish(op, True, {})


def test_a_process_that_survives_sigkill_holds_up_no_other_watcher() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    op = scene.order(Stop)
    for _ in range(2):
        assert ("db", 15) not in scene.signals
        scene.fire(next(iter(scene.timers)))
    assert ("db", 15) in scene.signals
    scene.exit("db")
    assert op not in scene.finished
    scene.exit("web", status=-9)
    assert scene.finished[op].ok


def test_a_restart_of_several_stops_all_of_them_before_it_starts_any() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    op = scene.order(Restart)
    assert scene.signals == [("web", 15)]
    scene.exit("web")
    scene.exit("db")
    assert scene.spawning() == ["db"]
    scene.spawn()
    scene.spawn()
    assert scene.finished[op] == Finish(op, True, {"stopped": [102, 101], "started": [103, 104], "kept": []})


def test_a_restart_of_one_stops_and_starts_it() -> None:
    scene = Scene(watcher("web"), watcher("db"))
    scene.start_all()
    op = scene.order(Restart, ("web",))
    scene.exit("web")
    scene.spawn()
    assert scene.finished[op] == Finish(op, True, {"stopped": [102], "started": [103], "kept": []})


def test_a_reload_without_names_leaves_stopped_watchers_alone() -> None:
    scene = Scene(watcher("a"), watcher("b", send_hup=True))
    scene.order(Start, ("b",))
    scene.spawn()
    op = scene.order(Reload)
    assert scene.spawns == []
    assert scene.signals == [("b", 1)]
    assert scene.finished[op].detail == {"stopped": [], "started": [], "kept": [101]}


def test_reloads_go_one_watcher_after_another_without_the_fleets_warmup() -> None:
    scene = Scene(watcher("a"), watcher("b"), warmup_delay_s=5.0)
    scene.order(Start)
    scene.spawn()
    scene.fire(FLEET_WARMUP)
    scene.spawn()
    op = scene.order(Reload, None)
    assert scene.spawning() == ["a"]
    scene.spawn()
    scene.tell(Exited(SlotKey("a", 1), 1, -15))
    assert scene.spawning() == ["b"]
    scene.spawn()
    scene.tell(Exited(SlotKey("b", 1), 1, -15))
    assert scene.finished[op].ok


def test_a_reload_that_is_not_graceful_is_a_restart() -> None:
    scene = Scene(watcher("a"))
    scene.start_all()
    op = scene.order(Reload, ("a",), graceful=False)
    scene.exit("a")
    scene.spawn()
    assert scene.finished[op].detail == {"stopped": [101], "started": [102], "kept": []}
    assert ("a", "reload") not in scene.said


# Names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda op: Start(op, ("nobody",)),
        lambda op: Stop(op, ("web", "nobody")),
        lambda op: Restart(op, ("nobody",)),
        lambda op: Reload(op, ("nobody",)),
        lambda op: SetCount(op, "nobody", count=1),
        lambda op: RemoveWatcher(op, "nobody"),
        lambda op: ChangeWatcher(op, watcher("nobody"), restart=False),
    ],
)
def test_an_unknown_name_is_told_and_nothing_is_done(make: Callable[[int], Order]) -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    op = scene.order(make)
    assert scene.finished[op] == Finish(op, False, {}, "watcher 'nobody' not found")
    assert scene.signals == []


def test_no_names_at_all_are_done_at_once() -> None:
    scene = Scene(watcher("web"))
    for make in (Start, Stop, Restart, Reload):
        op = scene.order(make, ())
        assert scene.finished[op].ok
    assert scene.spawns == []


def test_a_name_given_twice_counts_once() -> None:
    scene = Scene(watcher("web"))
    op = scene.order(Start, ("web", "web"))
    scene.spawn()
    assert scene.finished[op].detail == {"started": [101], "kept": []}


@pytest.mark.parametrize(
    "fact",
    [
        Spawned(SlotKey("gone", 1), 1, 1, 1, 1.0),
        Exited(SlotKey("gone", 1), 1, 0),
        TimerFired(TimerKey("gone", 1, "kill", 1)),
        TimerFired(TimerKey("", 0, "warmup", 99)),
        HookAnswered("gone", "before_start", True),
        Exited(SlotKey("web", 99), 1, 0),
        Adopted(SlotKey("gone", 1), 1, 1, 1.0),
    ],
    ids=repr,
)
def test_news_of_what_is_unknown_changes_nothing(fact: Event) -> None:
    scene = Scene(watcher("web"))
    before = scene.fleet.snapshot()
    assert scene.tell(fact) == []
    assert scene.fleet.snapshot() == before


# Overlapping orders -----------------------------------------------------------------------------------------


def test_an_order_for_one_watcher_does_not_wait_for_an_operation_over_others() -> None:
    scene = Scene(watcher("a", warmup_delay_s=60.0), watcher("b"))
    scene.order(Start)
    scene.spawn()
    op = scene.order(Start, ("b",))
    scene.spawn()
    assert scene.finished[op].detail == {"started": [102], "kept": []}


def test_a_stop_takes_the_watcher_out_of_a_start_that_has_not_reached_it() -> None:
    scene = Scene(watcher("a"), watcher("b"), warmup_delay_s=5.0)
    start = scene.order(Start)
    stop = scene.order(Stop, ("b",))
    assert scene.finished[stop].ok
    scene.spawn()
    assert scene.spawns == [] and not scene.timers
    assert scene.finished[start] == Finish(start, False, {"started": [101], "kept": []}, "b: stopped by a later order")


def test_a_start_takes_the_watcher_out_of_a_stop_that_has_not_reached_it() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    stop = scene.order(Stop)
    start = scene.order(Start, ("db",))
    assert scene.finished[start].detail == {"started": [], "kept": [101]}
    scene.exit("web")
    assert scene.finished[stop] == Finish(stop, False, {}, "db: started by a later order")
    assert scene.states() == {"db": "active", "web": "stopped"}


def test_a_start_does_not_spare_a_watcher_the_restart_that_has_not_reached_it() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    restart = scene.order(Restart)
    start = scene.order(Start, ("db",))
    assert scene.finished[start].ok
    scene.exit("web")
    assert ("db", 15) in scene.signals
    scene.exit("db")
    scene.spawn()
    scene.spawn()
    assert scene.finished[restart].ok


def test_a_stop_of_all_during_the_start_of_all_leaves_nothing_running() -> None:
    scene = Scene(watcher("a"), watcher("b"), warmup_delay_s=5.0)
    start = scene.order(Start)
    scene.spawn()
    stop = scene.order(Stop)
    scene.exit("a")
    assert scene.finished[stop].ok
    scene.fire(FLEET_WARMUP)
    assert not scene.finished[start].ok
    assert (scene.spawns, scene.states()) == ([], {"a": "stopped", "b": "stopped"})


# Adding, removing, changing ---------------------------------------------------------------------------------


def test_a_watcher_can_be_added_and_is_started_if_wanted() -> None:
    scene = Scene()
    idle = scene.order(AddWatcher, watcher("idle"), start=False)
    assert scene.finished[idle].ok
    op = scene.order(AddWatcher, watcher("web"))
    scene.spawn()
    assert scene.finished[op].detail == {"started": [101], "kept": []}
    assert scene.said[:2] == [("idle", "add"), ("web", "add")]
    assert scene.states() == {"idle": "stopped", "web": "active"}


def test_a_watcher_that_exists_cannot_be_added() -> None:
    scene = Scene(watcher("web"))
    op = scene.order(AddWatcher, watcher("web"))
    assert scene.finished[op] == Finish(op, False, {}, "watcher 'web' exists already")


def test_a_removed_watcher_is_stopped_and_forgotten() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    op = scene.order(RemoveWatcher, "web")
    assert scene.states() == {"web": "stopping"}
    scene.exit("web")
    assert scene.finished[op].ok
    assert scene.states() == {}
    assert scene.said[-1] == ("web", "remove")


def test_a_kill_is_finished_when_the_process_has_gone() -> None:
    scene = Scene(watcher("web"), watcher("db"))
    scene.start_all()
    op = scene.order(Kill, "web", signum=9)
    assert op not in scene.finished
    scene.exit("web")
    assert scene.finished[op].ok and len(scene.finished[op].detail["stopped"]) == 1  # type: ignore[arg-type]
    assert not scene.finished[scene.order(Kill, "nope")].ok


def test_a_kill_hastens_the_end_of_a_watcher_that_is_being_removed() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    removal = scene.order(RemoveWatcher, "web")
    before = len(scene.signals)
    kill = scene.order(Kill, "web", signum=9)
    assert len(scene.signals) == before + 1
    scene.exit("web")
    assert scene.finished[removal].ok and scene.finished[kill].ok
    assert scene.states() == {}


def test_a_watcher_removed_with_nostop_leaves_its_processes_alone() -> None:
    scene = Scene(watcher("web", numprocesses=2))
    start = scene.order(Start)
    scene.spawn()
    scene.fail("web")
    assert scene.timers
    op = scene.order(RemoveWatcher, "web", nostop=True)
    assert scene.finished[op].ok
    assert scene.finished[start].error == "web: removed by a later order"
    assert (scene.signals, scene.timers, scene.states()) == ([], {}, {})


def test_the_grace_of_a_watcher_removed_with_nostop_is_cancelled() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    stop = scene.order(Stop)
    scene.order(RemoveWatcher, "web", nostop=True)
    assert not scene.timers
    assert scene.finished[stop].error == "web: removed by a later order"


def test_orders_for_a_watcher_that_is_being_removed_wait_until_it_is_gone() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    again = scene.order(RemoveWatcher, "web")
    add = scene.order(AddWatcher, watcher("web", numprocesses=2))
    count = scene.order(SetCount, "web", delta=1)
    scene.exit("web")
    assert scene.finished[again].ok, "it is the same end"
    while scene.spawns:
        scene.spawn()
    assert scene.finished[add].ok
    assert scene.finished[count] == Finish(count, True, {"numprocesses": 3})


def test_an_order_that_names_one_that_is_being_removed_begins_at_once_for_the_others() -> None:
    scene = Scene(watcher("web"), watcher("db"), watcher("api"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    stop = scene.order(Stop, ("web", "db"))
    assert scene.states() == {"web": "stopping", "db": "stopping", "api": "active"}
    restart = scene.order(Restart, ("web", "api"))
    assert scene.states()["api"] == "stopping"
    scene.exit("db", "api")
    scene.spawn()
    assert scene.finished[restart].error == "web: is being removed by an earlier order"
    assert scene.states() == {"web": "stopping", "db": "stopped", "api": "active"}
    assert stop not in scene.finished, "it waits for the same end as the removal"
    scene.exit("web")
    assert scene.finished[stop].ok


@pytest.mark.parametrize("make", [Start, Restart, Reload])
def test_what_a_watcher_that_is_being_removed_cannot_do_is_refused_at_once(make: Callable[..., Order]) -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    ops = [scene.order(make, ("web",)), scene.order(SetCount, "web", count=3)]
    for op in ops:
        assert scene.finished[op].error == "web: is being removed by an earlier order"
    scene.exit("web")
    assert scene.states() == {}


def test_a_watcher_added_again_goes_on_above_the_numbers_of_the_old_one() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    scene.exit("web")
    scene.order(AddWatcher, watcher("web"))
    assert scene.spawns[0][1] > 1
    assert scene.tell(Exited(SlotKey("web", 1), 1, 0)) == []


def test_a_start_of_all_does_not_bring_back_what_is_being_removed() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    start = scene.order(Start)
    assert scene.finished[start].ok
    scene.exit("web")
    assert (scene.spawns, scene.states()) == ([], {})


def test_quit_does_not_stop_what_a_restart_of_all_has_not_reached() -> None:
    scene = Scene(watcher("db", priority=5, outlives_quit=True), watcher("web"))
    scene.start_all()
    restart = scene.order(Restart)
    scene.order(Quit)
    scene.exit("web")
    assert scene.has_left
    assert ("db", 15) not in scene.signals
    assert scene.finished[restart].error == "db: circusd is leaving; web: circusd is leaving"


def test_quit_does_not_keep_a_stop_of_all_from_reaching_everything() -> None:
    scene = Scene(watcher("db", priority=5, outlives_quit=True), watcher("web"))
    scene.start_all()
    stop = scene.order(Stop)
    scene.order(Quit)
    scene.exit("web")
    scene.exit("db")
    assert scene.finished[stop].ok and scene.has_left


def test_a_hook_that_a_removed_watcher_left_running_does_not_answer_for_the_new_one() -> None:
    policy = watcher("web", hooks=frozenset({"before_start"}))
    scene = Scene(policy)
    scene.order(Start)
    scene.order(RemoveWatcher, "web")
    scene.order(AddWatcher, policy)
    assert scene.hooks == [("web", "before_start")]
    scene.tell(HookAnswered("web", "before_start", False))
    assert scene.hooks == [("web", "before_start")] * 2
    scene.tell(HookAnswered("web", "before_start", True))
    assert scene.spawning() == ["web"]


def test_a_hook_that_answers_while_the_watcher_is_gone_is_over() -> None:
    policy = watcher("web", hooks=frozenset({"before_start"}))
    scene = Scene(policy)
    scene.order(Start)
    scene.order(RemoveWatcher, "web")
    scene.tell(HookAnswered("web", "before_start", False))
    scene.order(AddWatcher, policy)
    assert scene.hooks == [("web", "before_start")] * 2


def test_a_removal_overrules_operations_that_have_not_reached_the_watcher() -> None:
    scene = Scene(watcher("a", priority=1), watcher("b"))
    start = scene.order(Start)
    scene.order(RemoveWatcher, "b")
    scene.spawn()
    assert scene.finished[start].error == "b: removed by a later order"


def test_a_stop_of_all_does_not_mind_that_a_watcher_is_removed_meanwhile() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "db")
    stop = scene.order(Stop)
    scene.exit("db")
    scene.exit("web")
    assert scene.finished[stop].ok


def test_counts_and_changes_are_told_with_what_they_brought() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    count = scene.order(SetCount, "web", delta=1)
    scene.spawn()
    assert scene.finished[count] == Finish(count, True, {"numprocesses": 2})
    live = scene.order(ChangeWatcher, watcher("web", numprocesses=2, priority=3), restart=False)
    assert scene.finished[live] == Finish(live, True, {"numprocesses": 2})
    deep = scene.order(ChangeWatcher, watcher("web"), restart=True)
    scene.exit("web")
    scene.spawn()
    assert scene.finished[deep].detail == {"stopped": [101, 102], "started": [103], "kept": []}


# The end ----------------------------------------------------------------------------------------------------


def test_quit_leaves_alone_what_outlives_it_and_stops_the_rest_backwards() -> None:
    scene = Scene(watcher("papa", outlives_quit=True), watcher("db", priority=5), watcher("web"))
    scene.start_all()
    op = scene.order(Quit)
    assert scene.signals == [("web", 15)]
    scene.exit("web")
    scene.exit("db")
    assert scene.signals == [("web", 15), ("db", 15)]
    assert scene.finished[op].ok and scene.has_left
    assert scene.fleet.watchers["papa"].slots[1].state is SlotState.RUNNING
    assert ("papa", "stop") not in scene.said


def test_shutdown_stops_everything() -> None:
    scene = Scene(watcher("papa", outlives_quit=True), watcher("web"))
    scene.start_all()
    op = scene.order(Shutdown)
    scene.exit("web", "papa")
    assert scene.finished[op].ok and scene.has_left


def test_quit_with_nothing_to_end_leaves_at_once_and_says_so_last() -> None:
    scene = Scene(watcher("papa", outlives_quit=True))
    assert scene.tell(Quit(1)) == [Finish(1, True), Leave()]


def test_quit_during_the_start_cancels_the_warmups_and_stops_what_a_late_spawn_brings() -> None:
    scene = Scene(watcher("a", warmup_delay_s=5.0), watcher("b"))
    start = scene.order(Start)
    scene.spawn()
    quit_ = scene.order(Quit)
    assert [key.purpose for key in scene.timers] == ["kill"]
    scene.exit("a")
    assert scene.has_left and scene.finished[quit_].ok
    assert not scene.finished[start].ok
    assert scene.spawns == []


def test_quit_waits_for_a_spawn_under_way_and_ends_or_keeps_what_it_brings() -> None:
    scene = Scene(watcher("papa", outlives_quit=True), watcher("web", priority=1))
    scene.order(Start, ("papa",))
    scene.order(Start, ("web",))
    scene.order(Quit)
    assert not scene.has_left
    scene.spawn()
    assert scene.signals == [("web", 15)]
    scene.exit("web")
    assert scene.has_left
    assert scene.fleet.watchers["papa"].slots[1].state is SlotState.RUNNING


def test_quit_during_the_fleets_warmup_does_not_wait_for_it() -> None:
    scene = Scene(watcher("a", outlives_quit=True), watcher("b"), warmup_delay_s=60.0)
    start = scene.order(Start)
    scene.spawn()
    scene.order(Quit)
    assert scene.has_left and not scene.timers
    assert scene.finished[start].error == "b: circusd is leaving"


def test_quit_waits_for_a_stop_of_what_would_outlive_it() -> None:
    scene = Scene(watcher("papa", outlives_quit=True))
    scene.start_all()
    stop, quit_ = scene.order(Stop), scene.order(Quit)
    assert not scene.has_left
    scene.exit("papa")
    assert scene.finished[stop].ok and scene.finished[quit_].ok and scene.has_left


def test_what_dies_while_the_others_are_stopped_is_not_replaced() -> None:
    scene = Scene(watcher("db", priority=5), watcher("web"))
    scene.start_all()
    scene.order(Shutdown)
    scene.exit("db", status=1)
    assert scene.spawns == []
    scene.exit("web")
    assert scene.has_left


def test_orders_that_come_after_quit_are_told_so() -> None:
    scene = Scene(watcher("web"))
    scene.start_all()
    scene.order(RemoveWatcher, "web")
    waiting = scene.order(AddWatcher, watcher("web"))
    scene.order(Quit)
    late = scene.order(Start)
    scene.exit("web")
    for op in (waiting, late):
        assert scene.finished[op] == Finish(op, False, {}, "circusd is leaving")


def test_quit_and_shutdown_are_joined_and_finished_together() -> None:
    scene = Scene(watcher("papa", outlives_quit=True), watcher("web"))
    scene.start_all()
    quits = [scene.order(Quit), scene.order(Quit), scene.order(Shutdown)]
    scene.exit("web")
    assert not scene.finished.keys() & set(quits)
    scene.exit("papa")
    assert all(scene.finished[op].ok for op in quits)
    assert scene.has_left


def test_a_fleet_that_has_left_answers_every_order_and_does_nothing() -> None:
    scene = Scene(watcher("papa", outlives_quit=True))
    scene.start_all()
    scene.order(Quit)
    for make in (Quit, Shutdown, Start):
        op = scene.order(make)
        assert scene.finished[op].error == "circusd is leaving"
    assert scene.signals == []


def test_a_snapshot_shows_why_a_watcher_is_not_what_it_is_wanted_to_be() -> None:
    scene = Scene(watcher("web", max_retry=1))
    scene.order(Start)
    scene.fail("web")
    (view,) = scene.fleet.snapshot()
    assert (view.state, view.wants_up) == (WatcherState.STOPPED, True)
    assert view.reason == "web.1: no such program (gave up after 1 attempt)"
    assert [(slot.wid, slot.state, slot.reason) for slot in view.slots] == [
        (1, SlotState.FATAL, "no such program (gave up after 1 attempt)")
    ]
