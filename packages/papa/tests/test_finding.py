from __future__ import annotations

import contextlib
import os
import signal

import pytest
from tests.house import wait_for

from papa.kernel import finding, system


def test_a_process_is_found_by_its_pipe_and_the_oldest_wins():
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", "sleep 1000 & echo started; wait"],
        {"PATH": "/bin:/usr/bin"},
        setsid=True,
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )
    os.close(writer)
    try:
        assert os.read(reader, 100) == b"started\n"
        assert finding.find_by_pipe({inode}) == pid
        assert finding.find_by_pipe({1}) is None
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def test_what_an_ended_process_has_forked_is_not_found_in_its_place():
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    script = "sleep 1000 & echo started"
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], {"PATH": "/bin:/usr/bin"}, setsid=True, file_actions=actions)
    os.close(writer)
    try:
        assert os.read(reader, 100) == b"started\n"
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.waitpid(pid, 0)
        assert finding.find_by_pipe({inode}) is None
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.close(reader)


def test_a_child_that_has_not_come_to_its_program_yet_is_found_by_its_pipe_too():
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 17)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 1000"], {}, file_actions=actions, setsid=True)
    inode = os.fstat(writer).st_ino
    os.close(writer)
    try:
        assert finding.find_by_pipe({inode}) == pid
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


@contextlib.contextmanager
def orphaned_pipe(script):
    """The pid of a session's leader, and the inode of a pipe that is its standard output and has no reader."""
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], {"PATH": "/bin:/usr/bin"}, setsid=True, file_actions=actions)
    os.close(writer)
    wait_for(lambda: system.readable_bytes(reader) == 5, "its line")
    os.close(reader)
    try:
        yield pid, inode
    finally:
        os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_a_pipe_without_a_reader_is_opened_again_with_what_lies_in_it():
    with orphaned_pipe("echo here; exec sleep 1000") as (pid, inode):
        found, is_all = finding.open_again(pid, {inode})
        assert is_all and list(found) == [inode]
        assert os.read(found[inode], 100) == b"here\n"
        with pytest.raises(BlockingIOError):
            os.read(found[inode], 100)
        assert not os.get_inheritable(found[inode])
        os.close(found[inode])


def test_one_that_only_a_descendant_has_any_more_is_opened_as_well():
    with orphaned_pipe("sleep 1000 & echo here") as (pid, inode):
        os.waitpid(pid, 0)
        found, is_all = finding.open_again(pid, {inode})
        assert is_all and list(found) == [inode]
        os.close(found[inode])


def test_any_other_pipe_is_left_alone():
    with orphaned_pipe("echo here; exec sleep 1000") as (pid, inode):
        assert finding.open_again(pid, {inode + 1}) == ({}, True)
        assert finding._open_pipe(f"/proc/{pid}/fd/1", inode + 1) is None
        assert finding._open_pipe(f"/proc/{pid}/fd/77", inode) is None
        assert finding.open_again(os.getpid(), {inode}) == ({}, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_one_of_another_user_is_not_certain():
    with orphaned_pipe("echo here; exec sleep 1000") as (owner, inode):
        pid = os.fork()
        if pid == 0:
            try:
                os.setuid(65534)
                os._exit(0 if finding.open_again(owner, {inode}) == ({}, False) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
