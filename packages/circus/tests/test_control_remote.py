from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from circus.control import selfsigned, tls
from circus.control.remote import RemoteClient
from circus.errors import CircusError

TOKEN = "ct_" + "0" * 12 + "_" + "1" * 64
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "circusd.pem"
    path.write_bytes(selfsigned.make("test", []))
    return path


class Listener:
    """Serves one connection after the other: what was sent, as far as TLS was agreed on."""

    def __init__(self, pem: Path, *, is_safe: bool) -> None:
        self.heard: list[bytes] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._context = tls.context_of(str(pem), str(pem)) if is_safe else None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock = self._sock.accept()[0]
            except OSError:
                return  # it is closed
            try:
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                if heard := sock.recv(65536):
                    self.heard.append(heard)
                    sock.sendall(ANSWER)
            except (ssl.SSLError, ConnectionError):
                continue
            finally:
                sock.close()

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()


@pytest.fixture
def listen(pem: Path) -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def start(*, is_safe: bool = True) -> Listener:
        opened.append(Listener(pem, is_safe=is_safe))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_certificate_is_known_by_its_fingerprint_or_by_a_file(listen: Callable[..., Listener], pem: Path) -> None:
    listener = listen()
    fingerprint = tls.fingerprint_of(str(pem))
    pretty = ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    for host, known in (
        ("127.0.0.1", {"fingerprint": fingerprint}),
        ("localhost", {"fingerprint": f"SHA256:{pretty}"}),
        ("127.0.0.1", {"cacert": str(pem)}),
        ("localhost", {"cacert": str(pem)}),
    ):
        client = RemoteClient(f"https://{host}:{listener.port}", token=TOKEN, timeout_s=50, **known)
        assert client.get("/v1/status") == {"ok": True}
        heard = listener.heard.pop().decode()
        assert f"Host: {host}:{listener.port}\r\nAuthorization: Bearer {TOKEN}\r\n" in heard


@pytest.mark.parametrize("known", [{}, {"fingerprint": hashlib.sha256(b"other").hexdigest()}])
def test_nothing_is_sent_to_who_is_not_known(listen: Callable[..., Listener], known: dict[str, str]) -> None:
    listener = listen()
    client = RemoteClient(f"https://127.0.0.1:{listener.port}", token=TOKEN, timeout_s=50, **known)
    for ask in (lambda: client.get("/v1/status"), lambda: client.post("/v1/stop", {}), lambda: client.open_events([])):
        with pytest.raises(CircusError) as caught:
            ask()
        assert (caught.value.code, bool(caught.value.hint)) == ("unreachable", True)
        assert TOKEN not in str(caught.value)
    assert listener.heard == []


def test_the_certificate_of_another_host_is_refused(listen: Callable[..., Listener], pem: Path) -> None:
    listener = listen()
    client = RemoteClient(f"https://127.0.0.2:{listener.port}", token=TOKEN, cacert=str(pem), timeout_s=50)
    with pytest.raises(CircusError) as caught:
        client.get("/v1/status")
    assert caught.value.code == "unreachable"


def test_a_host_that_is_no_ascii_is_asked_for_by_its_other_name() -> None:
    assert "Host: xn--bcher-kva.example:1\r\n" in RemoteClient("https://b\u00fccher.example:1", token=TOKEN).headers


def test_plain_http_is_spoken_with_this_host_alone(listen: Callable[..., Listener]) -> None:
    listener = listen(is_safe=False)
    client = RemoteClient(f"http://127.0.0.1:{listener.port}", token=TOKEN, timeout_s=50)
    assert client.get("/v1/status") == {"ok": True}
    for url in ("http://10.0.0.1:80", "http://shop.example.org:80"):
        with pytest.raises(CircusError) as caught:
            RemoteClient(url, token=TOKEN)
        assert caught.value.code == "usage"


@pytest.mark.parametrize(
    "url",
    [
        *("https://", "https://host", "https://host:x", "https://host:1/path", "https://a@host:1", "https://h:1?x"),
        *("https://a..b:1", f"https://{'x' * 64}:1"),
    ],
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(CircusError) as caught:
        RemoteClient(url, token=TOKEN)
    assert caught.value.code == "usage"


@pytest.mark.parametrize(
    "given",
    [
        {"token": ""},
        {"token": "a\r\nb"},
        {"token": "a b"},
        {"token": "ä"},
        {"fingerprint": "abc"},
        {"cacert": "/no/such/file"},
    ],
)
def test_what_is_no_token_fingerprint_or_file_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(CircusError) as caught:
        RemoteClient("https://127.0.0.1:1", **{"token": TOKEN, **given})
    assert caught.value.code == "usage"


def test_nobody_is_there(pem: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        client = RemoteClient(f"https://127.0.0.1:{sock.getsockname()[1]}", token=TOKEN, cacert=str(pem))
        with pytest.raises(CircusError) as caught:
            client.get("/v1/status")
    assert caught.value.code == "unreachable"


def test_a_listener_that_hangs_is_not_waited_for(pem: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        client = RemoteClient(f"https://127.0.0.1:{sock.getsockname()[1]}", token=TOKEN, cacert=str(pem), timeout_s=0.2)
        with pytest.raises(CircusError) as caught:
            client.get("/v1/status")
    assert caught.value.code == "timeout"
