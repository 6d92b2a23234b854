from __future__ import annotations

import os
import socket
import time

import pytest

from papa import sockdiag
from papa.kernel import peers

SOMEBODY = 64997

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def connected(family, listen, connect):
    with socket.socket(family) as server:
        server.bind((listen, 0))
        server.listen()
        client = socket.socket(socket.AF_INET6 if ":" in connect else socket.AF_INET)
        client.connect((connect, server.getsockname()[1]))
        return server.accept()[0], client


def until(fact, what):
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("family", "listen", "connect"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_the_peer_of_a_loopback_connection_is_known(family, listen, connect):
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("needs IPv6")
    accepted, client = connected(family, listen, connect)
    with accepted, client:
        assert peers.peer_uid(accepted) == os.geteuid()
        assert peers.peer_uid(client) == os.geteuid()


def test_a_peer_that_closed_is_nobody_and_not_root():
    accepted, client = connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    client.sendall(b"make process x sh\n")
    client.close()
    with accepted:
        until(lambda: accepted.recv(100, socket.MSG_PEEK), "the bytes of the peer that is gone")
        assert peers.peer_uid(accepted) is None


def test_a_peer_that_was_reset_is_nobody():
    accepted, client = connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with accepted:
        assert peers.peer_uid(accepted) is None


def test_a_connection_that_nobody_has_accepted_yet_belongs_to_nobody():
    """It is established, and has no inode and the uid of root."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        assert sockdiag.uid_of_peer(client) is None
        with server.accept()[0]:
            assert sockdiag.uid_of_peer(client) == os.geteuid()


def test_a_peer_that_will_say_no_more_is_not_asked_for():
    accepted, client = connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    with accepted, client:
        client.shutdown(socket.SHUT_WR)
        until(lambda: accepted.recv(1) == b"", "the end of what it says")
        assert peers.peer_uid(accepted) is None


def test_the_peer_of_a_unix_connection_is_known():
    one, two = socket.socketpair()
    with one, two:
        assert peers.peer_uid(one) == os.geteuid()


def test_a_socket_without_a_peer_has_no_uid():
    with socket.socket() as lonely:
        assert peers.peer_uid(lonely) is None


@only_root
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_another_users_connection_is_told_from_ours(kind, tmp_path):
    server = socket.create_server(("127.0.0.1", 0)) if kind == "tcp" else socket.socket(socket.AF_UNIX)
    if kind == "unix":
        server.bind("\0papa-test-peers-" + str(os.getpid()))
        server.listen()
    gate, opened = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(opened)
            os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
            client = socket.socket(server.family)
            client.connect(server.getsockname())
            os.read(gate, 1)
        finally:
            os._exit(0)
    try:
        with server, server.accept()[0] as accepted:
            assert peers.peer_uid(accepted) == SOMEBODY
    finally:
        os.close(opened)
        os.close(gate)
        os.waitpid(pid, 0)


def test_the_listener_of_a_port_is_known():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert sockdiag.uid_of_listener("127.0.0.1", port) == os.geteuid()
    assert sockdiag.uid_of_listener("127.0.0.1", port) is None


def test_without_sock_diag_nobody_is_known(monkeypatch):
    accepted, client = connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    with accepted, client:
        monkeypatch.setattr(sockdiag, "_ask", lambda *_: (_ for _ in ()).throw(PermissionError()))
        assert peers.peer_uid(accepted) is None
        monkeypatch.setattr(sockdiag, "_ask", lambda *_: b"\0" * 40)
        assert peers.peer_uid(accepted) is None
