"""Small names that programs written for papa 1.x import from ``papa.utils``.

Only that: nothing of papa uses this room, and nothing new belongs here.
"""

from __future__ import annotations

import select
import socket

from papa.errors import Error

__all__ = [
    "Error",
    "cast_bytes",
    "cast_string",
    "cast_unicode",
    "recv_with_retry",
    "send_with_retry",
    "string_type",
    "valid_families",
    "valid_families_by_number",
    "valid_types",
    "valid_types_by_number",
]

string_type = str


def _by_name(prefix: str) -> dict[str, int]:
    """The socket module's constants of one kind, by their names in lower case without the prefix."""
    return {
        name[len(prefix) :].lower(): int(getattr(socket, name))
        for name in dir(socket)
        if name.startswith(prefix) and name[len(prefix) :].isalnum()
    }


valid_families = _by_name("AF_")
valid_families_by_number = {number: name for name, number in valid_families.items()}
valid_types = _by_name("SOCK_")
valid_types_by_number = {number: name for name, number in valid_types.items()}


def cast_bytes(s: str | bytes, encoding: str = "utf8") -> bytes:
    """The text as bytes; bytes as they are."""
    return s if isinstance(s, bytes) else s.encode(encoding)


def cast_unicode(s: str | bytes, encoding: str = "utf8") -> str:
    """The bytes as text, what cannot be decoded replaced; text as it is."""
    return s.decode(encoding, "replace") if isinstance(s, bytes) else s


def cast_string(s: str | bytes, encoding: str = "utf8") -> str:
    """The same as `cast_unicode`: on Python 3 both names mean str."""
    return cast_unicode(s, encoding)


def recv_with_retry(sock: socket.socket, size: int = 1024) -> bytes:
    """One receive, waited for also on a socket that does not block."""
    while True:
        try:
            return sock.recv(size)
        except BlockingIOError:
            _wait(sock, select.POLLIN)


def send_with_retry(sock: socket.socket, data: bytes) -> None:
    """Send everything, also on a socket that does not block."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            _wait(sock, select.POLLOUT)


def _wait(sock: socket.socket, event: int) -> None:
    poll = select.poll()
    poll.register(sock, event)
    poll.poll()
