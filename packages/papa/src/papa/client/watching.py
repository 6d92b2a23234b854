"""The `Watcher` of the published client: output and ends of some processes, in lists.

One idea: a watcher takes a connection over, reads the kernel's files directly and remembers how far it came; what
`read` gave out is acknowledged, by offset, with the next `read`, `acknowledge` or `close`. What was not
acknowledged comes again to the next watcher.

The descriptor is honest: whenever `read` would not block, it is readable, so that it can live in an event loop.
News that lies in this process already and not in the socket is covered by a request whose reply nobody waits for.

The kernel knows one owner of a process's output and wakes only that one; the published interface lets several
watchers look at the same process. They take the ownership from each other, and a waiting one looks again now and
then (`LOOK_AGAIN_S`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple, Self

from papa.client.blocking import Connection
from papa.client.output import Overtaken, StreamFiles
from papa.client.remote import RemoteStreams
from papa.errors import PapaError

#: All watchers of papa.Papa share this name, so that one may take over from another.
OWNER = "papa.Watcher"

#: One read returns at most about this much: the lists are built in memory.
MAX_READ = 4 * 1024 * 1024

#: A wait is only ever cut short for a process whose ownership another watcher may have taken.
LOOK_AGAIN_S = 1.0

_BOOT_NS = itemgetter(0)


class ProcessOutput(NamedTuple):
    """One piece of news: bytes (out, err) or the exit status (closed; negative is a signal's number)."""

    name: str
    timestamp: float
    data: Any


class _Watched:
    """One process under watch: where its output is read, how far each stream was given out, and how it ended."""

    def __init__(self, name: str, row: dict[str, Any], source: StreamFiles | RemoteStreams) -> None:
        self.id: int = row["id"]
        self.name = name
        self.source = source
        self.given: dict[str, int] = {stream: row["streams"][stream]["acked"] for stream in source.streams}
        self.end: dict[str, Any] | None = row["exit"]
        self.is_closed = False

    def has_news(self) -> bool:
        if self.is_closed:
            return False
        return self.end is not None or any(self.source.head(stream) > at for stream, at in self.given.items())

    def take(self, stream: str, size: int) -> tuple[list[tuple[int, ProcessOutput]], int]:
        """What came since the last call, at most ``size`` bytes, cut by arrival; and how much was dropped.

        Each piece comes with its time on the boot clock, which never steps and orders it among others.
        """
        start = self.given[stream]
        try:
            end = min(self.source.head(stream), start + size)
            if start >= end:
                return [], 0
            # An index damaged by a full disk may not know; the bytes count all the same.
            stamps = self.source.stamps(stream, start, end) or [(start, 0, 0)]
            data = self.source.pread(stream, start, end - start)
        except Overtaken as overtaken:
            self.given[stream] = overtaken.new_low
            pieces, dropped = self.take(stream, size)
            return pieces, dropped + overtaken.new_low - start
        self.given[stream] = start + len(data)
        pieces = []
        for (at, wall_ns, boot_ns), (until, _, _) in zip(stamps, [*stamps[1:], (end, 0, 0)], strict=True):
            pieces.append((boot_ns, ProcessOutput(self.name, wall_ns / 1e9, data[at - start : until - start])))
        return pieces, 0


class Watcher:
    """Reads what some processes write and how they end. Made by `Papa`; not thread-safe.

    ``exit_code`` collects the exit statuses by name, ``dropped`` the number of bytes that the kernel's bound
    dropped before they were read.
    """

    def __init__(self, connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
        self.exit_code: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self._connection: Connection | None = connection
        self._watched: dict[int, _Watched] = {}
        self._acks: dict[tuple[int, str], int] = {}
        self._ends: list[int] = []
        self._is_pending = False
        try:
            for row in rows:
                self._attach(connection, row["id"], row["name"])
            self._rearm(connection)
            # What the kernel tells a new owner at once must not wake anybody for nothing.
            connection.request("ping")
            self._take_events(connection)
            self._arm(connection)
        except BaseException:
            self._end()
            raise

    def __repr__(self) -> str:
        return f"<Watcher of {', '.join(w.name for w in self._watched.values()) or 'nothing'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return 0 if self._connection is None else 1

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is news.

        Raises: AttributeError on a closed watcher, as papa 1.x does.
        """
        fd = None if self._connection is None else self._connection.fileno()
        if fd is None:
            raise AttributeError("the watcher is closed and has no descriptor")
        return fd

    @property
    def ready(self) -> bool:
        """Whether `read` would return at once; False on a closed watcher."""
        connection = self._connection
        if connection is None:
            return False
        try:
            was_poked = connection.settle()
            connection.drain()
            if self._take_events(connection) or was_poked:
                self._arm(connection)
        except PapaError:
            return True  # read will say what is wrong
        return not self._is_watching() or any(watched.has_news() for watched in self._watched.values())

    def read(self) -> tuple[list[ProcessOutput], list[ProcessOutput], list[ProcessOutput]]:
        """Acknowledge what the last call gave, wait for news and give it: (out, err, closed), in order of arrival.

        Does not wait when the descriptor is readable: when what woke the caller turns out to be no news (a stream
        was closed), gives three empty lists, and the watch goes on. When nothing is left to watch, ends the watch
        and gives three empty lists, as on a closed watcher.

        Raises: PapaError lost, when the kernel went away.
        """
        connection = self._connection
        if connection is None:
            return [], [], []
        try:
            self._acknowledge(connection)
            connection.settle()
            connection.drain()
            was_woken = self._take_events(connection)
            while True:
                if not self._is_watching():
                    self._end()
                    return [], [], []
                news = self._gather()
                self._is_pending = any(news)
                if self._is_pending or was_woken:
                    self._arm(connection)
                    return news
                if not connection.wait(LOOK_AGAIN_S):
                    self._attach_again(connection)
                self._take_events(connection)
        except PapaError as error:
            if error.code == "lost":
                self._end()
            raise

    def acknowledge(self) -> None:
        """Acknowledge what the last `read` gave, now."""
        connection = self._connection
        if connection is not None and self._is_pending:
            self._acknowledge(connection)
            self._arm(connection)

    def close(self) -> None:
        """End the watch; what the last `read` gave is acknowledged, unless the kernel is gone. Idempotent."""
        connection = self._connection
        try:
            if connection is not None and connection.is_open:
                self._acknowledge(connection)
        except PapaError as error:
            if error.code != "lost":
                raise
        finally:
            self._end()

    # -- inside --------------------------------------------------------------------------------------------

    def _attach(self, connection: Connection, kernel_id: int, name: str) -> None:
        reply = connection.request("attach", id=kernel_id, owner=OWNER, fds=True)
        pid_fd = reply.fds.pop("pid", None)
        if pid_fd is not None:
            os.close(pid_fd)
        source: StreamFiles | RemoteStreams
        if reply.fds or not reply.ok["streams"]:
            source = StreamFiles(reply.fds)
        else:
            source = RemoteStreams(connection, kernel_id, tuple(reply.ok["streams"]))
        self._watched[kernel_id] = _Watched(name, reply.ok, source)

    def _attach_again(self, connection: Connection) -> None:
        """Look whether something happened that another watcher was told, and be the owner again."""
        for watched in [w for w in self._watched.values() if not w.is_closed]:
            try:
                row = connection.request("attach", id=watched.id, owner=OWNER).ok
            except PapaError as error:
                if error.code != "not-found":
                    raise
                self._forget(watched)  # removed by somebody, or acknowledged by another watcher
            else:
                watched.end = watched.end or row["exit"]
        self._rearm(connection)

    def _is_watching(self) -> bool:
        return any(not watched.is_closed for watched in self._watched.values())

    def _take_events(self, connection: Connection) -> bool:
        """Output needs no event to be seen; an end does. Whether there were any."""
        have_come = bool(connection.events)
        while connection.events:
            event = connection.events.popleft()
            watched = self._watched.get(event.fields.get("id", 0))
            if event.name == "exit" and watched is not None:
                watched.end = event.fields
        return have_come

    def _gather(self) -> tuple[list[ProcessOutput], list[ProcessOutput], list[ProcessOutput]]:
        pieces: dict[str, list[tuple[int, ProcessOutput]]] = {"out": [], "err": []}
        closed = []
        left = MAX_READ
        for watched in self._watched.values():
            if watched.is_closed:
                continue
            ended, is_taken = watched.end, True
            for stream in watched.given:
                taken, dropped = watched.take(stream, left)
                pieces[stream] += taken
                if dropped:
                    self.dropped[watched.name] = self.dropped.get(watched.name, 0) + dropped
                if taken or dropped:
                    self._acks[watched.id, stream] = watched.given[stream]
                left -= sum(len(piece.data) for _, piece in taken)
                is_taken = is_taken and watched.given[stream] >= watched.source.head(stream)
            if ended is not None and is_taken:
                watched.is_closed = True
                self._ends.append(watched.id)
                self.exit_code[watched.name] = ended["status"]
                closed.append(ProcessOutput(watched.name, ended["at"], ended["status"]))
        out, err = ([piece for _, piece in sorted(pieces[stream], key=_BOOT_NS)] for stream in ("out", "err"))
        return out, err, closed

    # -- acknowledging -------------------------------------------------------------------------------------

    def _acknowledge(self, connection: Connection) -> None:
        if not self._is_pending:
            return
        try:
            self._commit(connection, self._acks, self._ends)
        except PapaError as error:
            if error.code not in ("overtaken", "not-found", "owned"):
                raise
            self._acknowledge_each(connection)
        self._is_pending = False
        self._acks.clear()
        self._ends.clear()
        for watched in [w for w in self._watched.values() if w.is_closed]:
            self._forget(watched)

    def _acknowledge_each(self, connection: Connection) -> None:
        """The commit was refused as a whole: another watcher acknowledged more, or somebody removed a process."""
        for kernel_id in {*(key[0] for key in self._acks), *self._ends}:
            try:
                row = connection.request("attach", id=kernel_id, owner=OWNER).ok
                acks = {
                    key: offset
                    for key, offset in self._acks.items()
                    if key[0] == kernel_id and offset >= row["streams"][key[1]]["low"]
                }
                self._commit(connection, acks, [end for end in self._ends if end == kernel_id])
            except PapaError as error:
                if error.code != "not-found":
                    raise

    def _commit(self, connection: Connection, acks: Mapping[tuple[int, str], int], exits: list[int]) -> None:
        connection.request(
            "commit", acks=[[kernel_id, stream, offset] for (kernel_id, stream), offset in acks.items()], exits=exits
        )

    # -- being woken ---------------------------------------------------------------------------------------

    def _arm(self, connection: Connection) -> None:
        """See to it that the descriptor is readable whenever `read` has something to give."""
        self._rearm(connection)
        has_finished = not self._is_watching() and not self._is_pending
        if has_finished or any(watched.has_news() for watched in self._watched.values()):
            connection.poke()

    def _rearm(self, connection: Connection) -> None:
        seen = [[w.id, w.given.get("out"), w.given.get("err")] for w in self._watched.values() if not w.is_closed]
        if seen:
            connection.post("more", seen=seen)

    # -- the end -------------------------------------------------------------------------------------------

    def _forget(self, watched: _Watched) -> None:
        watched.source.close()
        del self._watched[watched.id]

    def _end(self) -> None:
        """Nothing is handed back to the `Papa` object: the connection owns processes, and ends with that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        for watched in list(self._watched.values()):
            self._forget(watched)
