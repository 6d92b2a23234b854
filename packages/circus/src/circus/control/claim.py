"""The right to be the circusd of a name: a lock beside the control socket, and the socket itself, bound.

Claimed before anything else is touched, so that two circusds of one name never both adopt. Clients that come
between the claim and the first answer wait in the socket's queue. The lock file stays behind: to remove it
would open a gap between two who hold it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time

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

    def __init__(self, path: str, sock: socket.socket, lock_fd: int) -> None:
        self.path = path
        self.sock = sock
        self._lock_fd = lock_fd
        self._identity = _identity(path)

    def stop_listening(self) -> None:
        """Removes the socket, unless another lies there now. Twice is once."""
        if self._identity is not None and _identity(self.path) == self._identity:
            os.unlink(self.path)
        self._identity = None
        self.sock.close()

    def release(self) -> None:
        """Gives the name away. Twice is once."""
        self.stop_listening()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def claim(path: str) -> Claim:
    """Take the name whose control socket is ``path``; a directory is made only for the runtime root.

    Blocks while a predecessor is leaving, so that `circusctl quit` and a start right after it cannot meet.

    Raises: CircusError conflict when a living circusd has it, failed when the socket cannot be made.
    """
    directory = os.path.dirname(path)
    lock_fd = -1
    try:
        if directory == places.runtime_root():
            places.ensure_private_dir(directory)
        lock_fd = _lock(path)
        return Claim(path, _listen(path), lock_fd)
    except BaseException as error:
        if lock_fd >= 0:
            os.close(lock_fd)
        if isinstance(error, PapaError):
            raise CircusError("failed", error.message, error.hint) from None
        if isinstance(error, OSError):
            raise CircusError(
                "failed",
                f"{path}: the control socket cannot be made: {error.strerror or error}",
                f"does {directory} exist, and may you write there?",
            ) from None
        raise


def _lock(path: str) -> int:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LEAVING_TIMEOUT_S
        while not _try_lock(fd):
            if _is_listened_to(path) or time.monotonic() > deadline:
                holder = os.pread(fd, _MAX_LOCK_TEXT, 0).decode("ascii", "replace").strip()
                raise _taken(path, f"pid {holder}" if holder.isdigit() else "")
            time.sleep(LEAVING_RETRY_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listen(path: str) -> socket.socket:
    """The lock is ours, so what lies at ``path`` is left over, unless somebody took the lock file away."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        _remove_left_over(path)
        # unix(7) takes the mode from the socket and the umask: set beforehand, there is no moment at which
        # others could connect, and the umask, which other threads rely on, is left alone.
        os.fchmod(sock.fileno(), 0o600)
        with places.unix_address(path) as address:
            sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_left_over(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CircusError("failed", f"{path}: is no socket", "remove it, or choose another control socket")
    if _is_listened_to(path):
        raise _taken(path, "")
    os.unlink(path)


def _is_listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, places.unix_address(path) as address:
        probe.setblocking(False)
        return probe.connect_ex(address) in (0, errno.EAGAIN)  # EAGAIN: its queue is full


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _taken(path: str, holder: str) -> CircusError:
    return CircusError(
        "conflict",
        f"a circusd runs already at {path}" + (f" ({holder})" if holder else ""),
        "end it by `circusctl quit`, or give this one a name of its own: [circus] name",
    )
