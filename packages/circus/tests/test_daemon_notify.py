"""What the service manager is told, by datagrams."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from circus.daemon.notify import Manager


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told_and_forgotten_by_the_environment(tmp_path: Path, is_abstract: bool) -> None:
    path = f"@papa-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("\0" + path[1:] if is_abstract else path)
        environ = {"NOTIFY_SOCKET": path, "OTHER": "1"}
        manager = Manager.of(environ)
        assert environ == {"OTHER": "1"}
        manager.ready("2 watchers")
        assert door.recv(999).decode() == f"READY=1\nSTATUS=2 watchers\nMAINPID={os.getpid()}"
        manager.stopping("leaving")
        assert door.recv(999).decode() == "STOPPING=1\nSTATUS=leaving"


@pytest.mark.parametrize(("pid", "listens"), [("", True), ("own", True), ("1", False)])
def test_its_watchdog_hears_the_beats_of_a_circusd_that_is_up(tmp_path: Path, pid: str, listens: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "3000000",
            "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid,
        }
        manager = Manager.of(environ)
        assert environ == {}
        assert manager.watchdog_s == (3.0 if listens else 0.0)
        manager.beat()
        manager.ready("up")
        manager.beat()
        manager.stopping("leaving")
        told = [door.recv(999).decode() for _ in range(4 if listens else 2)]
    # A start after an upgrade is watched, too.
    assert told[0].startswith("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=" if listens else "READY=1")
    assert ("WATCHDOG=1" in told) is listens


def test_a_watchdog_of_nobody_is_not_heard() -> None:
    assert Manager.of({"WATCHDOG_USEC": "3000000"}).watchdog_s == 0.0


def test_without_a_manager_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Manager.of({}).ready("up")
    assert not caplog.records


def test_a_manager_that_is_gone_or_does_not_listen_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    Manager(str(tmp_path / "gone")).ready("up")
    assert "was not told READY=1: No such file or directory" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "deaf"))
        deaf = Manager(str(tmp_path / "deaf"))
        for _ in range(5000):
            deaf.tell("STATUS=x")
            if "was not told STATUS=x" in caplog.text:
                return
    raise AssertionError("its queue never filled")
