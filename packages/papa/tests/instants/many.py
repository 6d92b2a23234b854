"""A kernel that hosts many idle processes is killed: its successor has them all."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from packages.papa.tests.instants import tracing, world
from packages.papa.tests.instants.world import Broken, World

MANY = 2000


def survives(place: World, count: int) -> float:
    """Starts so many, kills the kernel; the seconds until another one answers. Raises: Broken."""
    for number in range(count):
        place.ask(
            "spawn", name=f"idle.{number}", argv=["/bin/sleep", "3600"], env={}, stdout="capture", stderr="capture"
        )
    before = _facts(place)
    os.kill(place.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    world.wait_for(lambda: tracing.is_dead(place.pid), "the death of the kernel")
    place.come_back()
    seconds = time.monotonic() - killed_at
    try:
        status = place.status()
        if _facts(place) != before or (status["not_covered"], status["faults"]) != (0, 0):
            raise Broken(f"not all is as it was: {status}")
    finally:
        for row in place.list("processes"):
            if row["name"].startswith("idle."):
                os.kill(row["pid"], signal.SIGKILL)
        place.ask("remove", what="processes", names=["idle.*"])
        world.wait_for(lambda: place.status()["processes"] == len(place.told), "the end of all")
    place.check()
    place.check_leaks()
    return seconds


def _facts(place: World) -> list[tuple[Any, ...]]:
    keys = ("id", "name", "pid", "start_ticks", "running", "covered", "streams")
    return [tuple(row[key] for key in keys) for row in place.list("processes")]
