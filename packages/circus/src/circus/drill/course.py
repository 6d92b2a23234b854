"""The drill itself: look, begin to watch, kill, wait, compare.

Whatever happens between a kill and the return of circusd, circusd is brought back before anything else: a signal to
end is only noted there, and obeyed behind it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from circus import clock, procfs
from circus.control.client import Client, target
from circus.drill import account, manager, premises
from circus.drill.account import Process, Result, Round
from circus.drill.evidence import Evidence
from circus.drill.kernel import Kernel
from circus.drill.scene import Scene
from circus.errors import CircusError

#: Between two questions whether somebody answers again: how exact the seconds of blindness are.
ASK_S = 0.01

#: One question to a circusd that may be half up.
ANSWER_S = 2.0

#: After each kill the services are watched for as long again, so that what breaks late is seen.
WATCH_S = 0.5

#: What a terminal, its end, or a host that goes down sends.
_DEFERRED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]


class Course:
    """One drill on ``scene``. ``say`` is told what is being done."""

    def __init__(self, scene: Scene, kernel: Kernel, wish: premises.Wish, say: Say) -> None:
        self._scene, self._kernel, self._wish, self._say = scene, kernel, wish, say
        self._pid = scene.pid
        self._started = scene.circusd.start_ticks
        self._evidence = Evidence(scene, self._rows)
        self._rounds: list[Round] = []
        self._signal = 0
        self._children: list[subprocess.Popen[bytes]] = []
        self._client = Client(scene.control, timeout_s=ANSWER_S)

    def run(self) -> Result:
        """Raises: CircusError failed, when it was interrupted or circusd did not come back."""
        with self._deferred_signals(), contextlib.ExitStack() as undo:
            undo.callback(self._close)
            self._evidence.begin(self._kernel, self._wish)
            below = _below([process.pid for process in self._everybody()])
            began_at = clock.wall()
            for _ in range(self._wish.rounds):
                self._kill_manager()
                if self._wish.kernel:
                    self._kill_kernel()
                    if self._rounds[-1].successor is None:
                        break
                    self._reexecute_kernel()
            self._evidence.settle(self._obey_signals)
            alive = {(row.pid, row.start_ticks) for row in procfs.rows().values() if row.state not in "ZX"}
            fates = account.fates(self._everybody(), alive, self._exits(alive), began_at)
            return Result(
                fates=fates,
                descendants=len(below),
                descendants_gone=sum(each not in alive for each in below),
                connections=self._evidence.connections(fates),
                outputs=self._evidence.outputs(),
                rounds=self._rounds,
            )

    def _everybody(self) -> list[Process]:
        return self._scene.processes + (self._scene.others if self._wish.kernel else [])

    def _rows(self) -> list[dict[str, Any]]:
        """All that the kernel hosts; nothing while it is away."""
        if self._rounds and self._rounds[-1].successor is None:
            return []
        with contextlib.suppress(CircusError):
            return self._kernel.rows()
        return []

    # Kills --------------------------------------------------------------------------------------------------

    def _kill_manager(self) -> None:
        self._obey_signals()
        found = procfs.row(self._pid)
        if found is None or found.start_ticks != self._started:  # the pid may be another's by now
            raise CircusError("failed", f"circusd (pid {self._pid}) ended before it was killed", "its log says why")
        keeper = manager.keeper(self._pid)  # one that the drill has started may have a warden now
        turn = Round("circusd", self._pid, keeper or "the drill")
        self._rounds.append(turn)
        self._say(f"kill -9 {self._pid}")
        killed_at = clock.monotonic()
        manager.kill(found, signal.SIGKILL, self._wish.patience_s)
        if not keeper:
            self._children.append(manager.start(self._scene.start))
        successor = self._await_manager(killed_at + self._wish.patience_s)
        if successor is None and keeper:
            turn.by = f"the drill, for {keeper} did not"
            self._children.append(manager.start(self._scene.start))
            successor = self._await_manager(clock.monotonic() + self._wish.patience_s)
        if successor is None:
            raise CircusError(
                "failed",
                f"circusd was killed and none answers at {self._scene.control} within {self._wish.patience_s:g} s",
                f"{turn.by} has started one, see its log; the services run on in papa meanwhile",
            )
        self._pid = turn.successor = successor
        self._started = getattr(procfs.row(successor), "start_ticks", 0)
        turn.away_s = clock.monotonic() - killed_at
        turn.held_s = self._await_held(killed_at)
        self._say(f"circusd is back as pid {successor} after {turn.away_s:.2f} s")
        self._linger()

    def _await_manager(self, deadline: float) -> int | None:
        """The pid of the next one, as soon as it answers."""
        while clock.monotonic() < deadline:
            with contextlib.suppress(CircusError):
                return int(self._client.get(target("version"))["pid"])
            time.sleep(ASK_S)
        return None

    def _await_held(self, killed_at: float) -> float | None:
        """Seconds from the kill until circusd holds every process of its own that runs."""
        deadline = clock.monotonic() + self._wish.patience_s
        ours = {process.kernel_id for process in self._scene.processes}
        while clock.monotonic() < deadline:
            with contextlib.suppress(CircusError):
                rows = [row for row in self._kernel.rows() if row["id"] in ours and row["running"]]
                if all(row["owner"] == self._scene.owner for row in rows):
                    return clock.monotonic() - killed_at
            time.sleep(ASK_S)
        return None

    def _kill_kernel(self) -> None:
        self._obey_signals()
        self._kernel.connect()
        turn = Round("papa", self._kernel.pid, "its holder")
        self._rounds.append(turn)
        self._say(f"kill -9 {turn.pid} (papa)")
        killed_at = clock.monotonic()
        self._kernel.kill()
        self._await_kernel(turn, killed_at, is_other=True)

    def _reexecute_kernel(self) -> None:
        self._obey_signals()
        self._kernel.connect()
        turn = Round("papa upgrade", self._kernel.pid, "itself")
        self._rounds.append(turn)
        self._say("papa upgrade")
        began_at = clock.monotonic()
        self._kernel.reexecute()
        self._await_kernel(turn, began_at, is_other=False)

    def _await_kernel(self, turn: Round, killed_at: float, *, is_other: bool) -> None:
        deadline = killed_at + self._wish.patience_s
        while turn.successor is None and clock.monotonic() < deadline:
            with contextlib.suppress(CircusError):
                self._kernel.connect(max(0.1, deadline - clock.monotonic()))
                if self._kernel.pid != turn.pid or not is_other:
                    turn.successor, turn.away_s = self._kernel.pid, clock.monotonic() - killed_at
                    break
            time.sleep(ASK_S)
        if turn.successor is None:
            return
        self._evidence.reopen(self._kernel)
        turn.held_s = self._await_held(killed_at)
        self._say(f"papa serves as pid {turn.successor} after {turn.away_s:.2f} s")
        self._linger()

    def _linger(self) -> None:
        time.sleep(WATCH_S)

    # After --------------------------------------------------------------------------------------------------

    def _exits(self, alive: set[tuple[int, int]]) -> dict[str, list[dict[str, object]]]:
        gone = {each.watcher for each in self._everybody() if (each.pid, each.start_ticks) not in alive}
        found: dict[str, list[dict[str, object]]] = {}
        for watcher in gone - {""}:
            with contextlib.suppress(CircusError):
                found[watcher] = self._client.get(target("watchers", watcher, "exits"))["exits"]
        return found

    # Signals ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _deferred_signals(self) -> Iterator[None]:
        def note(signum: int, _frame: FrameType | None) -> None:
            self._signal = signum

        former = {signum: signal.signal(signum, note) for signum in _DEFERRED}
        try:
            yield
            self._obey_signals()
        finally:
            for signum, handler in former.items():
                signal.signal(signum, handler)

    def _obey_signals(self) -> None:
        if self._signal:
            raise CircusError(
                "failed",
                f"the drill was ended by {signal.Signals(self._signal).name} before it was over",
                f"circusd runs as pid {self._pid}; nothing is said about the promise",
            )

    def _close(self) -> None:
        self._evidence.close()
        for child in self._children:
            child.poll()
            child.returncode = child.returncode or 0  # it lives on without us, and nobody shall warn of it


def _below(pids: Iterable[int]) -> list[tuple[int, int]]:
    """Pid and start of all that descends from these processes."""
    families = procfs.families(procfs.rows())
    found = [row for pid in pids for row in families.get(pid, [])]
    for each in found:
        found += families.get(each.pid, [])
    return [(row.pid, row.start_ticks) for row in found]
