"""The right to be the circusd of a name: a lock beside the control socket, and the socket itself, bound.

Claimed before anything else is touched, so that two circusds of one name never both adopt. Clients that come
between the claim and the first answer wait in the socket's queue. The lock file stays behind: to remove it
would open a gap between two who hold it.

A circusd that was killed while a disk hung keeps its lock and its socket for as long as its thread is in that disk.
Its successor locks another file, beside the one it cannot have and named for the dead holder; who comes later finds
the way from lock to lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator

from circus import procfs
from circus.control import auth
from circus.errors import CircusError
from papa import places
from papa.errors import PapaError

#: Clients that wait to be accepted; the system's own bound (net.core.somaxconn) is the same or larger.
BACKLOG = 128

#: How long to wait for a predecessor that no longer listens, but has not left yet: it may still write log files.
LEAVING_TIMEOUT_S = 30.0
LEAVING_RETRY_S = 0.02

#: What the lock file says: the pid of its holder.
_MAX_LOCK_TEXT = 20


class Claim:
    """Holds the listening socket until ``stop_listening``, and the name until ``release``.

    Between both its holder is leaving: clients are refused, a successor waits.
    """

    def __init__(self, path: str, sock: socket.socket, locks: list[int]) -> None:
        self.path = path
        self.sock = sock
        self._locks = locks
        self._identity = _identity(path)

    def descriptors(self) -> list[int]:
        """Of the socket, and then of the locks: the successor in this process goes on with them."""
        return [self.sock.fileno(), *self._locks]

    def stop_listening(self) -> None:
        """Removes the socket, unless another lies there now. Twice is once."""
        if self._identity is not None and _identity(self.path) == self._identity:
            os.unlink(self.path)
        self._identity = None
        self.sock.close()

    def release(self) -> None:
        """Gives the name away. Twice is once."""
        self.stop_listening()
        while self._locks:
            os.close(self._locks.pop())


def claim(path: str, *, is_open: bool = False) -> Claim:
    """Take the name whose control socket is ``path``; a directory is made only for the runtime root.

    ``is_open``: every user may connect, and who may speak is decided then; else nobody but our own.

    Blocks while a predecessor is leaving, so that `circusctl quit` and a start right after it cannot meet.

    Raises: CircusError conflict when a living circusd has it, failed when the socket cannot be made.
    """
    directory = os.path.dirname(path)
    locks: list[int] = []
    try:
        if directory == places.runtime_root():
            places.ensure_private_dir(directory)
        has_dead_holder = _lock(path, locks)
        return Claim(path, _listen(path, may_be_listened_to=has_dead_holder, is_open=is_open), locks)
    except BaseException as error:
        for fd in locks:
            os.close(fd)
        if isinstance(error, PapaError):
            raise CircusError("failed", error.message, error.hint) from None
        if isinstance(error, OSError):
            raise CircusError(
                "failed",
                f"{path}: the control socket cannot be made: {error.strerror or error}",
                f"does {directory} exist, and may you write there?",
            ) from None
        raise


def inherited(path: str, descriptors: list[int]) -> Claim:
    """The claim that this process had before it executed another program; see `Claim.descriptors`."""
    listening, *locks = descriptors
    return Claim(path, socket.socket(fileno=listening), locks)


def _lock(path: str, locks: list[int]) -> bool:
    """Puts the locks into ``locks``; whether a dead holder has one that cannot be had."""
    deadline = time.monotonic() + LEAVING_TIMEOUT_S
    name, has_dead_holder = f"{path}.lock", False
    names = [name]
    while True:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        locks.append(fd)
        dead = None
        while not (is_ours := _try_lock(fd)):
            holder = _holder(fd)
            if holder is not None and procfs.row(holder) is not None and procfs.has_ended(holder):
                if holder == dead:  # for a while: nobody else is about to write his number there
                    break
                dead = holder
                time.sleep(LEAVING_RETRY_S)
                continue
            if _is_listened_to(path) or time.monotonic() > deadline:
                raise _taken(path, f"pid {holder}" if holder is not None else "")
            time.sleep(LEAVING_RETRY_S)
        has_dead_holder = has_dead_holder or not is_ours
        if is_ours and _identity(name) != _identity(fd):
            # Whoever had it has taken it away: see below.
            return _lock_anew(path, locks)
        later = f"{path}.lock.{_holder(fd)}"
        if is_ours and not os.path.exists(later):
            break
        names.append(name := later)
    if not has_dead_holder:
        # The dead are gone: the first lock is enough again.
        for fd, name in zip(locks[1:], names[1:], strict=True):
            os.unlink(name)
            os.close(fd)
        del locks[1:]
    os.ftruncate(locks[-1], 0)
    os.pwrite(locks[-1], b"%d\n" % os.getpid(), 0)
    return has_dead_holder


def _lock_anew(path: str, locks: list[int]) -> bool:
    while locks:
        os.close(locks.pop())
    return _lock(path, locks)


def _holder(fd: int) -> int | None:
    text = os.pread(fd, _MAX_LOCK_TEXT, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else None


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listen(path: str, *, may_be_listened_to: bool, is_open: bool) -> socket.socket:
    """The lock is ours, so what lies at ``path`` is left over, unless somebody took the lock file away."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        _remove_left_over(path, may_be_listened_to=may_be_listened_to)
        # unix(7) takes the mode from the socket and the umask: set beforehand, there is no moment at which
        # others could connect, and the umask, which other threads rely on, is left alone.
        os.fchmod(sock.fileno(), 0o666 if is_open else 0o600)
        with places.unix_address(path) as address, _nothing_masked(is_open):
            sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _nothing_masked(is_open: bool) -> Iterator[None]:
    """circusd has no other threads yet; and a mode that was changed afterwards might be another file's."""
    if not is_open:
        yield
        return
    umask = os.umask(0)
    try:
        yield
    finally:
        os.umask(umask)


def _remove_left_over(path: str, *, may_be_listened_to: bool) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CircusError("failed", f"{path}: is no socket", "remove it, or choose another control socket")
    if _is_listened_to(path, by_the_dead=not may_be_listened_to):
        raise _taken(path, "")
    os.unlink(path)


def _is_listened_to(path: str, *, by_the_dead: bool = True) -> bool:
    """Not ``by_the_dead``: by somebody who certainly lives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, places.unix_address(path) as address:
        probe.setblocking(False)
        found = probe.connect_ex(address)
        if not by_the_dead:
            return found == 0 and not auth.has_ended(probe)
        return found in (0, errno.EAGAIN)  # EAGAIN: its queue is full


def _identity(path: str | int) -> tuple[int, int] | None:
    try:
        status = os.fstat(path) if isinstance(path, int) else os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _taken(path: str, holder: str) -> CircusError:
    return CircusError(
        "conflict",
        f"a circusd runs already at {path}" + (f" ({holder})" if holder else ""),
        "end it by `circusctl quit`, or give this one a name of its own: [circus] name",
    )
