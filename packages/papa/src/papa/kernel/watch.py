"""A person who watches: output and exits of processes on a text connection, each frame acknowledged by a line.

The one idea: a watch only keeps what it has shown last; showing reads the stream files, acknowledging is a
commit like anybody's. A watch owns nothing: while a manager owns the process, the person sees the output and
acknowledges none of it.
"""

from __future__ import annotations

import os

from papa.core import index
from papa.core.commit import Commit
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from papa.core.entries import Process
    from papa.core.output import Output
    from papa.kernel.host import Host
    from papa.kernel.server import Connection

    Entry = tuple[str, str, int, bytes | int | None]

#: Output in one frame: a person reads no more, and a program acknowledges and gets the next.
FRAME_BYTES = 256 * 1024


class _Watched:
    """One process, and what of it has been shown."""

    __slots__ = ("is_closed", "name", "shown")

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: dict[str, int] = {}
        self.is_closed = False


class Watch:
    """What one connection follows."""

    __slots__ = ("_connection", "_host", "_is_scheduled", "_is_waiting", "_watched")

    def __init__(self, host: Host, connection: Connection, processes: Iterable[Process]) -> None:
        self._host = host
        self._connection = connection
        self._watched = {process.id: _Watched(process.name or str(process.id)) for process in processes}
        #: A frame was shown and not acknowledged.
        self._is_waiting = False
        self._is_scheduled = False
        self.look_later()

    def concerns(self, number: int) -> bool:
        """Whether news of that process may be shown."""
        return number in self._watched

    def look_later(self) -> None:
        """There may be something new: looks when this turn's callbacks have run."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._host.loop.after_turn(self._look)

    def next(self, *, is_stopped: bool) -> bool:
        """Acknowledges what was shown; whether the watch is over."""
        if self._is_waiting:
            self._acknowledge()
        self._is_waiting = False
        processes = self._host.table.processes
        self._watched = {
            number: watched
            for number, watched in self._watched.items()
            if number in processes and not watched.is_closed
        }
        if is_stopped or not self._watched:
            return True
        self.look_later()
        return False

    def _acknowledge(self) -> None:
        for number, watched in self._watched.items():
            commit = Commit()
            commit.acks = {(number, stream): offset for stream, offset in watched.shown.items()}
            if watched.is_closed:
                commit.exits = [number]
            try:
                self._host.commit(commit, self._connection)
            except PapaError:
                # It has another owner, or was overtaken, or is gone: the person saw it all the same.
                pass

    def _look(self) -> None:
        self._is_scheduled = False
        if self._is_waiting or not self._connection.is_open:
            return
        entries: list[Entry] = []
        left = FRAME_BYTES
        is_anybody_there = False
        for number, watched in self._watched.items():
            process = self._host.table.processes.get(number)
            if process is None or process.is_removed:
                continue
            is_anybody_there = True
            left = self._show(process, watched, entries, left)
        # An empty frame, when all were removed meanwhile, lets the peer ask on and learn that it is over.
        if entries or not is_anybody_there:
            self._is_waiting = True
            self._connection.send(self._connection.session.show(entries))

    def _show(self, process: Process, watched: _Watched, entries: list[Entry], left: int) -> int:
        capture = self._host.pipes.captures.get(process.id)
        if process.output is not None and capture is not None and capture.files:
            for stream, start, end, wall_ns in _segments(process.output, capture.read_index):
                start = max(start, watched.shown.get(stream, 0))
                end = min(end, start + left)
                if start < end:
                    data = os.pread(capture.files[stream], end - start, start)
                    entries.append((watched.name, stream, wall_ns, data))
                    watched.shown[stream] = end
                    left -= end - start
                if left <= 0:
                    return 0
        if process.exit is not None and not watched.is_closed:
            watched.is_closed = True
            status, at = process.exit
            entries.append((watched.name, "closed", int(at * 1e9), status))
        return left


def _segments(output: Output, read_index: Callable[[int, int], bytes]) -> Iterator[tuple[str, int, int, int]]:
    """What is held of both streams in the order of arrival: stream, start, end, wall clock."""
    records = list(index.unpack_records(read_index(output.first, output.end - output.first)))
    ends = output.heads
    segments: list[tuple[str, int, int, int]] = []
    for record in reversed(records):
        if record.stream in ends and record.offset < ends[record.stream]:
            start = max(record.offset, output.streams[record.stream].low)
            if start < ends[record.stream]:
                segments.append((record.stream, start, ends[record.stream], record.wall_ns))
            ends[record.stream] = record.offset
    return reversed(segments)
