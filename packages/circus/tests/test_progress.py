"""How far an order is: watchers that it has reached, processes that are where they shall be, and what it waits for."""

from __future__ import annotations

from packages.circus.tests.test_fleet import Scene, watcher

from circus.supervise import events
from circus.supervise.events import HookAnswered
from circus.supervise.progress import NOT_REACHED, Standing, waiting_first
from circus.supervise.states import SlotState


def rows(scene: Scene, op: int) -> list[Standing]:
    return scene.fleet.standings([op])


def ended(scene: Scene) -> None:
    """Whoever was told to."""
    for known in scene.fleet.watchers.values():
        for slot in [*known.slots.values()]:
            if slot.state is SlotState.STOPPING:
                scene.tell(events.Exited(slot.key, slot.incarnation, -15))


def test_a_start_counts_processes_that_are_ready_and_names_who_is_still_to_come() -> None:
    scene = Scene(watcher("web", numprocesses=3), watcher("db", priority=9), watcher("last", priority=-9))
    op = scene.order(events.Start)
    scene.spawn()
    assert rows(scene, op) == [
        Standing("db", True, 1, 1, "ready", ""),
        Standing("web", False, 0, 3, "ready", "starts its processes"),
        Standing("last", False, 0, 1, "ready", NOT_REACHED),
    ]
    scene.spawn()
    assert rows(scene, op)[1].done == 1
    while scene.spawns:
        scene.spawn()
    assert rows(scene, op) == [], "it is finished"


def test_a_stop_counts_who_has_ended_of_those_that_ran() -> None:
    scene = Scene(watcher("web", numprocesses=2), watcher("db"))
    scene.start_all()
    op = scene.order(events.Stop)
    web = next(iter(scene.fleet.watchers["web"].slots.values()))
    scene.tell(events.Exited(web.key, web.incarnation, -15))
    scene.exit("db")
    assert set(rows(scene, op)) == {
        Standing("web", False, 1, 2, "ended", "waits for its processes to end"),
        Standing("db", True, 1, 1, "ended", ""),
    }


def test_a_restart_and_a_reload_count_only_new_processes() -> None:
    scene = Scene(watcher("web", numprocesses=2), watcher("db"))
    scene.start_all()
    reload = scene.order(events.Reload, ("web",))
    assert rows(scene, reload) == [Standing("web", False, 0, 2, "replaced", "replaces its processes")]
    scene.spawn()
    assert rows(scene, reload) == [Standing("web", False, 2, 2, "replaced", "waits for processes that are ending")]
    ended(scene)
    assert scene.finished[reload].ok
    restart = scene.order(events.Restart, ("web", "db"))
    assert {(row.watcher, row.done, row.of) for row in rows(scene, restart)} == {("web", 0, 2), ("db", 0, 1)}
    ended(scene)
    scene.spawn("db")
    assert [(row.watcher, row.has_arrived, row.done) for row in rows(scene, restart)] == [
        ("web", False, 0),
        ("db", True, 1),
    ]


def test_what_an_order_waits_for_is_said() -> None:
    scene = Scene(watcher("web", hooks=frozenset({"before_start"})), watcher("api"))
    op = scene.order(events.Start, ("web",))
    assert [row.why for row in rows(scene, op)] == ["waits for its hook before_start"]
    scene.tell(HookAnswered("web", "before_start", True))
    assert [row.why for row in rows(scene, op)] == ["starts its processes"]


def test_those_that_an_order_has_reached_are_told_first() -> None:
    late = Standing("a", False, 0, 1, "ready", NOT_REACHED)
    there = Standing("b", True, 1, 1, "ready", "")
    slow = Standing("c", False, 0, 1, "ready", "starts its processes")
    assert waiting_first([late, there, slow]) == [slow, late]
