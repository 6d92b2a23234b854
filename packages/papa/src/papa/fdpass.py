"""Bytes with file descriptors over a unix socket (SCM_RIGHTS), and nothing else.

``socket.recv_fds`` is not used: up to Python 3.13 it ignores its ``flags`` argument, so that MSG_PEEK would
silently consume. A message whose descriptors did not all fit is an error and never a silent loss (recvmsg(2):
MSG_CTRUNC).
"""

from __future__ import annotations

import os
import socket
import struct

from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: SCM_MAX_FD of Linux: sendmsg(2) refuses more in one message with EINVAL.
MAX_FDS = 253

_INT = struct.calcsize("i")
# Descriptors must be close-on-exec from the first moment: a spawn may come before a second system call could
# set the flag. 0 where the platform has no such flag (macOS); there they are marked afterwards.
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
# Plain numbers: an operation on two of socket's flags costs as much as a system call.
_CTRUNC = int(socket.MSG_CTRUNC)


def send_with_fds(sock: socket.socket, data: bytes | memoryview, fds: Sequence[int], flags: int = 0) -> int:
    """Sends ``data`` with copies of ``fds``; returns the number of bytes taken.

    On a stream socket the descriptors travel with the first byte that is taken, so ``data`` must not be empty
    and what was not taken must be sent again *without* them.

    Raises: OSError of sendmsg(2) (BlockingIOError: nothing was sent, ETOOMANYREFS: too many in flight).
    """
    if not fds:
        return sock.sendmsg([data], [], flags)
    if len(fds) > MAX_FDS:
        raise PapaError(f"{len(fds)} descriptors do not fit into one message, {MAX_FDS} do", code="limit")
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))], flags)


def recv_with_fds(sock: socket.socket, size: int, max_fds: int, flags: int = 0) -> tuple[bytes, list[int], int]:
    """At most ``size`` bytes, the descriptors that came with them (close-on-exec), and the message's flags.

    Raises: PapaError limit when descriptors were cut off (those that came are closed); OSError of recvmsg(2).
    """
    space = socket.CMSG_SPACE(max_fds * _INT) if max_fds else 0
    data, ancillary, message_flags, _ = sock.recvmsg(size, space, flags | _CLOEXEC)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += memoryview(content)[: len(content) - len(content) % _INT].cast("i")
    # CMSG_SPACE rounds up, so one descriptor more than asked for may have come.
    if message_flags & _CTRUNC or len(fds) > max_fds:
        close_all(fds)
        raise PapaError(
            f"a message carried more than the {max_fds} descriptors that were expected, or this process"
            " may open no more",
            code="limit",
        )
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    return data, fds, message_flags & ~_CLOEXEC


def close_all(fds: Iterable[int]) -> None:
    """Closes each descriptor once; one that is already closed is not an error here."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass
