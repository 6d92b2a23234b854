"""Reading along what processes write, in the kernel's own files, as a viewer whom nobody waits for.

The idea: the file's offset is the stream's, so who has the descriptors needs no kernel and no circusd to read. Bytes
that circusd has acknowledged are given back by whole pages, also before they were read here: then there is a gap
between two pieces.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field

from papa.core import index
from papa.model import STREAMS

#: Between two rounds over all streams. Much shorter than a page takes to fill with lines as most programs write them.
LOOK_S = 0.004

#: Of all streams together; what is more is not compared.
MAX_BYTES = 256 << 20

#: Of one stream in one round.
CHUNK = 4 << 20


@dataclass(slots=True)
class Recorded:
    """One stream of one process from the offset ``start`` to ``at``. ``is_whole`` False: there was no room for all."""

    pid: int
    stream: str
    start: int
    at: int
    parts: list[tuple[int, list[bytes]]] = field(default_factory=list)
    is_whole: bool = True

    @property
    def pieces(self) -> list[tuple[int, bytes]]:
        """What was read, and at which offset each piece begins; without any: an empty one."""
        return [(offset, b"".join(parts)) for offset, parts in self.parts] or [(self.start, b"")]

    def add(self, data: bytes, missed: int) -> None:
        """The next bytes, of which the first ``missed`` are void."""
        if missed or not self.parts:
            self.parts.append((self.at + missed, []))
        self.parts[-1][1].append(data[missed:])
        self.at += len(data)


class _Files:
    def __init__(self, fds: dict[str, int]) -> None:
        self.index = fds.pop("index", -1)
        self.fds = fds
        self.page = os.fstatvfs(self.index).f_bsize or os.sysconf("SC_PAGE_SIZE")

    def valid_from(self, stream: str) -> int:
        """Below it bytes may read as zeros."""
        low = self.low(stream)
        return low - low % self.page

    def low(self, stream: str) -> int:
        header = index.unpack_header(os.pread(self.index, index.HEADER_SIZE, 0))
        return 0 if header is None else header.low[stream]

    def close(self) -> None:
        for fd in (*self.fds.values(), self.index):
            os.close(fd)
        self.fds.clear()


class Recorder:
    """``attach`` each process, ``begin``, and ``catch_up`` whenever all that is there now must be known."""

    def __init__(self) -> None:
        self.streams: dict[tuple[int, str], Recorded] = {}
        self._files: dict[int, _Files] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-capture", daemon=True)
        self._size = 0

    def attach(self, kernel_id: int, pid: int, fds: dict[str, int]) -> None:
        """The descriptors are taken over; those that an earlier call gave for this process are closed."""
        streams = [name for name in STREAMS if name in fds]
        if not streams or "index" not in fds:
            for fd in fds.values():
                os.close(fd)
            return
        files = _Files({name: fd for name, fd in fds.items() if name in (*streams, "index")})
        with self._lock:
            former = self._files.pop(kernel_id, None)
            if former is not None:
                former.close()
            self._files[kernel_id] = files
            for stream in streams:
                if (kernel_id, stream) not in self.streams:
                    low = files.low(stream)
                    self.streams[kernel_id, stream] = Recorded(pid, stream, low, low)

    def begin(self) -> None:
        self.catch_up()
        self._thread.start()

    def heads(self) -> dict[tuple[int, str], int]:
        """How much the kernel has taken of each stream."""
        with self._lock:
            return {
                (id, stream): os.fstat(fd).st_size
                for id, files in self._files.items()
                for stream, fd in files.fds.items()
            }

    def catch_up(self) -> None:
        """All that the kernel has taken until now is recorded, or it is told that it is not."""
        with self._lock:
            for id, files in self._files.items():
                for stream, fd in files.fds.items():
                    self._read(files, self.streams[id, stream], fd)

    def close(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        for files in self._files.values():
            files.close()
        self._files.clear()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            with contextlib.suppress(OSError):
                self.catch_up()

    def _read(self, files: _Files, recorded: Recorded, fd: int) -> None:
        while recorded.is_whole:
            data = os.pread(fd, min(CHUNK, MAX_BYTES - self._size + 1), recorded.at)
            if not data:
                return
            self._size += len(data)
            if self._size > MAX_BYTES:
                recorded.is_whole = False
                recorded.parts.clear()
                return
            recorded.add(data, min(len(data), max(0, files.valid_from(recorded.stream) - recorded.at)))
