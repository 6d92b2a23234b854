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
