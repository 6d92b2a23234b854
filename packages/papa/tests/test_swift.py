"""Starts as another user without Python in the child, and where that cannot be."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

import pytest

from papa.errors import PapaError
from papa.kernel import swift, system
from papa.kernel.spawn import Launcher
from papa.model import ProcessSpec

USER = {"uid": os.geteuid(), "gid": os.getegid()}


@pytest.fixture
def launcher():
    system.keep_to_ourselves()
    # As a kernel is: a shell that starts a test run in the background has it ignore some.
    ignored = [number for number in system.all_signals() if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    before = sorted(os.listdir("/proc/self/fd"))
    launcher = Launcher(resource.getrlimit(resource.RLIMIT_NOFILE))
    yield launcher
    launcher.close()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


@pytest.fixture
def mark(tmp_path):
    return str(tmp_path / "1.started")


def start(launcher, *argv, **more):
    wanted = {"name": "web", "argv": argv, "env": {"PATH": "/usr/bin:/bin"}, **USER}
    calls: list[object] = []
    spec = ProcessSpec.parse({**wanted, **more.pop("spec", {})})
    try:
        pid = launcher.start(spec, list(argv), **more, note=calls.append, forget=lambda: calls.append("forget"))
    except PapaError as error:
        return error, calls
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), calls


def test_no_python_runs_in_the_child_and_it_leaves_its_mark(launcher, mark, monkeypatch, tmp_path):
    monkeypatch.delattr(os, "fork")
    script = f"umask; pwd; exec >{tmp_path}/out; umask; pwd; id -u; exit 4"
    status, calls = start(launcher, "sh", "-c", script, spec={"cwd": "/usr", "umask": 0o027}, mark=mark)
    assert status == 4
    assert len(calls) == 1
    assert (tmp_path / "out").read_text().split() == ["0027", "/usr", str(os.geteuid())]
    assert os.path.islink(mark)
    assert not swift.is_untouched(mark)


def test_a_kernel_with_more_descriptors_than_a_child_may_have_does_the_same(launcher, mark, monkeypatch):
    monkeypatch.delattr(os, "fork")
    held = [os.dup(0) for _ in range(100)]
    above = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 90)
    try:
        script = "test $(ulimit -n) = 64"
        status, _ = start(
            launcher, "sh", "-c", script, spec={"rlimits": {"nofile": [64, None]}}, mark=mark, stdin=above
        )
    finally:
        for fd in (*held, above):
            os.close(fd)
    assert status == 0


def test_a_link_says_whether_it_was_followed_from_its_first_moment_on(mark, monkeypatch):
    monkeypatch.setattr(os, "utime", lambda *_args, **_more: None)
    swift.make_link(mark, "/")
    assert swift.is_untouched(mark), "it was made, and has no times of ours yet"
    os.unlink(mark)
    monkeypatch.undo()
    swift.make_link(mark, "/")
    assert swift.is_untouched(mark)
    os.stat(mark)
    assert not swift.is_untouched(mark)


def test_a_file_is_a_mark_as_well(mark):
    with pytest.raises(FileNotFoundError):
        swift.is_untouched(mark)
    with open(mark, "w"):
        pass
    assert not swift.is_untouched(mark)


def test_a_failure_is_told_by_the_long_way_after_all_was_taken_back(launcher, mark):
    error, calls = start(launcher, "/no/such/program", mark=mark)
    assert error.details == {"stage": "exec", "errno": errno.ENOENT}
    assert calls[1:] == ["forget"]
    assert os.path.isfile(mark), "of the long way"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_who_can_be_started_the_second_time_only_is_noted_twice(launcher, mark, monkeypatch, tmp_path):
    """Its program came between the two."""
    program = tmp_path / "program"
    forget = os.unlink

    def unlink(path, **more):
        if path == mark and not program.exists():
            program.symlink_to("/bin/true")
        forget(path, **more)

    start(launcher, "/bin/true", mark=mark)
    forget(mark)
    monkeypatch.setattr(os, "unlink", unlink)
    status, calls = start(launcher, str(program), mark=mark)
    assert status == 0
    assert len(calls) == 3
    assert calls[1] == "forget"


@pytest.mark.parametrize("why", ["no time is kept", "no links can be made", "other arguments", "ignored signal"])
def test_where_it_cannot_be_a_start_goes_the_long_way(launcher, mark, monkeypatch, why):
    if why == "no time is kept":
        follow = os.stat
        monkeypatch.setattr(os, "stat", lambda path, **more: None if path == mark else follow(path, **more))
    elif why == "no links can be made":
        monkeypatch.setattr(os, "symlink", _refuse)
    elif why == "other arguments":
        fork_exec = __import__("_posixsubprocess").fork_exec
        monkeypatch.setattr("_posixsubprocess.fork_exec", lambda *words: fork_exec(*words, None))
    else:
        monkeypatch.setattr(Launcher, "_hands_on_signals", lambda _self: True)
    status, calls = start(launcher, "/bin/sh", "-c", "exit 5", mark=mark)
    monkeypatch.undo()
    assert status == 5
    assert len(calls) == 1
    assert os.path.isfile(mark)


def _refuse(*_args, **_more):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
