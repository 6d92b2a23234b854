"""That there is one circusd of a name, and one pid in a pidfile.

The lock is the kernel's (flock), so that it ends with its holder, however that ended; the file's content is only
for people.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from circus.errors import CircusError
from papa import places
from papa.errors import PapaError


class Lock:
    """Held from construction until the process ends, or ``close``.

    Raises:
        CircusError: conflict, when another circusd of that name lives.
    """

    def __init__(self, name: str) -> None:
        root = places.runtime_root()
        try:
            places.ensure_private_dir(root)
        except PapaError as error:
            raise CircusError("failed", error.message, error.hint) from error
        path = f"{root}/circus-{name}.lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise CircusError(
                "conflict",
                f"circusd {name!r} is already running (pid {pid})",
                "give this one another name with `name = ...` in [circus], or stop the other with `circusctl quit`",
            ) from None

    def write_pid(self) -> None:
        """Say who holds it; after the last fork."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)


class Pidfile:
    """``PID\\n``, mode 0644. A file with a dead or no pid in it is overwritten.

    Raises:
        CircusError: conflict, when the file names a living process; failed, when it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        pid = self._read()
        if pid is not None and pid != os.getpid() and _is_alive(pid):
            raise CircusError(
                "conflict",
                f"pid file {path!r} is stale, current pid {pid}",
                "another circusd runs with it, or its pid was reused: remove the file if so",
            )
        if not self.path.parent.is_dir():
            raise CircusError("failed", f"pid file {path}: there is no directory {self.path.parent}")

    def write(self) -> None:
        """Write this process's pid; after the last fork."""
        try:
            with self.path.open("w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
                file.flush()
                os.fsync(file.fileno())
            self.path.chmod(0o644)
        except OSError as error:
            raise CircusError("failed", f"pid file {self.path}: {error.strerror}") from error

    def remove(self) -> None:
        if self._read() == os.getpid():
            self.path.unlink(missing_ok=True)

    def _read(self) -> int | None:
        try:
            return int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
