from __future__ import annotations

import errno
import os
import socket
import stat

import pytest

from papa.errors import PapaError
from papa.kernel import sockets
from papa.model import SocketSpec


def spec(**more):
    return SocketSpec.parse({"name": "front", **more})


@pytest.fixture
def open_one():
    opened = []

    def open_it(**more):
        opened.append(sockets.open_socket(spec(**more)))
        return opened[-1]

    yield open_it
    for one in opened:
        os.close(one.fd)


def as_socket(opened):
    return socket.socket(fileno=os.dup(opened.fd))


def test_a_tcp_socket_listens_at_the_port_that_the_system_chose(open_one):
    opened = open_one(family="inet", host="127.0.0.1", backlog=5)
    assert opened.port and opened.file is None
    with socket.create_connection(("127.0.0.1", opened.port)):
        pass
    with as_socket(opened) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not os.get_inheritable(opened.fd)


@pytest.mark.parametrize("blocking", [False, True])
def test_blocking_is_as_asked(open_one, blocking):
    assert os.get_blocking(open_one(blocking=blocking).fd) is blocking


@pytest.mark.parametrize("host", ["::1%no-such-interface", "::1%²"])
def test_an_address_that_is_none_is_refused_with_its_stage(open_one, host):
    with pytest.raises(PapaError, match=r"is no inet6 address \(stage address\)"):
        open_one(family="inet6", host=host)


def test_localhost_is_known_and_other_names_are_not_resolved(open_one):
    assert open_one(family="inet", host="localhost").port
    with pytest.raises(PapaError, match=r"'example\.com' is no inet address") as caught:
        sockets.open_socket(spec(host="example.com"))
    assert caught.value.code == "listen-failed"
    assert caught.value.details["stage"] == "address"


def test_an_ipv6_socket_listens(open_one):
    opened = open_one(family="inet6")
    with as_socket(opened) as sock:
        assert sock.getsockname()[:2] == ("::1", opened.port)


def test_a_datagram_socket_is_bound_and_does_not_listen(open_one):
    opened = open_one(type="dgram")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("127.0.0.1", opened.port))
    with as_socket(opened) as sock:
        sock.settimeout(30)
        assert sock.recv(10) == b"hello"


def test_a_shared_port_can_be_bound_by_others_too(open_one):
    first = open_one(reuseport=True)
    assert open_one(reuseport=True, port=first.port).port == first.port
    with pytest.raises(PapaError, match="in use"):
        sockets.open_socket(spec(port=first.port))


def test_an_interface_that_does_not_exist_is_named():
    with pytest.raises(PapaError, match="interface nosuch0: No such device") as caught:
        sockets.open_socket(spec(interface="nosuch0"))
    assert caught.value.details == {"stage": "interface", "errno": errno.ENODEV}


def test_a_socket_can_be_bound_to_an_interface(open_one):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with as_socket(open_one(interface="lo")) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, 25, 16).rstrip(b"\0") == b"lo"
        assert sock.getsockname()[0] == "0.0.0.0"


def test_an_address_that_is_not_ours_fails_at_the_bind():
    with pytest.raises(PapaError, match=r"192\.0\.2\.1:0: Cannot assign") as caught:
        sockets.open_socket(spec(host="192.0.2.1"))
    assert caught.value.details == {"stage": "bind", "errno": errno.EADDRNOTAVAIL}


@pytest.mark.parametrize("type", ["stream", "dgram", "seqpacket"])
def test_a_unix_socket_has_its_mode_and_its_file_goes_with_it(open_one, tmp_path, type):
    path = tmp_path / "s"
    mask = os.umask(0o077)
    try:
        opened = open_one(path=str(path), type=type, umask=0o007)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    sockets.remove_file(str(path), opened.file)
    assert not path.exists()
    sockets.remove_file(str(path), opened.file)


def test_a_very_long_path_works(open_one, tmp_path):
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    open_one(path=f"{directory}/s")
    assert (directory / "s").is_socket()


@pytest.mark.parametrize("type", ["stream", "dgram"])
def test_a_file_that_nobody_serves_any_more_is_replaced(open_one, tmp_path, type):
    path = str(tmp_path / "s")
    os.close(sockets.open_socket(spec(path=path, type=type)).fd)
    assert os.path.exists(path)
    open_one(path=path, type=type)


@pytest.mark.parametrize("type", ["stream", "dgram"])
def test_a_file_that_is_served_is_replaced_only_if_asked(open_one, tmp_path, type):
    path = str(tmp_path / "s")
    first = open_one(path=path, type=type)
    with pytest.raises(PapaError, match=f"path {path} is in use") as caught:
        sockets.open_socket(spec(path=path, type=type))
    assert caught.value.details == {"stage": "path", "errno": errno.EADDRINUSE}
    second = open_one(path=path, type=type, replace=True)
    # The first one's removal must not take the second one's file away.
    sockets.remove_file(path, first.file)
    assert os.path.exists(path)
    sockets.remove_file(path, second.file)
    assert not os.path.exists(path)


def test_a_file_that_is_no_socket_is_never_replaced(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(PapaError, match="is no socket"):
        sockets.open_socket(spec(path=str(path), replace=True))
    assert path.read_text() == "data"


def test_a_directory_that_does_not_exist_fails_at_the_bind(tmp_path):
    with pytest.raises(PapaError) as caught:
        sockets.open_socket(spec(path=f"{tmp_path}/none/s"))
    assert caught.value.details == {"stage": "bind", "errno": errno.ENOENT}


def test_nothing_is_left_of_a_socket_that_cannot_listen(tmp_path, monkeypatch):
    def refuse(_self, _backlog):
        raise OSError(errno.EADDRINUSE, "no")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    path = tmp_path / "s"
    with pytest.raises(PapaError) as caught:
        sockets.open_socket(spec(path=str(path)))
    assert caught.value.details["stage"] == "listen"
    assert not path.exists()


def test_numbers_are_the_lowest_free_ones_and_bounded():
    assert sockets.next_number([], below=1024) == 200
    assert sockets.next_number([200, 202, 201, 204], below=1024) == 203
    with pytest.raises(PapaError) as caught:
        sockets.next_number([200, 201], below=202)
    assert caught.value.code == "limit"


ROWS = {"front": {"fileno": 200, "port": 80}, "a.b": {"fileno": 201}}


def socket_of(name):
    try:
        return ROWS[name]
    except KeyError:
        raise PapaError(f"Socket {name} not found", code="not-found") from None


@pytest.mark.parametrize(
    ("word", "becomes", "named"),
    [
        ("plain", "plain", []),
        ("$(socket.front.fileno)", "200", ["front"]),
        ("fd://$(socket.a.b.fileno)", "fd://201", ["a.b"]),
        ("$(socket.front.port):$(socket.front.port)/$(socket.a.b.fileno)", "80:80/201", ["a.b"]),
        ("$(other.front.port)", "$(other.front.port)", []),
    ],
)
def test_numbers_and_ports_are_put_into_arguments(word, becomes, named):
    assert sockets.substitute(["prog", word], socket_of) == (["prog", becomes], named)


@pytest.mark.parametrize("word", ["$(socket.front.fileno", "$(socket.front.color)", "$(socket.)", "$(socket.a.b.port)"])
def test_what_cannot_be_put_in_is_named(word):
    with pytest.raises(PapaError) as caught:
        sockets.substitute([word], socket_of)
    assert caught.value.code == "bad-request"
    assert word in str(caught.value)


def test_a_socket_that_does_not_exist_is_not_found():
    with pytest.raises(PapaError) as caught:
        sockets.substitute(["$(socket.nosuch.port)"], socket_of)
    assert caught.value.code == "not-found"
