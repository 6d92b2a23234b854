from __future__ import annotations

import os
import socket
import struct

import pytest

from circus.control import auth


def test_the_peer_of_our_own_socket_pair_is_us() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert auth.peer_uid(left) == os.geteuid()


def test_a_peer_that_cannot_be_known_is_nobody() -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.close()
    assert auth.peer_uid(sock) is None


def test_without_so_peercred_the_uid_is_read_from_the_credentials_of_the_bsds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bsd:
        def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
            assert (level, optname) == (0, 1)
            return struct.pack("II", 0, 501) + bytes(buflen - 8)

    monkeypatch.delattr("circus.control.auth.socket.SO_PEERCRED")
    assert auth.peer_uid(Bsd()) == 501


@pytest.mark.parametrize(("uid", "may"), [(1000, True), (0, True), (1001, False), (65534, False), (None, False)])
def test_our_own_user_and_root_may_enter_and_nobody_else(
    uid: int | None, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert auth.may_enter(uid) is may


@pytest.mark.parametrize(
    ("we", "listener", "is_trusted"),
    [(0, 1000, True), (0, 0, True), (1000, 1000, True), (1000, 0, True), (1000, 1001, False), (0, None, False)],
)
def test_orders_go_to_our_own_circusd_or_roots_and_root_may_steer_everybodys(
    we: int, listener: int | None, is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: we)
    assert auth.is_trusted_listener(listener) is is_trusted


def test_the_groups_of_the_peer_of_our_own_socket_pair_are_ours() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert set(auth.peer_groups(left)) == {os.getegid(), *os.getgroups()}


def test_a_peer_that_cannot_be_known_has_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.close()
    assert auth.peer_groups(sock) == ()
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        monkeypatch.delattr("circus.control.auth.socket.SO_PEERCRED")
        assert auth.peer_groups(left) == ()


@pytest.mark.parametrize(
    ("owners", "modes", "is_trusted"),
    [
        ((0, 0, 1001), (0o755, 0o755, 0o711), True),
        ((0, 0, 0), (0o755, 0o755, 0o755), True),
        ((0, 0, 1000), (0o755, 0o755, 0o755), True),
        ((0, 0, 1002), (0o755, 0o755, 0o755), False),  # his who may have taken the path
        ((0, 0, 1001), (0o755, 0o1777, 0o711), False),  # as in /tmp, where whoever came first has the name
        ((0, 0, 1001), (0o755, 0o755, 0o775), False),
    ],
)
def test_another_users_circusd_is_trusted_where_nobody_else_could_have_taken_its_place(
    owners: tuple[int, ...], modes: tuple[int, ...], is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        def __init__(self, path: str) -> None:
            depth = ("/", "/run", "/run/shop").index(path)
            self.st_uid, self.st_mode = owners[depth], modes[depth]

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "stat", Found)
    monkeypatch.setattr(os.path, "realpath", lambda path: path)
    assert auth.is_trusted_listener(1001, "/run/shop/c.sock") is is_trusted
    assert not auth.is_trusted_listener(1001)
    assert not auth.is_trusted_listener(None, "/run/shop/c.sock")
