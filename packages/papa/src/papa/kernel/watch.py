"""People who watch: output and exits of processes on a text connection.

The one idea: a watch keeps only what it has shown; showing reads the stream files. It owns nothing: while a
manager owns the process, the person sees the output, and acknowledges none of it.

There are two. A ``Conversation`` (``watch processes``) shows a frame and waits for a line, which acknowledges it:
a commit like anybody's. A ``Viewer`` (``watch lines``) shows lines as they come and acknowledges nothing: one page
is in flight, the next is read when that one is sent; what the kernel has let go until then is said in its place.
"""

from __future__ import annotations

import os
import time

from papa.core import index
from papa.core.commit import Commit
from papa.errors import PapaError
from papa.kernel import system
from papa.wire.text_lines import Page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from papa.core.entries import Process
    from papa.core.output import Output
    from papa.kernel.capture import Capture
    from papa.kernel.host import Host
    from papa.kernel.server import Connection

    Entry = tuple[str, str, int, bytes | int | None]
    #: Stream, start, end, wall clock, and the place of its record in the index.
    Segment = tuple[str, int, int, int, int]

#: Output in one frame: a person reads no more, and a program acknowledges and gets the next.
FRAME_BYTES = 256 * 1024

#: Rendered output that a viewer is sent at a time: what a person who reads slowly costs, and one turn's work.
PAGE_BYTES = 64 * 1024

#: Of a stream that are rendered at a time: each byte may become a line, with its time and name in front.
PIECE_BYTES = 2 * 1024

#: How long a line without an end may stay unseen: a question, or dots that show progress.
LINE_WAIT_S = 1.0

#: Records of the index that are looked at together.
WINDOW_BYTES = 1024 * index.RECORD_SIZE


class Watch:
    """What one connection follows: the processes of that moment, until each has ended."""

    __slots__ = ("_connection", "_host")

    def __init__(self, host: Host, connection: Connection) -> None:
        self._host = host
        self._connection = connection

    def on_news(self, number: int) -> None:
        """Something happened to that process."""
        raise NotImplementedError

    def next(self, *, is_stopped: bool) -> bool:
        """The person typed a line, which may be to stop; whether the watch is over."""
        raise NotImplementedError

    def pack(self) -> dict[str, Any]:
        """What was shown, for the unpack() of one that follows nobody yet."""
        raise NotImplementedError

    def unpack(self, packed: dict[str, Any]) -> None:
        raise NotImplementedError

    def _look(self) -> None:
        raise NotImplementedError

    def look_later(self) -> None:
        """There may be something new."""
        self._host.news.gallery.look_later(self)

    def look(self) -> None:
        """Its turn in the gallery. Who cannot be shown what there is, as the disk fails, is let go."""
        if self._connection.watch is not self:
            return
        try:
            self._look()
        except OSError as error:
            system.log(f"somebody who watched was let go: output cannot be read: {error.strerror}")
            self._connection.close()

    def _end(self) -> None:
        """The watch is over though nobody has just typed a line."""
        self._host.news.watches.discard(self)
        self._connection.watch = None
        self._connection.send(self._connection.session.end_watch())


class _Watched:
    """One process, and what of it has been shown."""

    __slots__ = ("is_closed", "name", "shown")

    def __init__(self, name: str, shown: dict[str, int] | None = None, *, is_closed: bool = False) -> None:
        self.name = name
        self.shown = shown or {}
        self.is_closed = is_closed


class Conversation(Watch):
    """Frames, each of which a line acknowledges."""

    __slots__ = ("_early", "_is_waiting", "_watched")

    def __init__(self, host: Host, connection: Connection, processes: Iterable[Process]) -> None:
        super().__init__(host, connection)
        self._watched = {process.id: _Watched(process.name or str(process.id)) for process in processes}
        #: A frame was shown and not acknowledged.
        self._is_waiting = False
        #: Lines that came before there was a frame: each acknowledges the next.
        self._early = 0
        self.look_later()

    def on_news(self, number: int) -> None:
        if number in self._watched:
            self.look_later()

    def pack(self) -> dict[str, Any]:
        watched = [[number, it.name, it.shown, it.is_closed] for number, it in self._watched.items()]
        return {"watched": watched, "waiting": self._is_waiting, "early": self._early}

    def unpack(self, packed: dict[str, Any]) -> None:
        for number, name, shown, is_closed in packed["watched"]:
            self._watched[number] = _Watched(name, shown, is_closed=is_closed)
        self._is_waiting, self._early = packed["waiting"], packed["early"]

    def next(self, *, is_stopped: bool) -> bool:
        if not self._is_waiting:
            # Whoever sends lines ahead means the frame that is about to come.
            self._show_frame()
        if self._is_waiting:
            return self._acknowledge() or is_stopped
        self._early += 1
        return is_stopped

    def _acknowledge(self) -> bool:
        """What was shown counts as read; whether nothing is left."""
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
        self._is_waiting = False
        processes = self._host.table.processes
        self._watched = {
            number: watched
            for number, watched in self._watched.items()
            if number in processes and not watched.is_closed
        }
        self.look_later()
        return not self._watched

    def _look(self) -> None:
        self._show_frame()
        if self._is_waiting and self._early:
            self._early -= 1
            if self._acknowledge():
                self._end()

    def _show_frame(self) -> None:
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
        self._host.news.gallery.spent += FRAME_BYTES - left
        # An empty frame, when all were removed meanwhile, lets the peer ask on and learn that it is over.
        if entries or not is_anybody_there:
            self._is_waiting = True
            self._connection.send(self._connection.session.show(entries))

    def _show(self, process: Process, watched: _Watched, entries: list[Entry], left: int) -> int:
        capture = self._host.pipes.captures.get(process.id)
        if process.output is not None and capture is not None and capture.files:
            for stream, start, end, wall_ns, _ in _segments(process.output, capture, process.output.first):
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


class _Viewed:
    """One process, how far it was shown, and from which record of the index on it goes on."""

    __slots__ = ("dropped", "name", "place", "shown", "stamps")

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = index.HEADER_SIZE
        #: Of each stream: the next byte to show, when the bytes before it came, and how many had been dropped.
        self.shown: dict[str, int] = {}
        self.stamps: dict[str, int] = {}
        self.dropped: dict[str, int] = {}

    @classmethod
    def of(cls, process: Process) -> _Viewed:
        """Shown from the beginning of what is kept."""
        self = cls(process.name or str(process.id))
        if process.output is not None:
            for name, stream in process.output.streams.items():
                # What lies between is what nobody has acknowledged, and no longer kept.
                self.shown[name] = min(stream.acked, stream.low)
                self.dropped[name] = stream.dropped - (stream.low - self.shown[name])
        return self


class Viewer(Watch):
    """Lines as they come; any line that is typed ends it."""

    __slots__ = ("_is_overdue", "_is_sending", "_is_timed", "_new", "_page", "_viewed")

    def __init__(self, host: Host, connection: Connection, processes: Iterable[Process]) -> None:
        super().__init__(host, connection)
        self._viewed = {process.id: _Viewed.of(process) for process in processes}
        names = [viewed.name for viewed in self._viewed.values()]
        self._page = Page(names, time.localtime, system.signal_name)
        #: Whom there may be something new of; in the order in which they have their turns.
        self._new = dict.fromkeys(self._viewed)
        self._is_sending = False
        self._is_timed = False
        #: A line without an end has stayed unseen for long enough.
        self._is_overdue = False
        self.look_later()

    def on_news(self, number: int) -> None:
        if number in self._viewed:
            self._new[number] = None
            self.look_later()

    def pack(self) -> dict[str, Any]:
        viewed = [[number, v.name, v.place, v.shown, v.stamps, v.dropped] for number, v in self._viewed.items()]
        return {"viewed": viewed, "page": self._page.pack()}

    def unpack(self, packed: dict[str, Any]) -> None:
        for number, name, *state in packed["viewed"]:
            viewed = self._viewed[number] = _Viewed(name)
            viewed.place, viewed.shown, viewed.stamps, viewed.dropped = state
            self._new[number] = None
        self._page.unpack(packed["page"])

    def next(self, *, is_stopped: bool) -> bool:
        self._page.show_waiting()
        self._connection.send(self._page.take())
        return is_stopped

    def _look(self) -> None:
        if self._is_sending:
            return
        if self._is_overdue:
            self._is_overdue = False
            self._page.show_waiting()
        while self._new and self._page.size < PAGE_BYTES:
            number = next(iter(self._new))
            del self._new[number]
            if number in self._viewed and not self._show(number, self._viewed[number]):
                # Behind the others, who have as much to say.
                self._new[number] = None
        self._send()
        if not self._viewed:
            self._end()
        elif self._page.has_waiting and not self._is_timed:
            self._is_timed = True
            self._host.loop.call_at(time.monotonic() + LINE_WAIT_S, self._on_waited)

    def _on_waited(self) -> None:
        self._is_timed = False
        self._is_overdue = True
        self.look_later()

    def _send(self) -> None:
        data = self._page.take()
        self._host.news.gallery.spent += len(data)
        if data:
            self._is_sending = True
            self._connection.send(data)
            self._connection.after_sent(self._on_sent)

    def _on_sent(self) -> None:
        self._is_sending = False
        self.look_later()

    def _show(self, number: int, viewed: _Viewed) -> bool:
        """Puts on the page what is new of a process, as much as fits; whether that was all."""
        process = self._host.table.processes.get(number)
        if process is None or process.is_removed:
            self._page.gone(viewed.name, time.time_ns())
            del self._viewed[number]
            return True
        capture = self._host.pipes.captures.get(number)
        if process.output is not None and capture is not None and capture.files:
            known = [index.Record(name, viewed.shown[name], ns, 0) for name, ns in viewed.stamps.items()]
            for segment in _segments(process.output, capture, viewed.place, known):
                if not self._show_segment(process.output, capture, viewed, segment):
                    return False
        if process.exit is not None:
            status, at = process.exit
            if process.output is not None:
                for stream in viewed.shown:
                    self._say_missed(process.output, viewed, stream, int(at * 1e9))
            self._page.ended(viewed.name, int(at * 1e9), status)
            del self._viewed[number]
        return True

    def _show_segment(self, output: Output, capture: Capture, viewed: _Viewed, segment: Segment) -> bool:
        """As ``_show``, of what one record dates."""
        stream, start, end, wall_ns, place = segment
        viewed.place = place
        viewed.stamps[stream] = wall_ns
        self._say_missed(output, viewed, stream, wall_ns)
        start = max(start, viewed.shown[stream])
        while start < end and self._page.size < PAGE_BYTES:
            data = os.pread(capture.files[stream], min(PIECE_BYTES, end - start), start)
            self._page.output(viewed.name, stream, wall_ns, data)
            start += len(data)
        viewed.shown[stream] = start
        return start >= end

    def _say_missed(self, output: Output, viewed: _Viewed, stream: str, wall_ns: int) -> None:
        kept = output.streams[stream]
        missed = kept.low - viewed.shown[stream]
        if missed > 0:
            dropped = min(missed, kept.dropped - viewed.dropped[stream])
            self._page.missed(viewed.name, stream, wall_ns, dropped=dropped, passed=missed - dropped)
            viewed.shown[stream] = kept.low
        viewed.dropped[stream] = kept.dropped


def _segments(output: Output, capture: Capture, place: int, known: Iterable[index.Record] = ()) -> Iterator[Segment]:
    """What is held of both streams in the order of arrival, from that place of the index on.

    *known* are records that stand before it, as far as they still date something.
    """
    heads = output.heads
    dated = [(place, record) for record in known]
    place = max(place, output.first)
    while place < output.end or dated:
        data = capture.read_index(place, min(WINDOW_BYTES, output.end - place))
        for at in range(0, len(data) - index.RECORD_SIZE + 1, index.RECORD_SIZE):
            record = index.unpack_record(data, at)
            if record is not None and record.stream in heads:
                dated.append((place + at, record))
        place = place + len(data) if data else output.end
        ends = {stream: _next_offset(output, capture, place, stream) for stream in heads}
        found: list[Segment] = []
        for at, record in reversed(dated):
            end = ends[record.stream]
            # A record that lies at the head dates nothing yet; of several at one offset the last counts.
            if record.offset < end:
                start = max(record.offset, output.streams[record.stream].low)
                if start < end:
                    found.append((record.stream, start, end, record.wall_ns, at))
                ends[record.stream] = record.offset
        dated = []
        yield from reversed(found)


def _next_offset(output: Output, capture: Capture, place: int, stream: str) -> int:
    """Where the first record of a stream from that place on begins to date bytes; the head when there is none."""
    head = output.heads[stream]
    while place < output.end:
        data = capture.read_index(place, min(WINDOW_BYTES, output.end - place))
        for record in index.unpack_records(data):
            if record.stream == stream:
                return min(record.offset, head)
        place += len(data) or output.end
    return head
