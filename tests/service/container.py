"""What makes a container for our purposes: a first process, mounts of its own, a read-only root.

The commands of a test come from outside: a unix socket is the same from both sides, pids are not.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]

#: $1 becomes the one place that can be written to; the rest is the program.
READ_ONLY = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
shift
mount -o remount,ro,bind /
exec "$@"
"""


def can_run() -> bool:
    """Whether this machine lets a test have one."""
    done = subprocess.run([*NAMESPACES, "mount", "--make-rprivate", "/"], capture_output=True)
    return done.returncode == 0


class Container:
    def __init__(self, *argv: str | Path, environ: dict[str, str], folder: Path) -> None:
        self.out = folder / "container.out"
        with self.out.open("ab") as out:
            self._outer = subprocess.Popen(
                [*NAMESPACES, *argv], env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def children(self, pid: int) -> list[int]:
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    @property
    def first(self) -> int:
        """Its first process, as this side numbers it."""
        return self.children(self._outer.pid)[0]

    def inside(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", str(self.first), "--mount", "--pid"]
        return subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=40)

    def signal(self, signum: int = signal.SIGTERM) -> None:
        os.kill(self.first, signum)

    def end(self, timeout_s: float = 30) -> int:
        """Its exit status."""
        return self._outer.wait(timeout_s)

    def close(self) -> None:
        self._outer.kill()
        self._outer.wait()
