"""What fits into a batch: segments laid into the file one after the other, and where the file has to be rotated.

The idea: here is counted what `sinks` will write, byte for byte, before anything is written. Which bytes are ready,
and in which order, was decided by `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circus.streams import intervals, lines, render, rotate
from circus.streams.intervals import Schedule
from circus.streams.segments import Times, fixed_bytes, render_data, times_of, within
from circus.streams.store import DATA, DOUBT, NOBODY, Intent, Place, Segment, SourceKey
from circus.streams.tap import View
from papa.client.output import Overtaken

#: A batch of plain copy: big enough for the speed of the disk, small enough that others on that disk get their turn.
BATCH_BYTES = 8 * 1024 * 1024

#: A batch that is rendered is held in memory; a prefix makes an empty line thirty times as long.
RENDER_BYTES = 256 * 1024

#: What is read of all sources together when they are merged. It is written from memory: a copy from file to file for
#: each few lines would cost several system calls each.
MERGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """When the file is rotated, and whether the sink can only take bytes (a pipe) instead of copies, or whole lines.

    With a ``schedule`` it is rotated by time, not by size.
    """

    max_bytes: int = 0
    backup_count: int = 0
    schedule: Schedule | None = None
    needs_payload: bool = False
    needs_lines: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """``payload``: the rendered bytes of all segments, for sinks and formats that cannot be copied to.

    ``rotate``, ``aside`` and ``dated_s`` are those of its intent.
    ``lengths``: how many bytes each segment has in it.
    """

    segments: tuple[Segment, ...]
    rotate: int = 0
    payload: bytes | None = None
    aside: str = ""
    dated_s: int = 0
    lengths: tuple[int, ...] = ()

    @property
    def ends(self) -> dict[SourceKey, int]:
        """How far each source is written when the batch is."""
        return {segment.source: segment.end for segment in self.segments if segment.kind != DOUBT}

    def intent(self, path: str, place: Place, at_ns: int) -> Intent:
        """What is to be committed before it is written to the file that stands at ``place``."""
        return Intent(path, place, self.segments, self.rotate, at_ns, self.aside, self.dated_s)


class Fill:
    """Segments of a batch as they are laid into the file, with the file's size and line state after each.

    ``read``: what was read of the sources already, each from the offset on.
    """

    def __init__(
        self,
        views: Mapping[SourceKey, View],
        read: Mapping[SourceKey, tuple[int, bytes]],
        place: Place,
        limits: Limits,
        *,
        in_memory: bool,
        at_ns: int,
    ) -> None:
        self._views = views
        self._times: dict[SourceKey, tuple[int, int, Times]] = {}
        self._read = read
        self._limits = limits
        self._at_ns = at_ns
        self._size = place.size
        self._at_line_start = place.at_line_start
        self._last = place.last
        self._is_rotated = False
        self._segments: list[Segment] = []
        self._lengths: list[int] = []
        self._bytes = 0
        self._payload: list[bytes] | None = [] if in_memory else None
        is_rendered = any(view.look is not None for view in views.values())
        self._payload_room = RENDER_BYTES if is_rendered else MERGE_BYTES
        self._rotates = limits.schedule is None and rotate.rotates(limits.max_bytes, limits.backup_count)
        self._aside = ""
        self._dated_s = place.dated_s
        self._interval: int | None = None
        if limits.schedule is not None and place.size and place.dated_s:
            interval = limits.schedule.start(place.dated_s)
            # A clock that was stepped into the future and back: the file is of the interval of what comes now.
            self._interval = interval if interval <= at_ns // 10**9 else None

    def batch(self) -> Batch | None:
        if not self._segments:
            return None
        return Batch(
            tuple(self._segments),
            rotate=self._limits.backup_count if self._is_rotated else 0,
            payload=None if self._payload is None else b"".join(self._payload),
            aside=self._aside,
            dated_s=self._dated_s,
            lengths=tuple(self._lengths),
        )

    def add(self, segment: Segment) -> bool:
        """Take the segment, or as much of it as fits; False when nothing more can follow."""
        if segment.kind == DATA and self._payload is not None:
            return self._add_rendered(segment)
        if segment.kind == DATA:
            return self._add_plain(segment)
        if not self._size:
            self._date(self._at_ns)
        mark = fixed_bytes(segment, self._at_ns)
        lead = 0 if self._at_line_start else 1
        if not self._fits(lead + len(mark)) and not self._make_room():
            return False
        lead = 0 if self._at_line_start else 1
        self._take(segment, lead + len(mark), render.SEPARATOR * lead + mark, at_line_start=True)
        return True

    def _take(self, segment: Segment, length: int, rendered: bytes, *, at_line_start: bool) -> None:
        self._size += length
        self._bytes += length
        self._at_line_start = at_line_start
        self._last = segment.source
        if self._payload is not None:
            self._payload.append(rendered)
        if self._segments and segment.kind == DATA:
            before = self._segments[-1]
            if before.kind == DATA and (before.source, before.end) == (segment.source, segment.start):
                segment = Segment(segment.source, before.start, segment.end, DATA, segment.look)
                self._segments.pop()
                length += self._lengths.pop()
        self._segments.append(segment)
        self._lengths.append(length)

    def _fits(self, length: int) -> bool:
        return not self._rotates or self._size == 0 or length <= rotate.room(self._size, self._limits.max_bytes)

    def _make_room(self) -> bool:
        """Begin the batch with a rotation; impossible once it has a segment."""
        if self._segments or self._is_rotated:
            return False
        self._is_rotated = True
        if self._limits.schedule is not None and self._interval is not None:
            self._aside = self._limits.schedule.name(self._interval)
            self._interval = None
        self._size, self._at_line_start, self._last = 0, True, NOBODY
        return True

    # By time: the moment at which a line was written counts, not that at which it is written here.

    def _date(self, ns: int) -> None:
        """The file is of the interval of this moment."""
        if self._limits.schedule is not None:
            self._dated_s = self._moment(ns)
            self._interval = self._limits.schedule.start(self._dated_s)

    def _moment(self, ns: int) -> int:
        """In seconds; what is dated in the future was dated by a clock that has been set right since."""
        return min(ns, self._at_ns) // 10**9

    def _is_next(self, ns: int) -> bool:
        schedule, interval = self._limits.schedule, self._interval
        return schedule is not None and interval is not None and schedule.start(self._moment(ns)) > interval

    def _same_interval(self, segment: Segment, end: int) -> int:
        """Up to where, at most ``end``, the segment is of the file's interval; its start: rotate first."""
        schedule = self._limits.schedule
        if schedule is None:
            return end
        times = within(self._times_of(segment), segment.start, end)
        if self._interval is None:
            self._date(times[0][1])
        if not any(self._is_next(ns) for _, ns in times):
            return end
        is_line_start = self._at_line_start or self._last != segment.source

        def line_end(offset: int) -> int:
            return self._line_end(segment.source, offset, end)

        if not is_line_start and line_end(segment.start) == end and not self._ends_line(segment.source, end):
            # Whoever never ends a line keeps the file only for so long.
            is_overdue = schedule.is_overdue(self._interval or 0, self._moment(times[-1][1]))
            return segment.start if is_overdue else end
        return intervals.first_of_next(
            times, segment.start, end, is_line_start=is_line_start, is_next=self._is_next, line_end=line_end
        )

    def _line_end(self, source: SourceKey, offset: int, end: int) -> int:
        """Behind the first newline from ``offset`` on; lines are cut at LINE_LIMIT."""
        stop = min(end, offset + lines.LINE_LIMIT)
        try:
            length = lines.first_line_end(self._bytes_of(source, offset, stop))
            return offset + length if length else stop
        except Overtaken:
            return end  # writing it will meet the same

    def _is_mid_line(self, source: SourceKey) -> bool:
        """The file ends with a begun line of this source; one without an end is cut all the same."""
        return (
            not self._at_line_start and self._last == source and self._size < self._limits.max_bytes + lines.LINE_LIMIT
        )

    def _lead(self, source: SourceKey) -> int:
        return 1 if not self._at_line_start and self._last != source else 0

    # Plain: the bytes are copied from file to file; only those around a cut are looked at.

    def _add_plain(self, segment: Segment) -> bool:
        end = min(segment.end, segment.start + BATCH_BYTES - self._bytes)
        if end <= segment.start:
            return False
        end = self._same_interval(segment, end)
        if end == segment.start:
            return self._make_room() and self._add_plain(segment)
        is_whole = end == segment.end
        lead = self._lead(segment.source)
        length = lead + end - segment.start
        if self._rotates and length > rotate.room(self._size, self._limits.max_bytes):
            cut = self._cut(segment, end, rotate.room(self._size, self._limits.max_bytes) - lead)
            if cut == segment.start:
                return self._make_room() and self._add_plain(segment)
            length, end, is_whole = lead + cut - segment.start, cut, False
        part = Segment(segment.source, segment.start, end)
        self._take(part, length, b"", at_line_start=self._ends_line(segment.source, end))
        return is_whole

    def _cut(self, segment: Segment, end: int, room: int) -> int:
        """Where to cut a segment that does not fit: the last line end within ``room``; ``start``: rotate first."""
        files, stream = self._views[segment.source].tap.files, segment.source.stream
        try:
            at = min(end, segment.start + max(0, room))
            while at > segment.start:
                begin = max(segment.start, at - lines.LINE_LIMIT)
                length = lines.last_line_end(files.pread(stream, begin, at - begin))
                if length:
                    return begin + length
                at = begin
            if self._size > 0 and not self._is_mid_line(segment.source):
                return segment.start
            # A line that is longer than a file may be, or one begun in this file: to its end.
            stop = min(end, segment.start + lines.LINE_LIMIT)
            length = lines.first_line_end(files.pread(stream, segment.start, stop - segment.start))
            return segment.start + length if length else stop
        except Overtaken:
            return end  # writing it will meet the same, and cut it where it must be

    def _ends_line(self, source: SourceKey, end: int) -> bool:
        try:
            return self._views[source].tap.files.pread(source.stream, end - 1, 1) == b"\n"
        except Overtaken:
            return False

    # Rendered: line by line where the file may have to be rotated, else as a whole.

    def _add_rendered(self, segment: Segment) -> bool:
        view = self._views[segment.source]
        end = min(segment.end, segment.start + self._payload_room - self._bytes)
        if end <= segment.start:
            return False
        try:
            data = self._bytes_of(segment.source, segment.start, end)
        except Overtaken:
            return False
        if end < segment.end:
            data = data[: lines.last_line_end(data) or (0 if self._segments else lines.whole_chars(data))]
        if not data:
            return False
        data = data[: self._same_interval(segment, segment.start + len(data)) - segment.start]
        if not data:
            return self._make_room() and self._add_rendered(segment)
        times = self._times_of(segment)
        whole = render_data(segment, data, view, self._at_line_start, self._last, times)
        if self._fits(len(whole)) and (self._size or not self._rotates or len(whole) < self._limits.max_bytes):
            self._take_data(segment, segment.start, data, whole)
            return segment.start + len(data) == segment.end
        at = 0
        while at < len(data):
            length = lines.piece_length(data, at)
            part = Segment(segment.source, segment.start + at, segment.start + at + length, DATA, segment.look)
            line = data[at : at + length]
            rendered = render_data(part, line, view, self._at_line_start, self._last, times)
            if not self._fits(len(rendered)) and not self._is_mid_line(segment.source):
                if not self._make_room():
                    return False
                continue
            self._take_data(segment, segment.start + at, line, rendered)
            at += length
        return segment.start + len(data) == segment.end

    def _bytes_of(self, source: SourceKey, start: int, end: int) -> bytes:
        read_from, data = self._read[source]
        if read_from <= start and end <= read_from + len(data):
            return data[start - read_from : end - read_from]
        return self._views[source].tap.files.pread(source.stream, start, end - start)

    def _times_of(self, segment: Segment) -> Times:
        """Those of all that was read of the source: asked for once, however many pieces it is merged in."""
        if segment.look is None and self._limits.schedule is None:
            return []
        first, end, times = self._times.get(segment.source, (0, 0, ()))
        if not first <= segment.start <= segment.end <= end:
            read_from, data = self._read[segment.source]
            end = max(segment.end, read_from + len(data))
            times = times_of(segment, end, self._views[segment.source], self._at_ns)
            self._times[segment.source] = segment.start, end, times
        return times

    def _take_data(self, segment: Segment, start: int, data: bytes, rendered: bytes) -> None:
        part = Segment(segment.source, start, start + len(data), DATA, segment.look)
        self._take(part, len(rendered), rendered, at_line_start=rendered.endswith(b"\n"))
