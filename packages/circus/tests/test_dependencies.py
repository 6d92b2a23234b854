from __future__ import annotations

import itertools

import pytest
from packages.circus.tests.test_fleet import Scene, watcher

from circus.config.dependencies import find_circle
from circus.supervise import actions
from circus.supervise.events import (
    AddWatcher,
    Adopted,
    ChangeWatcher,
    Demanded,
    Exited,
    HookAnswered,
    Quit,
    RemoveWatcher,
    Restart,
    SetCount,
    Shutdown,
    Start,
    Stop,
)
from circus.supervise.graph import Graph, Needs
from circus.supervise.ring import Phase
from circus.supervise.states import Rollout, SlotKey

DB = watcher("db")
CACHE = watcher("cache", needs=Needs(requires=("db",)))
WEB = watcher("web", needs=Needs(requires=("cache",)))


def reason(scene: Scene, name: str) -> str:
    return next(view.reason for view in scene.fleet.snapshot() if view.name == name)


# The graph --------------------------------------------------------------------------------------------------


def test_a_circle_is_told_along_its_edges() -> None:
    circle = find_circle({"web": ["db", "log"], "db": ["cache"], "cache": ["web"], "log": []})
    assert circle[0] == circle[-1]
    assert {*itertools.pairwise(circle)} == {("web", "db"), ("db", "cache"), ("cache", "web")}
    assert find_circle({"web": ["db"], "db": []}) == []
    assert find_circle({"web": ["web"]}) == ["web", "web"]


def test_a_circle_that_came_together_all_the_same_makes_nobody_wait_for_ever() -> None:
    scene = Scene(watcher("a", needs=Needs(requires=("b",))), watcher("b", needs=Needs(requires=("a",))))
    op = scene.order(Start)
    while scene.spawns:
        scene.spawn()
    assert scene.finished[op].ok


def test_what_is_reached_over_several_is_found_and_who_is_named_comes_first() -> None:
    graph = Graph(
        {"web": Needs(requires=("cache",), wants=("mail",)), "cache": Needs(requires=("db",), after=("log",))}
    )
    assert set(graph.needed_by(["web"])) == {"cache", "mail", "db"}
    assert graph.requirers_of(["db"]) == ["cache", "web"]
    assert graph.requirers_of(["mail"]) == [], "it is wanted only"
    assert graph.upwards(["web", "db", "alone"]) == ["db", "web"]
    assert "alone" not in graph


# Starts -----------------------------------------------------------------------------------------------------


def test_a_start_waits_for_what_is_required_and_goes_on_in_parallel_where_it_may() -> None:
    scene = Scene(DB, watcher("log"), CACHE, watcher("mail", needs=Needs(after=("log",))), WEB)
    op = scene.order(Start)
    assert sorted(scene.spawning()) == ["db", "log"]
    assert reason(scene, "web") == "waits for cache"
    assert scene.states() == dict.fromkeys(("db", "cache", "web", "log", "mail"), "starting") | {
        "db": scene.states()["db"],
        "log": scene.states()["log"],
    }
    scene.spawn("log")
    assert sorted(scene.spawning()) == ["db", "mail"]
    scene.spawn("db")
    assert sorted(scene.spawning()) == ["cache", "mail"]
    scene.spawn("cache", "mail")
    assert scene.spawning() == ["web"]
    scene.spawn()
    assert scene.finished[op].ok


def test_those_outside_of_the_graph_start_as_they_always_did_beside_it() -> None:
    scene = Scene(DB, CACHE, watcher("a"), watcher("b"), watcher("first", priority=1))
    scene.order(Start)
    assert sorted(scene.spawning()) == ["db", "first"]
    scene.spawn("first")
    assert sorted(scene.spawning()) == ["a", "b", "db"], "one after another, by priority"


@pytest.mark.parametrize("needs", [Needs(after=("db",)), Needs(wants=("db",)), Needs(requires=("db",))])
def test_ready_is_who_has_its_after_start_behind_it(needs: Needs) -> None:
    scene = Scene(watcher("db", hooks=frozenset({"after_start"})), watcher("web", needs=needs))
    scene.order(Start)
    scene.spawn()
    assert scene.spawns == []
    scene.tell(HookAnswered("db", "after_start", True))
    assert scene.spawning() == ["web"]


def test_a_start_takes_along_what_is_required_and_wanted_but_not_what_only_comes_before() -> None:
    needs = Needs(after=("log",), requires=("cache",), wants=("mail",))
    scene = Scene(DB, CACHE, watcher("log"), watcher("mail"), watcher("web", needs=needs))
    op = scene.order(Start, ("web",))
    assert sorted(scene.spawning()) == ["db", "mail"]
    while scene.spawns:
        scene.spawn()
    assert scene.states() | {"log": "stopped"} == scene.states()
    assert scene.finished[op].detail["joined"] == {"db": "start", "cache": "start", "mail": "start"}
    again = scene.order(Start, ("web",))
    assert "joined" not in scene.finished[again].detail, "what serves is left alone"


def test_who_requires_what_fails_is_told_keeps_its_wish_and_starts_when_that_is_ready_after_all() -> None:
    scene = Scene(watcher("db", max_retry=0), CACHE, WEB)
    op = scene.order(Start)
    scene.fail("db")
    finish = scene.finished[op]
    assert not finish.ok
    assert "db: db.1: no such program" in finish.error
    assert "cache: requires db, which: db.1: no such program" in finish.error
    assert "web: requires cache, which requires db, which: db.1: no such program" in finish.error
    assert scene.states() == dict.fromkeys(("db", "cache", "web"), "stopped")
    assert ("cache", "blocked") in scene.said
    assert scene.spawns == []
    scene.order(Start, ("db",))
    while scene.spawns:
        scene.spawn()
    assert scene.states() == dict.fromkeys(("db", "cache", "web"), "active")


@pytest.mark.parametrize("needs", [Needs(after=("db",)), Needs(wants=("db",))])
def test_who_only_wants_what_fails_or_comes_after_it_starts_all_the_same(needs: Needs) -> None:
    scene = Scene(watcher("db", max_retry=0), watcher("web", needs=needs))
    scene.order(Start)
    assert scene.spawning() == ["db"]
    scene.fail("db")
    assert scene.spawning() == ["web"]


def test_a_requirement_that_tries_again_without_end_blocks_whoever_waits_and_releases_it_later() -> None:
    scene = Scene(watcher("db", max_retry=-1), CACHE)
    op = scene.order(Start)
    scene.fail("db")
    assert not scene.finished[op].ok
    assert reason(scene, "cache").startswith("requires db, which: db.1: no such program")
    (key,) = scene.timers
    scene.fire(key)
    assert reason(scene, "cache") == "waits for db"
    scene.spawn("db")
    assert scene.spawning() == ["cache"]


def test_who_names_nobody_that_is_on_its_way_does_not_wait() -> None:
    scene = Scene(watcher("db", autostart=False), watcher("web", needs=Needs(after=("db",))))
    scene.order(Start)
    assert scene.spawning() == ["web"]


def test_a_resumed_start_takes_nobody_along() -> None:
    scene = Scene(DB, CACHE)
    op = scene.order(Start, ("cache",), resumes=True)
    assert scene.finished[op].error == "cache: requires db, which is not running"
    scene.order(Start, ("db",), resumes=True)
    scene.spawn()
    assert scene.spawning() == ["cache"]


def test_what_runs_already_is_not_touched_by_what_is_missing() -> None:
    scene = Scene(DB, CACHE, WEB)
    for name in ("cache", "web"):
        scene.tell(Adopted(SlotKey(name, 1), 1, 11, 0.0))
    op = scene.order(Start, resumes=True)
    assert (scene.spawning(), scene.signals) == (["db"], [])
    scene.spawn()
    assert scene.finished[op].detail["kept"] == [11, 11]


def test_one_that_starts_on_demand_is_ready_when_it_waits_at_its_sockets_and_is_held_when_it_is_called() -> None:
    scene = Scene(
        DB, watcher("web", on_demand=True, needs=Needs(requires=("db",))), watcher("z", needs=Needs(requires=("web",)))
    )
    scene.order(Start)
    assert sorted(scene.spawning()) == ["db", "z"]
    scene.tell(Demanded("web"))
    assert reason(scene, "web") == "waits for db"
    scene.spawn("db")
    assert "web" in scene.spawning()


def test_what_goes_away_while_the_hook_before_start_is_asked_is_waited_for_again() -> None:
    scene = Scene(DB, watcher("web", hooks=frozenset({"before_start"}), needs=Needs(requires=("db",))))
    scene.order(Start)
    scene.spawn()
    scene.tell(Exited(SlotKey("db", 1), 1, 1))
    scene.tell(HookAnswered("web", "before_start", True))
    assert scene.spawning() == ["db"]
    scene.spawn("db")
    assert scene.spawning() == ["web"]
    assert scene.hooks == [("web", "before_start")], "it is asked once"


def test_a_change_of_the_count_is_done_while_the_watcher_is_held() -> None:
    scene = Scene(watcher("db", max_retry=0), CACHE)
    scene.order(Start)
    op = scene.order(SetCount, "cache", 2)
    assert scene.finished[op].ok


def test_one_that_is_added_waits_for_what_it_requires() -> None:
    scene = Scene(DB)
    scene.order(Start)
    scene.order(AddWatcher, CACHE)
    assert scene.spawning() == ["db"]
    scene.spawn()
    assert scene.spawning() == ["cache"]


def test_who_requires_nobody_any_more_is_not_held_any_longer() -> None:
    scene = Scene(watcher("db", max_retry=0), CACHE)
    scene.order(Start)
    scene.fail("db")
    scene.order(ChangeWatcher, watcher("cache"), restart=False)
    assert scene.spawning() == ["cache"]


def test_what_a_reload_took_back_is_not_depended_on_any_more() -> None:
    rollout = Rollout(is_for_changes=True)
    scene = started(Scene(DB, watcher("web", rollout=rollout)))
    web = watcher("web", rollout=rollout, needs=Needs(requires=("db",)))
    op = scene.order(ChangeWatcher, web, restart=True)
    scene.fail("web")
    assert not scene.finished[op].ok
    stop = scene.order(Stop, ("db",))
    scene.exit("db")
    assert "joined" not in scene.finished[stop].detail


# Ends -------------------------------------------------------------------------------------------------------


def started(scene: Scene) -> Scene:
    scene.start_all()
    while scene.spawns:
        scene.spawn()
    return scene


def test_a_stop_goes_against_the_order_and_takes_along_who_requires() -> None:
    fan = watcher("fan", needs=Needs(wants=("db",)))
    scene = started(Scene(DB, CACHE, WEB, fan))
    op = scene.order(Stop, ("db",))
    assert scene.signals == [("web", 15)]
    scene.exit("web")
    assert scene.signals[-1] == ("cache", 15)
    assert scene.states()["db"] == "stopping"
    scene.exit("cache")
    assert scene.signals[-1] == ("db", 15)
    scene.exit("db")
    assert scene.finished[op].detail == {"joined": {"cache": "stop", "web": "stop"}}
    assert scene.states()["fan"] == "active"
    scene.order(Start, ("db",))
    assert scene.spawning() == ["db"], "who was stopped with it stays stopped"


def test_what_is_to_end_and_is_still_needed_lives_on_but_nothing_new_begins_there() -> None:
    scene = started(Scene(watcher("db", numprocesses=2), CACHE))
    scene.order(Stop, ("db",))
    slot = scene.fleet.watchers["db"].slots[1]
    scene.tell(Exited(slot.key, slot.incarnation, 1))
    assert scene.spawns == []
    assert scene.fleet.watchers["db"].phase is Phase.YIELDING
    scene.exit("cache")
    assert scene.signals == [("cache", 15), ("db", 15)]


def test_a_restart_takes_along_who_requires_it_and_is_up_and_nobody_else() -> None:
    idle = watcher("idle", autostart=False, needs=Needs(requires=("db",)))
    scene = started(Scene(DB, CACHE, idle))
    op = scene.order(Restart, ("db",))
    scene.exit("cache")
    assert scene.spawns == [], "it waits for db"
    scene.exit("db")
    assert scene.spawning() == ["db"]
    scene.spawn()
    assert scene.spawning() == ["cache"]
    scene.spawn()
    assert scene.finished[op].ok
    assert scene.finished[op].detail["joined"] == {"cache": "restart"}
    assert scene.states()["idle"] == "stopped"


def test_a_change_that_needs_new_processes_takes_along_who_requires_it() -> None:
    scene = started(Scene(DB, CACHE))
    op = scene.order(ChangeWatcher, watcher("db", priority=1), restart=True)
    assert scene.signals == [("cache", 15)]
    scene.exit("cache", "db")
    scene.spawn()
    scene.spawn()
    assert scene.finished[op].ok


def test_a_crash_stops_nobody_but_who_crashed() -> None:
    scene = started(Scene(watcher("db", max_retry=0), CACHE))
    scene.exit("db", status=1)
    scene.fail("db")
    assert scene.states() == {"db": "stopped", "cache": "active"}
    scene.exit("cache", status=1)
    assert scene.spawning() == ["cache"]


def test_the_end_of_all_goes_against_the_order_whatever_the_priorities_are() -> None:
    scene = started(Scene(watcher("db", priority=-5), CACHE, watcher("alone")))
    scene.order(Shutdown)
    assert scene.signals == [("alone", 15), ("cache", 15)]
    scene.exit("cache")
    assert scene.signals[-1] == ("db", 15)
    scene.exit("db", "alone")
    assert scene.has_left


def test_a_quit_ends_who_is_held_and_does_not_wait_for_who_stays() -> None:
    stays = watcher("stays", outlives_quit=True, needs=Needs(requires=("db",)))
    scene = Scene(DB, stays, watcher("bad", max_retry=0), watcher("held", needs=Needs(requires=("bad",))))
    scene.order(Start)
    scene.fail("bad")
    while scene.spawns:
        scene.spawn()
    assert scene.fleet.watchers["held"].phase is Phase.HELD
    scene.order(Quit)
    assert scene.signals == [("db", 15)]
    scene.exit("db")
    assert scene.has_left


def test_a_dependent_that_survives_sigkill_holds_up_nobody() -> None:
    scene = started(Scene(DB, CACHE))
    scene.order(Stop)
    for _ in range(2):
        (key,) = (key for key in scene.timers if key.watcher == "cache")
        scene.fire(key)
    assert scene.signals[-1] == ("db", 15)


def test_one_that_is_removed_is_not_waited_for_as_if_it_came_again() -> None:
    scene = started(Scene(DB, CACHE))
    scene.order(RemoveWatcher, "db")
    scene.exit("db")
    scene.order(Restart, ("cache",))
    scene.exit("cache")
    assert reason(scene, "cache") == "requires db, which is not known"


def test_who_is_taken_along_is_told_with_the_reason() -> None:
    scene = started(Scene(DB, CACHE, WEB))
    joined = [each for each in scene.tell(Stop(99, ("db",))) if isinstance(each, actions.Joined)]
    assert [(each.watcher, each.verb, each.why) for each in joined] == [
        ("cache", "stop", "requires db"),
        ("web", "stop", "requires cache"),
    ]
