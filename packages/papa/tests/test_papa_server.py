"""The daemon's entry points under their names of papa 1.x, each with a real kernel under a private root."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import wait_for

import papa
import papa.server
from papa import cli, places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError
from papa.server import papa_socket


@pytest.fixture
def path(runtime_root: Path) -> Iterator[str]:
    """An address for a kernel, which is ended afterwards."""
    address = str(runtime_root / "p.sock")
    yield address
    try:
        with Connection(address, client="test", autostart=False) as connection:
            connection.request("exit", force=True)
    except PapaError:
        pass
    wait_for(lambda: not [entry for entry in os.listdir(runtime_root) if entry.startswith("kernel-")], "its end")


def connects(path: str) -> socket.socket | None:
    """A connection to a kernel that is there."""
    if not os.path.exists(places.resolve(path).control_path):
        # Who asks before there is a socket tries the lock, and for that instant nobody can start a kernel.
        return None
    try:
        return launch.open_connection(path, autostart=False, timeout_s=10.0)
    except PapaError:
        return None


def serves(path: str) -> bool:
    connection = connects(path)
    if connection is not None:
        connection.close()
    return connection is not None


def test_a_daemon_is_started_and_serves(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "papa.server")
    papa.server.daemonize_server(path, fix_title=True)
    assert serves(path)
    with papa.Papa(path) as client:
        client.set("a", "1")
    with pytest.raises(papa.Error, match="lives in"):
        papa.server.daemonize_server(path)
    assert [record.name for record in caplog.records] == ["papa.server"]


def test_a_server_of_the_single_socket_mode_leaves_with_its_last_client(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    class Watched:
        """The time, which tells of each look."""

        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(_seconds: float) -> None:
            looks.append(1)
            time.sleep(0.001)

    monkeypatch.setattr(papa.server, "time", Watched)
    monkeypatch.setattr(papa.server, "FIRST_CLIENT_S", 60.0)
    thread = threading.Thread(target=papa.server.socket_server, args=(path,), kwargs={"single_socket_mode": True})
    thread.start()
    # It is a client once it was seen, and takes the kernel along.
    client = wait_for(lambda: connects(path), "a kernel")
    before = len(looks)
    wait_for(lambda: len(looks) > before + 1, "a look at its clients")
    client.close()
    thread.join(30)
    assert not thread.is_alive()
    assert not serves(path)


def test_a_server_stays_until_its_kernel_leaves(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    thread = threading.Thread(target=papa.server.socket_server, args=(path,))
    thread.start()
    wait_for(lambda: serves(path), "a kernel")
    thread.join(0.05)
    assert thread.is_alive()
    with papa.Papa(path) as client:
        assert client.exit_if_idle()
    thread.join(30)
    assert not thread.is_alive()
    assert "papa serves" in capsys.readouterr().out


def test_the_module_is_the_command(path: str) -> None:
    assert papa.server.main is cli.main
    done = subprocess.run([sys.executable, "-m", "papa.server", "-u", path, "--daemonize"], timeout=30)
    assert done.returncode == 0
    assert serves(path)


def test_the_name_that_programs_import_is_the_family() -> None:
    assert papa_socket.unix_socket == socket.AF_UNIX
