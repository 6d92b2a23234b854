"""The other end of a connection: its uid, asked of the system and never of the peer; and what the way to it needs.

Whom the kernel lets in (its own uid and root) is the server's rule.
"""

from __future__ import annotations

import os
import socket
import struct

from papa import sockdiag

_UCRED = struct.Struct("3i")


def peer_uid(connection: socket.socket) -> int | None:
    """The peer's uid; None when it cannot be told, and then it must be refused."""
    if connection.family != socket.AF_UNIX:
        return sockdiag.uid_of_peer(connection)
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        # The socket's own mode, 0600, has let only our uid and root so far.
        return os.geteuid()
    try:
        return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])
    except OSError:
        return None


def prepare(connection: socket.socket) -> None:
    """Sets what TCP needs besides."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Telnet sends part of what Ctrl-C means as urgent; out of its place the next line would be garbled.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
