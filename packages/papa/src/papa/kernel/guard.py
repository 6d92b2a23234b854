"""The guard: the kernel watches the holder that watches the kernel.

The one idea: a holder killed alone costs nothing as long as the kernel notices before it dies itself. The
guard sees the end of the holder by its pidfd and starts a replacement (see papa.kernel.holder) on the same
vault and lock. A replacement is the kernel's child and not its parent; so the kernel tells it to leave by a
line in a pipe, and across an upgrade the pipe is what the next incarnation must inherit.

Where there are no pidfds there is no vault either, and a holder has nothing to hold: no guard is needed.
"""

from __future__ import annotations

import os
import signal
import time

from papa import jsontext, places
from papa.kernel import holder, system
from papa.kernel.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from papa.kernel.loop import Loop

#: A replacement that ends sooner than this did not come into being.
STILLBORN_S = 2.0

#: Pauses before the next attempt after one, two, three... stillborn ones in a row, as in the holder's own loop.
PAUSES_S = (0.1, 1.0, 10.0)


class Guard:
    """Watches one holder after the other; ``on_change`` is told the pid of each, None while there is none."""

    __slots__ = ("_kernel", "_loop", "_on_change", "_pidfd", "_pipe", "_started", "_stillborn", "pid")

    def __init__(self, loop: Loop, kernel: dict[str, Any], on_change: Callable[[int | None], None]) -> None:
        """``kernel`` describes this one (papa.kernel.daemon): a replacement starts the next one from it."""
        self._loop = loop
        self._kernel = kernel
        self._on_change = on_change
        self._pidfd = -1
        self._pipe = -1
        self._started = 0.0
        self._stillborn = 0
        self.pid: int | None = None

    def begin(self, parent: int, standby: tuple[int, int] | None) -> None:
        """Watches the holder: the replacement ``standby`` (pid, pipe), if there is one, else ``parent``."""
        if standby is not None:
            pid, self._pipe = standby
            os.set_inheritable(self._pipe, False)
            self._watch(pid)
        elif os.getppid() == parent:
            self._watch(parent)
        else:
            self._replace()

    def standby(self) -> tuple[int, int] | None:
        """What begin() of the next incarnation needs, after an exec in place."""
        return (self.pid, self._pipe) if self.pid is not None and self._pipe >= 0 else None

    def dismiss(self) -> None:
        """Lets a replacement leave; a parent leaves by the kernel's exit status."""
        if self._pipe >= 0:
            try:
                os.write(self._pipe, b"exit\n")
            except OSError:
                # It is gone already.
                pass

    def renew(self) -> None:
        """Has the holder replaced, because the lock that it holds is on a directory that is gone.

        The replacement is there before the other one goes: at any moment somebody holds the vault. It ends the other
        one as well, in case that we are killed before we can.
        """
        if self.pid is None:
            return
        old, old_pipe = self.pid, self._pipe
        try:
            pid = self._start(instead=old)
        except OSError:
            # It is tried again as soon as the end of the old one is seen.
            self._kill()
            return
        self._kill()
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        if old_pipe >= 0:
            os.close(old_pipe)
            os.waitpid(old, 0)
        self._watch(pid)

    def _kill(self) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            # By itself, or its replacement was faster; who has its number now is none of ours.
            pass

    def _watch(self, pid: int) -> None:
        pidfd = system.pidfd_open(pid)
        if pidfd is None:
            self._replace()
            return
        self.pid = pid
        self._pidfd = pidfd
        self._loop.watch(pidfd, READ, self._on_end)
        self._on_change(pid)

    def _on_end(self, _ready: int) -> None:
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        assert self.pid is not None
        system.log(f"holder {self.pid} ended; it is replaced")
        is_own_child = self._pipe >= 0
        if is_own_child:
            os.close(self._pipe)
            self._pipe = -1
            try:
                os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pass
        self.pid = None
        self._on_change(None)
        if is_own_child and time.monotonic() - self._started < STILLBORN_S:
            self._replace_later()
        else:
            self._stillborn = 0
            self._replace()

    def _replace_later(self) -> None:
        pause = PAUSES_S[min(self._stillborn, len(PAUSES_S) - 1)]
        self._stillborn += 1
        self._loop.call_at(time.monotonic() + pause, self._replace)

    def _replace(self) -> None:
        try:
            pid = self._start()
        except OSError as error:
            system.log(f"holder cannot be replaced: {error.strerror}")
            self._replace_later()
            return
        self._watch(pid)

    def _start(self, instead: int | None = None) -> int:
        self._started = time.monotonic()
        pid = self._spawn(instead)
        system.log(f"holder replaced pid={pid}")
        return pid

    def _spawn(self, instead: int | None) -> int:
        reader, writer = os.pipe()
        self._kernel["version"] = places.HANDED_VERSION
        how: dict[str, Any] = {"rx": holder.RX, "tx": holder.TX, "lock": holder.LOCK, "pipe": holder.PIPE}
        if instead is not None:
            how["instead"] = [instead, system.start_ticks(instead)]
        argv = [*places.program("papa.kernel.holder"), jsontext.dumps(self._kernel), jsontext.dumps(how)]
        # A dup2 onto itself takes the close-on-exec flag away (posix_spawn_file_actions_adddup2(3)).
        actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (holder.RX, holder.TX, holder.LOCK)]
        actions.append((os.POSIX_SPAWN_DUP2, reader, holder.PIPE))
        try:
            pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=actions,
                setsid=True,
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                setsigmask=[],
            )
        except OSError:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._pipe = writer
        return pid
