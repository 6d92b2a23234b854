"""What is read of real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.house import wait_for

from circus import procfs


def _gone() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_process_that_is_gone_is_nothing() -> None:
    pid = _gone()
    assert procfs.row(pid) is None
    assert procfs.children(pid) == []
    assert procfs.descendants(pid) == []
    assert procfs.owner(pid) is None
    assert procfs.command(pid) == []


def test_a_name_may_hold_parentheses_and_spaces(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE) as child:
        # Popen comes back when descriptors are closed, and a moment later the name is changed.
        row = wait_for(lambda: (row := procfs.row(child.pid)) and row.name == program.name and row, "its name")
    assert row.parent == os.getpid()


def test_a_zombie_has_a_row_and_no_command() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    row = procfs.row(child.pid)
    assert row is not None
    assert row.state == "Z"
    assert procfs.command(child.pid) == []
    child.wait()


def test_who_is_below_whom_and_who_that_belongs_to() -> None:
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"])
    try:
        below_it = lambda: [procfs.command(each.pid) for each in procfs.descendants(child.pid)]  # noqa: E731
        wait_for(lambda: below_it() == [["sleep", "60"]], "sleep runs")
        (below,) = procfs.descendants(child.pid)
        assert child.pid in [each.pid for each in procfs.children(os.getpid())]
        assert below.parent == child.pid
        assert {child.pid, below.pid} <= {each.pid for each in procfs.descendants(os.getpid())}
        assert procfs.owner(below.pid) == os.getuid()
        procfs.send_signal(below, signal.SIGTERM)
        child.wait(30)
        procfs.send_signal(below, signal.SIGTERM)
    finally:
        child.kill()
        child.wait()


def _no_pidfd(_pid: int, _flags: int = 0) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("has_pidfds", [True, False])
def test_a_process_is_signalled_whatever_the_system_has(has_pidfds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_pidfds:
        monkeypatch.setattr(os, "pidfd_open", _no_pidfd)
    child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    row = procfs.row(child.pid)
    assert row is not None
    procfs.send_signal(row, signal.SIGTERM)
    child.communicate()
    assert child.returncode == -signal.SIGTERM
    procfs.send_signal(row, signal.SIGTERM)


@pytest.mark.parametrize("has_pidfds", [True, False])
def test_a_process_that_only_has_the_number_is_not_signalled(has_pidfds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_pidfds:
        monkeypatch.setattr(os, "pidfd_open", _no_pidfd)
    with subprocess.Popen(["/bin/sh", "-c", "read x; exit 7"], stdin=subprocess.PIPE) as child:
        row = procfs.row(child.pid)
        assert row is not None
        procfs.send_signal(replace(row, start_ticks=row.start_ticks - 1), signal.SIGKILL)
        child.communicate(b"\n")
    assert child.returncode == 7


def test_a_variable_is_that_with_which_the_program_was_started() -> None:
    environ = {"FIRST": "1", "MARK_NOT": "no", "MARK": "a=b", "LAST": "x"}
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env=environ) as child:
        wait_for(lambda: procfs.variable(child.pid, b"LAST") == "x", "the program")
        found = [procfs.variable(child.pid, name) for name in (b"FIRST", b"MARK", b"ARK", b"NONE")]
    assert found == ["1", "a=b", "", ""]
    assert procfs.variable(_gone(), b"MARK") == ""


def test_only_that_very_process_is_held() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        row = procfs.row(child.pid)
        assert row is not None
        assert (row.group, row.session) == (os.getpgid(child.pid), os.getsid(child.pid))
        fd = procfs.hold(row)
        assert fd >= 0
        os.close(fd)
        before = len(os.listdir("/proc/self/fd"))
        assert procfs.hold(replace(row, start_ticks=row.start_ticks + 1)) == -1
        assert len(os.listdir("/proc/self/fd")) <= before  # others may close theirs meanwhile


def test_who_cannot_be_read_for_want_of_descriptors_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    own, open_ = f"/proc/{os.getpid()}/stat", os.open

    def open_few(path: str, flags: int) -> int:
        if path == own:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_(path, flags)

    monkeypatch.setattr(os, "open", open_few)
    with pytest.raises(OSError, match="open files"):
        procfs.rows()
