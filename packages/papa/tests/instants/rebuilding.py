"""Somebody removes the state directory, and the kernel is killed while it makes that again.

Until it has written down who is hosted a death loses that for good, and with it what was hosted; from then on nothing
may be lost. In both cases one kernel serves.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from packages.papa.tests.instants import tracing, world
from packages.papa.tests.instants.tracing import Instant
from packages.papa.tests.instants.world import Broken, World

from papa.errors import PapaError


def holders(place: World) -> list[int]:
    """Who holds the lock on a directory of this name, or is about to, without being a kernel."""
    mine = os.fsencode(f'"{place.instance.directory}"')
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"/bin/sh" and any(mine in word for word in words) and not tracing.is_dead(int(entry)):
            found.append(int(entry))
    return found


def killed_at(place: World, instant: Instant) -> bool:
    """Whether all that was hosted is still there. Raises: Broken when something is worse than lost."""
    victim, directory = place.pid, place.instance.directory
    tracer = tracing.Tracer(victim, instant, place.folder.parent / "strace")
    try:
        shutil.rmtree(directory)

        def is_over() -> bool:
            return tracing.is_dead(victim) or (os.path.exists(place.instance.control_path) and tracer.came_to_rest())

        world.wait_for(is_over, "the directory to be made again, or a death")
    finally:
        tracer.detach()

    def serves() -> bool:
        try:
            place.come_back()
        except PapaError as error:
            if error.code not in ("lost", "unreachable"):
                raise
            return False
        return True

    world.wait_for(serves, "a kernel that serves")
    place.holder = place.status()["holder"]
    for pid in holders(place):
        # One that was to be killed next: it tries in vain, as long as the other one's kernel has the lock.
        if pid != place.holder and instant[0] == "kill":
            os.kill(pid, signal.SIGKILL)
    world.wait_for(lambda: holders(place) == [place.holder], f"one holder alone, not {holders(place)}")
    rows = {row["id"]: row["pid"] for row in place.list("processes")}
    told = {number: child.pid for number, child in place.told.items()}
    if not rows.items() <= told.items():
        raise Broken(f"told were {told}, there are {rows}")
    is_whole = rows == told and len(place.list("sockets")) == len(place.sockets)
    if is_whole:
        place.check()
    for child in place.told.values():
        os.killpg(child.pid, signal.SIGKILL)
    return is_whole
