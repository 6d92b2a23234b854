"""Some instants of each scene in every test run; `make instants` takes them all."""

from __future__ import annotations

import os
import signal

import pytest
from packages.papa.tests.instants import many, rebuilding, run, scenes, tracing, world
from packages.papa.tests.instants.world import World

#: Instants of each scene: all of them together stay below 40 s.
SAMPLE = 5

pytestmark = [pytest.mark.needs("strace"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", scenes.ALL)
def test_a_kernel_killed_at_some_calls_of_a_scene_loses_nothing(place: World, name: str) -> None:
    every = run.instants(place, name)
    # From the middle of the first part on: the ends are in the long run.
    part = max(1, len(every) // SAMPLE)
    deaths, broken = run.through(place, name, every[part // 2 :: part])
    assert not broken
    assert deaths


#: Instants that were broken once, and what was wrong.
FOUND = {
    ("Short", "munmap", 1): "a process that had ended before it was noted was started again",
    ("ShortQuiet", "munmap", 1): "the same, with no pipe of which to tell",
}


@pytest.mark.parametrize("found", FOUND, ids=lambda found: "-".join(map(str, found)))
def test_an_instant_that_was_broken_once_is_whole(place: World, found: tuple[str, str, int]) -> None:
    name, kind, number = found
    assert run.through(place, name, [(kind, number)]) == (1, [])


def test_one_without_pipes_is_found_also_when_the_holder_was_replaced(place: World) -> None:
    """Then orphans of a kernel are not its successor's siblings."""
    before = place.holder
    os.kill(before, signal.SIGKILL)
    place.holder = world.wait_for(lambda: (now := place.status()["holder"]) not in (None, before) and now, "another")
    scene = scenes.ALL["SpawnQuiet"](place)
    scene.prepare()
    tracer = tracing.Tracer(place.pid, ("pidfd_open", 1), place.folder.parent / "strace")
    scene.act()
    world.wait_for(lambda: tracing.is_dead(tracer.pid), "the death of the kernel")
    tracer.detach()
    place.come_back()
    scene.check()


def test_the_half_of_a_journal_does_not_stay(place: World) -> None:
    scene = scenes.ALL["Compaction"](place)
    scene.prepare()
    tracer = tracing.Tracer(place.pid, ("renameat", 1), place.folder.parent / "strace")
    scene.act()
    world.wait_for(lambda: tracing.is_dead(tracer.pid), "the death of the kernel")
    tracer.detach()
    place.come_back()
    # It would keep the directory from being removed when the kernel leaves.
    assert place.snapshot()["files"] == place.before["files"]
    scene.check()


def test_a_process_that_closed_its_output_is_covered_also_after_a_death(place: World) -> None:
    child = place.child()
    child.spec["argv"] = ["/bin/sh", "-c", 'exec >/dev/null 2>&1; cat "$1"', "sh", *child.spec["argv"][-2:]]
    place.spawn(child)
    world.wait_for(
        lambda: not any(facts["open"] for facts in place.streams_of(child).values()), "the end of its output"
    )
    for _ in range(8):
        # Until the vault has nothing of it any more.
        other = place.child()
        place.spawn(other)
        place.forget(other)
    os.kill(place.pid, signal.SIGKILL)
    world.wait_for(lambda: tracing.is_dead(place.pid), "the death of the kernel")
    place.come_back()
    # Else an upgrade would be refused for ever, for what nobody can lose any more.
    assert place.status()["not_covered"] == 0
    place.forget(child)
    place.check_leaks()


def test_many_processes_are_all_there_after_a_death(place: World) -> None:
    many.survives(place, 100)


#: In the order in which they come: the holder is replaced, the old one ended, the doors are opened.
ONCE_IT_IS_WRITTEN = [("pipe2", 1), ("clone3", 1), ("pidfd_send_signal", 1), ("pidfd_open", 1)]
ONCE_IT_IS_WRITTEN += [("bind", 1), ("listen", 1)]


@pytest.mark.parametrize("instant", ONCE_IT_IS_WRITTEN, ids=lambda instant: instant[0])
def test_a_removed_directory_that_is_made_again_survives_a_death(place: World, instant: tracing.Instant) -> None:
    assert rebuilding.killed_at(place, instant)


@pytest.mark.parametrize("instant", [("mkdir", 1), ("mkdirat", 1), ("renameat", 1), ("renameat", 2)], ids=str)
def test_a_death_over_a_removed_directory_leaves_one_kernel(place: World, instant: tracing.Instant) -> None:
    rebuilding.killed_at(place, instant)
