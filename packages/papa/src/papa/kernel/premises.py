"""The premises: the kernel notices when its directory or its control socket is taken away from under it.

The one idea: a kernel that nobody can find is either useless or dangerous, as a second one would be started beside
it. So it asks the system to be told (dnotify, fcntl(2) F_NOTIFY: no polling, no library) of what is removed in
its directory and in the one above, and then looks. A control socket that is gone is opened again, and a log. A
directory that is gone is made and locked again while something is hosted; a kernel that hosts nothing leaves, as the
tests and temporary roots of this world go by `rm -r`.

What else was in the directory is the host's (papa.kernel.state).
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from papa.kernel.loop import Loop
    from papa.places import Instance

#: Ignored by default, so that a note which comes as this program ends, or executes another, harms nobody.
NOTE = signal.SIGURG

#: A removal is many steps; one that is under way is let finish before anything is made again.
SETTLE_S = 0.5

#: Before what failed is tried again; a full file system is the likely cause.
RETRY_S = 5.0


class Premises:
    """Looks after one directory. What is to be done about what is missing is called from the loop."""

    __slots__ = ("_fds", "_instance", "_is_settling", "_loop", "_on_directory", "_on_log", "_on_socket")

    def __init__(
        self,
        loop: Loop,
        instance: Instance,
        *,
        on_missing_socket: Callable[[], None],
        on_missing_directory: Callable[[], None],
        on_missing_log: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._instance = instance
        self._on_socket = on_missing_socket
        self._on_log = on_missing_log
        self._on_directory = on_missing_directory
        self._fds: list[int] = []
        self._is_settling = False

    def watch(self) -> None:
        """From now on; again, after a directory was made anew."""
        self.close()
        if not hasattr(fcntl, "F_NOTIFY"):
            return
        self._loop.on_signal(NOTE, self._on_note)
        for path in (self._instance.directory, os.path.dirname(self._instance.directory)):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._fds.append(fd)
                fcntl.fcntl(fd, fcntl.F_SETSIG, NOTE)
                fcntl.fcntl(fd, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT)
            except OSError:
                # A file system, or a system, that does not tell: then nobody looks.
                continue

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def look_again(self) -> None:
        """After a while, without being told: what was to be made again could not be."""
        self._look_in(RETRY_S)

    def _on_note(self) -> None:
        if not self._is_complete():
            self._look_in(SETTLE_S)

    def _look_in(self, seconds: float) -> None:
        if not self._is_settling:
            self._is_settling = True
            self._loop.call_at(time.monotonic() + seconds, self._look)

    def _look(self) -> None:
        self._is_settling = False
        if not self._has_directory():
            self._on_directory()
            return
        if not os.path.exists(self._instance.log_path):
            self._on_log()
        if not os.path.exists(self._instance.control_path):
            self._on_socket()

    def _is_complete(self) -> bool:
        paths = self._instance.control_path, self._instance.log_path
        return self._has_directory() and all(os.path.exists(path) for path in paths)

    def _has_directory(self) -> bool:
        """Whether the directory of that name is still the one that was there when watch() was called."""
        if not self._fds:
            return True
        try:
            return os.path.samestat(os.fstat(self._fds[0]), os.stat(self._instance.directory))
        except OSError:
            return False
