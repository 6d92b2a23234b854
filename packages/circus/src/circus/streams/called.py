"""The sink of a stream class of the user: an object that is called with what the processes of one watcher wrote.

The ancestors' way: made with the stream's keys as text, opened if it has ``open``, called as ``stream({"data": bytes,
"pid": int, "name": "stdout" or "stderr", "timestamp": float})``, closed if it has ``close``. It has a thread of its
own, so that one that hangs holds up nobody else; what it refuses by an exception stays with papa and is brought again
later. After a kill of circusd the last calls may come twice: only files can be compared.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from circus import clock, importing
from circus.config.model import StreamConfig
from circus.streams import lines, render
from circus.streams.filling import Batch
from circus.streams.segments import times_of
from circus.streams.sinks import Written
from circus.streams.store import DATA, NOBODY, Place, Segment, SourceKey
from circus.streams.tap import View
from papa.client.output import Overtaken

log = logging.getLogger("circus.streams")


class CalledSink:
    """``config`` names the class and whose output it is."""

    keeps_intents = False

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self.path = name_of(config)
        self.worker_key = self.path
        self._stream: Callable[[dict[str, Any]], object] | None = None

    def look(self) -> Place:
        """Raises: OSError, when it cannot be made or opened."""
        if self._stream is None:
            self._stream = self._make()
        return Place(0, 0, 0, "", True, NOBODY)

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        written = Written()
        try:
            for segment in batch.segments:
                if segment.kind == DATA:
                    self._bring(segment, views[segment.source], written.done)
                elif segment.source != NOBODY:
                    written.done[segment.source] = segment.end  # the gap is told by an event
        except Overtaken:
            pass  # the next look at the source finds the gap
        except OSError as error:
            written.error = error
        return written

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if callable(getattr(stream, "close", None)):
            try:
                self._run("close", stream.close)  # type: ignore[union-attr]
            except OSError as error:
                log.warning("%s", error)

    def _make(self) -> Callable[[dict[str, Any]], object]:
        config = self._config

        def make() -> Any:
            importing.make_importable(config.search_path)
            made = importing.find(config.class_name)(**config.options)  # type: ignore[operator]
            if not callable(made):
                raise TypeError("its objects cannot be called")
            if callable(getattr(made, "open", None)):
                made.open()
            return made

        stream: Callable[[dict[str, Any]], object] = self._run("cannot be made", make)
        return stream

    def _bring(self, segment: Segment, view: View, done: dict[SourceKey, int]) -> None:
        assert self._stream is not None
        stream, start = segment.source.stream, segment.start
        data = view.tap.files.pread(stream, start, segment.end - start)
        times = times_of(segment, start + len(data), view, int(clock.wall() * 1e9))
        for at_ns, first, end in lines.cut_pieces(data, start, times):
            call = {
                "data": data[first - start : end - start],
                "pid": view.pid,
                "name": render.STREAMS[stream],
                "timestamp": at_ns / 1e9,
            }
            self._run("failed", self._stream, call)
            done[segment.source] = end

    def _run(self, what: str, call: Callable[..., object], *args: object) -> Any:
        """Raises: OSError, whatever it raises."""
        try:
            return call(*args)
        except BaseException as error:  # one that leaves the interpreter must not end the thread
            raise OSError(f"{self._config.class_name}: {what}: {type(error).__name__}: {error}") from error


def name_of(config: StreamConfig) -> str:
    """One for each watcher and output; other keys, which may be secrets, make another object."""
    keys = zlib.crc32(repr(sorted(config.options.items())).encode(errors="backslashreplace"))
    return f"<{config.class_name} of {config.owner} {keys:08x}>"
