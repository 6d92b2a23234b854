"""What becomes of two orders for one watcher: the table in docs/operations.md, made true on the real cores."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from packages.circus.tests.test_fleet import Scene, watcher
from tests.house import ROOT

from circus.supervise import events
from circus.supervise.events import Exited, Order
from circus.supervise.states import SlotState

#: Given while the first one is under way, and has something to wait for.
ORDERS: dict[str, Callable[[int], Order]] = {
    "start": lambda op: events.Start(op, ("web",)),
    "stop": lambda op: events.Stop(op, ("web",)),
    "restart": lambda op: events.Restart(op, ("web",)),
    "reload": lambda op: events.Reload(op, ("web",)),
    "count": lambda op: events.SetCount(op, "web", count=2),
    "kill": lambda op: events.Kill(op, "web"),
    "set": lambda op: events.ChangeWatcher(op, watcher("web", max_retry=9), restart=True, graceful=True),
    "rm": lambda op: events.RemoveWatcher(op, "web"),
}

#: More than any pair needs.
PATIENCE = 20


class Course(NamedTuple):
    """How many steps the world went before each order was finished; whether it was done; and the steps in all."""

    first: int
    second: int
    first_error: str
    second_error: str


def scene_for(first: str) -> Scene:
    scene = Scene(watcher("web"))
    if first != "start":
        scene.start_all()
    return scene


def step(scene: Scene) -> bool:
    """The next thing that somebody waits for: a process comes, or one goes."""
    if scene.spawns:
        scene.spawn()
        return True
    known = scene.fleet.watchers.get("web")
    for slot in [] if known is None else [*known.slots.values()]:
        if slot.state is SlotState.STOPPING and slot.is_alive:
            scene.tell(Exited(slot.key, slot.incarnation, -15))
            return True
    return False


def course(first: str, second: str) -> Course:
    scene = scene_for(first)
    ops = [scene.order(ORDERS[first])]
    assert ops[0] not in scene.finished, "it has nothing to wait for"
    ops.append(scene.order(ORDERS[second]))
    steps: dict[int, int] = {}
    for at in range(PATIENCE):
        for op in ops:
            if op in scene.finished:
                steps.setdefault(op, at)
        if not step(scene):
            break
    assert steps.keys() == set(ops), "somebody was forgotten"
    return Course(*(steps[op] for op in ops), *(scene.finished[op].error for op in ops))


def alone(first: str) -> int:
    scene = scene_for(first)
    op = scene.order(ORDERS[first])
    return next(at for at in range(1, PATIENCE) if step(scene) and op in scene.finished)


def rule(first: str, second: str) -> str:
    """As the page explains the words."""
    found = course(first, second)
    if found.second_error:
        return "refused"
    if found.first_error:
        return "overrules"
    if found.first < found.second:
        return "behind"
    if found.second < found.first:
        return "at once"
    return "joined" if found.first == alone(first) else "together"


def on_the_page() -> dict[tuple[str, str], str]:
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = [re.findall(r"[^|]+", line) for line in page.splitlines() if line.startswith("| `")]
    return {
        (row[0].strip(" `"), second): word.strip()
        for row in rows
        if row[0].strip(" `") in ORDERS
        for second, word in zip(ORDERS, row[1:], strict=True)
    }


@pytest.mark.parametrize("second", ORDERS)
@pytest.mark.parametrize("first", ORDERS)
def test_two_orders_for_one_watcher_meet_as_the_page_says(first: str, second: str) -> None:
    assert on_the_page()[first, second] == rule(first, second)


@pytest.mark.parametrize("second", ORDERS)
@pytest.mark.parametrize("first", ORDERS)
def test_an_order_for_another_watcher_waits_for_none(first: str, second: str) -> None:
    if second == "kill":
        return  # of what does not run
    scene = Scene(watcher("web"), watcher("db"))
    scene.start_all()
    if first == "start":
        scene.order(events.Stop, ("web",))
        scene.exit("web")
    scene.order(ORDERS[first])
    before = scene.states()["web"]
    others = {
        "start": lambda op: events.Start(op, ("db",)),
        "stop": lambda op: events.Stop(op, ("db",)),
        "restart": lambda op: events.Restart(op, ("db",)),
        "reload": lambda op: events.Reload(op, ("db",)),
        "count": lambda op: events.SetCount(op, "db", count=2),
        "set": lambda op: events.ChangeWatcher(op, watcher("db", max_retry=9), restart=True),
        "rm": lambda op: events.RemoveWatcher(op, "db"),
    }
    op = scene.order(others[second])
    for _ in range(PATIENCE):
        scene.spawn("db")
        for slot in [*scene.fleet.watchers["db"].slots.values()] if "db" in scene.fleet.watchers else []:
            if slot.state is SlotState.STOPPING and slot.is_alive:
                scene.tell(Exited(slot.key, slot.incarnation, -15))
    assert scene.finished[op].ok
    assert scene.states()["web"] == before


def test_who_is_overruled_is_told_by_what() -> None:
    for first in ("start", "restart", "reload", "set"):
        assert course(first, "stop").first_error == "web: stopped by a later order"


def test_a_restart_that_is_on_its_way_up_goes_round_once_more_for_a_later_one() -> None:
    """What it has started already was started before the later order."""
    scene = Scene(watcher("web"))
    scene.start_all()
    first = scene.order(ORDERS["restart"])
    scene.exit("web")
    second = scene.order(ORDERS["restart"])
    spawned = 0
    while scene.spawns:
        scene.spawn()
        spawned += 1
        scene.exit("web") if scene.states()["web"] == "stopping" else None
    assert (spawned, scene.finished[first].ok, scene.finished[second].ok) == (2, True, True)
