"""Listening sockets: opening them in named stages, taking them over, closing them.

The one idea: a socket belongs to the kernel, never to a process, so that it goes on listening while whoever
serves it is replaced. A process finds it at a number that stays the same for the socket's whole life; the
kernel itself may have it at any other.

With ``reuseport`` and type stream each process gets a listener of its own (`open_listener`), and the kernel's socket
only holds the port: it is bound and does not listen, so the system gives it no connection. What waits in a listener
goes with its process. Datagrams would come to whoever is bound: of these there is one socket also with ``reuseport``.

Names are not resolved here: a name server that does not answer must not stop the kernel. ``localhost`` is
known, everything else must be an address.

Which sockets there are, under which names, is kept by papa.core.table.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from papa import places
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeVar

    from papa.model import SocketSpec

    T = TypeVar("T")

#: Sockets have numbers from here up in processes: above what programs open by themselves before they look at
#: what they were handed, far below the usual soft limit of 1024.
FIRST_NUMBER = 200

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
_TYPES = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}
# linux/asm-generic/socket.h; Python 3.11 has the name on Linux only.
_SO_BINDTODEVICE: int | None = getattr(socket, "SO_BINDTODEVICE", None)
_LOCALHOST = {"inet": "127.0.0.1", "inet6": "::1"}


class Opened:
    """A socket that listens: its descriptor, and what the system chose."""

    __slots__ = ("fd", "file", "port")

    def __init__(self, fd: int, port: int | None, file: tuple[int, int] | None) -> None:
        self.fd = fd
        self.port = port
        #: Device and inode of a unix socket's file: only that very file is unlinked later.
        self.file = file


def open_socket(spec: SocketSpec) -> Opened:
    """Makes, binds and, where the type can, listens.

    Raises: PapaError listen-failed with stage and errno in its details; nothing is left behind.
    """
    sock = _in_stage(spec, "socket", lambda: socket.socket(_FAMILIES[spec.family], _TYPES[spec.type]))
    try:
        sock.setblocking(spec.blocking)
        file = None
        if spec.family == "unix":
            file = _bind_unix(spec, sock)
        else:
            _bind_inet(spec, sock, spec.port)
        try:
            if spec.type != "dgram" and not spec.is_listened_by_each:
                _in_stage(spec, "listen", lambda: sock.listen(spec.backlog))
        except PapaError:
            remove_file(spec.path, file)
            raise
        port = None if spec.family == "unix" else int(sock.getsockname()[1])
        return Opened(sock.detach(), port, file)
    finally:
        sock.close()


def open_listener(spec: SocketSpec, port: int | None) -> int:
    """One process's own, beside the socket that holds the port. Raises: PapaError listen-failed."""
    with socket.socket(_FAMILIES[spec.family], socket.SOCK_STREAM) as sock:
        sock.setblocking(spec.blocking)
        _bind_inet(spec, sock, port)
        _in_stage(spec, "listen", lambda: sock.listen(spec.backlog))
        return sock.detach()


def remove_file(path: str | None, file: tuple[int, int] | None) -> None:
    """Unlinks a unix socket's file, if it is still the one that we made."""
    if path is None or file is None:
        return
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == file:
            os.unlink(path)
    except OSError:
        # It is gone, or its directory is no longer ours to change: either way there is nothing to keep.
        pass


def next_number(taken: Iterable[int], *, below: int) -> int:
    """The number that a new socket has in processes: the lowest free one from FIRST_NUMBER up.

    Raises: PapaError limit when the numbers below ``below`` (the soft nofile of processes) are all taken.
    """
    used = set(taken)
    number = FIRST_NUMBER
    while number in used:
        number += 1
    if number >= below:
        raise PapaError(
            f"a further socket would have the number {number} in processes, which may only have {below} open",
            code="limit",
            hint="start the kernel with a higher soft limit of open files",
        )
    return number


# --- inet ------------------------------------------------------------------------------------------------


def _bind_inet(spec: SocketSpec, sock: socket.socket, port: int | None) -> None:
    address = _address(spec, port or 0)
    if spec.reuseport:
        _in_stage(spec, "options", lambda: sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1))
    if spec.interface is not None:
        _bind_to_interface(spec, sock, spec.interface)
    if spec.is_listened_by_each:
        try:
            sock.bind(address)
        except OSError:
            # Perhaps somebody else's connections still end there: only then SO_REUSEADDR, with which any program that
            # has it too could take a port on which nobody listens at the moment.
            pass
        else:
            return
    if spec.type == "stream":
        _in_stage(spec, "options", lambda: sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1))
    _in_stage(spec, "bind", lambda: sock.bind(address))


def _bind_to_interface(spec: SocketSpec, sock: socket.socket, interface: str) -> None:
    option = _SO_BINDTODEVICE
    if option is None:
        raise _failed(spec, "interface", errno.ENOPROTOOPT)
    name = os.fsencode(interface) + b"\0"
    _in_stage(spec, "interface", lambda: sock.setsockopt(socket.SOL_SOCKET, option, name))


def _address(spec: SocketSpec, port: int) -> tuple[Any, ...]:
    host = spec.host or ""
    host = _LOCALHOST[spec.family] if host.lower() == "localhost" else host
    bare, _, scope = host.partition("%")
    try:
        # inet_pton and not getaddrinfo: that one asks name servers, and loads the codec for foreign letters.
        socket.inet_pton(_FAMILIES[spec.family], bare)
        if spec.family == "inet6":
            return bare, port, 0, _scope(scope) if scope else 0
        if scope:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    except OSError:
        raise PapaError(
            f"{spec.name}: cannot listen: {host!r} is no {spec.family} address (stage address)",
            code="listen-failed",
            hint="the kernel does not resolve names: give the number, like 127.0.0.1 or ::1",
            details={"stage": "address", "errno": errno.EADDRNOTAVAIL},
        ) from None
    return bare, port


def _scope(text: str) -> int:
    return int(text) if text.isdecimal() else socket.if_nametoindex(text)


# --- unix ------------------------------------------------------------------------------------------------


def _bind_unix(spec: SocketSpec, sock: socket.socket) -> tuple[int, int]:
    path = spec.path
    assert path is not None
    _clear_way(spec, path)

    def bind() -> os.stat_result:
        with places.unix_address(path) as address:
            before = os.umask(spec.umask) if spec.umask is not None else None
            try:
                sock.bind(address)
            finally:
                if before is not None:
                    os.umask(before)
        return os.lstat(path)

    made = _in_stage(spec, "bind", bind)
    file = made.st_dev, made.st_ino
    if spec.uid is not None or spec.gid is not None:
        owner = [-1 if number is None else number for number in (spec.uid, spec.gid)]
        try:
            _in_stage(spec, "owner", lambda: os.chown(path, *owner, follow_symlinks=False))
        except PapaError:
            remove_file(path, file)
            raise
    return file


def _clear_way(spec: SocketSpec, path: str) -> None:
    """Unlinks a socket's file that nobody listens on, or any socket's file if asked; never another file."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _failed(spec, "path", errno.EEXIST, why="is there and is no socket")
    if not spec.replace and _is_served(spec, path):
        raise _failed(spec, "path", errno.EADDRINUSE)
    _in_stage(spec, "path", lambda: os.unlink(path))


def _is_served(spec: SocketSpec, path: str) -> bool:
    """Whether anybody has the socket open. A connection that succeeds is closed at once."""
    probe = _in_stage(spec, "socket", lambda: socket.socket(socket.AF_UNIX, _TYPES[spec.type]))
    with probe:
        probe.setblocking(False)
        try:
            with places.unix_address(path) as address:
                probe.connect(address)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


# --- words -----------------------------------------------------------------------------------------------


def _in_stage(spec: SocketSpec, stage: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except OSError as error:
        raise _failed(spec, stage, error.errno or errno.EINVAL) from None


def _failed(spec: SocketSpec, stage: str, number: int, *, why: str = "") -> PapaError:
    where = spec.path if spec.family == "unix" else f"{spec.host}:{spec.port}"
    hint = ""
    if number == errno.EADDRINUSE:
        what = f"path {where} is in use" if spec.family == "unix" else f"port {where} is in use"
        hint = "another program listens there; `ss -lntup` names it, or choose another port"
        if spec.family == "unix":
            hint = "another program listens there; replace=true takes the path away from it"
    elif stage == "interface":
        what = f"interface {spec.interface}: {os.strerror(number)}"
        if number == errno.EPERM:
            hint = "binding to an interface needs root or CAP_NET_RAW"
    elif stage == "owner":
        what = f"{where} cannot belong to uid {spec.uid}, gid {spec.gid}: {os.strerror(number)}"
        hint = "only root may give files away" if number == errno.EPERM else ""
    else:
        what = f"{where}: {why or os.strerror(number)}"
    return PapaError(
        f"{spec.name}: cannot listen: {what} (stage {stage})",
        code="listen-failed",
        hint=hint,
        details={"stage": stage, "errno": number},
    )


# --- what processes are told -----------------------------------------------------------------------------

_OPENING = "$(socket."


def substitute(argv: Iterable[str], socket_of: Callable[[str], Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Replaces each ``$(socket.NAME.fileno)`` and ``$(socket.NAME.port)``; returns the words, and the names
    of the sockets whose number was asked for, in order of appearance.

    ``socket_of`` gives the row of a socket. Raises: what it raises; PapaError bad-request for what cannot be
    replaced.
    """
    named: dict[str, None] = {}
    return [_substitute_word(word, socket_of, named) for word in argv], list(named)


def _substitute_word(word: str, socket_of: Callable[[str], Mapping[str, Any]], named: dict[str, None]) -> str:
    done = []
    rest = word
    while True:
        before, opening, rest = rest.partition(_OPENING)
        done.append(before)
        if not opening:
            return "".join(done)
        # A name may have dots in it: the last one ends it.
        inside, closing, rest = rest.partition(")")
        name, _, part = inside.rpartition(".")
        if not closing or not name or part not in ("fileno", "port"):
            raise PapaError(
                f"{_OPENING}{inside}{closing}: cannot be replaced",
                hint="write $(socket.NAME.fileno) or $(socket.NAME.port)",
            )
        row = socket_of(name)
        if part not in row:
            raise PapaError(f"{_OPENING}{inside}{closing}: the socket {name} has no {part}")
        if part == "fileno":
            named[name] = None
        done.append(str(row[part]))
