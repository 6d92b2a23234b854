"""Somebody removes the state directory, and the kernel is killed while it makes that again.

Until it has written down who is hosted a death loses that for good, and with it what was hosted; from then on nothing
may be lost. In both cases one kernel serves.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from packages.papa.tests.instants import tracing, world
from packages.papa.tests.instants.tracing import Instant
from packages.papa.tests.instants.world import Broken, World

from papa.errors import PapaError
from papa.kernel import holder


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


def through(folder: Path, every: int) -> tuple[int, list[str]]:
    """Kills at ``every`` so manieth call, each time in a world of its own; how many, and what is broken."""
    with _opened(folder) as place:
        calls: list[str] = []
        killed_at(place, tracing.NEVER, calls)
    seen: collections.Counter[str] = collections.Counter()
    instants: list[Instant] = []
    for call in calls:
        kind = call.partition("(")[0]
        seen[kind] += 1
        instants.append((kind, seen[kind]))
    broken: list[str] = []
    for instant in instants[::every]:
        done: list[str] = []
        try:
            with _opened(folder) as place:
                last = max(row["id"] for row in place.sockets.values())
                is_whole = killed_at(place, instant, done)
            if not is_whole and any(f'"sockets/{last}.json") = 0' in call for call in done):
                raise Broken("what had been written down is lost")
            world.wait_for(lambda place=place: not holders(place) and not place.kernels(), "the end of everybody")
        except Broken as error:
            broken.append(f"Rebuild, killed at {instant[0]} {instant[1]}: {done[-1:]}: {error}")
    return len(instants[::every]), broken


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[World]:
    (folder / "children").mkdir(mode=0o755)
    with world.opened(folder / "children") as place:
        yield place
    shutil.rmtree(folder / "children")


def killed_at(place: World, instant: Instant, calls: list[str] | None = None) -> bool:
    """Whether all that was hosted is still there. ``calls`` gets those made. Raises: Broken: worse than lost."""
    victim, directory = place.pid, place.instance.directory
    tracer = tracing.Tracer(victim, instant, place.folder.parent / "strace")
    try:
        shutil.rmtree(directory)

        def is_over() -> bool:
            return tracing.is_dead(victim) or (os.path.exists(place.instance.control_path) and tracer.came_to_rest())

        world.wait_for(is_over, "the directory to be made again, or a death")
    finally:
        tracer.detach()
    if calls is not None:
        calls += tracer.calls()

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
    world.wait_for(lambda: holders(place) == [place.holder], f"one holder alone, not {holders(place)}")
    if not os.path.samestat(os.stat(f"/proc/{place.holder}/fd/{holder.LOCK}"), os.stat(directory)):
        raise Broken("the holder's lock is not on the directory: were this kernel killed, another could start beside")
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
