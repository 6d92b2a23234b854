"""What a line looks like in a log file: a pure function of the bytes, their time and the process.

The idea: rendering the same record twice gives the same bytes, in this circusd and in the next one. That is what
lets `compare` find out after a crash how much of a batch stands in a file. So nothing here asks for the time; only
the time zone of the host is read, by `datetime`, unless one is given.

Rules for every file, so that a line never holds bytes of two sources:
- where the bytes of two sources meet in mid-line, a newline is put between them;
- a mark (`[papa: ...]`) is a line of its own;
- with a time format every line of the file begins with ``TIME [PID] | ``, the time at which it was written. A line
  that arrives in parts has one prefix;
- a time format that begins with the code of a colour colours the line up to its end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, tzinfo

from circus.config.values import COLORS
from circus.streams import lines

SEPARATOR = b"\n"

#: ECMA-48, select graphic rendition.
_COLOR = "\033["
_NO_COLOR = b"\033[0m"


def gap_mark(dropped_bytes: int) -> bytes:
    """The line that stands where output is missing."""
    return b"[papa: %d bytes of output were dropped here]\n" % dropped_bytes


def doubt_mark(batch_bytes: int) -> bytes:
    """The line that stands where it could not be proven what was written before a crash."""
    return (
        b"[papa: this file changed while circus was away; up to %d bytes from above may follow again]\n" % batch_bytes
    )


def color_code(color: str) -> str:
    """To be put before a time format: one of COLORS on black."""
    return f"{_COLOR}0;3{COLORS.index(color) + 1};40m"


def prefix(wall_ns: int, pid: int, time_format: str, zone: tzinfo | None = None) -> bytes:
    """``TIME [PID] | ``."""
    # Microseconds are all that strftime knows.
    return _prefix(wall_ns // 1000, pid, time_format, zone)


@functools.lru_cache(maxsize=256)  # neighbouring lines share their time; 256 covers a turn of many processes
def _prefix(wall_us: int, pid: int, time_format: str, zone: tzinfo | None) -> bytes:
    seconds, micros = divmod(wall_us, 1_000_000)
    at = datetime.fromtimestamp(seconds, zone).replace(microsecond=micros)
    return f"{at.strftime(time_format)} [{pid}] | ".encode("utf-8", "surrogateescape")


def with_prefixes(
    data: bytes,
    start: int,
    times: Sequence[tuple[int, int]],
    *,
    pid: int,
    time_format: str,
    at_line_start: bool,
    zone: tzinfo | None = None,
) -> bytes:
    """``data``, which stands at ``start`` of its stream, with a prefix before every line.

    ``times`` are (offset, wall ns) as for `lines.cut_pieces`. Not ``at_line_start``: the first line was begun before
    and has its prefix.
    """
    end = _NO_COLOR + b"\n" if time_format.startswith(_COLOR) else b"\n"
    out: list[bytes] = []
    for wall_ns, piece_start, piece_end in lines.cut_pieces(data, start, times):
        piece = data[piece_start - start : piece_end - start]
        if not at_line_start:
            length = lines.first_line_end(piece) or len(piece)
            at_line_start = piece[length - 1 : length] == b"\n"
            out.append(piece[: length - 1] + end if at_line_start else piece[:length])
            piece = piece[length:]
        if piece:
            head = prefix(wall_ns, pid, time_format, zone)
            at_line_start = piece.endswith(b"\n")
            body = piece[:-1] if at_line_start else piece
            out.append(head + body.replace(b"\n", end + head))
            if at_line_start:
                out.append(end)
    return b"".join(out)
