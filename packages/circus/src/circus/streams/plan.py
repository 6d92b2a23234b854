"""What is written next into one file: the bytes that are ready, their order, and where the file is rotated.

The idea: a batch is decided as a whole before a byte of it is written, by looking at the kernel's files only, so that
it can be said in an intent. Runs in the thread of the file system; holds nothing between two calls.

- One source alone, without a time format: bytes as they come.
- Several sources, or a time format: whole lines, in the order of arrival. A tail waits for its newline, the end of
  its stream, or LINE_LIMIT.
- Bytes that the kernel dropped become a gap segment, which is rendered as a mark.
- A file that would reach max_bytes is rotated first; segments end at the last line that still fits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circus.streams import lines
from circus.streams.filling import BATCH_BYTES, MERGE_BYTES, RENDER_BYTES, Batch, Fill, Limits
from circus.streams.render import Look
from circus.streams.store import DATA, DOUBT, GAP, NOBODY, Place, Segment, SourceKey
from circus.streams.tap import View
from papa.client.output import Overtaken

#: Sources in one batch: the others have their turn in the next one.
MAX_MERGED = 64

#: Segments of one batch: its intent stays below 64 KiB of the kernel's journal.
MAX_SEGMENTS = 512

#: Bytes of a character in UTF-8.
LONGEST_CHAR = 4

#: How often a source that is being overtaken while we look at it is looked at again.
MAX_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """A batch, or None; and what was seen of the sources. ``is_quiet``: none of them has anything ready."""

    batch: Batch | None
    is_quiet: bool
    heads: Mapping[SourceKey, int]
    scanned: Mapping[SourceKey, int]


@dataclass(slots=True)
class _Ready:
    """What one source has to give: a gap up to ``gap_end`` where it has lost bytes, then ``start`` to ``end``."""

    view: View
    gap_end: int
    start: int
    end: int
    is_cut: bool
    data: bytes = b""  # from ``start`` on, as far as it was read


def survey(
    views: Sequence[View], place: Place, limits: Limits, *, is_alone: bool, doubt_bytes: int = 0, at_ns: int = 0
) -> Survey:
    """Look at the sources and decide the next batch for a file that stands at ``place``.

    ``is_alone``: the one view is the only source of this file. ``doubt_bytes``: begin with the mark of a doubt.
    """
    heads: dict[SourceKey, int] = {}
    scanned: dict[SourceKey, int] = {}
    ready: list[_Ready] = []
    for view in views:
        found = _look(view, is_alone and view.look is None and not limits.needs_lines, heads, scanned)
        if found is not None:
            ready.append(found)
            if len(ready) == MAX_MERGED:
                break
    segments = [*_begun_line(ready, place), *_in_order(ready, limits.max_bytes or MERGE_BYTES)]
    if doubt_bytes and segments:
        segments.insert(0, Segment(NOBODY, 0, doubt_bytes, DOUBT, _of_marks(ready[0].view)))
    is_merged = sum(segment.kind == DATA for segment in segments) > 1
    in_memory = is_merged or limits.needs_payload or any(view.look is not None for view in views)
    by_key = {view.key: view for view in views}
    read = {each.view.key: (each.start, each.data) for each in ready}
    fill = Fill(by_key, read, place, limits, in_memory=in_memory, at_ns=at_ns)
    for segment in segments:
        if not fill.add(segment):
            break
    return Survey(fill.batch(), not ready, heads, scanned)


# What is ready ----------------------------------------------------------------------------------------------


def _look(view: View, is_alone: bool, heads: dict[SourceKey, int], scanned: dict[SourceKey, int]) -> _Ready | None:
    files, stream = view.tap.files, view.key.stream
    for _ in range(MAX_LOOKS):
        head = files.head(stream)
        heads[view.key] = head
        start = max(view.start, files.low(stream))
        stop = head if view.limit is None else max(start, min(head, view.limit))
        capped = min(stop, start + (BATCH_BYTES if view.look is None else RENDER_BYTES))
        if is_alone:
            end = capped
        else:
            try:
                end = _line_end(view, start, capped)
            except Overtaken:
                continue
            if end == start:
                scanned[view.key] = capped
        if end > start or start > view.start:
            return _Ready(view, start, start, end, is_cut=capped < stop)
        return None
    return None


def _line_end(view: View, start: int, stop: int) -> int:
    """Up to where the bytes before ``stop`` may be written."""
    files, stream = view.tap.files, view.key.stream
    lowest = max(start, min(view.scanned, stop))
    found, at = start, stop
    while at > lowest:
        begin = max(lowest, at - lines.LINE_LIMIT)
        length = lines.last_line_end(files.pread(stream, begin, at - begin))
        if length:
            found = begin + length
            break
        at = begin
    if stop - found >= lines.LINE_LIMIT:
        found = stop - LONGEST_CHAR + lines.whole_chars(files.pread(stream, stop - LONGEST_CHAR, LONGEST_CHAR))
    return max(found, min(view.release_to, stop))


# Their order ------------------------------------------------------------------------------------------------


def _begun_line(ready: list[_Ready], place: Place) -> list[Segment]:
    """A line whose begin stands at the end of the file is ended before anybody else's comes."""
    if place.at_line_start:
        return []
    for each in ready:
        if each.view.key == place.last and each.view.start == each.start < each.end:
            stop = min(each.end, each.start + lines.LINE_LIMIT)
            try:
                data = each.view.tap.files.pread(each.view.key.stream, each.start, stop - each.start)
            except Overtaken:
                return []
            segment = _data(each, each.start, each.start + (lines.first_line_end(data) or len(data)))
            each.start = segment.end
            return [segment]
    return []


def _in_order(ready: list[_Ready], file_bytes: int) -> list[Segment]:
    """What is ready in the order of arrival; several sources as far as about one batch, and one file, will hold."""
    segments = [
        Segment(each.view.key, each.view.start, each.gap_end, GAP, _of_marks(each.view))
        for each in ready
        if each.gap_end > each.view.start
    ]
    filled = [each for each in ready if each.end > each.start]
    if len(filled) == 1:
        only = filled[0]
        return [*segments, _data(only, only.start, only.end)]
    share = max(1, len(filled))
    window = max(lines.LINE_LIMIT, min(file_bytes, MERGE_BYTES // share))
    runs = []
    for index, each in enumerate(filled):
        run = _run(each, index, window, most=2 * MAX_SEGMENTS // share)
        if run is not None:
            runs.append(run)
    for index, start, end in lines.merge(runs):
        if len(segments) == MAX_SEGMENTS:
            break
        segments.append(_data(filled[index], start, end))
    return segments


def _data(ready: _Ready, start: int, end: int) -> Segment:
    return Segment(ready.view.key, start, end, DATA, ready.view.look)


def _of_marks(view: View) -> Look | None:
    return view.look.of_marks if view.look is not None else None


def _run(ready: _Ready, index: int, window: int, most: int) -> lines.Run | None:
    """The first pieces of one source: of ``window`` bytes, about ``most`` of them."""
    stream, start = ready.view.key.stream, ready.start
    stop = min(ready.end, start + window)
    try:
        data = ready.view.tap.files.pread(stream, start, stop - start)
        if stop < ready.end:
            data = data[: lines.last_line_end(data) or lines.whole_chars(data)]
        stamps = ready.view.tap.stamps(stream, start, start + len(data))
    except Overtaken:
        return None
    if len(stamps) > most:
        newline = data.find(b"\n", stamps[most][0] - start - 1)
        data = data[: newline + 1] if newline >= 0 else data
    ready.data = data
    end = start + len(data)
    # A source that is far behind has many more stamps than pieces.
    times = [(offset, boot_ns) for offset, _, boot_ns in itertools.takewhile(lambda stamp: stamp[0] < end, stamps)]
    return lines.Run(index, lines.cut_pieces(data, start, times), ready.is_cut or end < ready.end)
