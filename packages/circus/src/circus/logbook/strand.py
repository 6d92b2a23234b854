"""One log file, read as it grows: what was written is told by who wrote it, so that nobody looks for news.

The idea: who writes says where each batch stands and whose its bytes are (`Laid`); the bytes themselves are read from
the file, which is kept open, so that a rotation takes nothing away. Blocking: used by one thread at a time.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress

from circus.logbook import files, writing
from circus.logbook.entries import PLAIN, Source
from circus.logbook.reading import Line, as_written
from circus.logbook.writing import Laid

#: What is read and cut into lines at a time; what is behind waits.
MAX_TURN_BYTES = 64 << 10
MAX_TURN_LINES = 1000

#: Who is further behind goes on near the end.
MAX_BEHIND_BYTES = 8 << 20

#: What is still read of a file that was rotated away, and stretches whose source is known.
MAX_LAST_BYTES = 4 * MAX_TURN_BYTES
MAX_SPANS = 20_000

#: So far back the begin of a line without an end is looked for.
LOOK_BACK_BYTES = 64 << 10


class Strand:
    """``position``: of the log, as in cursors. ``missed``: bytes that were passed over, or could not be read.

    ``is_behind``: `take` would find more without anything being written.
    """

    def __init__(self, logs: str, path: str) -> None:
        self.path = path
        self.id = writing.log_id(path)
        self.missed = 0
        self.is_behind = False
        self._logs = logs
        self._fd = -1
        self._file: tuple[int, int] | None = None
        self._begins_at = 0
        self._next = 0  # of the file, here and below: what is not read yet
        self._end = 0  # of what was written
        self._starts: list[int] = []
        self._spans: list[tuple[Source, int]] = []  # whose it is and from when

    @property
    def position(self) -> int:
        return self._begins_at + self._next

    def begin(self, first: Laid | None = None) -> None:
        """At what will be written next, or with ``first``. A line that has no end yet is shown when it has.

        Raises: OSError.
        """
        directory = writing.directory_of(self._logs, self.path)
        if first is None:
            with suppress(FileNotFoundError):
                found = os.stat(self.path)
                self._file, self._end = (found.st_dev, found.st_ino), found.st_size
        else:
            self._file, self._end = (first.dev, first.ino), first.base
        if self._file is not None:
            self._open(b"" if first is None else first.head)
        if self._fd < 0 or self._file is None:
            self._file, self._next = None, self._end
            self._begins_at = writing.begins_next(directory)
            return
        known = writing.skim(os.path.join(directory, writing.index_name(*self._file)))
        if known.header is not None and writing.is_about(known, os.pread(self._fd, writing.HEAD_BYTES, 0)):
            self._begins_at = known.header.begins_at
            self._end = known.end if first is None else first.base
        else:
            self._begins_at = writing.begins_next(directory)
        back = max(0, self._end - LOOK_BACK_BYTES)
        self._next = back + os.pread(self._fd, self._end - back, back).rfind(b"\n") + 1

    def take(self, laid: Iterable[Laid]) -> Iterator[Line]:
        """The lines that are whole with these; not more than a turn has, `is_behind` says whether there are more.

        Raises: OSError.
        """
        for each in laid:
            if self._is_another(each):
                yield from self._finish()
                self._turn_to(each)
            self._note(each)
        if self._end - self._next > MAX_BEHIND_BYTES:
            self._skip_to(self._end - MAX_TURN_BYTES)
        yield from self._turn()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    # Places -------------------------------------------------------------------------------------------------

    def _is_another(self, laid: Laid) -> bool:
        if (laid.dev, laid.ino) != self._file:
            return True
        return laid.base == 0 and not laid.is_again and self._end > 0

    def _turn_to(self, laid: Laid) -> None:
        self.close()
        if self._file is not None:
            self._begins_at += self._end
        self._file, self._next, self._end = (laid.dev, laid.ino), laid.base, laid.base
        self._starts, self._spans = [], []
        self._open(laid.head)

    def _open(self, head: bytes) -> None:
        """Under whatever name it has by now; another one that got its inode begins otherwise."""
        for path in (self.path, *reversed(files.names(self.path))):
            with suppress(FileNotFoundError):
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
                found = os.fstat(self._fd)
                if (found.st_dev, found.st_ino) == self._file and os.pread(self._fd, len(head), 0) == head:
                    return
                self.close()

    def _note(self, laid: Laid) -> None:
        at = laid.base
        for run in laid.runs:
            if at + run.length > self._end:
                self._starts.append(max(at, self._end))
                self._spans.append((run.source, run.at_ns))
            at += run.length
        self._end = max(self._end, at)
        if len(self._spans) > MAX_SPANS:
            del self._starts[: MAX_SPANS // 2], self._spans[: MAX_SPANS // 2]

    def _skip_to(self, place: int) -> None:
        """And to the begin of the next line."""
        data = os.pread(self._fd, MAX_TURN_BYTES, place) if self._fd >= 0 else b""
        place += data.find(b"\n") + 1
        self.missed += place - self._next
        self._next = place

    # Lines --------------------------------------------------------------------------------------------------

    def _finish(self) -> Iterator[Line]:
        """Of a file to which nothing more is written."""
        if self._end - self._next > MAX_LAST_BYTES:
            self._skip_to(self._end - MAX_LAST_BYTES)
        while self._next < self._end:
            before = self._next
            yield from self._turn(is_last=True)
            if self._next == before:
                break
        self.missed += self._end - self._next

    def _turn(self, *, is_last: bool = False) -> Iterator[Line]:
        if self._fd < 0:
            self.missed += self._end - self._next
            self._next = self._end
        begin, at, count = self._next, 0, 0
        data = os.pread(self._fd, min(MAX_TURN_BYTES, self._end - begin), begin) if begin < self._end else b""
        is_rest = is_last and len(data) == self._end - begin
        while at < len(data) and count < MAX_TURN_LINES:
            end = data.find(b"\n", at)
            if end < 0:
                if not is_rest and (at or len(data) < MAX_TURN_BYTES):
                    break  # its end is yet to come
                end = len(data)
            yield self._line(data[at:end], begin + at, begin + min(end + 1, len(data)))
            at, count = min(end + 1, len(data)), count + 1
        self._next = begin + at
        self.is_behind = len(data) < self._end - begin or (at < len(data) and count == MAX_TURN_LINES)
        self._forget_spans()

    def _line(self, data: bytes, start: int, end: int) -> Line:
        source, at_ns = None, 0
        if self._spans:
            source, at_ns = self._spans[max(0, bisect_right(self._starts, start) - 1)]
            if source.look != PLAIN:
                data, source, at_ns = as_written(data, source, at_ns)
        return Line(at_ns, at_ns, source, data, self.id, self._begins_at + start, self._begins_at + end)

    def _forget_spans(self) -> None:
        used = bisect_right(self._starts, self._next) - 1
        if used > 0:
            del self._starts[:used]
            del self._spans[:used]
