from __future__ import annotations

import errno
import time

import pytest

from papa.kernel import arrears
from papa.kernel.arrears import Arrears
from papa.kernel.loop import Loop

EIO = OSError(errno.EIO, "Input/output error")


class World:
    """A file system that fails for some names."""

    def __init__(self):
        self.bad = set()
        self.tried = []
        self.loop = Loop()
        self.arrears = Arrears(self.loop, self.pay)

    def pay(self, kind, number):
        self.tried.append((kind, number))
        if (kind, number) in self.bad:
            raise EIO

    def turn_until(self, fact):
        deadline = time.monotonic() + 10
        while not fact():
            assert time.monotonic() < deadline, "it did not come true"
            self.loop.turn()


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(arrears, "FIRST_S", 0.01)
    world = World()
    yield world
    world.loop.close()
    assert world.loop.faults == 0


def test_what_is_owed_is_done_when_it_can_be_and_said_once(world, capfd):
    for number in range(3):
        world.arrears.owe("processes", number, EIO)
    assert (len(world.arrears), world.arrears.problem) == (3, "Input/output error")
    world.turn_until(lambda: not world.arrears)
    assert world.tried == [("processes", number) for number in range(3)]
    assert world.arrears.problem == ""
    first, last = capfd.readouterr().err.splitlines()
    assert "processes/0 cannot be brought up to date: Input/output error" in first
    assert "everything is brought up to date" in last


def test_one_bad_file_keeps_no_other_waiting_and_is_tried_ever_more_slowly(world, monkeypatch):
    pauses = []
    monkeypatch.setattr(world.loop.__class__, "call_at", note(pauses, world.loop.__class__.call_at))
    world.bad.add(("output", 1))
    world.arrears.owe("output", 1, EIO)
    for number in range(2, 2 + 2 * arrears.ATTEMPTS_PER_TURN):
        world.arrears.owe("output", number, EIO)
    world.turn_until(lambda: len(world.arrears) == 1 and world.tried.count(("output", 1)) > 5)
    assert pauses[-1] > 3 * arrears.FIRST_S
    assert max(pauses) <= arrears.LONGEST_S
    world.bad.clear()
    world.turn_until(lambda: not world.arrears)


def note(pauses, real):
    def call_at(loop, deadline, callback):
        pauses.append(deadline - time.monotonic())
        return real(loop, deadline, callback)

    return call_at


def test_a_turn_has_a_bounded_number_of_attempts(world):
    for number in range(5 * arrears.ATTEMPTS_PER_TURN):
        world.arrears.owe("output", number, EIO)
    done = [0]
    while world.arrears:
        world.loop.turn()
        assert len(world.tried) - done[-1] <= arrears.ATTEMPTS_PER_TURN
        done.append(len(world.tried))
    assert done[-1] == 5 * arrears.ATTEMPTS_PER_TURN


def test_of_too_much_the_oldest_is_left_to_the_next_incarnation(world, monkeypatch):
    monkeypatch.setattr(arrears, "MAX_OWED", 2)
    for number in range(3):
        world.arrears.owe("output", number, EIO)
    world.turn_until(lambda: not world.arrears)
    assert world.tried == [("output", 1), ("output", 2)]
