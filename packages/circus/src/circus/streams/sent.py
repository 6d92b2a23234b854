"""Sinks that send each line as a message: syslog and the journal are built on this.

The idea: a line is one message with the time at which it was written. What the receiver does not take now stays with
papa: the write fails, and is tried again with the pauses of every sink. There is nothing to compare with after a kill
of circusd: the last lines may come twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from circus import clock
from circus.config.model import StreamConfig
from circus.streams import called, lines, render
from circus.streams.filling import Batch
from circus.streams.segments import times_of
from circus.streams.sinks import Written
from circus.streams.store import DATA, GAP, NOBODY, Place, Segment, SourceKey
from circus.streams.tap import View
from papa.client.output import Overtaken

#: A receiver that takes nothing for so long is away; papa keeps what is not sent.
PATIENCE_S = 2.0

#: What is told of the output itself.
MARK_LEVEL = "warning"


@dataclass(frozen=True, slots=True)
class Message:
    """``text`` has no newline; ``level`` is one of SEVERITIES."""

    text: bytes
    at_ns: int
    level: str
    watcher: str
    wid: int
    pid: int
    stream: str  # stdout, stderr


class Sender(Protocol):
    def open(self) -> None:
        """Be ready for `send`, if it is not. Raises: OSError."""

    def send(self, message: Message) -> None:
        """Raises: OSError; the message was not taken, and will come again."""

    def close(self) -> None: ...


class SentSink:
    """What one output of a watcher's processes is sent by."""

    keeps_intents = False

    def __init__(self, config: StreamConfig, sender: Sender) -> None:
        self.path = self.worker_key = called.name_of(config)
        self._sender = sender
        self._level = config.level or "info"

    def look(self) -> Place:
        self._sender.open()
        return Place(0, 0, 0, "", True, NOBODY)

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        written = Written()
        try:
            for segment in batch.segments:
                if segment.kind == DATA:
                    self._send_lines(segment, views[segment.source], written.done)
                elif segment.source != NOBODY:
                    self._send_mark(segment, views[segment.source])
                    written.done[segment.source] = segment.end
        except Overtaken:
            pass  # the next look at the source finds the gap
        except OSError as error:
            self._sender.close()
            written.error = error
        return written

    def close(self) -> None:
        self._sender.close()

    def _send_lines(self, segment: Segment, view: View, done: dict[SourceKey, int]) -> None:
        stream, start = segment.source.stream, segment.start
        data = view.tap.files.pread(stream, start, segment.end - start)
        times = times_of(segment, start + len(data), view, int(clock.wall() * 1e9))
        for at_ns, first, end in lines.cut_pieces(data, start, times):
            at = first
            while at < end:
                stop = data.find(b"\n", at - start, end - start) + 1 + start
                if stop == start:
                    stop = end
                line = data[at - start : stop - start]
                self._sender.send(self._message(view, stream, line.removesuffix(b"\n"), at_ns, self._level))
                at = stop
                done[segment.source] = at

    def _send_mark(self, segment: Segment, view: View) -> None:
        if segment.kind != GAP:
            return
        mark = render.gap_mark(segment.end - segment.start).removesuffix(b"\n")
        self._sender.send(self._message(view, segment.source.stream, mark, int(clock.wall() * 1e9), MARK_LEVEL))

    def _message(self, view: View, stream: str, text: bytes, at_ns: int, level: str) -> Message:
        return Message(text, at_ns, level, view.watcher, view.wid, view.pid, render.STREAMS[stream])
