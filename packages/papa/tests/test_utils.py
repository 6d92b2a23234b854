from __future__ import annotations

import socket
import threading

from papa import utils


def test_casting() -> None:
    assert utils.cast_bytes("ü") == b"\xc3\xbc"
    assert utils.cast_bytes(b"x") == b"x"
    assert utils.cast_unicode(b"\xc3\xbc\xff") == "ü\ufffd"
    assert utils.cast_string("x") == "x"
    assert utils.string_type is str


def test_numbers_and_names_of_sockets() -> None:
    assert utils.valid_families["inet"] == socket.AF_INET
    assert utils.valid_families_by_number[socket.AF_UNIX] == "unix"
    assert utils.valid_types["stream"] == socket.SOCK_STREAM
    assert utils.valid_types_by_number[socket.SOCK_DGRAM] == "dgram"


def test_sending_and_receiving() -> None:
    one, two = socket.socketpair()
    with one, two:
        utils.send_with_retry(one, b"hello")
        assert utils.recv_with_retry(two) == b"hello"


def test_sending_and_receiving_wait_on_sockets_that_do_not_block() -> None:
    one, two = socket.socketpair()
    much = bytes(4 * 1024 * 1024)
    got = bytearray()

    def receive() -> None:
        while len(got) < len(much):
            got.extend(utils.recv_with_retry(two, 65536))

    with one, two:
        one.setblocking(False)
        two.setblocking(False)
        thread = threading.Thread(target=receive)
        thread.start()
        utils.send_with_retry(one, much)
        thread.join(20)
    assert bytes(got) == much
