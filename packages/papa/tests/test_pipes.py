"""Output from real pipes to real files, in this very process."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time

import pytest

from papa.core import index
from papa.core.output import Bounds
from papa.kernel import pipes as pipes_module
from papa.kernel.loop import Loop
from papa.kernel.pipes import HOLES, INDEX, Pipes
from papa.kernel.state import State
from papa.kernel.vault import NoVault


class Drops(NoVault):
    def __init__(self):
        self.dropped = []

    def drop(self, key, *, at_once=False):
        self.dropped.append(key)
        return True


class World:
    def __init__(self, directory, tier):
        self.loop = Loop(tier)
        self.state = State(str(directory))
        self.vault = Drops()
        self.told = []
        self.ended = []
        self.owed = []
        self.tier = tier
        self.pipes = self.open()

    def open(self):
        return Pipes(
            self.loop,
            self.state,
            self.vault,
            self.tier,
            on_output=self.told.append,
            on_eof=lambda number, stream: self.ended.append((number, stream)),
            arrears=self,
        )

    def owe(self, kind, number, error):
        self.owed.append((kind, number, error.strerror))

    def capture(self, number=1, captured=("out",), **bounds):
        capture, writers = self.pipes.create(number, captured, Bounds(**{"overflow": "drop-oldest", **bounds}))
        self.pipes.start(capture)
        return capture, writers

    def turn_until(self, fact):
        deadline = time.monotonic() + 30
        while not fact():
            assert time.monotonic() < deadline, "it did not come true"
            self.loop.call_at(time.monotonic() + 0.01, lambda: None)
            self.loop.turn()


@contextlib.contextmanager
def world_in(directory, tier):
    """A world that leaves no descriptor open."""
    before = sorted(os.listdir("/proc/self/fd"))
    world = World(directory, tier)
    yield world
    world.pipes.close_all()
    world.state.close()
    world.loop.close()
    assert world.loop.faults == 0
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


@pytest.fixture(params=["full", "portable"])
def world(request, tmp_path):
    with world_in(tmp_path, request.param) as world:
        yield world


def content(capture, stream="out"):
    kept = capture.output.streams[stream]
    return os.pread(capture.files[stream], kept.head - kept.low, kept.low)


def test_bytes_go_to_their_offset_and_the_last_writers_end_is_told(world):
    capture, writers = world.capture(captured=("out", "err"))
    os.write(writers["out"], b"hello ")
    world.turn_until(lambda: capture.output.heads["out"] == 6)
    os.write(writers["out"], b"world")
    os.close(writers["out"])
    world.turn_until(lambda: world.ended == [(1, "out")])
    assert content(capture) == b"hello world"
    assert set(world.told) == {1}
    assert world.vault.dropped == []
    os.close(writers["err"])
    world.turn_until(lambda: len(world.ended) == 2)
    assert world.vault.dropped == ["o1"]
    assert not capture.output.streams["err"].is_open


def test_the_index_dates_bytes_before_they_are_there(world):
    capture, writers = world.capture()
    for data in (b"one", b"two"):
        os.write(writers["out"], data)
        head = capture.output.heads["out"] + 3
        world.turn_until(lambda head=head: capture.output.heads["out"] == head)
        time.sleep(0.002)
    records = list(index.unpack_records(capture.read_index(64, 1000)))
    assert [record.offset for record in records] == [0, 3]
    assert records[0].boot_ns < records[1].boot_ns
    os.close(writers["out"])


def test_a_flood_of_one_process_is_taken_in_bounded_pieces(world):
    capture, writers = world.capture()
    os.set_blocking(writers["out"], False)
    assert os.write(writers["out"], b"x" * 65536) == 65536
    world.loop.turn()
    assert 0 < capture.output.heads["out"] <= 4 * 65536
    os.close(writers["out"])


def test_all_that_lies_in_the_pipes_is_drained_whatever_the_bounds_say(world):
    capture, writers = world.capture(bound=1000, overflow="block")
    capture.output.reader_is(True)
    os.write(writers["out"], b"y" * 60000)
    world.pipes.drain(capture)
    assert capture.output.heads["out"] == 60000
    assert capture.output.streams["out"].low == 0
    assert world.ended == []
    os.close(writers["out"])
    world.pipes.drain(capture)
    assert world.ended == [(1, "out")]


def test_a_full_buffer_with_a_reader_pauses_until_it_acknowledges(world):
    capture, writers = world.capture(bound=8192, overflow="block", stall_s=60)
    capture.output.reader_is(True)
    os.write(writers["out"], b"z" * 40000)
    world.turn_until(lambda: capture.is_paused)
    taken = capture.output.heads["out"]
    assert 8192 <= taken < 40000
    world.loop.call_at(time.monotonic(), lambda: None)
    world.loop.turn()
    assert capture.output.heads["out"] == taken
    capture.output.ack("out", taken)
    world.pipes.after_acks(capture)
    assert not capture.is_paused
    world.turn_until(lambda: capture.output.heads["out"] > taken)
    assert capture.output.dropped == 0
    os.close(writers["out"])


def test_floods_whose_readers_keep_up_share_what_is_lent(world):
    world.pipes.budget = 2 << 20
    captures = [world.capture(number, overflow="block", bound=64 << 10, stall_s=100.0) for number in (1, 2)]
    for capture, writers in captures:
        capture.output.reader_is(True)
        world.pipes.reader_changed(capture)
        os.set_blocking(writers["out"], False)
    for capture, writers in captures * 12:

        def fill(capture=capture, writers=writers):
            with contextlib.suppress(BlockingIOError):
                os.write(writers["out"], bytes(16 << 10))
            return capture.is_paused

        world.turn_until(fill)
        capture.output.ack("out", capture.output.streams["out"].low + 1)
        world.pipes.after_acks(capture)
    held = [capture.output.held for capture, _ in captures]
    assert max(held) > 4 * (64 << 10)
    assert world.pipes.lent_bytes == sum(capture.output.lent for capture, _ in captures)
    assert world.pipes.lent_bytes <= (2 << 20) // pipes_module.LENT_PART + 2 * captures[0][0].output.step_bytes
    for capture, writers in captures:
        os.close(writers["out"])
        world.pipes.close(capture)
    assert (world.pipes.lent_bytes, world.pipes.held_bytes) == (0, 0)


def test_a_stall_ends_by_dropping_the_oldest(world):
    capture, writers = world.capture(bound=8192, overflow="block", stall_s=0.05)
    capture.output.reader_is(True)
    os.write(writers["out"], b"z" * 40000)
    started = time.monotonic()
    world.turn_until(lambda: capture.output.heads["out"] == 40000)
    assert time.monotonic() - started >= 0.05
    assert capture.output.dropped > 0
    os.close(writers["out"])


def test_the_marks_are_written_before_the_holes(world, monkeypatch):
    capture, writers = world.capture()
    os.write(writers["out"], b"x" * 40000)
    world.turn_until(lambda: capture.output.heads["out"] == 40000)
    seen = []

    def punch(fd, offset, length):
        header = index.unpack_header(capture.read_index(0, 64))
        seen.append((header.low["out"], offset, length))
        return True

    monkeypatch.setattr(pipes_module.system, "punch", punch)
    capture.output.ack("out", 20000)
    world.pipes.after_acks(capture)
    assert seen == [(20000, 0, 16384)]
    os.close(writers["out"])


def test_the_largest_holder_loses_first_when_all_together_hold_too_much(world, monkeypatch):
    monkeypatch.setattr(pipes_module, "MIN_DROP", 4096)
    world.pipes.budget = 50_000
    large, first = world.capture(1)
    small, second = world.capture(2)
    os.write(first["out"], b"a" * 40_000)
    world.turn_until(lambda: large.output.heads["out"] == 40_000)
    os.write(second["out"], b"b" * 30_000)
    world.turn_until(lambda: small.output.heads["out"] == 30_000)
    assert world.pipes.held_bytes <= 50_000
    assert large.output.dropped >= 20_000
    assert small.output.dropped == 0
    assert world.pipes.dropped_bytes == large.output.dropped
    for writers in (first, second):
        os.close(writers["out"])


def test_a_full_file_system_costs_the_oldest_bytes_and_nothing_else(world, monkeypatch):
    monkeypatch.setattr(pipes_module, "MIN_DROP", 4096)
    monkeypatch.setattr(pipes_module.system, "free_bytes", lambda fd: 0)
    capture, writers = world.capture()
    os.write(writers["out"], b"old" * 10000)
    world.turn_until(lambda: capture.output.heads["out"] == 30000)
    mover = capture.movers["out"]
    failures = [errno.ENOSPC, errno.ENOSPC]

    class Full:
        pending = 0

        def move(self, *args):
            if failures:
                raise OSError(failures.pop(), "full")
            return mover.move(*args)

    capture.movers["out"] = Full()
    os.write(writers["out"], b"new")
    world.turn_until(lambda: capture.output.heads["out"] == 30003)
    assert content(capture).endswith(b"oldnew")
    assert capture.output.dropped >= 8192
    os.close(writers["out"])


def test_what_cannot_be_stored_rests_and_is_taken_later_without_a_spin(world, monkeypatch, capfd):
    monkeypatch.setattr(pipes_module, "RETRY_S", 0.05)
    capture, writers = world.capture()
    mover = capture.movers["out"]
    attempts = []

    class Broken:
        pending = 0

        def move(self, *args):
            attempts.append(time.monotonic())
            if len(attempts) < 4:
                raise OSError(errno.EIO, "Input/output error")
            return mover.move(*args)

    capture.movers["out"] = Broken()
    os.write(writers["out"], b"hello")
    world.turn_until(lambda: capture.output.heads["out"] == 5)
    assert all(later - earlier >= 0.04 for earlier, later in itertools.pairwise(attempts))
    assert capfd.readouterr().err.count("cannot be stored") == 1
    assert content(capture) == b"hello"
    os.close(writers["out"])


def test_an_index_record_that_could_not_be_written_is_written_later(world, monkeypatch):
    monkeypatch.setattr(pipes_module, "RETRY_S", 0.02)
    capture, writers = world.capture()
    real, failures = os.pwrite, [1, 1]

    def pwrite(fd, data, offset):
        if fd == capture.files[INDEX] and failures:
            failures.pop()
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data, offset)

    monkeypatch.setattr(pipes_module.os, "pwrite", pwrite)
    os.write(writers["out"], b"hello")
    world.turn_until(lambda: capture.output.heads["out"] == 5)
    records = list(index.unpack_records(capture.read_index(64, capture.output.end - 64)))
    assert [record.offset for record in records][:1] == [0]
    assert all(record.wall_ns for record in records)
    os.close(writers["out"])


def test_a_disk_that_stays_full_makes_nothing_grow(world, monkeypatch):
    monkeypatch.setattr(pipes_module, "RETRY_S", 0.005)
    capture, writers = world.capture(captured=("out", "err"))
    end, attempts = capture.output.end, []
    real = os.pwrite

    def pwrite(fd, data, offset):
        if fd == capture.files[INDEX]:
            attempts.append(offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(pipes_module.os, "pwrite", pwrite)
    for writer in writers.values():
        os.write(writer, b"hello")
    world.turn_until(lambda: len(attempts) > 20)
    assert capture.output.end <= end + 2 * index.RECORD_SIZE
    attempts.clear()
    monkeypatch.setattr(pipes_module.os, "pwrite", lambda *args: attempts.append(args[2]) or real(*args))
    world.turn_until(lambda: capture.output.heads == {"out": 5, "err": 5})
    assert len(attempts) <= 8, "what could not be written was kept for each time that it was tried"
    for writer in writers.values():
        os.close(writer)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_output_is_not_dropped_for_what_that_does_not_help(world, number):
    """A file system with room lacks something else: numbers for files, or it fails."""
    capture, writers = world.capture()
    os.write(writers["out"], b"precious")
    world.turn_until(lambda: capture.output.heads["out"] == 8)
    assert not world.pipes.make_room(OSError(number, os.strerror(number)))
    world.pipes.is_punching = False
    assert not world.pipes.make_room(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert content(capture) == b"precious"
    os.close(writers["out"])


def test_a_file_system_that_takes_nothing_back_stops_neither_commits_nor_output(world, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EIO, "Input/output error")

    capture, writers = world.capture()
    os.write(writers["out"], b"x" * 20_000)
    world.turn_until(lambda: capture.output.heads["out"] == 20_000)
    with monkeypatch.context() as patch:
        patch.setattr(pipes_module.system, "punch", refuse)
        for offset in (9_000, 18_000):
            capture.output.ack("out", offset)
            world.pipes.after_acks(capture)
    assert world.owed == [(HOLES, 1, "Input/output error")] * 2
    before = os.fstat(capture.files["out"]).st_blocks
    world.pipes.give_back(capture)
    assert os.fstat(capture.files["out"]).st_blocks < before or not world.pipes.is_punching
    os.close(writers["out"])


def test_output_that_nobody_wants_is_emptied_into_nothing_until_its_end(world, tmp_path):
    capture, writers = world.capture()
    os.write(writers["out"], b"x" * 1000)
    world.turn_until(lambda: capture.output.heads["out"] == 1000)
    world.pipes.discard(capture)
    assert not (tmp_path / "output/1").exists()
    assert world.pipes.held_bytes == 0
    os.set_blocking(writers["out"], False)
    written = 0
    while written < 300_000:
        try:
            written += os.write(writers["out"], b"x" * 50_000)
        except BlockingIOError:
            world.loop.turn()
    os.close(writers["out"])
    world.turn_until(lambda: world.ended == [(1, "out")])
    world.pipes.release(capture)


def test_a_capture_is_taken_over_as_its_files_have_it(world):
    capture, writers = world.capture(captured=("out", "err"))
    os.write(writers["out"], b"a" * 10_000)
    os.write(writers["err"], b"b" * 100)
    world.turn_until(lambda: capture.output.heads == {"out": 10_000, "err": 100})
    capture.output.ack("out", 5000)
    world.pipes.after_acks(capture)
    kept = {name: os.dup(fd) for name, fd in capture.pipes.items()}
    os.close(kept.pop("err"))
    world.pipes.close_all()
    world.pipes = world.open()
    again = world.pipes.recover(1, ("out", "err"), Bounds(), {"out": 6000}, kept, lambda _output: None)
    world.pipes.start(again)
    facts = again.output.row()
    assert (facts["out"]["head"], facts["out"]["acked"], facts["out"]["low"]) == (10_000, 6000, 6000)
    assert facts["out"]["open"] and not facts["err"]["open"]
    os.write(writers["out"], b"more")
    world.turn_until(lambda: again.output.heads["out"] == 10_004)
    assert content(again).endswith(b"amore")
    for fd in writers.values():
        os.close(fd)


def test_nothing_is_left_of_a_capture_that_cannot_be_made(world, tmp_path, monkeypatch):
    def refuse():
        raise OSError(errno.EMFILE, "no")

    monkeypatch.setattr(pipes_module.os, "pipe", refuse)
    with pytest.raises(OSError, match="no"):
        world.pipes.create(1, ("out",), Bounds())
    monkeypatch.undo()
    assert not (tmp_path / "output/1").exists()
