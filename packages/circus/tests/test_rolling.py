"""Reloads with bounds, told by hand what happens: batches, the time to prove oneself, and the way back."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from circus.supervise.actions import Action, CancelTimer, ReloadFailed, Signal, Spawn, StartTimer
from circus.supervise.events import Exited, HookAnswered, NotReady, Ready, Spawned, SpawnFailed, TimerFired, TimerKey
from circus.supervise.rolling import amount
from circus.supervise.states import Rollout, SlotKey, SlotState, WatcherPolicy
from circus.supervise.tickets import Ticket
from circus.supervise.watcher import Watcher

ONE_MORE = Rollout(max_surge=1, is_for_changes=True)
ONE_LESS = Rollout(max_surge=0, max_unavailable=1, is_for_changes=True)


class Scene:
    """The pid is 100 * wid + incarnation; what is asked for is kept until it is answered."""

    def __init__(self, rollout: Rollout, count: int = 2, **policy: object) -> None:
        self.spawns: dict[int, tuple[int, bool]] = {}  # wid -> incarnation, by the configuration of before
        self.signals: list[tuple[int, int]] = []
        self.timers: dict[TimerKey, float] = {}
        self.failed: list[str] = []
        fields = {"numprocesses": count, "rollout": rollout, **policy}
        self.policy = WatcherPolicy("web", **fields)  # type: ignore[arg-type]
        self.watcher = Watcher(self.policy, self.carry_out)
        self.watcher.start(0.0)
        while self.spawns:
            self.spawn()

    def carry_out(self, action: Action) -> None:
        match action:
            case Spawn(slot, incarnation, _, is_former):
                self.spawns[slot.wid] = incarnation, is_former
            case Signal(slot, _, signum):
                self.signals.append((slot.wid, signum))
            case StartTimer(key, delay_s):
                self.timers[key] = delay_s
            case CancelTimer(key):
                del self.timers[key]
            case ReloadFailed(slot, _, reason):
                self.failed.append(f"{slot}: {reason}")

    def spawn(self, *wids: int) -> None:
        for wid in wids or [*self.spawns]:
            incarnation, _ = self.spawns.pop(wid)
            pid, slot = 100 * wid + incarnation, SlotKey("web", wid)
            self.watcher.take(Spawned(slot, incarnation, pid, pid, 0.0), 0.0)

    def fail(self, wid: int) -> None:
        incarnation, _ = self.spawns.pop(wid)
        self.watcher.take(SpawnFailed(SlotKey("web", wid), incarnation, "no such program"), 0.0)

    def exit(self, *wids: int, status: int = 1) -> None:
        for wid in wids:
            self.watcher.take(Exited(SlotKey("web", wid), self.watcher.slots[wid].incarnation, status), 0.0)

    def soak(self) -> None:
        (key,) = [key for key in self.timers if key.purpose == "warmup"]
        del self.timers[key]
        self.watcher.take(TimerFired(key), 0.0)

    def reload(self, *, is_sequential: bool = False) -> Ticket:
        return self.watcher.reload(0.0, is_sequential=is_sequential)

    def change(self, **fields: object) -> Ticket:
        changed = replace(self.policy, stop_signal=3, **fields)  # type: ignore[arg-type]
        return self.watcher.change(0.0, changed, must_restart=True)

    def pids(self) -> list[int]:
        return sorted(slot.pid for slot in self.watcher.slots.values() if slot.pid is not None)


def told(scene: Scene) -> list[int]:
    """Who was told to end since, by wid."""
    wids = [wid for wid, _ in scene.signals]
    scene.signals.clear()
    return wids


def test_with_a_surge_of_one_each_new_process_replaces_an_old_one_before_the_next_is_raised() -> None:
    scene = Scene(ONE_MORE, count=3)
    ticket = scene.reload()
    for wid, oldest in ((4, 1), (1, 2), (2, 3)):
        assert [*scene.spawns] == [wid]
        assert not told(scene), "the new one has to prove itself first"
        scene.spawn()
        assert told(scene) == [oldest]
        assert not scene.spawns, "the old one is still there"
        scene.exit(oldest)
    assert ticket.is_done and ticket.ok
    assert ticket.detail == {"stopped": [101, 201, 301], "started": [401, 102, 202], "kept": []}
    assert scene.watcher.slots.keys() == {1, 2, 4}


def test_without_a_surge_the_old_one_has_gone_before_the_new_one_comes() -> None:
    scene = Scene(ONE_LESS)
    ticket = scene.reload()
    for wid in (1, 2):
        assert (told(scene), scene.spawns) == ([wid], {})
        scene.exit(wid)
        scene.spawn(wid)
    assert ticket.is_done and ticket.ok


def test_a_singleton_is_never_doubled_whatever_the_surge_is() -> None:
    scene = Scene(Rollout(max_surge=3), count=1, singleton=True)
    scene.reload()
    assert (told(scene), scene.spawns) == ([1], {})


def test_both_bounds_together_make_the_second_batch_larger() -> None:
    scene = Scene(Rollout(max_surge=1, max_unavailable=2), count=4)
    scene.reload()
    assert len(scene.spawns) == 1
    scene.spawn()
    assert told(scene) == [1, 2, 3], "two of four must be there, and there are five"
    scene.exit(1, 2, 3)
    assert len(scene.spawns) == 3


def test_sequential_is_one_at_a_time_within_the_bounds() -> None:
    scene = Scene(Rollout(max_surge="100%", max_unavailable=1), count=3)
    scene.reload(is_sequential=True)
    assert len(scene.spawns) == 1
    scene.spawn()
    assert told(scene) == [1]


def test_old_ones_stay_until_the_new_ones_have_been_ready_for_the_time_of_soaking() -> None:
    scene = Scene(replace(ONE_MORE, soak_s=20.0), count=1)
    ticket = scene.reload()
    assert scene.watcher.view().reload == "is reloaded: 0 of 1 are replaced"
    scene.spawn()
    assert ([*scene.timers.values()], told(scene)) == ([20.0], [])
    standing = "is reloaded: 0 of 1 are replaced, 1 have to stay ready for a while"
    assert scene.watcher.view().reload == standing
    scene.soak()
    assert told(scene) == [1]
    assert scene.watcher.view().reload == ""
    scene.exit(1)
    assert ticket.ok and ticket.is_done


def test_one_that_is_not_ready_in_time_ends_the_reload_and_who_becomes_ready_replaces_an_old_one() -> None:
    scene = Scene(ONE_MORE, count=1, awaits_ready=True, start_timeout_s=5.0)
    scene.watcher.take(Ready(SlotKey("web", 1), 1), 0.0)
    ticket = scene.change()
    scene.spawn()
    assert not told(scene)
    scene.watcher.take(NotReady(SlotKey("web", 2), 1, "GET /: refused"), 0.0)
    (key,) = [key for key in scene.timers if key.wid == 2]
    del scene.timers[key]
    scene.watcher.take(TimerFired(key), 5.0)
    assert told(scene) == [2]
    scene.exit(2)
    assert (ticket.is_done, scene.pids(), scene.spawns) == (True, [101], {})
    assert scene.failed[0].startswith("web.2: not ready within 5 s: GET /: refused")

    ticket = scene.change()
    (wid,) = scene.spawns
    scene.spawn()
    scene.watcher.take(Ready(SlotKey("web", wid), scene.watcher.slots[wid].incarnation), 0.0)
    assert told(scene) == [1]
    scene.exit(1)
    assert ticket.is_done and ticket.ok


def test_one_that_ends_while_it_soaks_ends_the_reload_at_once() -> None:
    scene = Scene(replace(ONE_MORE, soak_s=20.0), count=1)
    ticket = scene.reload()
    scene.spawn()
    scene.exit(2, status=7)
    assert (ticket.is_done, ticket.ok) == (True, False)
    assert ticket.error == "not replaced, the old processes stay: web.2: ended with status 7"
    assert (scene.failed, scene.pids(), scene.timers) == (["web.2: ended with status 7"], [101], {})


def test_new_options_that_do_not_work_go_back_and_the_old_processes_were_never_touched() -> None:
    scene = Scene(ONE_MORE)
    ticket = scene.change()
    assert scene.spawns == {3: (1, False)}
    scene.fail(3)
    assert (ticket.is_done, ticket.ok) == (True, False)
    assert ticket.error.startswith("rolled back to the options of before: web.3: no such program")
    assert [(failure.slot.wid, failure.incarnation) for failure in ticket.failures] == [(3, 1)]
    assert (scene.pids(), told(scene), scene.spawns) == ([101, 201], [], {})
    assert (scene.watcher.policy.stop_signal, scene.watcher.policy.is_former) == (15, True)


def test_half_way_the_old_ones_come_back_by_their_own_options_before_the_new_ones_go() -> None:
    scene = Scene(ONE_MORE)
    ticket = scene.change()
    scene.spawn(3)
    assert scene.signals == [(1, 15)], "an old one is ended as its own options say"
    scene.exit(1)
    assert scene.spawns == {1: (2, False)}
    told(scene)
    scene.fail(1)
    assert scene.spawns == {1: (3, True)}, "by the configuration of before"
    assert not told(scene), "and until it is there the new one serves"
    assert scene.watcher.view().reload == "a reload has failed, and goes back"
    scene.spawn(1)
    assert scene.signals == [(3, 3)], "a new one is ended as its own options say"
    assert not ticket.is_done
    scene.exit(3)
    assert (ticket.is_done, ticket.ok, scene.pids()) == (True, False, [103, 201])


def test_an_old_one_that_ends_meanwhile_comes_back_by_its_own_options() -> None:
    scene = Scene(ONE_MORE)
    scene.change()
    scene.exit(2)
    assert scene.spawns == {3: (1, False), 2: (2, True)}


def test_new_options_that_work_are_in_force_and_nothing_is_left_of_the_old_ones() -> None:
    scene = Scene(ONE_LESS)
    ticket = scene.change(numprocesses=1)
    scene.exit(1)
    assert scene.spawns == {}, "one is enough"
    scene.exit(2)
    scene.spawn()
    assert (ticket.is_done, ticket.ok, ticket.failures) == (True, True, [])
    assert (scene.watcher.policy.stop_signal, scene.watcher.policy.is_former) == (3, False)


@pytest.mark.parametrize("after", ["begin", "failure"])
def test_a_stop_has_its_way_and_which_options_are_in_force_is_told_by_the_failures(after: str) -> None:
    scene = Scene(ONE_MORE)
    ticket = scene.change()
    scene.spawn(3)
    scene.exit(1)
    if after == "failure":
        scene.fail(1)
    scene.watcher.stop(0.0)
    while scene.spawns:
        scene.spawn()
    scene.exit(*[wid for wid, slot in scene.watcher.slots.items() if slot.state is SlotState.STOPPING])
    assert (ticket.is_done, ticket.ok, scene.pids()) == (True, False, [])
    assert bool(ticket.failures) == (after == "failure")
    assert scene.watcher.policy.is_former == (after == "failure")


def test_other_options_are_refused_while_some_are_on_their_way_and_another_number_is_not() -> None:
    scene = Scene(ONE_MORE)
    ticket = scene.change()
    refused = scene.change()
    assert (refused.is_done, refused.error) == (True, "web is on its way to other options, which may go back")
    scene.watcher.set_count(0.0, count=1, delta=0)
    scene.fail(3)
    assert [wid for wid, _ in scene.signals] == [1]
    scene.exit(1)
    assert (ticket.is_done, scene.pids(), scene.watcher.policy.numprocesses) == (True, [201], 1)


def test_a_watcher_that_serves_nobody_has_nothing_to_go_back_to() -> None:
    scene = Scene(ONE_MORE, count=1, hooks=frozenset({"after_spawn"}))
    scene.watcher.take(HookAnswered("web", "after_spawn", True, SlotKey("web", 1), 1), 0.0)
    scene.exit(1)
    scene.change()
    assert not scene.watcher.policy.is_former
    scene.spawn(1)
    assert scene.signals == [(1, 3)], "a restart"


def test_what_a_failed_reload_of_the_same_options_has_replaced_stays() -> None:
    scene = Scene(ONE_MORE)
    ticket = scene.reload()
    scene.spawn(3)
    scene.exit(1)
    scene.fail(1)
    assert "1 are replaced, the others stay" in ticket.error
    assert scene.pids() == [201, 301]


@pytest.mark.parametrize(
    ("written", "up", "down"), [(3, 3, 3), ("25%", 2, 1), ("100%", 5, 5), ("0%", 0, 0), ("1%", 1, 0)]
)
def test_a_share_is_rounded_up_for_more_and_down_for_fewer(written: int | str, up: int, down: int) -> None:
    assert (amount(written, 5, math.ceil), amount(written, 5, math.floor)) == (up, down)
