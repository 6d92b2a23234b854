"""What a watcher waits for: each state that is not as it shall be says so, with the timer that ends it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from packages.circus.tests.test_fleet import Scene, watcher

from circus.config.model import BackoffPolicy, FlappingPolicy
from circus.supervise import events
from circus.supervise.budget import Budget
from circus.supervise.graph import Needs
from circus.supervise.states import WatcherPolicy
from circus.supervise.waits import Wait, tally, waits


def told(scene: Scene, name: str = "web") -> list[Wait]:
    return waits(scene.fleet.watchers[name])


def is_running(scene: Scene, wait: Wait) -> bool:
    return wait.timer in scene.timers


def test_who_runs_and_who_is_down_wait_for_nothing() -> None:
    scene = Scene(watcher("web"), watcher("idle", autostart=False))
    scene.start_all()
    assert told(scene) == told(scene, "idle") == []


def test_a_pause_says_its_reason_how_many_there_were_and_the_timer_that_ends_it() -> None:
    scene = Scene(watcher("web", max_retry=5))
    scene.order(events.Start)
    scene.fail("web")
    (wait,) = told(scene)
    assert (wait.kind, wait.wid, wait.then) == ("backoff", 1, "the next attempt (1 of 5 attempts have failed)")
    assert wait.what.startswith("no such program")
    assert is_running(scene, wait)


def test_who_gave_up_waits_for_an_order() -> None:
    scene = Scene(watcher("web", max_retry=1))
    scene.order(events.Start)
    scene.fail("web")
    assert [(each.kind, each.timer) for each in told(scene)] == [("order", None)]


def test_an_end_says_when_sigkill_comes_and_how_often_it_came() -> None:
    scene = Scene(watcher("web", graceful_timeout_s=7.0))
    scene.start_all()
    scene.now = 100.0
    scene.order(events.Stop)
    (wait,) = told(scene)
    assert (wait.kind, wait.since, wait.then) == ("end", 100.0, "SIGKILL")
    assert scene.timers[wait.timer] == 7.0
    scene.fire(wait.timer)
    (wait,) = told(scene)
    assert (wait.what, wait.then) == ("the end of its process; SIGKILL was sent once", "SIGKILL once more")
    assert is_running(scene, wait)


def test_readiness_says_why_not_and_until_when() -> None:
    scene = Scene(watcher("web", awaits_ready=True, start_timeout_s=60.0))
    scene.now = 50.0
    scene.order(events.Start)
    scene.spawn()
    slot = scene.fleet.watchers["web"].slots[1]
    scene.tell(events.NotReady(slot.key, slot.incarnation, "HTTP 503"))
    (wait,) = told(scene)
    assert (wait.kind, wait.what, wait.since) == ("ready", "HTTP 503", 50.0)
    assert wait.then
    assert is_running(scene, wait)


def test_dependencies_hooks_time_and_connections() -> None:
    scene = Scene(
        watcher("web", needs=Needs(requires=("db",))),
        watcher("db", hooks=frozenset({"before_start"})),
        watcher("job", scheduled=True),
        watcher("lazy", on_demand=True),
    )
    scene.order(events.Start)
    assert [(each.kind, each.what) for each in told(scene)] == [("dependency", "waits for db")]
    assert [(each.kind, each.what) for each in told(scene, "db")] == [("hook", "waits for its hook before_start")]
    assert [each.kind for each in told(scene, "job")] == ["time"]
    assert [each.kind for each in told(scene, "lazy")] == ["connection"]


def test_a_spawn_under_way_and_the_pause_between_two() -> None:
    scene = Scene(watcher("web", numprocesses=2, warmup_delay_s=3.0))
    scene.order(events.Start)
    assert [each.kind for each in told(scene)] == ["spawn"]
    scene.spawn()
    (wait,) = told(scene)
    assert (wait.kind, wait.wid) == ("warm-up", None)
    assert is_running(scene, wait)


FLAPS = FlappingPolicy(attempts=2, window_s=1.0, retry_in_s=7.0, max_retry=5)


@pytest.mark.parametrize(
    ("budget", "changes", "expected"),
    [
        (Budget(), {}, ""),
        (Budget(failures=2), {"max_retry": 5}, "2 of 5 attempts have failed"),
        (Budget(failures=1), {"max_retry": -1}, "1 attempt has failed, without a bound"),
        (Budget(short_lives=3), {}, "3 short lives in a row, without a bound"),
        (Budget(pauses=2), {"flapping": FLAPS}, "2 of 5 pauses for flapping"),
        (Budget(setbacks=3), {"backoff": BackoffPolicy(attempts=4)}, "3 of 4 failures in a row"),
        (Budget(setbacks=3), {"backoff": BackoffPolicy(attempts=-1)}, "3 failures in a row, without a bound"),
    ],
)
def test_attempts_are_counted_as_the_policy_counts_them(budget: Budget, changes: dict, expected: str) -> None:
    assert tally(budget, replace(WatcherPolicy("web"), **changes)) == expected
