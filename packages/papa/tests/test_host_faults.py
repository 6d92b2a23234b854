"""What the host does when a step of it fails, in this process, where steps can be made to fail."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from papa import model
from papa.kernel import arrears, status, system
from papa.kernel.host import Host
from papa.kernel.state import PROCESSES
from papa.kernel.vault import NoVault


class Dropped(NoVault):
    """Covers everything, and remembers what was dropped."""

    def __init__(self):
        self.keys = set()

    def push(self, key, fds):
        self.keys.add(key)
        return True

    def drop(self, *keys, at_once=False):
        self.keys.difference_update(keys)
        return True


@pytest.fixture
def host(tmp_path):
    before = sorted(os.listdir("/proc/self/fd"))
    tier = system.detect_tier()
    if tier == "portable":
        pytest.skip("its SIGCHLD handler would be the tests' own")
    host = Host(str(tmp_path), "test", Dropped(), tier=tier, nofile=(1024, 4096))
    host.recover()
    yield host
    host.close()
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


def start(host, script, name="web"):
    words = {"name": name, "argv": ["/bin/sh", "-c", script], "env": {"PATH": "/usr/bin:/bin"}}
    return host.spawn(model.ProcessSpec.parse(words))[0]


def turn_until(host, fact):
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        host.loop.call_at(time.monotonic() + 0.01, lambda: None)
        host.loop.turn()


def refuse(*args):
    raise OSError(errno.EIO, "Input/output error")


def test_an_exit_counts_whatever_happens_to_the_last_output(host, monkeypatch):
    monkeypatch.setattr(type(host.pipes), "drain", refuse)
    process = start(host, "echo last words; exit 3")
    turn_until(host, lambda: not process.is_running)
    assert process.exit[0] == 3
    assert host.state.read_records(PROCESSES)[process.id]["exit"][0] == 3
    assert host.loop.faults == 1


def test_a_dead_process_that_is_removed_loses_its_record_before_its_output(host, monkeypatch):
    """Else a kernel killed between would show a process that wrote nothing."""
    process = start(host, "echo hello")
    turn_until(host, lambda: not process.is_running and not process.output.streams["out"].is_open)
    seen = []

    def look(state, number):
        seen.append(state.read_records(PROCESSES))

    monkeypatch.setattr(type(host.state), "remove_output", look)
    host.remove_processes([process])
    assert seen == [{}]
    monkeypatch.undo()
    host.state.remove_output(process.id)


def test_nothing_stays_in_the_vault_of_an_exit_that_could_not_be_recorded(host, monkeypatch):
    process = start(host, "exit 3")
    monkeypatch.setattr(type(host.durable), "write_process", lambda *args: False)
    turn_until(host, lambda: not process.is_running)
    assert f"p{process.id}" in host.vault.keys
    host.remove_processes([process])
    turn_until(host, lambda: not host.pipes.captures)
    assert host.vault.keys == set()


def test_a_kernel_that_was_told_to_exit_does_although_strangers_left_something(host, tmp_path, capfd):
    (tmp_path / "output" / "notes").write_text("mine")
    left = []
    host.on_exit_request = lambda: left.append(True)
    host.prepare_exit(is_forced=False)
    host.exit()
    assert left == [True]
    assert "cannot be emptied: Directory not empty" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["remove_record", "remove_mark", "remove_output", "write_record"])
def test_what_the_file_system_refuses_holds_nothing_up_and_is_done_later(host, monkeypatch, name):
    """The process is started, captured, reaped and forgotten as ever; afterwards nothing of it is left."""
    monkeypatch.setattr(arrears, "FIRST_S", 0.01)
    host.arrears._pause_s = 0.01
    hosted = start(host, "exec sleep 100")
    with monkeypatch.context() as patch:
        if name != "write_record":
            patch.setattr(type(host.state), name, refuse)
        short = start(host, "echo hello; exit 3", name="short")
        patch.setattr(type(host.state), name, refuse)
        turn_until(host, lambda: not short.is_running and not short.output.streams["out"].is_open)
        assert (short.exit[0], short.output.heads["out"]) == (3, 6)
        host.remove_processes([short, hosted])
        assert host.table.named("short") is None
        turn_until(host, lambda: len(host.arrears))
        assert any("Input/output error" in problem for problem in status.describe(host)["file_system"]["problems"])
    turn_until(host, lambda: not host.arrears)
    assert status.describe(host)["file_system"]["problems"] == []
    os.kill(hosted.pid, signal.SIGKILL)
    turn_until(host, lambda: not host.table.processes and not host.pipes.captures)
    assert os.listdir(f"{host.directory}/processes") == os.listdir(f"{host.directory}/output") == []
    assert host.loop.faults == 0
