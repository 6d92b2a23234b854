from __future__ import annotations

import os
import signal
import time

import pytest

from papa.kernel import reaper as reaper_module
from papa.kernel import system
from papa.kernel.loop import Loop
from papa.kernel.reaper import Reaper


class World:
    def __init__(self, tier):
        self.tier = tier
        self.loop = Loop(tier)
        self.exits = []
        self.reaper = Reaper(self.loop, tier, self.on_exit)
        self.pids = {}
        self.fds = []

    def on_exit(self, number, status):
        self.exits.append((number, status))
        system.reap(self.pids.get(number, 0))

    def add(self, number, pid, *, with_pidfd=True):
        self.pids[number] = pid
        pidfd = system.pidfd_open(pid) if with_pidfd and self.tier != "portable" else None
        if pidfd is not None:
            self.fds.append(pidfd)
        self.reaper.add(number, pid, system.start_ticks(pid), pidfd)

    def turn_until(self, fact):
        deadline = time.monotonic() + 30
        while not fact():
            assert time.monotonic() < deadline, "it did not come true"
            self.loop.call_at(time.monotonic() + 0.01, lambda: None)
            self.loop.turn()


@pytest.fixture(params=["full", "pidfd", "portable"])
def world(request):
    world = World(request.param)
    yield world
    world.loop.close()
    assert world.loop.faults == 0
    for fd in world.fds:
        os.close(fd)


def start(script):
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, setsid=True)


def start_grandchild(script):
    """A process whose parent is not we, and the pid of that parent, which waits for a line to reap it."""
    reader, writer = os.pipe()
    gate_out, gate_in = os.pipe()
    code = (
        "import os, sys\n"
        "pid = os.posix_spawn('/bin/sh', ['sh', '-c', sys.argv[1]], {})\n"
        "os.write(1, str(pid).encode() + b'\\n')\n"
        "sys.stdin.readline()\n"
        "os.waitpid(pid, 0)\n"
        "sys.stdin.readline()\n"
    )
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, gate_out, 0)]
    python = "/usr/bin/python3"
    parent = os.posix_spawn(python, [python, "-I", "-S", "-c", code, script], {}, file_actions=actions)
    os.close(writer)
    os.close(gate_out)
    with os.fdopen(reader) as stream:
        pid = int(stream.readline())
    return pid, parent, gate_in


@pytest.mark.parametrize("world", ["full", "pidfd"], indirect=True)
def test_a_child_with_a_pidfd_is_there_until_its_exit_was_taken_note_of(world):
    """A kernel that is killed meanwhile leaves it to the holder, which can still tell how it ended."""
    pid = start("exit 3")
    ticks, seen = system.start_ticks(pid), []
    world.add(1, pid)
    note = world.reaper._on_exit
    world.reaper._on_exit = lambda *args: (seen.append(system.zombie_status(pid, ticks)), note(*args))
    world.turn_until(lambda: world.exits)
    assert (seen, world.exits) == ([3], [(1, 3)])


def test_each_exit_is_told_once_with_its_status(world):
    pids = [start("exit 3"), start("kill -9 $$"), start("exit 0")]
    for number, pid in enumerate(pids):
        world.add(number, pid)
    world.turn_until(lambda: len(world.exits) == 3)
    assert sorted(world.exits) == [(0, 3), (1, -signal.SIGKILL), (2, 0)]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_ended_before_it_was_added_is_told_as_well(world):
    pid = start("exit 5")
    deadline = time.monotonic() + 30
    while system.zombie_status(pid, system.start_ticks(pid) or 0) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    world.add(1, pid)
    world.turn_until(lambda: world.exits == [(1, 5)])


def test_a_forgotten_process_is_not_told(world):
    pid = start("exit 3")
    world.add(1, pid)
    world.reaper.forget(1)
    world.reaper.forget(1)
    os.waitpid(pid, 0)
    for _ in range(3):
        world.loop.call_at(time.monotonic() + 0.01, lambda: None)
        world.loop.turn()
    assert world.exits == []


def test_the_exit_of_another_ones_child_is_told(world, monkeypatch):
    monkeypatch.setattr(reaper_module, "LOOK_S", 0.02)
    pid, parent, gate = start_grandchild("sleep 0.05; exit 6")
    world.add(1, pid)
    try:
        if world.tier == "full":
            # Nothing is told, and nothing spins, as long as nobody reaped it.
            deadline = time.monotonic() + 30
            while system.zombie_status(pid, system.start_ticks(pid)) is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            world.loop.call_at(time.monotonic() + 0.02, lambda: None)
            world.loop.turn()
            assert world.exits == []
            os.write(gate, b"reap\n")
        world.turn_until(lambda: world.exits)
        assert world.exits == [(1, 6)]
    finally:
        os.close(gate)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


@pytest.mark.parametrize("world", ["pidfd", "portable"], indirect=True)
def test_who_reaped_it_is_asked_when_the_zombie_is_gone(world):
    pid, parent, gate = start_grandchild("exit 8")
    ticks = system.start_ticks(pid)
    pidfd = None if world.tier == "portable" else system.pidfd_open(pid)
    os.write(gate, b"reap\n")
    deadline = time.monotonic() + 30
    while system.start_ticks(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    asked = []

    def foreign_status(*args):
        asked.append(args)
        return 8

    world.reaper.foreign_status = foreign_status
    world.reaper.add(1, pid, ticks, pidfd)
    try:
        world.turn_until(lambda: world.exits)
        assert world.exits == [(1, 8)]
        assert asked == [(pid, ticks)]
    finally:
        world.reaper.forget(1)
        if pidfd is not None:
            os.close(pidfd)
        os.close(gate)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


def test_without_a_pidfd_a_child_is_looked_at_from_time_to_time(world, monkeypatch):
    monkeypatch.setattr(reaper_module, "LOOK_S", 0.02)
    pid = start("sleep 0.05; exit 4")
    world.add(1, pid, with_pidfd=False)
    world.turn_until(lambda: world.exits == [(1, 4)])
