from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.house import wait_for

from papa import places
from papa.kernel import guard, holder, system
from papa.kernel.guard import Guard
from papa.kernel.loop import Loop

#: Stands for a replacement: waits as the real one does.
WAITING = "import os; os._exit(0 if os.read(6, 100) == b'exit\\n' else 1)"


@pytest.fixture
def world(monkeypatch):
    """A guard on a loop, the fake vault's descriptors, and the pids it told of."""
    loop = Loop()
    reader, writer = os.pipe()
    for name in ("RX", "TX", "LOCK"):
        monkeypatch.setattr(holder, name, reader)
    told = []
    world = Guard(loop, {"directory": "/nowhere"}, told.append), loop, told
    yield world
    for pid in filter(None, told):
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    loop.close()
    os.close(reader)
    os.close(writer)


def program(monkeypatch, code):
    monkeypatch.setattr(places, "program", lambda module: [sys.executable, "-I", "-S", "-c", code])


def turn_until(loop, fact, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    tick = loop.call_at(deadline, lambda: None)
    while not fact():
        assert time.monotonic() < deadline, "not in time"
        loop.turn()
    tick.cancel()


def test_a_parent_that_is_gone_already_is_replaced_at_once(world, monkeypatch):
    watch, _, told = world
    program(monkeypatch, WAITING)
    watch.begin(os.getppid() + 1, None)
    assert told == [watch.pid]
    assert watch.standby()[0] == watch.pid


def test_a_parent_that_lives_is_watched_and_needs_no_farewell(world):
    watch, _, told = world
    watch.begin(os.getppid(), None)
    assert told == [os.getppid()]
    assert watch.standby() is None
    watch.dismiss()
    told.clear()


def test_a_replacement_leaves_when_it_is_dismissed(world, monkeypatch):
    watch, _, told = world
    program(monkeypatch, WAITING)
    watch.begin(os.getppid() + 1, None)
    watch.dismiss()
    assert os.waitstatus_to_exitcode(os.waitpid(told[0], 0)[1]) == 0
    # A farewell to one that is gone is no fault.
    watch.dismiss()


def test_a_replacement_that_ends_is_replaced(world, monkeypatch):
    watch, loop, told = world
    monkeypatch.setattr(guard, "STILLBORN_S", 0.0)
    program(monkeypatch, WAITING)
    watch.begin(os.getppid() + 1, None)
    os.kill(told[0], signal.SIGKILL)
    turn_until(loop, lambda: len(told) == 3)
    assert told[1] is None
    assert told[2] not in (None, told[0])
    with pytest.raises(ChildProcessError):
        os.waitpid(told[0], os.WNOHANG)


def test_a_holder_is_renewed_on_demand(world, monkeypatch):
    watch, _loop, told = world
    watch.renew()
    monkeypatch.setattr(guard, "STILLBORN_S", 0.0)
    program(monkeypatch, WAITING)
    watch.begin(os.getppid() + 1, None)
    watch.renew()
    # At no moment there is none.
    assert told == [told[0], watch.pid] and watch.pid != told[0]
    with pytest.raises(ChildProcessError):
        os.waitpid(told[0], os.WNOHANG)


def test_a_holder_that_is_gone_before_it_is_ended_is_renewed_like_any_other(world, monkeypatch):
    """Its replacement ends it as well, and whoever reaps it may be faster than we are."""
    watch, _loop, told = world
    program(monkeypatch, WAITING)
    with subprocess.Popen(["sleep", "1000"]) as parent:
        monkeypatch.setattr(os, "getppid", lambda: parent.pid)
        watch.begin(parent.pid, None)
        start = Guard._start

        def start_slowly(self, instead=None):
            pid = start(self, instead)
            parent.kill()
            parent.wait()
            return pid

        monkeypatch.setattr(Guard, "_start", start_slowly)
        watch.renew()
    assert told == [parent.pid, watch.pid] and watch.pid != parent.pid
    told.remove(parent.pid)


def test_a_replacement_is_told_whom_it_replaces_while_that_one_lives(world, monkeypatch, tmp_path):
    watch, _loop, _told = world
    how = tmp_path / "how"
    how.touch()
    program(monkeypatch, f"import sys; open({str(how)!r}, 'a').write(sys.argv[2]); {WAITING}")
    watch.begin(os.getppid() + 1, None)
    first, ticks = watch.pid, system.start_ticks(watch.pid)
    watch.renew()
    wait_for(lambda: f"[{first}, {ticks}]" in how.read_text(), "the other one to be told")


def test_stillborn_replacements_come_ever_more_slowly(world, monkeypatch):
    watch, loop, _told = world
    program(monkeypatch, "pass")
    pauses = []
    real = loop.call_at

    class Recorded:
        def __getattr__(self, name):
            return getattr(loop, name)

        def call_at(self, deadline, callback):
            pauses.append(deadline)
            return real(time.monotonic(), callback)

    class Stopped:
        """A clock that stands, so that a deadline is a pause."""

        monotonic = staticmethod(lambda: 0.0)

    monkeypatch.setattr(guard, "time", Stopped)
    watch._loop = Recorded()
    watch.begin(os.getppid() + 1, None)
    turn_until(loop, lambda: len(pauses) == 5)
    assert pauses == [0.1, 1.0, 10.0, 10.0, 10.0]


def test_a_replacement_that_cannot_be_started_is_tried_again(world, monkeypatch, capfd):
    watch, loop, told = world
    monkeypatch.setattr(places, "program", lambda module: ["/does/not/exist"])
    fds = len(os.listdir("/proc/self/fd"))
    watch.begin(os.getppid() + 1, None)
    assert "cannot be replaced" in capfd.readouterr().err
    assert len(os.listdir("/proc/self/fd")) == fds
    program(monkeypatch, WAITING)
    turn_until(loop, lambda: told)
    assert told == [watch.pid]


def test_the_next_incarnation_goes_on_with_the_replacement_it_is_told_of(world):
    watch, _loop, told = world
    reader, writer = os.pipe()
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", WAITING.replace("6", str(reader))], pass_fds=[reader])
    os.close(reader)
    os.set_inheritable(writer, True)
    watch.begin(1, (process.pid, writer))
    assert told == [process.pid]
    assert watch.standby() == (process.pid, writer)
    assert not os.get_inheritable(writer)
    watch.dismiss()
    assert process.wait(30) == 0
    os.close(writer)
