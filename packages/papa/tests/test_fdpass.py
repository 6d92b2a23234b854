from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from papa import fdpass
from papa.errors import PapaError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with left, right:
        yield left, right


def test_descriptors_arrive_with_their_bytes_and_are_close_on_exec(pair):
    left, right = pair
    reader, writer = os.pipe()
    assert fdpass.send_with_fds(left, b"take these", [reader, writer]) == 10
    os.close(reader)
    os.close(writer)
    data, fds, _ = fdpass.recv_with_fds(right, 100, 4)
    assert data == b"take these"
    assert len(fds) == 2
    assert not any(os.get_inheritable(fd) for fd in fds)
    os.write(fds[1], b"through")
    assert os.read(fds[0], 10) == b"through"
    fdpass.close_all(fds)


def test_bytes_without_descriptors_need_no_ancillary_data(pair):
    left, right = pair
    fdpass.send_with_fds(left, b"plain", ())
    assert fdpass.recv_with_fds(right, 100, 0) == (b"plain", [], 0)


def test_more_descriptors_than_expected_are_an_error_and_are_closed(pair):
    left, right = pair
    reader, writer = os.pipe()
    fdpass.send_with_fds(left, b"x", [writer] * 5)
    os.close(writer)
    with pytest.raises(PapaError) as caught:
        fdpass.recv_with_fds(right, 100, 3)
    assert caught.value.code == "limit"
    # Nobody holds a writing end any more: the pipe is at its end.
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_peek_leaves_the_message_in_the_queue(pair):
    left, right = pair
    fdpass.send_with_fds(left, b"x", [0])
    _, first, _ = fdpass.recv_with_fds(right, 10, 1, socket.MSG_PEEK)
    data, second, _ = fdpass.recv_with_fds(right, 10, 1)
    assert data == b"x"
    assert len(first) == len(second) == 1
    fdpass.close_all(first + second)


def test_more_descriptors_than_the_system_takes_are_refused_with_words(pair):
    with pytest.raises(PapaError, match="254 descriptors"):
        fdpass.send_with_fds(pair[0], b"x", [0] * 254)


def test_closing_descriptors_that_are_closed_already_is_fine():
    reader, writer = os.pipe()
    os.close(reader)
    fdpass.close_all([reader, writer])
    with pytest.raises(OSError):
        os.fstat(writer)
