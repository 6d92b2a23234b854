"""What a line looks like in a log file: a pure function of the bytes, their time and the process.

The idea: rendering the same record twice gives the same bytes, in this circusd and in the next one. That is what
lets `compare` find out after a crash how much of a batch stands in a file. So nothing here asks for the time; only
the time zone of the host is read, by `datetime`, unless one is given.

Rules for every file, so that a line never holds bytes of two sources:
- where the bytes of two sources meet in mid-line, a newline is put between them;
- a mark (`[papa: ...]`) is a line of its own;
- with a time format every line of the file begins with ``TIME [PID] | ``, the time at which it was written. A line
  that arrives in parts has one prefix;
- a colour holds up to the end of the line;
- as JSON each line is one object. What arrives without its newline is an object of its own, ``"partial": true``, and so
  are all but the last of the pieces of a line that is longer than LINE_LIMIT.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from circus.config.values import COLORS
from circus.streams import lines

SEPARATOR = b"\n"

TEXT, JSON = "text", "json"

#: As people know the streams.
STREAMS = {"out": "stdout", "err": "stderr"}

#: ECMA-48, select graphic rendition.
_COLOR = b"\033["
_NO_COLOR = b"\033[0m"


class Look(NamedTuple):
    """How lines stand in a file, if not as they were written. ``watcher`` and ``wid`` stand in JSON only."""

    form: str = TEXT
    time_format: str = ""
    color: str = ""
    watcher: str = ""
    wid: int = 0

    @property
    def of_marks(self) -> Look | None:
        """Marks are objects among objects, and text among all else."""
        return self if self.form == JSON else None


def gap_mark(dropped_bytes: int) -> bytes:
    """The line that stands where output is missing."""
    return b"[papa: %d bytes of output were dropped here]\n" % dropped_bytes


def doubt_mark(batch_bytes: int) -> bytes:
    """The line that stands where it could not be proven what was written before a crash."""
    return (
        b"[papa: this file changed while circus was away; up to %d bytes from above may follow again]\n" % batch_bytes
    )


def prefix(wall_ns: int, pid: int, time_format: str, zone: tzinfo | None = None) -> bytes:
    """``TIME [PID] | ``."""
    # Microseconds are all that strftime knows.
    return _prefix(wall_ns // 1000, pid, time_format, zone)


@functools.lru_cache(maxsize=256)  # neighbouring lines share their time; 256 covers a turn of many processes
def _prefix(wall_us: int, pid: int, time_format: str, zone: tzinfo | None) -> bytes:
    seconds, micros = divmod(wall_us, 1_000_000)
    at = datetime.fromtimestamp(seconds, zone).replace(microsecond=micros)
    return f"{at.strftime(time_format)} [{pid}] | ".encode("utf-8", "surrogateescape")


def _color_code(color: str) -> bytes:
    """On black."""
    return b"%s0;3%d;40m" % (_COLOR, COLORS.index(color) + 1)


def with_prefixes(
    data: bytes,
    start: int,
    times: Sequence[tuple[int, int]],
    *,
    pid: int,
    time_format: str,
    color: str = "",
    at_line_start: bool,
    zone: tzinfo | None = None,
) -> bytes:
    """``data``, which stands at ``start`` of its stream, with a prefix before every line.

    ``times`` are (offset, wall ns) as for `lines.cut_pieces`, ``color`` is one of COLORS. Not ``at_line_start``: the
    first line was begun before and has its prefix.
    """
    begin, end = (_color_code(color), _NO_COLOR + b"\n") if color else (b"", b"\n")
    out: list[bytes] = []
    # Where lines arrive one by one this leaves a piece for each second, not for each line.
    told = times if "%f" in time_format else _seconds(times)
    for wall_ns, piece_start, piece_end in lines.cut_pieces(data, start, told):
        piece = data[piece_start - start : piece_end - start]
        if not at_line_start:
            length = lines.first_line_end(piece) or len(piece)
            at_line_start = piece[length - 1 : length] == b"\n"
            out.append(piece[: length - 1] + end if at_line_start else piece[:length])
            piece = piece[length:]
        if piece:
            head = begin + prefix(wall_ns, pid, time_format, zone)
            at_line_start = piece.endswith(b"\n")
            body = piece[:-1] if at_line_start else piece
            out.append(head + body.replace(b"\n", end + head))
            if at_line_start:
                out.append(end)
    return b"".join(out)


def _seconds(times: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """``times`` as far as a format without fractions of a second can tell them apart."""
    told: list[tuple[int, int]] = []
    for offset, wall_ns in times:
        second_ns = wall_ns - wall_ns % 1_000_000_000
        if not told or second_ns != told[-1][1]:
            told.append((offset, second_ns))
    return told


def as_json(data: bytes, start: int, times: Sequence[tuple[int, int]], look: Look, *, pid: int, stream: str) -> bytes:
    """``data``, which stands at ``start`` of its stream, one object a line; ``times`` as for `with_prefixes`."""
    whose = f'"watcher":{_text(look.watcher)},"wid":{look.wid},"pid":{pid},"stream":"{STREAMS[stream]}","line":'
    out: list[str] = []
    for wall_ns, piece_start, piece_end in lines.cut_pieces(data, start, times):
        head = f'{{"time":"{_rfc_3339(wall_ns // 1000)}",{whose}'
        at, end = piece_start - start, piece_end - start
        while at < end:
            # Whole lines at once, where none can be too long; or a piece of one.
            stop = data.rfind(b"\n", at, min(end, at + lines.LINE_LIMIT)) + 1
            if stop <= at:
                stop = at + lines.piece_length(data[at : min(end, at + lines.LINE_LIMIT + 1)], 0)
            out.append(_objects(head, data[at:stop]))
            at = stop
    return "".join(out).encode()


def _objects(head: str, data: bytes) -> str:
    """The lines of ``data``, of which the last may be partial, each behind ``head``."""
    is_whole = data.endswith(b"\n")
    end = "}\n" if is_whole else ',"partial":true}\n'
    written = data[:-1] if is_whole else data
    try:
        values = [_quote(line) for line in written.decode().split("\n")]
    except UnicodeDecodeError:
        values = [_as_value(line) for line in written.split(b"\n")]
    return head + f"}}\n{head}".join(values) + end


def _as_value(line: bytes) -> str:
    """The line as JSON text, and all of its bytes behind it, if they are no text."""
    try:
        return _quote(line.decode())
    except UnicodeDecodeError:
        return f'{_quote(line.decode("utf-8", "replace"))},"raw":"{base64.b64encode(line).decode()}"'


_quote: Callable[[str], str] = json.encoder.encode_basestring
_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@functools.lru_cache(maxsize=256)  # as for _prefix
def _rfc_3339(wall_us: int) -> str:
    seconds, micros = divmod(wall_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06}Z"


def json_gap(dropped_bytes: int, at_ns: int, look: Look, stream: str) -> bytes:
    """`gap_mark` as an object; ``at_ns`` is when the gap was seen. Without ``stream``: nobody knows whose."""
    whose = {"watcher": look.watcher, "wid": look.wid, "stream": STREAMS[stream]} if stream else {}
    return _mark(at_ns, whose, "gap", {"dropped_bytes": dropped_bytes})


def json_doubt(batch_bytes: int, at_ns: int) -> bytes:
    """`doubt_mark` as an object."""
    return _mark(at_ns, {}, "doubt", {"repeated_bytes": batch_bytes})


def _mark(at_ns: int, whose: dict[str, object], kind: str, facts: dict[str, object]) -> bytes:
    return f"{_text({'time': _rfc_3339(at_ns // 1000), **whose, 'mark': kind, **facts})}\n".encode()
