"""Who may steer a circusd: at its unix socket users and groups of the system."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.circusctl import main
from tests.house import House, opened, own_uid, ticker, wait_for

#: A group that no system has.
GROUP = 61_200


@pytest.fixture
def open_directory() -> Iterator[str]:
    """Which others may search, unlike the folders of tests."""
    with tempfile.TemporaryDirectory(prefix="circus-") as directory:
        os.chmod(directory, 0o711)
        yield directory


def ctl_as(uid: int, gid: int, house: House, path: str, *words: str) -> tuple[int, str]:
    """circusctl as another user, who need not be able to read this Python: (status, what it said)."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 99
        try:
            os.close(reading)
            sys.stdout = sys.stderr = os.fdopen(writing, "w")
            os.setgroups([gid])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            status = main(["--endpoint", path, "--timeout", "50", *words])
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as said:
        told = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_members_of_groups_may_what_their_role_may_and_others_are_refused(tmp_path: Path, open_directory: str) -> None:
    path, uid = f"{open_directory}/c.sock", own_uid()
    config = f"[circus]\ncontrol = unix://{path}\napi.viewers = {GROUP}, user:{uid + 1}\napi.operators = {GROUP + 1}\n"
    config += f"api.admins = {GROUP + 2}\n"
    with opened(tmp_path / "house", config + ticker("web"), CIRCUSCTL_ENDPOINT=path) as house:
        house.start()
        assert os.stat(path).st_mode & 0o777 == 0o666
        for who in ((uid, GROUP), (uid + 1, uid)):
            assert ctl_as(*who, house, path, "status") == (0, "web: active\n")
            status, told = ctl_as(*who, house, path, "stop", "web")
            assert (status, f"uid {who[0]} may not stop" in told) == (3, True), told
        status, told = ctl_as(uid, uid, house, path, "status")
        assert (status, "gave no answer" in told) == (1, True), told
        wait_for(lambda: f"a client was refused uid={uid}" in house.said(), "the log")
        assert ctl_as(uid, GROUP + 1, house, path, "stop", "web") == (0, "ok\n")
        status, told = ctl_as(uid, GROUP + 1, house, path, "set", "web", "numprocesses", "2")
        assert (status, "may not set" in told) == (3, True), told
        assert house.status() == {"web": "stopped"}
        assert ctl_as(uid, GROUP + 2, house, path, "set", "web", "numprocesses", "2") == (0, "ok\n")
        assert house.asked("numprocesses", "web") == "2"


def ask(path: str, host: str, *headers: str) -> tuple[int, dict[str, Any]]:
    """What is answered to a GET at a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(50)
        sock.connect(path)
        lines = ["GET /v1/version HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
        sock.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"access-control" not in head.lower()
    assert b"set-cookie" not in head.lower()
    return int(head.split()[1]), json.loads(body)


def test_pages_of_the_web_are_refused_also_behind_a_proxy(tmp_path: Path) -> None:
    with opened(tmp_path / "house", "[circus]\napi.hosts = shop.example.org\n" + ticker("web")) as house:
        house.start()
        path = f"{house.folder}/run/circus-default.sock"
        for host in ("localhost", "circusd", "shop.example.org", "SHOP.example.org:443"):
            assert ask(path, host)[0] == 200
        for host, header in (
            ("evil.example.org", "Accept: */*"),
            ("localhost", "Origin: https://evil.example.org"),
            ("localhost", "Sec-Fetch-Site: cross-site"),
        ):
            status, answer = ask(path, host, header)
            assert (status, answer["error"]["code"]) == (403, "forbidden"), (host, header)


def test_without_groups_the_socket_is_closed_to_others(tmp_path: Path) -> None:
    with opened(tmp_path / "house", ticker("web")) as house:
        house.start()
        assert os.stat(house.folder / "run" / "circus-default.sock").st_mode & 0o777 == 0o600
