"""Descriptors that are looked at together: when they are served at once, and when in gaps."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

from papa.kernel import lane as lane_module
from papa.kernel.lane import MUCH_BYTES, OFTEN_LOOKS, Lane
from papa.kernel.loop import Loop

PIECE = b"a line\n"


class Pipe:
    def __init__(self, world):
        self.world = world
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.taken = b""

    def watch(self):
        self.world.lane.watch(self.reader, self.take)

    def take(self, _ready):
        data = os.read(self.reader, 1 << 16)
        self.world.served.append(self)
        self.world.lane.took(len(data))
        self.taken += data

    def close(self):
        for fd in (self.reader, self.writer):
            with contextlib.suppress(OSError):
                os.close(fd)


class World:
    def __init__(self, tier):
        self.loop = Loop(tier)
        self.lane = Lane(self.loop, tier)
        self.pipes = []
        self.served = []

    def pipe(self):
        pipe = Pipe(self)
        pipe.watch()
        self.pipes.append(pipe)
        return pipe

    def serve(self, count=1):
        """Turns until so many more were served."""
        goal = len(self.served) + count
        deadline = time.monotonic() + 30
        while len(self.served) < goal:
            assert time.monotonic() < deadline, "nobody was served"
            self.loop.turn()

    def write_often(self, pipe, piece=PIECE):
        for _ in range(OFTEN_LOOKS):
            os.write(pipe.writer, piece)
            self.serve()

    @property
    def is_gapped(self):
        return self.lane._timer is not None


@pytest.fixture(params=["full", "portable"])
def any_world(request):
    yield from a_world(request.param)


@pytest.fixture
def world(monkeypatch):
    # However slow the machine: the looks of a test are often.
    monkeypatch.setattr(lane_module, "OFTEN_S", 60)
    yield from a_world("full")


def a_world(tier):
    before = sorted(os.listdir("/proc/self/fd"))
    world = World(tier)
    yield world
    for pipe in world.pipes:
        world.lane.forget(pipe.reader)
        pipe.close()
    world.lane.close()
    world.loop.close()
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


def test_who_writes_is_served_and_who_is_forgotten_is_left_alone(any_world):
    first, second = any_world.pipe(), any_world.pipe()
    os.write(first.writer, PIECE)
    os.write(second.writer, PIECE)
    any_world.serve(2)
    assert first.taken == second.taken == PIECE
    any_world.lane.forget(first.reader)
    any_world.lane.forget(first.reader)
    for pipe in (first, second):
        os.write(pipe.writer, PIECE)
    any_world.serve()
    assert (first.taken, second.taken) == (PIECE, 2 * PIECE)


def test_they_are_served_in_the_order_in_which_they_became_ready(world):
    pipes = [world.pipe() for _ in range(5)]
    order = [pipes[at] for at in (3, 0, 4, 1, 2)]
    for pipe in order:
        os.write(pipe.writer, PIECE)
    world.serve(5)
    assert world.served == order


def test_often_and_little_is_looked_at_in_gaps_until_nothing_comes(world):
    pipe = world.pipe()
    world.write_often(pipe)
    assert world.is_gapped
    for _ in range(3):
        # All that comes within a gap is one look.
        looks = len(world.served)
        for _ in range(10):
            os.write(pipe.writer, PIECE)
        world.serve()
        assert len(world.served) == looks + 1
        assert world.is_gapped
    world.loop.turn()
    assert not world.is_gapped
    os.write(pipe.writer, PIECE)
    world.serve()
    assert not world.is_gapped
    assert pipe.taken == PIECE * (OFTEN_LOOKS + 30 + 1)


def test_who_writes_much_is_served_at_once(world):
    pipe = world.pipe()
    world.write_often(pipe, b"x" * MUCH_BYTES)
    assert not world.is_gapped
    # ... also in the middle of gaps
    world.write_often(pipe)
    assert world.is_gapped
    os.write(pipe.writer, b"x" * MUCH_BYTES)
    world.serve()
    assert not world.is_gapped


def test_seldom_is_served_at_once(world, monkeypatch):
    monkeypatch.setattr(lane_module, "OFTEN_S", 0)
    pipe = world.pipe()
    world.write_often(pipe)
    assert not world.is_gapped


def test_who_is_forgotten_by_a_neighbour_in_the_same_look_is_not_called(world):
    first, second = world.pipe(), world.pipe()
    world.lane.forget(first.reader)
    world.lane.watch(first.reader, lambda _ready: (os.read(first.reader, 100), world.lane.forget(second.reader)))
    os.write(first.writer, PIECE)
    os.write(second.writer, PIECE)
    world.loop.turn()
    assert second.taken == b""


def test_a_descriptor_of_the_same_number_waits_for_the_next_look(world):
    first, second = world.pipe(), world.pipe()
    number = second.reader
    calls = []

    def replace(_ready):
        os.read(first.reader, 100)
        world.lane.forget(second.reader)
        second.close()
        third = world.pipe()
        assert third.reader == number
        world.lane.forget(number)
        world.lane.watch(number, calls.append)

    world.lane.forget(first.reader)
    world.lane.watch(first.reader, replace)
    os.write(first.writer, PIECE)
    os.write(second.writer, PIECE)
    world.loop.turn()
    assert calls == []


def test_a_fault_in_one_is_contained(world, capfd):
    first, second = world.pipe(), world.pipe()
    world.lane.forget(first.reader)
    world.lane.watch(first.reader, lambda _ready: os.read(first.reader, 100) and 1 / 0)
    os.write(first.writer, PIECE)
    os.write(second.writer, PIECE)
    world.serve()
    assert second.taken == PIECE
    assert world.loop.faults == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_one_that_is_closed_within_a_gap_calls_nobody(world):
    pipe = world.pipe()
    world.write_often(pipe)
    assert world.is_gapped
    world.lane.close()
    world.loop.call_at(time.monotonic() + 2 * lane_module.GAP_S, lambda: None)
    world.loop.turn()
    assert world.loop.faults == 0
    world.lane = Lane(world.loop, "full")
