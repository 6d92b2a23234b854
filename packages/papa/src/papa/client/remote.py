"""The output of a process over the wire, for a connection that cannot carry descriptors (TCP).

One idea: the face of `papa.client.output.StreamFiles`, paid with a round trip for each question.
"""

from __future__ import annotations

from typing import Any

from papa.client.blocking import Connection
from papa.client.output import Overtaken
from papa.client.reply import Reply

#: The largest body of a frame.
MAX_CHUNK = 1024 * 1024


class RemoteStreams:
    """Read-only view of one process's captured streams; ``close`` leaves the connection to its owner."""

    def __init__(self, connection: Connection, kernel_id: int, streams: tuple[str, ...]) -> None:
        self.streams = streams
        self._connection = connection
        self._id = kernel_id

    def head(self, stream: str) -> int:
        """The offset after the last byte that the kernel has taken."""
        return int(self._read(stream, 0, 0).ok["head"])

    def low(self, stream: str) -> int:
        """The first offset that the kernel still keeps."""
        return int(self._read(stream, 0, 0).ok["low"])

    def pread(self, stream: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the head.

        Raises: Overtaken.
        """
        data = b""
        while len(data) < size:
            reply = self._read(stream, offset + len(data), min(size - len(data), MAX_CHUNK))
            if reply.ok["offset"] > offset + len(data):
                raise Overtaken(stream, offset, reply.ok["low"])
            if not reply.body:
                break
            data += reply.body
        return data

    def stamps(self, stream: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """When the bytes from ``start`` to ``end`` arrived; see `papa.client.output.StreamFiles.stamps`."""
        found: list[Any] = []
        at = start
        while at < end:
            reply = self._read(stream, at, min(end - at, MAX_CHUNK))
            if reply.ok["offset"] > at:
                raise Overtaken(stream, start, reply.ok["low"])
            if not reply.body:
                break
            found += reply.ok["stamps"]
            at += len(reply.body)
        return [(offset, wall_ns, boot_ns) for offset, wall_ns, boot_ns in found]

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, stream: str, offset: int, limit: int) -> Reply:
        return self._connection.request("read", id=self._id, stream=stream, offset=offset, limit=limit)
