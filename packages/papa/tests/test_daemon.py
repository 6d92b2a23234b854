from __future__ import annotations

import fcntl
import os
import resource
import signal

import pytest

from papa.errors import PapaError
from papa.kernel import daemon, holder, reexec
from papa.kernel.loop import Loop
from papa.kernel.vault import RESERVE_FDS


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """A directory, and a descriptor of it with the lock that stands for the holder's."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    fd = os.open(directory, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.set_inheritable(fd, True)
    monkeypatch.setattr(holder, "LOCK", fd)
    yield str(directory), fd
    os.close(fd)


def is_locked(directory):
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_the_holders_lock_is_taken_over_and_not_handed_on(lock):
    directory, fd = lock
    assert not daemon._take_lock(directory), "it is none of our own"
    assert is_locked(directory)
    assert not os.get_inheritable(fd)


def test_a_directory_made_anew_is_locked_anew(lock):
    directory, fd = lock
    os.rmdir(directory)
    assert daemon._take_lock(directory), "the holder has another one"
    assert is_locked(directory)
    assert os.path.samestat(os.fstat(fd), os.stat(directory))
    assert not os.get_inheritable(fd)


def test_a_directory_in_which_another_kernel_lives_is_left_alone(lock):
    directory, _ = lock
    os.rmdir(directory)
    os.mkdir(directory, 0o700)
    other = os.open(directory, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(PapaError, match="another kernel"):
        daemon._take_lock(directory)
    os.close(other)


def test_a_directory_of_another_kind_is_refused(lock):
    directory, _ = lock
    os.rename(directory, directory + ".aside")
    os.symlink(directory + ".aside", directory)
    with pytest.raises(PapaError) as caught:
        daemon._take_lock(directory)
    assert caught.value.code == "refused"


@pytest.fixture
def limits(monkeypatch):
    """RLIMIT_NOFILE as a variable."""
    now = [1024, 4096]

    def set_(which, value):
        assert which == resource.RLIMIT_NOFILE
        now[:] = value

    monkeypatch.setattr(daemon.resource, "getrlimit", lambda which: tuple(now))
    monkeypatch.setattr(daemon.resource, "setrlimit", set_)
    return now


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1024, 1_000_000], [1_000_000 - RESERVE_FDS, 1_000_000]),
        ([1024, 1024], [896, 1024]),
        ([256, 4096], [4096 - 512, 4096]),
        ([4096, 4096], [4096 - 512, 4096]),
        ([1024, resource.RLIM_INFINITY], [1024, resource.RLIM_INFINITY]),
    ],
)
def test_descriptors_are_raised_as_far_as_rotation_leaves_room(limits, before, after):
    limits[:] = before
    kernel = {}
    assert daemon._raise_nofile(kernel) == tuple(before)
    assert limits == after
    # The next incarnation in this process is told what there was at first.
    assert daemon._raise_nofile(kernel) == tuple(before)
    assert limits == after


def test_every_signal_is_reset_but_those_of_a_failing_write():
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            daemon._reset_signals()
            good = (
                signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
                and signal.getsignal(signal.SIGPIPE) == signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
                and not signal.pthread_sigmask(signal.SIG_BLOCK, [])
            )
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_title_that_cannot_be_set_is_no_reason_to_end(tmp_path, capfd):
    (tmp_path / "_setproctitle.so").write_text("no library")
    with open("/proc/self/comm") as file:
        before = file.read()
    try:
        daemon._set_title({"setproctitle": str(tmp_path / "_setproctitle.so"), "title": "x"})
        daemon._set_title({"setproctitle": None, "title": "x"})
    finally:
        with open("/proc/self/comm", "w") as file:
            file.write(before)
    assert "title cannot be set" in capfd.readouterr().err


class FakeHost:
    """Its coverage is its own: there is no room for that many."""

    def __init__(self, not_covered):
        self.not_covered = not_covered
        self.loop = Loop()
        self.coverage = self

    def try_again(self):
        self.not_covered -= 1

    def uncovered(self):
        return iter(range(self.not_covered))


def test_what_is_not_covered_forbids_an_upgrade():
    surrounds = daemon.Daemon.__new__(daemon.Daemon)
    surrounds._host = FakeHost(3)
    surrounds._preflight = None
    answers = []
    surrounds._check_upgrade(reexec.Target("", "", None), answers.append)
    assert answers == [], "an answer comes from the loop"
    surrounds._host.loop.turn()
    assert answers[0].code == "busy"
    assert "2 processes or sockets" in answers[0].message
    surrounds._host.loop.close()


def test_a_kernel_that_cannot_start_says_why_and_fails(tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 2)
            daemon.sys.argv = ["kernel", '{"instance": "x", "directory": "/proc/nowhere", "port": null,'
                               ' "socket_path": null, "title": "", "setproctitle": null}', "1"]  # fmt: skip
            daemon.holder.LOCK = reader
            daemon.main()
        except SystemExit as end:
            os._exit(int(end.code))
        finally:
            os._exit(99)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == daemon.CANNOT_GO_ON
    with open(reader) as file:
        assert "kernel cannot go on: /proc/nowhere" in file.read()
