"""Sockets of every kind under a real kernel: what waits in them outlives the kernel, and is served afterwards."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, papa

from papa.errors import PapaError

KINDS = [
    ("inet", "stream"), ("inet", "dgram"), ("inet6", "stream"), ("inet6", "dgram"),
    ("unix", "stream"), ("unix", "dgram"), ("unix", "seqpacket"),
]  # fmt: skip

#: Serves what waits in each of its sockets, and writes what it was told.
SERVER = """
import os, socket
for name, fd in zip(os.environ["LISTEN_FDNAMES"].split(":"), range(3, 99)):
    served = socket.socket(fileno=fd)
    print(name, *[
        (served if served.type == socket.SOCK_DGRAM else served.accept()[0]).recv(99).decode() for _ in range(3)
    ])
"""


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


def client_of(row):
    """A client that waits to be served, or that has sent already."""
    client = socket.socket(
        getattr(socket, f"AF_{row['family'].upper()}"), getattr(socket, f"SOCK_{row['type'].upper()}")
    )
    client.connect(row["path"] if row["family"] == "unix" else (row["host"], row["port"]))
    return client


@pytest.mark.vault
def test_sockets_of_every_kind_and_what_waits_in_them_outlive_kills_and_upgrades(kernel, tmp_path):
    kernel.start()
    rows, clients = {}, []

    def knock(word):
        for row in rows.values():
            client = client_of(row)
            client.send(word)
            clients.append(client)

    for family, kind in KINDS:
        name = f"{family}.{kind}"
        where = {"path": str(tmp_path / name)} if family == "unix" else {"family": family}
        rows[name] = kernel.ask("listen", name=name, type=kind, blocking=True, **where)
        assert rows[name]["covered"]
    try:
        knock(b"first")
        kernel.kill()
        knock(b"second")
        assert papa("upgrade").returncode == 0
        knock(b"third")
        kernel.kill()
        assert {row["name"]: row for row in kernel.ask("list", what="sockets")["items"]} == rows
        row = kernel.ask(
            "spawn", name="server", argv=["/usr/bin/python3", "-I", "-S", "-u", "-c", SERVER], env={},
            sockets=list(rows), listen_fds=True,
        )  # fmt: skip
        kernel.pids.append(row["pid"])
        wait_for(lambda: kernel.rows()[row["id"]]["exit"], "the end of the server")
        assert kernel.output(row).decode().splitlines() == [f"{name} first second third" for name in rows]
    finally:
        for client in clients:
            client.close()


@pytest.mark.vault
def test_an_option_of_a_socket_is_the_same_after_a_kill(kernel, tmp_path):
    kernel.start()
    path = str(tmp_path / "s")
    front = kernel.ask("listen", name="front", backlog=5, blocking=True)
    kernel.ask("listen", name="back", path=path, umask=0o027, backlog=3)
    kernel.kill()
    assert kernel.ask("listen", name="front", backlog=5, blocking=True) == {**front, "existing": True}
    with pytest.raises(PapaError) as caught:
        kernel.ask("listen", name="front", backlog=5)
    assert caught.value.code == "exists"
    assert os.stat(path).st_mode & 0o777 == 0o750
    program = (
        "import os, socket\nfor fd in (3, 4):\n"
        " s = socket.socket(fileno=fd)\n print(os.get_blocking(fd), s.getsockopt(6, 11, 32).hex() if fd == 3 else '')"
    )
    row = kernel.ask(
        "spawn", name="looker", argv=["/usr/bin/python3", "-I", "-S", "-c", program], env={}, listen_fds=True,
        sockets=["front", "back"],
    )  # fmt: skip
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its end")
    blocks, info, blocks_not = kernel.output(row).decode().split()
    assert (blocks, blocks_not) == ("True", "False")
    # Of a listener tcpi_sacked is the most that may wait.
    assert struct.unpack_from("I", bytes.fromhex(info), 28) == (5,)
    # The file goes with the socket also under a kernel that did not make it.
    assert kernel.ask("remove", what="sockets", names=["back"]) == {"removed": 1}
    assert not os.path.exists(path)


@pytest.mark.vault
def test_a_path_that_somebody_else_took_meanwhile_is_theirs(kernel, tmp_path):
    kernel.start()
    path = str(tmp_path / "s")
    kernel.ask("listen", name="back", path=path)
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        kernel.kill()
        kernel.ask("remove", what="sockets", names=["back"])
        assert os.path.exists(path)


def test_a_socket_waits_for_whoever_serves_it_next(kernel, tmp_path):
    kernel.start()
    front = kernel.ask("listen", name="front", blocking=True)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    idle = ["/bin/sh", "-c", f"echo; read x <{gate}", "$(socket.front.fileno)"]
    first = kernel.ask("spawn", name="first", argv=idle, env={})
    kernel.pids.append(first["pid"])
    wait_for(lambda: kernel.output(first), "the first one")
    clients = [client_of(front) for _ in range(20)]
    try:
        os.kill(first["pid"], signal.SIGKILL)
        wait_for(lambda: kernel.rows()[first["id"]]["exit"], "its end")
        serve = "import socket\ns = socket.socket(fileno=3)\nfor _ in range(20): s.accept()[0].sendall(b'here')"
        argv = ["/usr/bin/python3", "-I", "-S", "-c", serve]
        kernel.ask("spawn", name="second", argv=argv, env={}, sockets=["front"], listen_fds=True)
        for client in clients:
            client.settimeout(30)
            assert client.recv(9) == b"here"
    finally:
        for client in clients:
            client.close()


SERVE = """
import socket, sys
s = socket.socket(fileno=3)
print("serves", flush=True)
while True:
    s.accept()[0].sendall(sys.argv[1].encode())
"""


def serve(kernel, name):
    """A process that answers with its name, from a listener of its own."""
    argv = ["/usr/bin/python3", "-I", "-S", "-c", SERVE, name]
    row = kernel.ask("spawn", name=name, argv=argv, env={}, sockets=["front"], listen_fds=True)
    kernel.pids.append(row["pid"])
    wait_for(lambda: kernel.output(row), f"{name} to serve")
    return row


def answer(front):
    with client_of(front) as client:
        client.settimeout(30)
        return client.recv(9).decode()


def end(kernel, row):
    os.kill(row["pid"], signal.SIGKILL)
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its end")


@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_with_reuseport_each_process_listens_for_itself_and_the_port_stays_ours(kernel, family):
    kernel.start()
    front = kernel.ask("listen", name="front", family=family, reuseport=True, blocking=True)
    kind = socket.AF_INET if family == "inet" else socket.AF_INET6
    with pytest.raises(ConnectionRefusedError):
        client_of(front)  # nobody is there who would accept
    one, two = serve(kernel, "one"), serve(kernel, "two")
    wait_for(lambda: {answer(front) for _ in range(8)} == {"one", "two"}, "both of them")
    kernel.kill()
    assert answer(front) in ("one", "two")
    end(kernel, one)
    assert {answer(front) for _ in range(20)} == {"two"}, "nothing waits where nobody accepts"
    end(kernel, two)
    with pytest.raises(ConnectionRefusedError):
        client_of(front)
    with socket.socket(kind) as other, pytest.raises(OSError, match="in use"):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((front["host"], front["port"]))
    three = serve(kernel, "three")
    assert answer(front) == "three"
    end(kernel, three)


def test_datagrams_come_to_one_socket_also_with_reuseport(kernel):
    kernel.start()
    front = kernel.ask("listen", name="front", type="dgram", reuseport=True, blocking=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"early", (front["host"], front["port"]))
    take = "import socket; print(socket.socket(fileno=3).recv(9).decode())"
    argv = ["/usr/bin/python3", "-I", "-S", "-c", take]
    row = kernel.ask("spawn", name="taker", argv=argv, env={}, sockets=["front"], listen_fds=True)
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its end")
    assert kernel.output(row) == b"early\n"


@pytest.mark.parametrize("kind", ["stream", "dgram", "seqpacket"])
@pytest.mark.parametrize("ours", ["stream", "dgram", "seqpacket"])
def test_a_path_is_not_taken_from_a_living_server_whatever_it_speaks(kernel, tmp_path, kind, ours):
    kernel.start()
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, getattr(socket, f"SOCK_{kind.upper()}")) as other:
        other.bind(path)
        if kind != "dgram":
            other.listen(0)
        before = os.lstat(path).st_ino
        with pytest.raises(PapaError, match=f"path {path} is in use") as caught:
            kernel.ask("listen", name="s", path=path, type=ours)
        assert caught.value.details == {"stage": "path", "errno": errno.EADDRINUSE}
        assert os.lstat(path).st_ino == before
    # Nobody serves it any more.
    client_of(kernel.ask("listen", name="s", path=path, type=ours)).close()


def test_a_path_is_not_taken_from_a_server_that_is_busy(kernel, tmp_path):
    kernel.start()
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)  # there is room for nobody else
        with pytest.raises(PapaError, match="is in use"):
            kernel.ask("listen", name="s", path=path)


@pytest.mark.parametrize("backlog", [1, 7])
def test_as_many_may_wait_as_was_said(kernel, tmp_path, backlog):
    kernel.start()
    path = str(tmp_path / "s")
    kernel.ask("listen", name="s", path=path, backlog=backlog)
    waiting = []
    try:
        with pytest.raises(BlockingIOError):
            while len(waiting) < 100:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(path)
        assert len(waiting) - 2 == backlog  # one more than the backlog, and the one that was refused
    finally:
        for one in waiting:
            one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("kind", ["stream", "dgram", "seqpacket"])
def test_a_unix_socket_belongs_to_whom_was_said(kernel, tmp_path, kind):
    kernel.start()
    path = str(tmp_path / "s")
    row = kernel.ask("listen", name="s", path=path, type=kind, umask=0o117, uid=1234, gid=5678)
    assert (row["uid"], row["gid"]) == (1234, 5678)
    found = os.lstat(path)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 5678, 0o660)
    path = str(tmp_path / "of-a-group")
    kernel.ask("listen", name="g", path=path, type=kind, gid=5678)
    assert (os.lstat(path).st_uid, os.lstat(path).st_gid) == (0, 5678)
    with pytest.raises(PapaError) as caught:
        kernel.ask("listen", name="s", path=str(tmp_path / "s"), type=kind, umask=0o117, uid=1234)
    assert caught.value.code == "exists"
