"""Lines and the order in which they were written: pure functions over bytes, offsets and times.

The idea: where several sources run into one file, what is moved is not bytes but *pieces*, runs of whole lines that
arrived at one time. Pieces of all sources are merged by that time, so that the file reads in the order in which the
processes wrote. Reading the bytes and the stamps does not belong here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: A tail without a newline is held back until it is this long: a program that never ends a line must not keep its
#: output from being seen, and no line of a reasonable log is longer.
LINE_LIMIT = 64 * 1024


class Piece(NamedTuple):
    """The bytes from ``start`` to ``end`` of a stream, whole lines whose time is ``at_ns``."""

    at_ns: int
    start: int
    end: int


class Run(NamedTuple):
    """The pieces of one source, in order. ``is_cut``: the source has more that was not looked at."""

    number: int
    pieces: Sequence[Piece]
    is_cut: bool


def last_line_end(data: bytes) -> int:
    """How many bytes of ``data`` are whole lines."""
    return data.rfind(b"\n") + 1


def first_line_end(data: bytes) -> int:
    """The length of the first line with its newline; 0 when there is none."""
    return data.find(b"\n") + 1


def whole_chars(data: bytes) -> int:
    """How many bytes of ``data`` do not end within a character of UTF-8; all, if nothing would be left."""
    for back in range(1, min(3, len(data) - 1) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)


def piece_length(data: bytes, at: int) -> int:
    """The length of the line that begins at ``at``; of one that is longer than LINE_LIMIT, of its first piece."""
    stop = min(len(data), at + LINE_LIMIT)
    newline = data.find(b"\n", at, stop)
    if newline >= 0:
        return newline + 1 - at
    return stop - at if stop == len(data) else whole_chars(data[at:stop])


def cut_pieces(data: bytes, start: int, times: Sequence[tuple[int, int]]) -> list[Piece]:
    """Cut ``data``, which stands at ``start``, where a new time begins; a line keeps the time of its first byte.

    ``times`` are (offset, ns), ascending, the first at ``start``.
    """
    pieces: list[Piece] = []
    at, end = start, start + len(data)
    for number, (_, at_ns) in enumerate(times):
        stop = end
        if number + 1 < len(times):
            edge = times[number + 1][0]
            if edge <= at:
                continue
            # The line that began before the edge goes on to its own end, wherever that is.
            newline = data.find(b"\n", edge - start - 1)
            if newline >= 0:
                stop = start + newline + 1
        if stop > at:
            pieces.append(Piece(at_ns, at, stop))
            at = stop
    if at < end:
        pieces.append(Piece(times[-1][1] if times else 0, at, end))
    return pieces


def merge(runs: Sequence[Run]) -> list[tuple[int, int, int]]:
    """(number of the run, start, end) in the order of arrival; neighbours of one run are joined.

    A run that was cut may continue with pieces older than another run's late ones: nothing is given out that is
    younger than the last known piece of a cut run. At least one cut run is given out as a whole.
    """
    timed = [list(_timed(run)) for run in runs]
    horizon = min((each[-1][0] for run, each in zip(runs, timed, strict=True) if run.is_cut and each), default=None)
    ordered: list[tuple[int, int, int]] = []
    for at_ns, number, piece in heapq.merge(*timed):
        if horizon is not None and at_ns > horizon:
            break
        if ordered and ordered[-1][0] == number and ordered[-1][2] == piece.start:
            ordered[-1] = (number, ordered[-1][1], piece.end)
        else:
            ordered.append((number, piece.start, piece.end))
    return ordered


def _timed(run: Run) -> Iterator[tuple[int, int, Piece]]:
    """The pieces with times that never step back: the order within a source stands above its stamps."""
    latest = 0
    for piece in run.pieces:
        latest = max(latest, piece.at_ns)
        yield latest, run.number, piece
