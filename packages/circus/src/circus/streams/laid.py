"""Where what was written stands in a log file, whose it is and from when: what the index is told.

The idea: who writes notes stretches, segments with their place in the file; here they become runs of one source and one
time. Plain bytes are copied unseen, so their runs follow from the kernel's stamps alone. What was rendered is read once
more, from both sides, to find where in the file each line of the stream ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from circus.logbook import entries
from circus.logbook.copies import Kept
from circus.logbook.entries import Run
from circus.logbook.writing import HEAD_BYTES, Laid
from circus.streams import lines, render
from circus.streams.segments import Times, fixed_bytes, times_of, within
from circus.streams.store import DATA, Segment, SourceKey
from circus.streams.tap import View
from papa.errors import PapaError

NOBODY = entries.Source("", 0, 0, "", entries.MARK)


class Stretch(NamedTuple):
    """The segment, as far as it was written, and from where to where it stands in the file."""

    segment: Segment
    start: int
    end: int


def laid_of(
    path: str, fd: int, stretches: Sequence[Stretch], views: Mapping[SourceKey, View], at_ns: int
) -> Laid | None:
    """For the index; None when it cannot be said. ``at_ns`` is for bytes that nobody dated."""
    try:
        found = os.fstat(fd)
        times = _times(stretches, views, at_ns)
        runs = [run for stretch in stretches for run in _runs(stretch, fd, views, times)]
        base = stretches[0].start
        return Laid(
            path,
            found.st_dev,
            found.st_ino,
            base,
            os.pread(fd, HEAD_BYTES, 0),
            tuple(entries.joined(runs)),
            frozenset() if base else frozenset(each.inode() for each in os.scandir(os.path.dirname(path))),
        )
    except (OSError, PapaError):
        return None  # bytes that were dropped meanwhile; the files are as good as before


def kept_of(
    segments: Sequence[Segment], done: Mapping[SourceKey, int], views: Mapping[SourceKey, View], at_ns: int
) -> list[Kept]:
    """For the store: the bytes of a batch, as far as its sink took them. ``at_ns`` as above."""
    kept = []
    for segment in segments:
        view, end = views.get(segment.source), min(segment.end, done.get(segment.source, 0))
        if view is None or end <= segment.start:
            continue
        if segment.kind != DATA:
            mark = fixed_bytes(replace(segment, look=None), at_ns)
            kept.append(Kept(_source(view, entries.MARK), mark, ((len(mark), at_ns),)))
            continue
        try:
            data = view.tap.files.pread(segment.source.stream, segment.start, end - segment.start)
            times = times_of(segment, end, view, at_ns)
        except (OSError, PapaError):
            continue  # dropped since
        edges = [*(offset for offset, _ in times[1:]), end]
        begins = [segment.start, *edges]
        runs = tuple((edge - begin, ns) for begin, edge, (_, ns) in zip(begins, edges, times, strict=False))
        kept.append(Kept(_source(view, entries.PLAIN), data, runs))
    return kept


def _times(stretches: Sequence[Stretch], views: Mapping[SourceKey, View], at_ns: int) -> dict[SourceKey, Times]:
    """Asked for once for each source, however many stretches it has."""
    wholes: dict[SourceKey, Segment] = {}
    for segment, _, _ in stretches:
        if segment.kind == DATA and segment.source in views:
            first = wholes.get(segment.source, segment)
            wholes[segment.source] = Segment(segment.source, first.start, segment.end)
    return {key: times_of(whole, whole.end, views[key], at_ns) for key, whole in wholes.items()}


def _runs(
    stretch: Stretch, fd: int, views: Mapping[SourceKey, View], times: Mapping[SourceKey, Times]
) -> Iterator[Run]:
    segment, start, end = stretch
    view = views.get(segment.source)
    if view is None or segment.kind != DATA:
        source = NOBODY if view is None else _source(view, entries.MARK)
        known = times.get(segment.source, ())
        yield Run(source, end - start, known[0][1] if known else 0)
        return
    look = entries.PLAIN
    if segment.look is not None:
        look = entries.JSON if segment.look.form == render.JSON else entries.PREFIXED
    source = _source(view, look)
    own = within(times[segment.source], segment.start, segment.end)
    if len(own) == 1:
        yield Run(source, end - start, own[0][1])
        return
    at = start
    for edge, at_ns in _plain_edges(stretch, own) if look == entries.PLAIN else _rendered_edges(stretch, own, fd, view):
        yield Run(source, edge - at, at_ns)
        at = edge


def _objects(data: bytes) -> int:
    count = at = 0
    while at < len(data):
        at += lines.piece_length(data, at)
        count += 1
    return count


def _source(view: View, look: str) -> entries.Source:
    return entries.Source(view.watcher, view.wid, view.pid, render.STREAMS[view.key.stream], look)


def _plain_edges(stretch: Stretch, times: Times) -> Iterator[tuple[int, int]]:
    """Where in the file what has one time ends, and that time."""
    segment, _, end = stretch
    shift = end - segment.end
    for number, (_, at_ns) in enumerate(times):
        yield (times[number + 1][0] + shift if number + 1 < len(times) else end), at_ns


def _rendered_edges(stretch: Stretch, times: Times, fd: int, view: View) -> Iterator[tuple[int, int]]:
    segment, start, end = stretch
    data = view.tap.files.pread(segment.source.stream, segment.start, segment.end - segment.start)
    rendered = os.pread(fd, end - start, start)
    is_json = segment.look is not None and segment.look.form == render.JSON
    # A newline may stand in front, between the lines of two sources.
    at = int(rendered.startswith(b"\n"))
    if at and not is_json and data.startswith(b"\n"):
        at = rendered.count(b"\n") - data.count(b"\n")  # it may be the end of a line that was begun before
    pieces = lines.cut_pieces(data, segment.start, times)
    written = [data[piece.start - segment.start : piece.end - segment.start] for piece in pieces]
    counts = [_objects(part) if is_json else part.count(b"\n") for part in written]
    # As a rule what stands before each line has one length: then the ends of lines follow from their number.
    extra, rest = divmod(len(rendered) - at - len(data), sum(counts) or 1)
    for piece, part, count in zip(pieces, written, counts, strict=True):
        guess = at + len(part) + count * extra
        if not (rest or is_json) and rendered[guess - 1 : guess] == b"\n":
            at = guess
        else:
            for _ in range(count):
                at = rendered.find(b"\n", at) + 1
        yield (end if piece is pieces[-1] else start + at), piece.at_ns
