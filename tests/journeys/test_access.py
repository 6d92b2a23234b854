"""Who may steer a circusd: at its unix socket users and groups of the system, over TCP who has a token."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from select import select
from typing import Any

import pytest

from circus.circusctl import main
from circus.control import selfsigned
from papa import places
from tests.house import BIN, House, opened, own_uid, ticker, wait_for

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
    with socket.socket(socket.AF_UNIX) as sock, places.unix_address(path) as address:
        sock.settimeout(50)
        sock.connect(address)
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


def url_of(house: House) -> str:
    """Where it listens over TCP, as soon as it does."""

    def listening() -> list[str]:
        return [line for line in house.asked("version").splitlines() if line.startswith("listening at ")]

    told: str = wait_for(listening, "an address")[-1]
    return told.removeprefix("listening at ")


def made(house: House, *words: str) -> tuple[str, str]:
    """A token in a file of its own, and the fingerprint that was told with it."""
    done = house.ctl("token", "create", *words)
    assert done.returncode == 0, done.stderr
    path = house.folder / f"{words[0]}.token"
    path.write_text(done.stdout)
    told = done.stderr.splitlines()[-1]
    return str(path), told.removeprefix("fingerprint ") if told.startswith("fingerprint ") else ""


def test_over_tls_a_token_may_what_it_may_until_it_is_revoked_also_over_a_restart(tmp_path: Path) -> None:
    config = "[circus]\napi.listen = 127.0.0.1:0\n" + ticker("web", extra="use_papa = true") + ticker("db")
    with opened(tmp_path / "house", config) as house:
        house.start()
        url_of(house)  # its certificate is there
        deploy, fingerprint = made(house, "deploy", "--role", "operator", "--watcher", "w*", "--expires", "30d")
        admin, _ = made(house, "admin", "--role", "admin")
        assert f"sha256={fingerprint}" in house.said()

        def remotely(token: str, *words: str) -> tuple[int, str]:
            known = ("--endpoint", url_of(house), "--token-file", token, "--fingerprint", fingerprint)
            done = house.ctl(*known, *words)
            return done.returncode, done.stdout + done.stderr

        assert remotely(deploy, "status") == (0, "web: active\n")
        before = house.pids("web")
        assert remotely(deploy, "restart", "web") == (0, "ok\n")
        assert not before & house.pids("web")
        status, said = remotely(deploy, "stop", "db")
        assert (status, "watcher 'db' not found" in said) == (3, True), said
        status, said = remotely(deploy, "set", "web", "numprocesses", "2")
        assert (status, "token deploy may not set" in said) == (3, True), said
        assert remotely(admin, "set", "web", "numprocesses", "2") == (0, "ok\n")
        status, said = remotely(admin, "token", "create", "more", "--role", "viewer")
        assert status == 0 and said.startswith("ct_")

        house.quit()
        house.start()
        assert remotely(deploy, "status")[0] == 0
        known = ["--endpoint", url_of(house), "--token-file", deploy, "--fingerprint", fingerprint]
        argv = [BIN / "circusctl", "--timeout", "50", *known, "listen", "watcher.web."]
        with subprocess.Popen(
            argv, env=house.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout is not None and follower.stderr is not None
            wait_for(lambda: house.asked("restart", "web") and select([follower.stdout], [], [], 0.5)[0], "an event")
            assert follower.stdout.readline().startswith("watcher.web.")
            house.asked("token", "revoke", "deploy")
            assert "that token does not count" in follower.stderr.read()
            assert follower.wait(50) == 3
        assert remotely(deploy, "status")[0] == 3
        assert "deploy" not in house.asked("token", "list")
        for path in (house.folder / "run").rglob("*"):
            if path.is_file():
                assert Path(deploy).read_text().strip().rpartition("_")[2] not in path.read_text(errors="replace"), path
        assert remotely(admin, "shutdown")[0] == 0
        house.gone()


def test_certificates_of_ones_own_are_shown_and_a_token_may_be_slowed_down(tmp_path: Path) -> None:
    pem = tmp_path / "own.pem"
    pem.write_bytes(selfsigned.make("mine", []))
    key = tmp_path / "key.pem"
    key.write_bytes(pem.read_bytes())
    options = f"api.listen = 127.0.0.1:0\napi.certificate = {pem}\napi.key = {key}\napi.rate = 1\n"
    with opened(tmp_path / "house", f"[circus]\n{options}" + ticker("web")) as house:
        house.start()
        token, told = made(house, "ci", "--role", "viewer")
        assert told == ""
        known = ("--endpoint", url_of(house), "--token-file", token, "--cacert", str(pem))
        assert house.asked(*known, "status") == "web: active"
        assert not list((house.folder / "run").rglob("certificate.pem"))
        with socket.create_connection(("127.0.0.1", int(url_of(house).rpartition(":")[2])), 50) as sock:
            context = ssl.create_default_context(cafile=str(pem))
            with context.wrap_socket(sock, server_hostname="localhost") as safe:
                request = "GET /v1/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
                safe.sendall(request.format(Path(token).read_text().strip()).encode() * 20)
                heard = b""
                while b"HTTP/1.1 429" not in heard:
                    heard += (data := safe.recv(65536))
                    assert data, heard
        key.unlink()

        def is_said() -> bool:
            house.ctl(*known, "version")  # a connection, for which it is looked at
            return "the one before goes on" in house.ctl("status", "-v").stderr

        wait_for(is_said, "a word about the key")


def test_plain_http_and_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = f"[circus]\napi.tls = off\napi.listen = 127.0.0.1:0, {address}\n" + ticker("web")
        with opened(tmp_path / "house", config) as house:
            house.start()
            url = url_of(house)
            assert url.startswith("http://127.0.0.1:")
            said = f"nobody can ask at {address}: Address already in use"
            wait_for(lambda: said in house.ctl("status").stderr, "a word about the port")
            token, _ = made(house, "ci", "--role", "viewer")
            assert house.asked("--endpoint", url, "--token-file", token, "status") == "web: active"


def test_logs_are_shown_also_from_another_host(tmp_path: Path) -> None:
    program = (
        "import sys, time; print(*range(2500), sep=chr(10), flush=True); print('end', file=sys.stderr); time.sleep(900)"
    )
    (tmp_path / "say.py").write_text(program)
    watcher = (
        f"[watcher:web]\ncmd = {sys.executable} -S {tmp_path}/say.py\nstdout_stream.filename = {tmp_path}/out.log\n"
    )
    watcher += f"stderr_stream.filename = {tmp_path}/err.log\n"
    with opened(tmp_path / "house", "[circus]\napi.tls = off\napi.listen = 127.0.0.1:0\n" + watcher) as house:
        house.start()
        wait_for(lambda: house.log(f"{tmp_path}/err.log"), "the output")
        wait_for(lambda: house.log(f"{tmp_path}/out.log").endswith("2499\n"), "all of it")
        token, _ = made(house, "ci", "--role", "viewer")
        known = ("--endpoint", url_of(house), "--token-file", token, "logs", "WEB", "--stream", "stdout")
        numbers = list(map(str, range(2500)))
        wait_for(lambda: house.asked(*known, "-n", "all").splitlines() == numbers, "it is known whose they are")
        assert house.asked(*known, "-n", "1200").splitlines() == numbers[-1200:]
        assert house.asked(*known).splitlines() == numbers[-100:]
        assert house.asked(*known, "-n", "0") == ""
        assert house.asked(*known, "--since", "1h").splitlines() == numbers
        row = json.loads(house.asked("--json", *known, "-n", "1"))
        assert (row["watcher"], row["wid"], row["stream"], row["line"]) == ("web", 1, "stdout", "2499")
        here = json.loads(house.asked("--json", "logs", "web", "--stream", "stdout", "-n", "1"))
        assert row.keys() == here.keys() - {"cursor"}
        argv = [BIN / "circusctl", "--timeout", "50", *known, "-f", "-n", "3"]
        with subprocess.Popen(argv, env=house.environ, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            assert [follower.stdout.readline() for _ in range(3)] == ["2497\n", "2498\n", "2499\n"]
            house.asked("restart", "web")
            assert follower.stdout.readline() == "0\n"
            follower.terminate()
