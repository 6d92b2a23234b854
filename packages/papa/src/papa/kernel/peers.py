"""Who is at the other end of a connection: its uid, asked of the system and never of the peer.

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
