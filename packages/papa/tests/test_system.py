from __future__ import annotations

import errno
import os
import signal

import pytest
from tests.house import wait_for

from papa.errors import PapaError
from papa.kernel import system


def start(code: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", code], {})


def test_the_boot_clock_goes_on_and_the_boot_id_stays():
    first = system.boot_ns()
    assert system.boot_ns() >= first
    assert system.boot_id() == system.boot_id() != ""


def test_start_ticks_name_a_process_even_if_its_name_has_a_parenthesis(tmp_path):
    program = tmp_path / "a ) b"
    program.symlink_to("/bin/sleep")
    pid = os.posix_spawn(str(program), [str(program), "60"], {})
    try:
        assert system.start_ticks(pid) == system.start_ticks(pid) is not None
        assert system.is_alive(pid, system.start_ticks(pid))
        assert not system.is_alive(pid, 1)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert system.start_ticks(pid) is None
    assert not system.is_alive(pid, None)


def test_the_status_of_a_zombie_can_be_read_before_anybody_reaps_it():
    pid = start("exit 7")
    ticks = system.start_ticks(pid)
    wait_for(lambda: system.zombie_status(pid, ticks) is not None, "a zombie")
    assert system.zombie_status(pid, ticks) == 7
    assert system.zombie_status(pid, ticks + 1) is None
    assert not system.is_alive(pid, ticks)
    os.waitpid(pid, 0)
    assert system.zombie_status(pid, ticks) is None


def test_a_pidfd_tells_the_status_only_after_the_reap():
    if system.detect_tier() != "full":
        pytest.skip("needs PIDFD_GET_INFO")
    pid = start("kill -9 $$")
    pidfd = system.pidfd_open(pid)
    assert system.pidfd_pid(pidfd) == pid
    wait_for(lambda: system.zombie_status(pid, system.start_ticks(pid)) is not None, "a zombie")
    assert system.exit_status_by_pidfd(pidfd) is None
    assert system.child_status(pidfd) == -signal.SIGKILL
    assert system.child_status(pidfd) == -signal.SIGKILL, "it was reaped before anybody wrote it down"
    assert system.exit_status_by_pidfd(pidfd) is None
    system.reap(pid)
    system.reap(pid)
    system.reap(0)
    assert system.exit_status_by_pidfd(pidfd) == -signal.SIGKILL
    assert system.pidfd_pid(pidfd) is None
    assert system.pidfd_open(pid) is None
    os.close(pidfd)


def test_a_running_child_has_no_status_and_a_stranger_is_no_child():
    pid = start("sleep 1000")
    pidfd = system.pidfd_open(pid)
    try:
        assert system.child_status(pidfd) is None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)
    stranger = system.pidfd_open(os.getppid())
    with pytest.raises(ChildProcessError):
        system.child_status(stranger)
    os.close(stranger)


@pytest.mark.parametrize("tier", ["full", "portable"])
def test_a_mover_takes_bytes_to_their_offset_and_knows_empty_from_ended(tier, tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    file = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    mover = system.new_mover(tier)
    with pytest.raises(BlockingIOError):
        mover.move(reader, file, 5, 100)
    os.write(writer, b"hello world")
    assert system.readable_bytes(reader) == 11
    assert mover.move(reader, file, 5, 6) == 6
    assert mover.move(reader, file, 11, 100) == 5
    os.close(writer)
    assert mover.move(reader, file, 16, 100) == 0
    assert os.pread(file, 100, 0) == b"\0" * 5 + b"hello world"
    os.close(reader)
    os.close(file)


def test_a_copier_carries_what_did_not_fit_until_there_is_room():
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    full = os.open("/dev/full", os.O_RDWR)
    null = os.open("/dev/null", os.O_RDWR)
    mover = system.Copier()
    # /dev/full cannot be written at an offset beyond what it takes: every write is ENOSPC.
    with pytest.raises(OSError) as caught:
        mover.move(reader, full, 0, 10)
    assert caught.value.errno == errno.ENOSPC
    assert mover.pending == 3
    assert mover.move(reader, null, 0, 10) == 3
    assert mover.pending == 0
    for fd in (reader, writer, full, null):
        os.close(fd)


def test_a_punched_hole_reads_as_nulls_and_gives_blocks_back(tmp_path):
    file = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    os.write(file, b"x" * 65536)
    os.fsync(file)
    before = os.fstat(file)
    assert system.punch(file, 0, 32768)
    after = os.fstat(file)
    assert after.st_size == before.st_size
    assert after.st_blocks < before.st_blocks
    assert os.pread(file, 1, 32767) == b"\0"
    assert os.pread(file, 1, 32768) == b"x"
    os.close(file)


@pytest.mark.parametrize("tier", system.TIERS)
def test_a_tier_can_be_forced_down(tier, monkeypatch):
    monkeypatch.delenv("PAPA_FORCE_TIER", raising=False)
    best = system.detect_tier()
    if system.TIERS.index(tier) < system.TIERS.index(best):
        pytest.skip("this system has not got it")
    monkeypatch.setenv("PAPA_FORCE_TIER", tier)
    assert system.detect_tier() == tier


def test_a_tier_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv("PAPA_FORCE_TIER", "best")
    with pytest.raises(PapaError, match="no such tier"):
        system.detect_tier()


def test_the_log_keeps_its_newer_half(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "MAX_LOG_BYTES", 1000)
    fd = os.open(tmp_path / "kernel.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(200):
        os.write(fd, f"line {number}\n".encode())
    system.trim_log(fd)
    os.write(fd, b"after\n")
    lines = (tmp_path / "kernel.log").read_text().splitlines()
    assert lines[-2:] == ["line 199", "after"]
    assert lines[0].startswith("line 1")
    assert (tmp_path / "kernel.log").stat().st_size <= 510
    os.close(fd)


def test_a_file_that_is_not_the_kernels_log_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "MAX_LOG_BYTES", 10)
    fd = os.open(tmp_path / "precious", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 100)
    system.trim_log(fd)
    assert os.fstat(fd).st_size == 100
    os.close(fd)


def test_resident_memory_is_a_plausible_number():
    assert 1 << 20 < system.rss_bytes() < 1 << 34


def test_who_reaps_learns_what_the_child_used_and_that_it_left_a_core():
    pid = start("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3")
    wait_for(lambda: system.child_status(pid, is_pidfd=False) == 3, "its end")
    facts = system.reap(pid)
    assert facts["core"] is False
    assert facts["user_s"] + facts["system_s"] > 0
    assert facts["max_rss"] > 100_000
    assert facts["major_faults"] >= 0
    assert system.reap(pid) == {}, "somebody reaped it before"
    assert system.reap(0) == system.reap(os.getppid()) == {}


def test_a_core_is_told_of():
    # Where the system has no place for it the bit is not set: what the parent is told is what is passed on.
    pid = start("ulimit -c unlimited; cd /tmp; kill -ABRT $$")
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert system.reap(pid)["core"] is (ended.si_code == os.CLD_DUMPED)


def test_a_child_that_runs_is_not_reaped():
    pid = start("exec sleep 1000")
    try:
        assert system.reap(pid) == {}
        assert system.is_alive(pid, None)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
