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

    monkeypatch.delattr(socket, "SO_PEERCRED")
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
