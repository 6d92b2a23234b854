"""Hands that hurt the daemons of a house: kill, stop, hang, starve, upgrade."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench import machine

from tests.house import ANSWER_S, BIN, wait_for

if TYPE_CHECKING:
    from tests.chaos.house_world import HouseWorld


def kill_manager(world: HouseWorld, number: int) -> None:
    world.kill()
    time.sleep(number % 5 / 10)
    world.start()


def quit_manager(world: HouseWorld, number: int) -> None:
    world.quit()
    time.sleep(number % 5 / 10)
    world.start()


def stop_manager(world: HouseWorld, number: int) -> None:
    with stopped(world.manager_pid()):
        time.sleep(0.5)


def hang_manager(world: HouseWorld, number: int) -> None:
    """Somebody's hook holds all of circusd; it is waited for, or replaced by who has lost patience."""
    (world.folder / "hold").write_text(str(200_000 + number % 10 * 200_000))
    world.ended |= world.pids("held")
    world.ctl("restart", "--no-wait", "held")
    wait_for(lambda: not (world.folder / "hold").exists(), "the hook")
    if number % 3 == 0:
        world.kill()
        world.start()


def upgrade_manager(world: HouseWorld, number: int) -> None:
    # Orders of steps before are waited for, as long as that takes.
    said = world.asked("upgrade", "--patience", str(ANSWER_S))
    assert "upgrade" in said, said
    world.counts["upgrades of circusd"] += 1


def kill_in_upgrade_of_manager(world: HouseWorld, number: int) -> None:
    """Killed while it gives its place away, or before, or after."""
    pid = world.manager_pid()
    with asked(world, BIN / "circusctl", "--timeout", "5", "upgrade"):
        time.sleep(number % 1000 / 600)
        os.kill(pid, signal.SIGKILL)
        world.gone()
        world.start()


def starve_manager(world: HouseWorld, number: int) -> None:
    """No descriptors for a while, in which something ends and somebody asks."""
    pid = world.manager_pid()
    with starved(pid, number % 3):
        world.end_one(number)
        time.sleep(0.3 + number % 10 / 10)


def kill_kernel(world: HouseWorld, number: int) -> None:
    world.kill_kernel()
    world.counts["kills"] += 1


def stop_kernel(world: HouseWorld, number: int) -> None:
    with stopped(world.kernel_pid()):
        time.sleep(0.2 + number % 10 / 10)


def upgrade_kernel(world: HouseWorld, number: int) -> None:
    done = world.run(BIN / "papa", "upgrade")
    assert done.returncode == 0, done.stderr
    wait_for(world.kernel, "the kernel after its upgrade")
    world.counts["upgrades of papa"] += 1


def kill_in_upgrade_of_kernel(world: HouseWorld, number: int) -> None:
    pid = world.kernel_pid()
    with asked(world, BIN / "papa", "upgrade"):
        time.sleep(number % 1000 / 3000)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: (now := world.kernel()) and now["pid"] != pid, "a new kernel")
    world.counts["kills"] += 1


def starve_kernel(world: HouseWorld, number: int) -> None:
    with starved(world.kernel_pid(), number % 3):
        world.end_one(number)
        time.sleep(0.3 + number % 10 / 10)


def kill_holder(world: HouseWorld, number: int) -> None:
    kernel = world.kernel()
    assert kernel is not None and kernel["holder"], f"no holder: {kernel}"
    killed = kernel["holder"]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: (now := world.kernel()) and now["holder"] not in (None, killed), "a new holder", ANSWER_S)
    world.counts["killed holders"] += 1


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def starved(pid: int, left: int) -> Iterator[None]:
    """It may open so many more, and no other."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(most + left, limits[1]), limits[1]))
    try:
        yield
    finally:
        if machine.is_alive(pid):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@contextlib.contextmanager
def asked(world: HouseWorld, *argv: object) -> Iterator[None]:
    """Somebody asks meanwhile; what he is answered is his."""
    words = list(map(str, argv))
    with subprocess.Popen(
        words, env=world.environ, cwd=world.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as asking:
        try:
            yield
            asking.wait(ANSWER_S)
        finally:
            asking.kill()


HANDS = {
    hand.__name__: hand
    for hand in (
        kill_manager, quit_manager, stop_manager, hang_manager, upgrade_manager, kill_in_upgrade_of_manager,
        starve_manager, kill_kernel, stop_kernel, upgrade_kernel, kill_in_upgrade_of_kernel, starve_kernel, kill_holder,
    )
}  # fmt: skip
