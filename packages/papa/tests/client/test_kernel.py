"""The clients against a real kernel: what a fake cannot show."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bench import machine
from tests.house import wait_for

import papa
from papa.client import debug
from papa.client.aio import AsyncPapa
from papa.client.blocking import Connection
from papa.client.output import StreamFiles
from papa.errors import PapaError

ENV = {"PATH": "/usr/bin:/bin"}
TICKER = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; sleep 0.002; done; exec sleep 1000"


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    made = tempfile.mkdtemp(prefix="papa-cl-")
    monkeypatch.setenv("PAPA_RUNTIME_DIR", made)
    yield made
    end_kernel()
    shutil.rmtree(made, ignore_errors=True)


def end_kernel(endpoint: Any = None) -> None:
    try:
        with Connection(endpoint, client="the end", autostart=False) as connection:
            for row in connection.request("list", what="processes").ok["items"]:
                if row["running"]:
                    reply = connection.request("attach", id=row["id"], fds=True)
                    # It may have ended since it was listed.
                    with contextlib.suppress(KeyError, ProcessLookupError):
                        signal.pidfd_send_signal(reply.fds["pid"], signal.SIGKILL)
                    reply.close_fds()
            connection.request("exit", force=True)
            while connection.wait(30.0):
                pass
    except PapaError:
        pass


async def until(claim: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.002)


@pytest.mark.vault
def test_no_byte_is_lost_or_doubled_when_the_kernel_is_killed(root: str) -> None:
    async def main() -> None:
        client = await AsyncPapa.connect(client="test")
        calls: list[str] = []
        client.on_lost = lambda: calls.append("lost")
        client.on_back = lambda: calls.append("back")
        reply = await client.spawn(name="ticker", argv=["/bin/sh", "-c", TICKER], env=ENV, owner="me", fds=True)
        os.close(reply.fds.pop("pid"))
        number = reply.ok["id"]
        files = StreamFiles(reply.fds)
        taken = b""
        for round_ in range(2):
            await until(lambda at=len(taken): files.head("out") > at + 100)  # noqa: B008
            data = files.pread("out", len(taken), 1 << 20)
            taken += data
            await client.commit(acks=[(number, "out", len(taken))])
            os.kill(client.hello["pid"], signal.SIGKILL)
            await until(lambda n=round_: calls == ["lost", "back"] * (n + 1))
            row = (await client.attach(number, owner="me")).ok
            assert row["running"]
            assert row["streams"]["out"]["acked"] == len(taken)
        await until(lambda: files.pread("out", len(taken), 1 << 20).endswith(b"line 200\n"))
        taken += files.pread("out", len(taken), 1 << 20)
        files.close()
        await client.close()
        assert taken == b"".join(b"line %d\n" % number for number in range(1, 201))

    asyncio.run(main())


def test_the_published_client_outlives_its_kernel(root: str) -> None:
    client = papa.Papa()
    client.set("a", "1")
    client.set("a", None)
    assert client.exit_if_idle()
    client.set("b", "2")
    assert client.get("b") == "2"
    client.close()


def test_a_process_is_made_watched_and_gone(root: str) -> None:
    script = 'echo "$1|$A|$PWD"; echo bye >&2; exit 3'
    with papa.Papa() as client:
        client.make_process(
            "p", "/bin/sh", ["-c", script, "sh", " two\nlines\\ "], env={**ENV, "A": "b "}, working_dir="/tmp"
        )
        with client.watch_processes("p") as watcher:
            news: list[Any] = []
            while watcher:
                for part in watcher.read():
                    news += part
        assert sorted((n.data for n in news), key=str) == [3, b" two\nlines\\ |b |/tmp\n", b"bye\n"]
        assert all(abs(n.timestamp - time.time()) < 60 for n in news)
        assert watcher.exit_code == {"p": 3}
        assert client.list_processes() == {}


def test_a_socket_reaches_the_process_that_names_it(root: str) -> None:
    script = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); c, _ = s.accept(); c.sendall(b'yes')"
    with papa.Papa() as client:
        info = client.make_socket("s")
        client.make_process("p", sys.executable, ["-c", script, "$(socket.s.fileno)"])
        with socket.create_connection(("127.0.0.1", info["port"]), 10) as connection:
            connection.settimeout(30)
            assert connection.recv(3) == b"yes"


def test_a_wrong_program_or_directory_is_an_error(root: str) -> None:
    with papa.Papa() as client:
        with pytest.raises(papa.Error, match="nonsense"):
            client.make_process("p", "/no/such/nonsense")
        with pytest.raises(papa.Error, match="/no/such/dir"):
            client.make_process("p", "/bin/true", working_dir="/no/such/dir")
        assert client.list_processes() == {}


def test_twenty_clients_at_once_share_one_kernel(root: str) -> None:
    pids: list[int] = []

    def connect() -> None:
        with Connection(client="one of many") as connection:
            pids.append(connection.hello["pid"])

    threads = [threading.Thread(target=connect) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(pids) == 20
    assert len(set(pids)) == 1


def test_debug_mode_uses_a_private_kernel_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAPA_RUNTIME_DIR", raising=False)
    papa.set_debug_mode(quit_when_connection_closed=True)
    try:
        directory = os.environ["PAPA_RUNTIME_DIR"]
        with papa.Papa() as client, papa.Papa() as other:
            client.set("a", "1")
            assert other.get("a") == "1"
            pid = client._connected().hello["pid"]
        with pytest.raises(ValueError, match="an error of the user"), papa.Papa() as client:
            assert client.get("a") is None
            raise ValueError("an error of the user")
        with papa.Papa() as client:
            assert client.get("a") is None
            assert client._connected().hello["pid"] != pid
    finally:
        papa.set_debug_mode(False)
    assert not os.path.exists(directory)
    assert "PAPA_RUNTIME_DIR" not in os.environ
    assert debug.enter() is False


def test_debug_mode_without_quit_ends_with_the_program() -> None:
    program = (
        "import papa, os; papa.set_debug_mode(); p = papa.Papa(); p.set('a', '1'); p.close();"
        "assert papa.Papa().get('a') == '1'; print(os.environ['PAPA_RUNTIME_DIR'])"
    )
    environ = {key: value for key, value in os.environ.items() if key != "PAPA_RUNTIME_DIR"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(done.stdout.strip())


@pytest.mark.vault
def test_a_private_kernel_ends_with_a_program_that_is_killed() -> None:
    program = (
        "import papa, os, time; papa.set_debug_mode(); p = papa.Papa();"
        "made = p.make_process('x', '/bin/sleep', '1000'); q = papa.Papa('/tmp/papa-test-%d.sock' % os.getpid());"
        "print(os.environ['PAPA_RUNTIME_DIR'], made['pid'], p._connected().hello['pid'], flush=True); time.sleep(1000)"
    )
    environ = {key: value for key, value in os.environ.items() if key != "PAPA_RUNTIME_DIR"}
    with subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        root, *pids = killed.stdout.readline().split()
        assert os.path.isdir(root)
        assert all(machine.is_alive(int(pid)) for pid in pids)
        killed.kill()
    wait_for(lambda: not os.path.exists(root), "the end of the root")
    wait_for(lambda: not any(machine.is_alive(int(pid)) for pid in pids), "the end of kernel and process")
    wait_for(lambda: not machine.marked(root), "the end of holder and guard")


def test_a_forked_child_does_not_end_the_kernel_of_its_parent() -> None:
    program = (
        "import papa, os, sys; papa.set_debug_mode(); p = papa.Papa(); p.set('a', '1'); pid = os.fork()\n"
        "if not pid: papa.set_debug_mode(False); sys.exit(0)\n"
        "os.waitpid(pid, 0); assert p.get('a') == '1'; print(os.environ['PAPA_RUNTIME_DIR'])"
    )
    environ = {key: value for key, value in os.environ.items() if key != "PAPA_RUNTIME_DIR"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(done.stdout.strip())


def group_of(leader: int) -> set[int]:
    """Who lives in the process group of that process."""
    return {
        int(pid)
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if machine.is_alive(int(pid)) and int(pid) != os.getpid() and pgid_of(int(pid)) == leader
    }


def pgid_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def test_processes_of_debug_mode_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAPA_RUNTIME_DIR", raising=False)
    papa.Papa.set_debug_mode(quit_when_connection_closed=True)
    try:
        with papa.Papa() as client:
            kept = client.make_process("kept", "/bin/sh", ["-c", "sleep 1000; true"])
            assert isinstance(kept, dict)
            wait_for(lambda: len(group_of(kept["pid"])) == 2, "its child")
            client.make_process("forgotten", "/bin/cat", "/dev/null")
            client.remove_processes("forgotten")
        wait_for(lambda: not group_of(kept["pid"]), "the end of the process and its child")
    finally:
        papa.set_debug_mode(False)
