"""Whose process a signal goes to: real processes, with a pidfd and without."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from circus.engine.hosted import Hosted, HostedTable, _start_ticks
from circus.supervise.states import SlotKey

WEB = SlotKey("web", 1)


def made(pid: int, pidfd: int | None, ticks: int | None = None, **more: object) -> Hosted:
    return Hosted(WEB, 1, 7, pid, pidfd, _start_ticks(pid) or 0 if ticks is None else ticks, 0.0, "", **more)  # type: ignore[arg-type]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=["pidfd", "pid"])
def hold(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Hosted]]:
    held: list[Hosted] = []

    def make(pid: int) -> Hosted:
        held.append(made(pid, os.pidfd_open(pid) if request.param == "pidfd" else None))
        return held[-1]

    yield make
    for hosted in held:
        hosted.close()


def test_a_living_process_gets_its_signal(child: subprocess.Popen[bytes], hold: Callable[[int], Hosted]) -> None:
    hosted = hold(child.pid)
    assert hosted.is_alive()
    assert hosted.send_signal(signal.SIGTERM)
    assert child.wait(30) == -signal.SIGTERM
    assert not hosted.is_alive()
    assert not hosted.send_signal(signal.SIGTERM)


def test_a_reused_pid_is_not_hit(child: subprocess.Popen[bytes]) -> None:
    hosted = made(child.pid, None, ticks=1)
    assert not hosted.is_alive()
    assert not hosted.send_signal(signal.SIGKILL)
    assert child.poll() is None


def test_one_whose_end_is_known_gets_nothing(child: subprocess.Popen[bytes]) -> None:
    hosted = made(child.pid, None, has_exited=True)
    assert not hosted.send_signal(signal.SIGKILL)
    assert child.poll() is None


def test_a_slot_has_the_one_that_lives(child: subprocess.Popen[bytes]) -> None:
    table = HostedTable()
    old, new = made(child.pid, None, has_exited=True), made(child.pid, None)
    new.kernel_id, new.incarnation = 8, 2
    table.add(new)
    table.add(old)
    assert table.in_slot(WEB, 2) is new
    assert table.in_slot(WEB, 1) is None
    assert table.of_watcher("web") == [new]
    table.remove(old)
    assert table.in_slot(WEB, 2) is new
    table.remove(new)
    table.remove(new)
    assert list(table) == []


def test_a_descriptor_is_closed_once(child: subprocess.Popen[bytes]) -> None:
    hosted = made(child.pid, os.pidfd_open(child.pid))
    fd = hosted.pidfd
    assert fd is not None
    hosted.close()
    hosted.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
