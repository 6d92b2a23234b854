"""Who is at the other end of a unix socket, and whether it may speak with us.

The operating system says who the peer is (SO_PEERCRED, unix(7); elsewhere LOCAL_PEERCRED, unix(4)); there is
no password to manage. Both sides ask: circusd about its clients, circusctl about the listener, so that nobody
who took the path first can read or answer an operator's orders.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasOptions(Protocol):
        """A socket, or asyncio's stand-in for one."""

        def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


#: struct ucred: pid, uid, gid.
_UCRED = struct.Struct("iII")

#: The head of struct xucred (version, uid) of macOS and the BSDs, which name neither option nor level for
#: Python.
_XUCRED = struct.Struct("II")
_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE = 0, 1, 128


def peer_uid(sock: HasOptions) -> int | None:
    """The effective uid of the peer when it connected or listened; None when it cannot be known."""
    option = getattr(socket, "SO_PEERCRED", None)
    try:
        if option is not None:
            return int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])
        return int(_XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE))[1])
    except (OSError, struct.error):
        return None


def has_ended(sock: HasOptions) -> bool:
    """Whether who listened is dead, and only a thread of it, which hangs in a disk, keeps the socket open."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return False
    try:
        pid = int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[0])
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b") ")[2][:1] in (b"Z", b"X")
    except (OSError, struct.error):
        return False


def may_enter(uid: int | None) -> bool:
    """Our own user and root may. An unknown peer may not."""
    return uid is not None and uid in (0, os.geteuid())


def is_trusted_listener(uid: int | None) -> bool:
    """Whether orders may be sent to a circusd of ``uid``: root may steer everybody's, others their own and
    root's.
    """
    return uid is not None and (os.geteuid() == 0 or may_enter(uid))
