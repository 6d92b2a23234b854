"""Whose socket is at the other end of a loopback connection: one question to the kernel of Linux (sock_diag(7)).

The one idea: an *exact* lookup of one connection, never a dump, so that it costs microseconds however many
sockets there are and needs no privileges.

The trap: a socket whose process closed it or died lives on without an owner (FIN_WAIT2, inode 0) and is
reported with **uid 0**. Only an established socket with an inode has a uid that means anything; without that
rule any user would be root by sending and closing.

Whether a uid is let in is not decided here.
"""

from __future__ import annotations

import socket
import struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF

# include/net/tcp_states.h
_ESTABLISHED = 1
_LISTEN = 10

# linux/netlink.h nlmsghdr; linux/inet_diag.h inet_diag_req_v2 and inet_diag_msg (ports and addresses are in
# network order, all else in the machine's).
_HEADER = struct.Struct("=IHHII")
_REQUEST_START = struct.Struct("=BBBBI")
_REQUEST_END = struct.Struct("=III")
_ANSWER_START = struct.Struct("=BBBB48x")
_ANSWER_END = struct.Struct("=IIIII")

#: The answer is local and immediate; a second is far beyond it.
_PATIENCE_S = 1.0


def uid_of_peer(connection: socket.socket) -> int | None:
    """The uid that owns the other end of a TCP connection on this machine; None: nobody can be named.

    It is the uid that made the socket, who may have changed since.
    """
    try:
        own, peer = connection.getsockname(), connection.getpeername()
    except OSError:
        return None
    return _uid(connection.family, peer[:2], own[:2], _ESTABLISHED)


def uid_of_listener(host: str, port: int) -> int | None:
    """The uid that listens at an IPv4 address of this machine; None: nobody can be named."""
    return _uid(socket.AF_INET, (host, port), ("0.0.0.0", 0), _LISTEN)  # noqa: S104 - any, in a question


def _uid(family: int, source: tuple[str, int], target: tuple[str, int], state: int) -> int | None:
    try:
        answer = _ask(family, source, target)
    except (OSError, AttributeError):
        # No such socket, or no such question on this platform.
        return None
    start, end = _HEADER.size, _HEADER.size + _ANSWER_START.size
    if len(answer) < end + _ANSWER_END.size or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    found_state = _ANSWER_START.unpack_from(answer, start)[1]
    _, _, _, uid, inode = _ANSWER_END.unpack_from(answer, end)
    return int(uid) if found_state == state and inode != 0 else None


def _ask(family: int, source: tuple[str, int], target: tuple[str, int]) -> bytes:
    request = _REQUEST_START.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
    request += struct.pack("!HH", source[1], target[1])
    for address in (source[0], target[0]):
        # An address with a scope ("fe80::1%eth0") is of no loopback.
        request += socket.inet_pton(family, address.partition("%")[0]).ljust(16, b"\0")
    request += _REQUEST_END.pack(0, _NO_COOKIE, _NO_COOKIE)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_PATIENCE_S)
        netlink.sendto(header + request, (0, 0))
        return netlink.recv(4096)
