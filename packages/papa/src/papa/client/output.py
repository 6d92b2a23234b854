"""The output of one process, read from the kernel's own files through the descriptors that it handed over.

One idea: a stream's file offset *is* its absolute offset and the file's size *is* its head, so reading needs no
question to the kernel. The price is that the kernel may drop the oldest bytes at any moment; a hole reads as NULs. The
kernel therefore raises the low-water mark in the index header *before* it punches, and everything here reads the mark
*after* it took bytes and before it gives them to anybody: if the mark has passed the first byte taken, the bytes are
void and `Overtaken` says where the stream goes on.

Copies go through a buffer. sendfile(2) would be slower by a fifth (from tmpfs it goes page by page), could only be
checked when the void bytes stand in the target, and into a pipe or a socket it moves *references* to the kernel's
pages, of which a part is zeroed in place when it is punched.

Not here: acknowledging (that is a commit, `papa.client.aio`), lines, rendering, retries.
"""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from papa.core import index
from papa.errors import PapaError
from papa.model import STREAMS

#: One turn of a copy: twice as much is no faster.
COPY_CHUNK = 256 * 1024


class _Buffer(threading.local):
    """Of each thread that copies: new memory for each turn would cost as much as the copy."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(COPY_CHUNK))


_buffer = _Buffer()


class _Stamps:
    """The records of one stream, ascending by offset, in 24 bytes each: a reader that is behind knows many."""

    def __init__(self) -> None:
        self._columns = self._offsets, self._walls, self._boots = array("Q"), array("Q"), array("Q")

    def add(self, record: index.Record) -> None:
        # A record whose bytes never came is followed by another one at its offset.
        while self._offsets and self._offsets[-1] >= record.offset:
            for column in self._columns:
                column.pop()
        self._offsets.append(record.offset)
        self._walls.append(record.wall_ns)
        self._boots.append(record.boot_ns)

    def between(self, start: int, end: int) -> list[tuple[int, int, int]]:
        first = max(0, bisect_right(self._offsets, start) - 1)
        last = bisect_left(self._offsets, end)
        stamps = list(zip(*(column[first:last] for column in self._columns), strict=True))
        if stamps:
            stamps[0] = (start, *stamps[0][1:])
        return stamps

    def forget(self, low: int) -> None:
        """The record before ``low`` may still date the first byte kept."""
        if (count := bisect_right(self._offsets, low) - 1) > 0:
            for column in self._columns:
                del column[:count]


class Overtaken(PapaError):
    """The kernel dropped bytes that were to be read; the stream goes on at ``new_low``."""

    def __init__(self, stream: str, offset: int, new_low: int) -> None:
        super().__init__(
            f"output {stream} from offset {offset} was dropped while it was read: the oldest byte kept is {new_low}",
            code="overtaken",
            hint="go on at new_low and record the gap",
            details={"stream": stream, "low": new_low},
        )
        self.stream = stream
        self.new_low = new_low


class StreamFiles:
    """Read-only view of one process's captured streams.

    Owns the descriptors named out, err and index of the reply it is made of; "pid" stays with the caller.
    Not thread-safe for `stamps`; everything else may be called from any thread.
    """

    def __init__(self, fds: Mapping[str, int]) -> None:
        self.streams: tuple[str, ...] = tuple(name for name in STREAMS if name in fds)
        if self.streams and "index" not in fds:
            raise PapaError("the kernel handed over output without its index")
        self._fds = {name: fds[name] for name in self.streams}
        self._index = fds.get("index", -1)
        self._index_read = 0
        self._stamps = {name: _Stamps() for name in self.streams}

    def __repr__(self) -> str:
        state = ", ".join(f"{name} fd {fd}" for name, fd in self._fds.items()) or "closed or nothing captured"
        return f"<StreamFiles: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        while self._fds:
            os.close(self._fds.popitem()[1])
        if self._index >= 0:
            os.close(self._index)
            self._index = -1

    # -- marks ---------------------------------------------------------------------------------------------

    def head(self, stream: str) -> int:
        """The offset after the last byte that the kernel has taken."""
        return os.fstat(self._fds[stream]).st_size

    def low(self, stream: str) -> int:
        """The first offset that the kernel still keeps."""
        return self._header().low[stream]

    def dropped(self, stream: str) -> int:
        """How many bytes were dropped before anybody acknowledged them."""
        return self._header().dropped[stream]

    def _header(self) -> index.Header:
        header = index.unpack_header(os.pread(self._index, index.HEADER_SIZE, 0))
        if header is None:
            raise PapaError(
                "the index of a process's output has no proper header",
                code="internal",
                hint="something else wrote into the kernel's state directory",
            )
        return header

    def _check(self, stream: str, offset: int) -> None:
        low = self._header().low[stream]
        if low > offset:
            raise Overtaken(stream, offset, low)

    # -- bytes ---------------------------------------------------------------------------------------------

    def pread(self, stream: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the head.

        Raises: Overtaken.
        """
        data = os.pread(self._fds[stream], size, offset)
        self._check(stream, offset)
        return data

    def copy_to(self, stream: str, start: int, end: int, out_fd: int) -> int:
        """Copy the bytes from ``start`` to ``end`` to where ``out_fd`` stands; the number of bytes copied.

        Fewer only when the head comes first, when ``out_fd`` is non-blocking or has no room for more, or when the
        kernel drops bytes meanwhile; what was copied is good.

        Raises: Overtaken; OSError of ``out_fd`` (nothing was copied then).
        """
        at = start
        try:
            while at < end:
                view = _buffer.view[: end - at]
                count = self._take(stream, at, view)
                if count == 0:
                    break
                at += os.write(out_fd, view[:count])
        except BlockingIOError:
            pass
        except (OSError, Overtaken):
            if at == start:
                raise
        return at - start

    def _take(self, stream: str, offset: int, view: memoryview) -> int:
        count = os.preadv(self._fds[stream], [view], offset)
        self._check(stream, offset)
        return count

    # -- time ----------------------------------------------------------------------------------------------

    def stamps(self, stream: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """When the bytes from ``start`` to ``end`` arrived: (offset, wall ns, boot ns), ascending.

        Each entry holds up to the next one's offset, the first one from ``start`` on. ``end`` must not be above
        the head. The same answer as `papa.core.index.stamps_between`, but each record is parsed once.
        """
        if start >= end:
            return []
        self._read_index()
        return self._stamps[stream].between(start, end)

    def _read_index(self) -> None:
        """Take the records that were added since the last call, forget those of bytes that are gone."""
        header = self._header()
        position = max(self._index_read, header.first)
        end = index.round_down(os.fstat(self._index).st_size)
        data = os.pread(self._index, max(0, end - position), position)
        # The last record is read again next time: while its bytes have not come, the kernel may write it anew.
        self._index_read = max(position, position + len(data) - index.RECORD_SIZE)
        for record in index.unpack_records(data):
            if (known := self._stamps.get(record.stream)) is not None:
                known.add(record)
        for stream, known in self._stamps.items():
            known.forget(header.low[stream])
