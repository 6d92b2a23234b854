"""What an earlier incarnation captured, taken over from its files in this very process."""

from __future__ import annotations

import errno
import os

import pytest
from packages.papa.tests.test_pipes import content, world_in

from papa.core.output import Bounds
from papa.kernel import reopening
from papa.kernel.reopening import OPENED_A_TURN


@pytest.fixture
def world(tmp_path):
    with world_in(tmp_path, "full") as world:
        yield world


@pytest.fixture
def taken_over(world):
    """Makes captures that hold "one", has another incarnation take them over, and gives them with their writers."""
    writers = []

    def take_over(count, bounds=None, on_open=lambda _output: None):
        for number in range(count):
            writers.append(world.capture(number)[1]["out"])
            os.write(writers[-1], b"one")
        world.turn_until(lambda: all(it.output.heads["out"] == 3 for it in world.pipes.captures.values()))
        kept = {number: {"out": os.dup(it.pipes["out"])} for number, it in world.pipes.captures.items()}
        world.pipes.close_all()
        world.pipes = world.open()
        world.told.clear()
        captures = [
            world.pipes.recover(number, ("out",), bounds or Bounds(), {}, pipes, on_open)
            for number, pipes in kept.items()
        ]
        for capture in captures:
            world.pipes.start(capture)
        return captures, writers

    yield take_over
    for fd in writers:
        os.close(fd)


def count_open(captures):
    return sum(capture.is_open for capture in captures)


def test_what_nobody_asks_for_is_opened_some_in_each_turn(world, taken_over):
    captures, _ = taken_over(2 * OPENED_A_TURN + 1)
    assert world.pipes.held_bytes == 0
    world.pipes.reopening.open_later()
    seen = []
    while count_open(captures) < len(captures):
        world.loop.turn()
        seen.append(count_open(captures))
    assert seen == [OPENED_A_TURN, 2 * OPENED_A_TURN, len(captures)]
    assert world.pipes.held_bytes == sum(capture.output.held for capture in captures) > 0
    # Whoever waits for it hears of what was there already.
    assert set(world.told) == set(range(len(captures)))


def test_one_that_is_asked_for_or_writes_is_opened_before_its_turn(world, taken_over):
    captures, writers = taken_over(OPENED_A_TURN + 2)
    assert captures[-1].output.heads == {"out": 3}
    os.write(writers[-2], b"two")
    world.turn_until(lambda: captures[-2].is_open)
    assert content(captures[-2]) == b"onetwo"
    assert count_open(captures) == 2


def test_who_reads_is_known_before_a_byte_is_taken(world, taken_over):
    # Without a reader the oldest would be dropped to make room.
    captures, writers = taken_over(1, Bounds(8192, "block"), on_open=lambda output: output.reader_is(True))
    os.write(writers[0], b"x" * 30000)
    world.turn_until(lambda: captures[0].is_paused)
    assert captures[0].output.dropped == 0


def test_what_cannot_be_opened_rests_and_is_tried_again(world, taken_over, monkeypatch, capfd):
    monkeypatch.setattr(reopening, "RETRY_S", 0.01)
    captures, writers = taken_over(3)
    opening = world.state.open_output
    refused = []

    def refuse(number, name):
        if number == 1 and len(refused) < 3:
            refused.append(name)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opening(number, name)

    monkeypatch.setattr(type(world.state), "open_output", lambda _self, number, name: refuse(number, name))
    os.write(writers[1], b"two")
    world.pipes.reopening.open_later()
    world.turn_until(lambda: captures[1].is_open and captures[1].output.heads["out"] == 6)
    assert content(captures[1]) == b"onetwo"
    assert count_open(captures) == 3
    assert len(refused) == 3
    assert capfd.readouterr().err.count("output of process 1 cannot be opened: Too many open files") == 1


def test_who_asks_for_what_cannot_be_opened_is_told_so(world, taken_over, monkeypatch):
    captures, _ = taken_over(1)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.state), "open_output", lambda *_args: os.open("/nowhere", os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            print(captures[0].output)
    assert content(captures[0]) == b"one"


def test_what_is_discarded_before_its_turn_is_never_opened(world, taken_over):
    captures, writers = taken_over(2)
    world.pipes.discard(captures[0])
    world.pipes.reopening.open_later()
    os.write(writers[0], b"for nobody")
    os.close(writers.pop(0))
    world.turn_until(lambda: world.ended == [(0, "out")] and captures[1].is_open)
    assert world.state.outputs() == [1]
    world.pipes.release(captures[0])
