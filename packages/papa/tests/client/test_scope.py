"""Leaving a service of systemd: how it is asked for, and that a kernel comes up whatever becomes of it.

That a real systemd does what it is asked is tests/service.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import pytest
from tests.house import wait_for

from papa import places
from papa.client import launch, scope
from papa.client.blocking import Connection

USER_SERVICE = "/user.slice/user-1000.slice/user@1000.service/app.slice/circus.service"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which systemd runs, and this process belongs to a cgroup."""
    (tmp_path / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(scope, "SYSTEMD_RUNS", str(tmp_path))
    monkeypatch.setattr(scope, "PROC", str(tmp_path / "proc"))

    def set_cgroup(text, pid="self"):
        (tmp_path / "proc" / str(pid)).mkdir(exist_ok=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(text)

    return set_cgroup


@pytest.mark.parametrize(
    ("cgroup", "service"),
    [
        ("0::/system.slice/circus.service\n", "/system.slice/circus.service"),
        ("12:pids:/x\n9:name=systemd:/system.slice/circus.service/sub\n0::/\n", "/system.slice/circus.service"),
        (f"0::{USER_SERVICE}\n", USER_SERVICE),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n", ""),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", ""),
        ("12:pids:/system.slice/circus.service\n0::/\n", ""),
        ("nonsense\n0:\n", ""),
    ],
)
def test_a_service_is_known_by_its_cgroup(machine, monkeypatch, cgroup, service):
    machine(cgroup)
    assert scope.service_of() == service
    machine(cgroup, 12)
    assert scope.service_of(12) == service
    assert scope.service_of(13) == ""
    monkeypatch.setattr(scope, "SYSTEMD_RUNS", "/does/not/exist")
    assert scope.service_of() == ""


@pytest.mark.parametrize(
    ("uid", "cgroup", "manager"),
    [
        (0, "/system.slice/circus.service", "--system"),
        (0, "/user.slice/user-0.slice/user@0.service/app.slice/circus.service", "--user"),
        (1000, USER_SERVICE, "--user"),
    ],
)
def test_the_systemd_that_runs_the_service_is_asked(machine, monkeypatch, uid, cgroup, manager):
    machine(f"0::{cgroup}\n")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    ways = scope.ways_out(places.Instance("default", "/nowhere"))
    assert [way[:3] for way in ways] == [["systemd-run", manager, "--scope"]] * 2


def test_outside_of_a_service_nobody_is_asked(machine):
    machine("0::/user.slice/user-0.slice/session-2.scope\n")
    assert scope.ways_out(places.Instance("default", "/nowhere")) == []


@pytest.fixture
def systemd_run(machine, tmp_path, monkeypatch, real_root):
    """A stand-in that notes its words; what it does then is the test's."""
    machine("0::/system.slice/circus.service\n")

    def install(then):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin/systemd-run"
        program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/words\n{then}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/for/the/bus/only")
        return tmp_path / "words"

    return install


EXECUTE = 'echo "$XDG_RUNTIME_DIR" >>"${0%/*}/env"; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'


def kernel_log():
    with open(places.resolve().log_path) as log:
        return log.read()


def start():
    with Connection(client="test") as connection:
        return connection.hello["pid"]


def test_inside_a_service_the_kernel_gets_a_scope_of_its_own(systemd_run, tmp_path):
    words = systemd_run(EXECUTE)
    pid = start()
    text = words.read_text()
    assert text.count("--scope") == 1
    assert "--unit=papa-default-" in text
    for each in ("KillMode=process", "OOMPolicy=continue", "TasksMax=infinity", "Delegate=yes"):
        assert f"--property={each} " in text
    assert (tmp_path / "bin/env").read_text() == "/for/the/bus/only\n"
    with open(f"/proc/{pid}/environ") as file:
        assert "XDG_RUNTIME_DIR" not in file.read()
    assert "no scope" not in kernel_log()


def test_a_systemd_that_does_not_know_a_property_is_asked_without_it(systemd_run):
    words = systemd_run(f'case "$*" in *OOMPolicy*) echo Unknown assignment >&2; exit 1;; esac\n{EXECUTE}')
    start()
    first, second = words.read_text().splitlines()
    assert "OOMPolicy" in first
    assert "OOMPolicy" not in second
    assert "KillMode=process" in second
    assert "Unknown assignment" in kernel_log()


@pytest.mark.parametrize(
    ("then", "reason"),
    [("echo Failed to connect to bus >&2; exit 1", "Failed to connect to bus"), ("exit 0", "")],
)
def test_without_a_scope_the_kernel_is_started_all_the_same(systemd_run, then, reason):
    words = systemd_run(then)
    start()
    assert words.read_text().count("--scope") == 2
    assert reason in kernel_log()


def test_a_systemd_run_that_hangs_is_asked_once_and_the_kernel_is_started_all_the_same(systemd_run, monkeypatch):
    words = systemd_run("exec sleep 1000")
    wait = subprocess.Popen.wait

    def wait_until_it_hangs(process, timeout=None):
        if timeout == scope.PATIENCE_S:
            wait_for(lambda: words.exists() and words.read_text(), "its words")
            timeout = 0
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_until_it_hangs)
    start()
    assert words.read_text().count("--scope") == 1
    assert "did not end in time" in kernel_log()


def test_without_systemd_run_the_kernel_is_started_all_the_same(systemd_run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for program in ("sh", "sleep"):
        (tmp_path / "empty" / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    start()
    assert "systemd-run cannot be started: No such file or directory" in kernel_log()


def test_many_that_start_at_once_inside_a_service_start_one_kernel(systemd_run):
    systemd_run(EXECUTE)
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(start())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1
    assert launch.try_lock(places.resolve(), make=False) is None
