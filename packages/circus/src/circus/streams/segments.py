"""The bytes of a segment as they stand in a file: the same for who plans them, writes them and looks for them again."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from operator import itemgetter

from circus.streams import render
from circus.streams.store import GAP, Segment, SourceKey
from circus.streams.tap import View


def fixed_bytes(segment: Segment, at_ns: int) -> bytes:
    """The mark that a gap or a doubt is rendered to; ``at_ns``: when it was seen."""
    size = segment.end - segment.start
    if segment.look is not None and segment.kind == GAP:
        return render.json_gap(size, at_ns, segment.look, segment.source.stream)
    if segment.look is not None:
        return render.json_doubt(size, at_ns)
    return render.gap_mark(size) if segment.kind == GAP else render.doubt_mark(size)


#: (offset, wall ns) of a stretch of a stream, ascending; each holds up to the next.
Times = Sequence[tuple[int, int]]


def times_of(segment: Segment, end: int, view: View, at_ns: int) -> Times:
    """When the bytes from the segment's start to ``end`` were written; ``at_ns`` for those that nobody dated."""
    stamps = view.tap.stamps(segment.source.stream, segment.start, end)
    return [(offset, wall_ns or at_ns) for offset, wall_ns, _ in stamps] or [(segment.start, at_ns)]


def render_data(segment: Segment, data: bytes, view: View, at_line_start: bool, last: SourceKey, times: Times) -> bytes:
    """The bytes of a data segment as they stand in the file, after a file that ends as the arguments say.

    ``times`` begin at the segment or before it, and may go beyond it.
    """
    lead, look = b"", segment.look
    if not at_line_start and (last != segment.source or (look is not None and look.form == render.JSON)):
        lead, at_line_start = render.SEPARATOR, True
    if look is None:
        return lead + data
    if look.form == render.JSON:
        own = within(times, segment.start, segment.start + len(data))
        return lead + render.as_json(data, segment.start, own, look, pid=view.pid, stream=segment.source.stream)
    body = render.with_prefixes(
        data,
        segment.start,
        within(times, segment.start, segment.start + len(data)),
        pid=view.pid,
        time_format=look.time_format,
        color=look.color,
        at_line_start=at_line_start,
    )
    return lead + body


def within(times: Times, start: int, end: int) -> Times:
    """The part from ``start`` to ``end`` of times that begin there or before."""
    first = bisect.bisect_right(times, start, key=itemgetter(0)) - 1
    return [(start, times[first][1]), *times[first + 1 : bisect.bisect_left(times, end, key=itemgetter(0))]]
