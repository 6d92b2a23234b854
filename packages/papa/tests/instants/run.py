"""Enumerating instants: one world, one scene, and a death at each system call of what the scene does.

An undisturbed run says how many calls there are. The world is the same for all instants of a scene, so that what one
death leaves behind is seen, at the latest, as what the next ones stumble over.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable

from packages.papa.tests.instants import scenes, tracing, world
from packages.papa.tests.instants.scene import Scene
from packages.papa.tests.instants.world import Broken, World

from papa.client.blocking import Connection
from papa.errors import PapaError

#: Of an interpreter that starts, where nothing of ours happens: how many instants are enough.
OF_A_START = 5

#: The holder makes some calls of its own for each kernel that it starts, and no more than two of them are followed.
SHARED = 2


def once(place: World, name: str, instant: tracing.Instant) -> tuple[bool, list[str], collections.Counter[str]]:
    """Whether somebody was killed at that call, the calls that there were, the holder's by kind. Raises: Broken."""
    scene = scenes.ALL[name](place)
    scene.prepare()
    is_of_successor = scene.of == "recovery"
    victim = place.pid
    tracer = tracing.Tracer(
        place.holder if is_of_successor else victim,
        instant,
        place.folder.parent / "strace",
        follow=is_of_successor,
    )
    try:
        try:
            scene.act()
            was_killed = _await_successor(tracer, victim) if is_of_successor else _await_end(scene, tracer)
        finally:
            tracer.detach()
        if was_killed or is_of_successor:
            world.wait_for(lambda: tracing.is_dead(victim), "the death of the kernel")
            place.come_back()
        scene.check()
        place.check_leaks()
    except Exception as error:
        raise Broken(f"{name}, killed at {instant[0]} {instant[1]}: {tracer.last_call()}: {error!r}") from error
    of_parent = collections.Counter(call.partition("(")[0] for call in tracer.calls_of_parent())
    return was_killed, tracer.calls(), of_parent


def _await_end(scene: Scene, tracer: tracing.Tracer) -> bool:
    what = f"the end of {type(scene).__name__}"
    world.wait_for(lambda: tracing.is_dead(tracer.pid) or scene.is_done(), what)
    return not tracer.came_to_rest()


def _await_successor(tracer: tracing.Tracer, victim: int) -> bool:
    """Whether the successor was killed, or serves."""

    def serves() -> bool:
        with contextlib.suppress(PapaError), Connection(client="instants", autostart=False, timeout_s=0.05) as found:
            return bool(found.hello["pid"] != victim)
        return False

    world.wait_for(lambda: tracer.killed() is not None or serves(), "the end of the successor, or its beginning")
    return tracer.killed() is not None


def instants(place: World, name: str) -> list[tracing.Instant]:
    """Every call at which a kernel can be killed in this scene, by an undisturbed run."""
    was_killed, calls, of_parent = once(place, name, tracing.NEVER)
    assert not was_killed
    seen: collections.Counter[str] = collections.Counter()
    every: list[tracing.Instant] = []
    for call in calls:
        kind = call.partition("(")[0]
        seen[kind] += 1
        every.append((kind, seen[kind]))
        if seen[kind] <= SHARED * of_parent[kind]:
            # The holder would be killed in its stead.
            every[-1] = tracing.NEVER
    starts = [at for at, call in enumerate(calls) if call.startswith("execve(")]
    if not starts:
        return every
    mark = f'"{place.instance.directory}"'
    begins = next(at for at, call in enumerate(calls) if at > starts[-1] and "openat(" in call and mark in call)
    interval = (begins - starts[-1]) // OF_A_START
    chosen = [*every[: starts[-1]], *every[starts[-1] : begins : interval], *every[begins:]]
    return [instant for instant in chosen if instant != tracing.NEVER]


def through(
    place: World, name: str, chosen: list[tracing.Instant], say: Callable[[str], None] = print
) -> tuple[int, list[str]]:
    """Kills at each of these; how many deaths there were, and what is broken, which ends the world."""
    deaths = 0
    for instant in chosen:
        try:
            deaths += once(place, name, instant)[0]
        except Broken as error:
            say(str(error))
            return deaths, [str(error)]
    return deaths, []
