"""Who ended, and how.

The one idea: each process is watched through its own pidfd, so an exit is one event of the loop for one
process, whoever its parent is:

- A child of ours is readable when it ended; waitid has the status. Who is told of the exit reaps it, when it is
  recorded: what a kernel reaps and is killed over nobody can tell any more where pidfds do not know it.
- A process that an earlier incarnation started is a child of the holder. It is watched for a hang-up only:
  that comes when the holder has reaped it, and from then on the pidfd itself knows the status (tier full).
  To wait for readability would spin, because a zombie that nobody has reaped yet stays readable.
- In tier pidfd the status of such a process is read while it is a zombie, else the holder, which records
  before it reaps, is asked.
- In tier portable SIGCHLD says that some child ended, and each is asked. Where nothing tells of an end (no
  pidfd and no child), the process is looked at once a second: the one wait with a tick, and only there.

What an exit means for outputs, records and clients is not decided here.
"""

from __future__ import annotations

import signal
import time

from papa.kernel import system
from papa.kernel.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from papa.kernel.loop import Loop

#: How often a process is looked at of whose end nothing tells.
LOOK_S = 1.0


class _Life:
    """One process that is watched."""

    __slots__ = ("is_child", "pid", "pidfd", "ticks")

    def __init__(self, pid: int, ticks: int | None, pidfd: int | None, *, is_child: bool) -> None:
        self.pid = pid
        self.ticks = ticks
        self.pidfd = pidfd
        self.is_child = is_child


class Reaper:
    """Calls ``on_exit(number, status)`` once for each process that was added; the status may be unknown."""

    __slots__ = ("_lives", "_looks", "_loop", "_on_exit", "_tier", "foreign_status")

    def __init__(self, loop: Loop, tier: str, on_exit: Callable[[int, int | None], None]) -> None:
        self._loop = loop
        self._tier = tier
        self._on_exit = on_exit
        self._lives: dict[int, _Life] = {}
        self._looks = False
        self.foreign_status: Callable[[int, int], int | None] | None = None
        if tier == "portable":
            loop.on_signal(signal.SIGCHLD, self._ask_all)

    def add(self, number: int, pid: int, ticks: int | None, pidfd: int | None) -> None:
        """Watches a process from now on, or one that ended already. The pidfd stays the caller's."""
        life = _Life(pid, ticks, pidfd, is_child=_is_child(pid, pidfd))
        self._lives[number] = life
        if pidfd is None:
            # It may have ended before it was known here.
            self._loop.after_turn(self._ask_all)
            if self._is_silent(life):
                self._look_later()
            return
        events = 0 if self._tier == "full" and not life.is_child else READ
        self._loop.watch(pidfd, events, lambda _ready: self._on_pidfd(number, life))

    def forget(self, number: int) -> None:
        """Stops watching; one that is not watched is fine."""
        life = self._lives.pop(number, None)
        if life is not None and life.pidfd is not None:
            self._loop.forget(life.pidfd)

    def _on_pidfd(self, number: int, life: _Life) -> None:
        assert life.pidfd is not None
        if life.is_child:
            status = system.child_status(life.pidfd)
            if status is None:
                return
        elif self._tier == "full":
            status = system.exit_status_by_pidfd(life.pidfd)
        else:
            status = self._status_of_foreign(life)
        self._end(number, status)

    def _status_of_foreign(self, life: _Life) -> int | None:
        if life.ticks is None:
            return None
        status = system.zombie_status(life.pid, life.ticks)
        if status is None and self.foreign_status is not None:
            status = self.foreign_status(life.pid, life.ticks)
        return status

    def _ask_all(self) -> None:
        for number, life in list(self._lives.items()):
            if life.pidfd is not None:
                continue
            if life.is_child:
                status = system.child_status(life.pid, is_pidfd=False)
                if status is not None:
                    self._end(number, status)
            elif not system.is_alive(life.pid, life.ticks):
                self._end(number, self._status_of_foreign(life))

    def _look_later(self) -> None:
        if not self._looks:
            self._looks = True
            self._loop.call_at(time.monotonic() + LOOK_S, self._look)

    def _look(self) -> None:
        self._looks = False
        self._ask_all()
        if any(self._is_silent(life) for life in self._lives.values()):
            self._look_later()

    def _is_silent(self, life: _Life) -> bool:
        """Whether nothing would tell of its end: no pidfd (none was left to open), and no SIGCHLD."""
        return life.pidfd is None and not (life.is_child and self._tier == "portable")

    def _end(self, number: int, status: int | None) -> None:
        self.forget(number)
        self._on_exit(number, status)


def _is_child(pid: int, pidfd: int | None) -> bool:
    try:
        system.child_status(pid if pidfd is None else pidfd, is_pidfd=pidfd is not None)
    except ChildProcessError:
        return False
    return True
