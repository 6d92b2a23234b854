from __future__ import annotations

import fcntl
import os
import shutil
import time

import pytest

from papa.kernel import premises
from papa.kernel.loop import Loop
from papa.kernel.premises import Premises
from papa.places import Instance


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(premises, "SETTLE_S", 0.02)
    monkeypatch.setattr(premises, "RETRY_S", 0.05)
    directory = tmp_path / "kernel-x"
    directory.mkdir()
    (directory / "control.sock").touch()
    (directory / "kernel.log").touch()
    (directory / "other").touch()
    loop, told = Loop(), []
    watched = Premises(
        loop,
        Instance("x", str(directory)),
        on_missing_socket=lambda: told.append("socket"),
        on_missing_directory=lambda: told.append("directory"),
        on_missing_log=lambda: told.append("log"),
    )
    watched.watch()
    yield directory, loop, watched, told
    watched.close()
    loop.close()


def turn_until(loop, fact):
    """Then a while longer, in which nothing more may come."""
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline, "it is not told"
        turn_for(loop, 0.01)
    turn_for(loop, 0.1)


def turn_for(loop, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        loop.call_at(time.monotonic() + 0.005, lambda: None)
        loop.turn()


def test_a_moved_log_is_told_once(world):
    directory, loop, _, told = world
    (directory / "kernel.log").rename(directory / "kernel.log.1")
    turn_until(loop, lambda: told)
    assert told == ["log"]


def test_a_removed_control_socket_is_told_once(world):
    directory, loop, _, told = world
    (directory / "control.sock").unlink()
    turn_until(loop, lambda: told)
    assert told == ["socket"]


def test_a_removal_of_many_steps_is_told_at_its_end(world):
    directory, loop, _, told = world
    shutil.rmtree(directory)
    turn_until(loop, lambda: told)
    assert told == ["directory"]


def test_another_directory_of_the_same_name_is_none(world):
    directory, loop, _, told = world
    directory.rename(directory.with_name("aside"))
    directory.mkdir()
    (directory / "control.sock").touch()
    turn_until(loop, lambda: told)
    assert told == ["directory"]


def test_what_else_is_removed_wakes_nobody_for_long(world):
    directory, loop, _, told = world
    (directory / "other").unlink()
    turn_for(loop, 0.1)
    assert told == []


def test_a_directory_made_anew_is_watched_again(world):
    directory, loop, watched, told = world
    fds = len(os.listdir("/proc/self/fd"))
    shutil.rmtree(directory)
    directory.mkdir()
    (directory / "control.sock").touch()
    (directory / "kernel.log").touch()
    watched.watch()
    assert len(os.listdir("/proc/self/fd")) == fds
    turn_for(loop, 0.1)
    assert told == []
    (directory / "control.sock").unlink()
    turn_until(loop, lambda: told)
    assert told == ["socket"]


def test_who_could_not_make_it_again_looks_again(world):
    directory, loop, watched, told = world
    shutil.rmtree(directory)
    turn_until(loop, lambda: told)
    watched.look_again()
    turn_until(loop, lambda: len(told) > 1)
    assert told == ["directory", "directory"]


def test_where_nobody_is_told_nothing_is_missing(world, monkeypatch):
    directory, loop, watched, told = world
    monkeypatch.delattr(fcntl, "F_NOTIFY")
    watched.watch()
    shutil.rmtree(directory)
    turn_for(loop, 0.1)
    assert told == []
