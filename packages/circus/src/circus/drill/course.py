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

from circus import clock, procfs
from circus.control.client import Client, target
from circus.drill import account, manager, premises, texts
from circus.drill.account import Process, Result, Round
from circus.drill.capture import Recorder
from circus.drill.kernel import Kernel
from circus.drill.logfiles import LogFile
from circus.drill.scene import Log, Scene
from circus.drill.visitors import MAX_SOCKETS, Visitor
from circus.errors import CircusError

#: Between two questions whether somebody answers again: how exact the seconds of blindness are.
ASK_S = 0.01

#: One question to a circusd that may be half up.
ANSWER_S = 2.0

#: Output that was written while nobody was there is in its file within this.
SETTLE_S = 20.0

#: After each kill the services are watched for as long again, so that what breaks late is seen.
WATCH_S = 0.5

Say = Callable[[str], None]


class Course:
    """One drill on ``scene``. ``say`` is told what is being done."""

    def __init__(self, scene: Scene, kernel: Kernel, wish: premises.Wish, say: Say) -> None:
        self._scene, self._kernel, self._wish, self._say = scene, kernel, wish, say
        self._pid = scene.pid
        self._recorder = Recorder()
        self._visitors: list[Visitor] = []
        self._files: dict[str, LogFile] = {}
        self._least: dict[tuple[int, str], int] = {}
        self._rounds: list[Round] = []
        self._signal = 0
        self._children: list[subprocess.Popen[bytes]] = []
        self._client = Client(scene.control, timeout_s=ANSWER_S)

    def run(self) -> Result:
        """Raises: CircusError failed, when it was interrupted or circusd did not come back."""
        with self._deferred_signals(), contextlib.ExitStack() as undo:
            undo.callback(self._close)
            self._watch()
            below = _below([process.pid for process in self._everybody()])
            before = self._counters()
            began_at = clock.wall()
            for _ in range(self._wish.rounds):
                self._kill_manager()
                if self._wish.kernel:
                    self._kill_kernel()
                    self._reexecute_kernel()
            self._settle()
            for visitor in self._visitors:
                visitor.close()
            alive = procfs.rows()
            there = {(row.pid, row.start_ticks) for row in alive.values() if row.state not in "ZX"}
            found = account.fates(self._everybody(), there, self._exits(there), began_at)
            return Result(
                fates=found,
                descendants=len(below),
                descendants_gone=sum(each not in there for each in below),
                connections=account.blamed([each.count for each in self._visitors], found),
                outputs=self._compare(before),
                rounds=self._rounds,
            )

    # Before -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        scene, wish = self._scene, self._wish
        for process in scene.processes:
            self._recorder.attach(process.kernel_id, process.pid, self._kernel.files(process.kernel_id))
        self._recorder.begin()
        for log in scene.logs:
            try:
                self._files[log.path] = LogFile(log.path)
            except OSError as error:
                log.why = f"it cannot be read: {error.strerror}"
        # What stands in the files by now was in the kernel by now.
        self._least = self._recorder.heads()
        self._recorder.catch_up()
        for row in scene.sockets[:MAX_SOCKETS]:
            self._visitors.append(Visitor(row, name=row["name"], held=wish.connections, path=wish.http))
        for visitor in self._visitors:
            visitor.begin()

    def _everybody(self) -> list[Process]:
        return self._scene.processes + (self._scene.others if self._wish.kernel else [])

    def _counters(self) -> dict[tuple[int, str], tuple[int, int]]:
        """(head, dropped) of each stream, as the kernel counts."""
        return {
            (row["id"], stream): (counts["head"], counts["dropped"])
            for row in self._kernel.rows()
            for stream, counts in row["streams"].items()
        }

    # Kills --------------------------------------------------------------------------------------------------

    def _kill_manager(self) -> None:
        self._obey_signals()
        found = procfs.row(self._pid)
        if found is None:
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
                "start it by hand, with the command that you know; the services run on in papa meanwhile",
            )
        self._pid = turn.successor = successor
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
        for process in self._scene.processes:  # its files are opened anew
            with contextlib.suppress(CircusError):
                self._recorder.attach(process.kernel_id, process.pid, self._kernel.files(process.kernel_id))
        turn.held_s = self._await_held(killed_at)
        self._say(f"papa serves as pid {turn.successor} after {turn.away_s:.2f} s")
        self._linger()

    def _linger(self) -> None:
        time.sleep(WATCH_S)

    # After --------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What was written until now is acknowledged, where somebody writes it to a file."""
        heads = self._recorder.heads()
        in_files = [key for log in self._scene.logs for key in log.streams if key in heads]
        deadline = clock.monotonic() + SETTLE_S
        while clock.monotonic() < deadline:
            self._obey_signals()
            acked = self._acked()
            if all(acked.get(key, heads[key]) >= heads[key] for key in in_files):
                return
            time.sleep(ASK_S)

    def _acked(self) -> dict[tuple[int, str], int]:
        return {
            (row["id"], stream): max(counts["acked"], counts["low"])
            for row in self._kernel.rows()
            for stream, counts in row["streams"].items()
        }

    def _exits(self, alive: set[tuple[int, int]]) -> dict[str, list[dict[str, object]]]:
        gone = {each.watcher for each in self._everybody() if (each.pid, each.start_ticks) not in alive}
        found: dict[str, list[dict[str, object]]] = {}
        for watcher in gone - {""}:
            with contextlib.suppress(CircusError):
                found[watcher] = self._client.get(target("watchers", watcher, "exits"))["exits"]
        return found

    def _compare(self, before: dict[tuple[int, str], tuple[int, int]]) -> list[account.Output]:
        acked = self._acked()
        added = {log.path: self._added(log) for log in self._scene.logs}
        self._recorder.catch_up()
        after = self._counters()
        outputs = [self._compared(log, added[log.path], acked) for log in self._scene.logs]
        outputs += [
            account.Output(where, len(streams), why="they go into no log file")
            for where, streams in sorted(self._scene.elsewhere.items())
        ]
        keys = [log.streams for log in self._scene.logs] + [each for _, each in sorted(self._scene.elsewhere.items())]
        for output, streams in zip(outputs, keys, strict=True):
            for key in streams:
                head, dropped = before.get(key, (0, 0))
                output.taken += max(0, after.get(key, (head, 0))[0] - head)
                output.dropped += max(0, after.get(key, (0, dropped))[1] - dropped)
            output.lost = max(output.lost, output.dropped)
        return outputs

    def _added(self, log: Log) -> list[bytes]:
        file = self._files.get(log.path)
        if file is None or log.why:
            return []
        try:
            return file.added()
        except texts.Unclear as error:
            log.why = str(error)
        except OSError as error:
            log.why = f"it cannot be read: {error.strerror}"
        return []

    def _compared(self, log: Log, added: list[bytes], acked: dict[tuple[int, str], int]) -> account.Output:
        output = account.Output(log.path, len(log.streams), why=log.why)
        streams = []
        for key in log.streams:
            recorded = self._recorder.streams.get(key)
            if recorded is None or not recorded.is_whole:
                output.why = output.why or "more was written than the drill has room for"
                continue
            sure_to = min(recorded.at, acked.get(key, recorded.at))
            streams.append(texts.Written(recorded.pieces, self._least.get(key, recorded.start), sure_to, recorded.pid))
        newcomers = self._newcomers(log)
        if newcomers and not output.why:
            output.why = f"{newcomers} processes that write into it were started meanwhile"
        if output.why:
            return output
        try:
            tally = texts.compare(log.look, added, streams)
        except texts.Unclear as error:
            output.why = str(error)
            return output
        output.compared, output.lost, output.doubled, output.unseen, output.said = tally
        return output

    def _newcomers(self, log: Log) -> int:
        """Processes of the watchers of this file that were not there when the drill began."""
        known = {process.kernel_id for process in self._scene.processes}
        watchers = {
            each.watcher for each in self._scene.processes if any(each.kernel_id == id for id, _ in log.streams)
        }
        return sum(
            row["id"] not in known
            for row in self._kernel.rows()
            if row["meta"].get("circusd") == self._scene.name and row["meta"].get("watcher") in watchers
        )

    # Signals ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _deferred_signals(self) -> Iterator[None]:
        def note(signum: int, _frame: FrameType | None) -> None:
            self._signal = signum

        former = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
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
        for visitor in self._visitors:
            visitor.close()
        self._recorder.close()
        for file in self._files.values():
            file.close()
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
