"""The output of one fake process in real files, as a reader of the real kernel would find them.

One idea: everything that is decided (when to drop, what the index says, which bytes go) is decided by
`papa.core.output`, the kernel's own rules; only the system calls are replaced: what the kernel punches is written
over with NULs here, which is what a reader would see.
"""

from __future__ import annotations

import os

from papa.core import index
from papa.core.output import DROP, PAUSE, Output
from papa.testing.clock import FakeClock

INDEX = "index"

#: Over-writing a hole goes in pieces of this size.
_ZEROS = bytes(64 * 1024)


class OutputFiles:
    """Stream files, index and the rules; bytes that may not be taken yet wait in ``pipes``."""

    def __init__(self, directory: str, output: Output, clock: FakeClock) -> None:
        self.output = output
        self._clock = clock
        self._paths: dict[str, str] = {}
        self._fds: dict[str, int] = {}
        self.pipes = {stream: bytearray() for stream in output.streams}
        self._ending: set[str] = set()
        self._ended: list[str] = []
        if output.streams:
            os.makedirs(directory)
            for name in (*output.streams, INDEX):
                self._paths[name] = os.path.join(directory, name)
                self._fds[name] = os.open(self._paths[name], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fds[INDEX], output.header(), 0)

    def open_readers(self) -> dict[str, int]:
        """Fresh read-only descriptors by name."""
        return {name: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for name, path in self._paths.items()}

    def close(self) -> None:
        """Close and remove the files."""
        for name, fd in self._fds.items():
            os.close(fd)
            os.unlink(self._paths[name])
        self._fds.clear()
        if self._paths:
            os.rmdir(os.path.dirname(self._paths[INDEX]))
            self._paths.clear()

    def write(self, stream: str, data: bytes) -> None:
        """The process writes; what the bound allows is taken at once."""
        self.pipes[stream] += data
        self.pump()

    def end(self, stream: str) -> None:
        """The last writer is gone; the stream is at its end once everything is taken."""
        self._ending.add(stream)
        self.pump()

    def pump(self) -> None:
        """Take from the pipes what may be taken now."""
        for stream, pipe in self.pipes.items():
            while pipe and self._may_take(stream):
                self._take(stream, pipe)
            if not pipe and stream in self._ending and self.output.streams[stream].is_open:
                self.output.close(stream)
                self._ended.append(stream)

    def take_ended(self) -> list[str]:
        """The streams that came to their end since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _may_take(self, stream: str) -> bool:
        while (verdict := self.output.next_step(self._clock.now(), stream)).kind == DROP:
            self.output.drop(self._read_index, stream=stream)
            self.sync()
        return verdict.kind != PAUSE

    def _take(self, stream: str, pipe: bytearray) -> None:
        dated = self.output.note_arrival(stream, self._clock.wall_ns(), self._clock.boot_ns())
        if dated is not None:
            place, record = dated
            os.pwrite(self._fds[INDEX], record, place)
        head = self.output.streams[stream].head
        count = os.pwrite(self._fds[stream], pipe[: self.output.step_of(stream)], head)
        del pipe[:count]
        self.output.add(stream, count)

    def trim(self) -> None:
        """Bytes were acknowledged: let go of what dated them, and of their pages."""
        self.output.trim(self._read_index)
        self.sync()

    def drop_oldest(self, stream: str, count: int) -> None:
        """Force a gap: the oldest ``count`` bytes that the stream still holds.

        The kernel itself always drops the oldest of both streams; a test wants to name one.
        """
        it = self.output.streams[stream]
        it._give_back(min(it.head, it.low + count))
        self.trim()

    def sync(self) -> None:
        """First the header, then the holes, as the kernel does it."""
        if not self._fds:
            return
        os.pwrite(self._fds[INDEX], self.output.header(), 0)
        for name, start, end in self.output.take_holes():
            for at in range(start, end, len(_ZEROS)):
                os.pwrite(self._fds[name], _ZEROS[: end - at], at)

    def pread(self, stream: str, offset: int, size: int) -> bytes:
        """Bytes of a stream."""
        return os.pread(self._fds[stream], size, offset)

    def stamps(self, stream: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """When those bytes arrived."""
        head = self.output.streams[stream].head
        records = self._read_index(self.output.first, self.output.end - self.output.first)
        return index.stamps_between(records, stream, head, start, end)

    def _read_index(self, offset: int, size: int) -> bytes:
        return os.pread(self._fds[INDEX], size, offset)
