"""The file that tells scripts circusd's pid.

That there is one circusd of a name is decided by the claim on its control socket; this is only a courtesy.
"""

from __future__ import annotations

import os
from pathlib import Path

from circus.errors import CircusError


class Pidfile:
    """``PID\\n``, mode 0644. A file with a dead or no pid in it is overwritten.

    Raises:
        CircusError: failed, when there is no directory for it.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        if not self.path.parent.is_dir():
            raise CircusError(
                "failed",
                f"pid file {path}: there is no directory {self.path.parent}",
                "make it, or correct pidfile or --pidfile",
            )

    def write(self) -> None:
        """Write this process's pid; after the last fork, and when no predecessor is leaving any more.

        Raises:
            CircusError: conflict, when the file names a living process; failed, when it cannot be written.
        """
        pid = self._read()
        if pid is not None and pid != os.getpid() and _is_alive(pid):
            raise CircusError(
                "conflict",
                f"pid file {str(self.path)!r} is stale, current pid {pid}",
                "another circusd runs with it, or its pid was reused: remove the file if so",
            )
        try:
            with self.path.open("w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
                file.flush()
                os.fsync(file.fileno())
            self.path.chmod(0o644)
        except OSError as error:
            raise CircusError(
                "failed", f"pid file {self.path}: {error.strerror}", "correct pidfile or --pidfile"
            ) from error

    def remove(self) -> None:
        if self._read() == os.getpid():
            self.path.unlink(missing_ok=True)

    def _read(self) -> int | None:
        try:
            return int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _is_alive(pid: int) -> bool:
    """A zombie that nobody has reaped yet is dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in (b"Z", b"X")
