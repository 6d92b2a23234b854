"""People who watch have one amount of work together in each turn: counted, not timed."""

from __future__ import annotations

import errno
import os
import time

import pytest

from papa import model
from papa.kernel import gallery, system
from papa.kernel.gallery import Gallery
from papa.kernel.host import Host
from papa.kernel.loop import Loop
from papa.kernel.vault import NoVault
from papa.kernel.watch import PAGE_BYTES, PIECE_BYTES, Viewer
from papa.wire.text_lines import MAX_LINE

VIEWERS = 20


class Watcher:
    """Has always something to show."""

    def __init__(self, gallery, size):
        self.gallery = gallery
        self.size = size
        self.looks = 0

    def look(self):
        self.looks += 1
        self.gallery.spent += self.size
        self.gallery.look_later(self)


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(("size", "most"), [(gallery.TURN_BYTES, 1), (gallery.TURN_BYTES // 4, 4), (0, 32)])
def test_a_turn_shows_so_much_and_each_has_an_equal_part(loop, size, most):
    room = Gallery(loop)
    watchers = [Watcher(room, size) for _ in range(100)]
    for watcher in watchers:
        room.look_later(watcher)
    for turn in range(1, 201):
        loop.turn()
        looks = [watcher.looks for watcher in watchers]
        assert sum(looks) <= turn * most
        assert max(looks) - min(looks) <= 1
    assert sum(looks) > 200 * most // 2


def test_who_asks_often_looks_once(loop):
    room = Gallery(loop)
    watcher = Watcher(room, 0)
    watcher.look = lambda: setattr(watcher, "looks", watcher.looks + 1)
    for _ in range(10):
        room.look_later(watcher)
    for _ in range(3):
        loop.call_at(0, lambda: None)
        loop.turn()
    assert watcher.looks == 1


def test_a_fault_in_one_look_holds_up_no_other(loop):
    room = Gallery(loop)
    bad, good = Watcher(room, 0), Watcher(room, 0)
    bad.look = lambda: 1 / 0
    for watcher in (bad, good):
        room.look_later(watcher)
    loop.turn()
    assert (loop.faults, good.looks > 0) == (1, True)


class Person:
    """The connection of one who reads at once."""

    is_open = True
    watch = None

    def __init__(self, loop):
        self.loop = loop
        self.got = 0

    def send(self, data):
        self.got += len(data)

    def after_sent(self, callback):
        self.loop.after_turn(callback)

    def close(self):
        self.watch = None


@pytest.fixture
def host(tmp_path):
    tier = system.detect_tier()
    if tier == "portable":
        pytest.skip("its SIGCHLD handler would be the tests' own")
    host = Host(str(tmp_path), "test", NoVault(), tier=tier, nofile=(1024, 4096))
    host.recover()
    yield host
    host.close()


@pytest.fixture
def process(host):
    """Has ended, and left many lines."""
    script = "i=0; while [ $i -lt 20000 ]; do echo a line of ordinary length $i; i=$((i + 1)); done"
    words = {"name": "web", "argv": ["/bin/sh", "-c", script], "env": {"PATH": os.defpath}}
    process = host.spawn(model.ProcessSpec.parse(words))[0]
    turn_until(host, lambda: not process.is_running and not process.output.streams["out"].is_open)
    return process


def turn_until(host, fact, each=lambda: None):
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        host.loop.call_at(time.monotonic() + 0.001, lambda: None)
        host.loop.turn()
        each()


def open_viewers(host, process, count):
    people = [Person(host.loop) for _ in range(count)]
    for person in people:
        person.watch = Viewer(host, person, [process])
        host.news.watches.add(person.watch)
    return people


def test_twenty_viewers_of_one_flood_cost_a_turn_no_more_than_one(host, process, monkeypatch):
    monkeypatch.setattr(Viewer, "_end", lambda watch: host.news.watches.discard(watch))
    people = open_viewers(host, process, VIEWERS)
    #: What is beyond a page when it ends: the rows of one piece, each byte of which may be a line with its front.
    most = gallery.TURN_BYTES + PAGE_BYTES + PIECE_BYTES * 60 + MAX_LINE
    turns, before = [], [0]

    def count():
        now = sum(person.got for person in people)
        turns.append(now - before[0])
        before[0] = now

    turn_until(host, lambda: not host.news.watches, count)
    assert max(turns) <= most
    assert min(person.got for person in people) > process.output.heads["out"] > 500_000
    assert sum(size > 0 for size in turns) > VIEWERS * 500_000 // most


def test_who_watches_what_a_failing_disk_cannot_show_is_let_go(host, process, monkeypatch, capfd):
    def refuse(*args):
        raise OSError(errno.EIO, "Input/output error")

    [person] = open_viewers(host, process, 1)
    monkeypatch.setattr(os, "pread", refuse)
    turn_until(host, lambda: person.watch is None)
    monkeypatch.undo()
    assert "let go: output cannot be read: Input/output error" in capfd.readouterr().err
    assert host.loop.faults == 0
