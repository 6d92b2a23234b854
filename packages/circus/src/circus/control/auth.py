"""Who is at the other end of a unix socket, and whether it may speak with us.

The operating system says who the peer is (SO_PEERCRED, unix(7); elsewhere LOCAL_PEERCRED, unix(4)); there is
no password to manage. Both sides ask: circusd about its clients, circusctl about the listener, so that nobody
who took the path first can read or answer an operator's orders.
"""

from __future__ import annotations

import _socket as socket  # the plain numbers do: see the module client
import os
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

#: socket(7); Python has no name for it. The number is that of all architectures but PA-RISC and SPARC.
_SO_PEERGROUPS = 59

#: As much as Python's getsockopt takes: 256 groups. Of a user who has more, none of them counts.
_GROUPS_SIZE = 1024


def peer_uid(sock: HasOptions) -> int | None:
    """The effective uid of the peer when it connected or listened; None when it cannot be known."""
    option = getattr(socket, "SO_PEERCRED", None)
    try:
        if option is not None:
            return int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])
        return int(_XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE))[1])
    except (OSError, struct.error):
        return None


def peer_name(sock: HasOptions) -> str:
    """For people: the door, and the process at the other end as far as it is known."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "unix"
    try:
        return f"unix pid {_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[0]}"
    except (OSError, struct.error):
        return "unix"


def peer_groups(sock: HasOptions) -> tuple[int, ...]:
    """The group of the peer and those that it is a member of, when it connected; none where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return ()
    try:
        own = int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[2])
        others = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except (OSError, struct.error):
        return ()
    return own, *struct.unpack(f"={len(others) // 4}I", others)


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


def is_trusted_listener(uid: int | None, path: str = "") -> bool:
    """Whether orders may be sent to a circusd of ``uid``: root may steer everybody's, others their own and
    root's; and that of another user at a ``path`` which nobody else could have taken.
    """
    if uid is None:
        return False
    return os.geteuid() == 0 or may_enter(uid) or (bool(path) and _is_place_of(uid, path))


def _is_place_of(uid: int, path: str) -> bool:
    """Whether ``uid``, we and root alone can put something into a directory on the way to ``path``."""
    directory = os.path.realpath(os.path.dirname(path))
    while True:
        try:
            found = os.stat(directory)
        except OSError:
            return False
        if found.st_uid not in (0, uid, os.geteuid()) or found.st_mode & 0o022:
            return False
        if directory == "/":
            return True
        directory = os.path.dirname(directory)
