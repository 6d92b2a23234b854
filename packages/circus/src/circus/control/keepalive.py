"""Connections whose other end has vanished without a word: the system asks, and ends those that do not answer."""

from __future__ import annotations

import socket

#: A host that has vanished gives its place back after 2 minutes. The system asks, nothing here wakes up.
IDLE_S, INTERVAL_S, COUNT = 60, 15, 4

_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", IDLE_S), ("TCP_KEEPINTVL", INTERVAL_S), ("TCP_KEEPCNT", COUNT))
        if hasattr(socket, name)
    ),
]


def ask_after(sock: socket.socket) -> None:
    """``sock`` is one of TCP. Raises: OSError."""
    for level, option, value in _OPTIONS:
        sock.setsockopt(level, option, value)
