"""What is watched during a drill: streams in the kernel's files, log files, held sockets; and what that proves.

Begun before the first kill, closed behind the last. Asks the kernel only through ``rows``, which answers with nothing
while the kernel is away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from circus import clock
from circus.drill import account, premises, texts
from circus.drill.capture import Recorder
from circus.drill.kernel import Kernel
from circus.drill.logfiles import LogFile
from circus.drill.scene import Log, Scene
from circus.drill.visitors import MAX_SOCKETS, Visitor
from circus.errors import CircusError

#: Output that was written while nobody was there is in its file within this.
SETTLE_S = 20.0

#: Between two looks at what the kernel says.
ASK_S = 0.01

#: A stream: the kernel's id of the process, and its name there.
Key = tuple[int, str]


class Evidence:
    def __init__(self, scene: Scene, rows: Callable[[], list[dict[str, Any]]]) -> None:
        self._scene, self._rows = scene, rows
        self._recorder = Recorder()
        self._visitors: list[Visitor] = []
        self._files: dict[str, LogFile] = {}
        self._sure_from: dict[Key, int] = {}
        self._before: dict[Key, tuple[int, int]] = {}

    def begin(self, kernel: Kernel, wish: premises.Wish) -> None:
        """Raises: CircusError, when the kernel does not answer."""
        for process in self._scene.processes:
            self._recorder.attach(process.kernel_id, process.pid, kernel.files(process.kernel_id))
        self._recorder.begin()
        for log in self._scene.logs:
            try:
                self._files[log.path] = LogFile(log.path)
            except OSError as error:
                log.why = f"it cannot be read: {error.strerror}"
        # What stands in the files by now was in the kernel by now.
        self._sure_from = self._recorder.heads()
        self._recorder.catch_up()
        self._before = self._counters()
        if wish.connections or wish.http:
            for row in self._scene.sockets[:MAX_SOCKETS]:
                self._visitors.append(Visitor(row, name=row["name"], held=wish.connections, path=wish.http))
        for visitor in self._visitors:
            visitor.begin()

    def reopen(self, kernel: Kernel) -> None:
        """There is another kernel, which has opened its files anew."""
        for process in self._scene.processes:
            with contextlib.suppress(CircusError):
                self._recorder.attach(process.kernel_id, process.pid, kernel.files(process.kernel_id))

    def settle(self, go_on: Callable[[], None]) -> None:
        """Wait until what was written until now is acknowledged, where somebody writes it to a file."""
        heads = self._recorder.heads()
        in_files = [key for log in self._scene.logs for key in log.streams if key in heads]
        deadline = clock.monotonic() + SETTLE_S
        while clock.monotonic() < deadline and (acked := self._acked()) is not None:
            go_on()
            if all(acked.get(key, heads[key]) >= heads[key] for key in in_files):
                return
            time.sleep(ASK_S)

    def connections(self, fates: account.Fates) -> list[account.Connections]:
        """No more visits; what became of all."""
        for visitor in self._visitors:
            visitor.close()
        return account.blamed([each.count for each in self._visitors], fates)

    def outputs(self) -> list[account.Output]:
        acked = self._acked()
        added = {log.path: self._added(log) for log in self._scene.logs}
        self._recorder.catch_up()
        after = self._counters()
        told = [(self._compared(log, added[log.path], acked), log.streams) for log in self._scene.logs]
        told += [
            (account.Output(where, len(streams), why="they go into no log file"), streams)
            for where, streams in sorted(self._scene.elsewhere.items())
        ]
        for output, streams in told:
            for key in streams:
                head, dropped = self._before.get(key, (0, 0))
                output.taken += max(0, after.get(key, (head, 0))[0] - head)
                output.dropped += max(0, after.get(key, (0, dropped))[1] - dropped)
            output.lost = max(output.lost, output.dropped)
        return [output for output, _ in told]

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.close()
        self._recorder.close()
        for file in self._files.values():
            file.close()

    def _counters(self) -> dict[Key, tuple[int, int]]:
        """(head, dropped) of each stream, as the kernel counts."""
        return {
            (row["id"], stream): (counts["head"], counts["dropped"])
            for row in self._rows()
            for stream, counts in row["streams"].items()
        }

    def _acked(self) -> dict[Key, int] | None:
        """Who is not there has nothing that is not acknowledged. None: the kernel is away, and nobody knows."""
        rows = self._rows()
        if not rows and self._scene.processes:
            return None
        return {
            (row["id"], stream): max(counts["acked"], counts["low"])
            for row in rows
            for stream, counts in row["streams"].items()
        }

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

    def _compared(self, log: Log, added: list[bytes], acked: dict[Key, int] | None) -> account.Output:
        output = account.Output(log.path, len(log.streams), why=log.why)
        streams = []
        for key in log.streams:
            recorded = self._recorder.streams.get(key)
            if recorded is None or not recorded.is_whole:
                output.why = output.why or "more was written than the drill has room for"
                continue
            sure_from = self._sure_from.get(key, recorded.start)
            sure_to = sure_from if acked is None else min(recorded.at, acked.get(key, recorded.at))
            streams.append(texts.Written(recorded.pieces, sure_from, sure_to, recorded.pid))
        if not output.why and (newcomers := self._newcomers(log)):
            output.why = f"{newcomers} processes of its watchers were started meanwhile"
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
        known = {process.kernel_id: process.watcher for process in self._scene.processes}
        watchers = {known[id] for id, _ in log.streams}
        return sum(
            row["id"] not in known
            for row in self._rows()
            if row["meta"].get("circusd") == self._scene.name and row["meta"].get("watcher") in watchers
        )
