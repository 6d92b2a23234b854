"""What stands in a log file, compared with what processes wrote: pure, bytes in, numbers out.

The idea: lines are counted, not placed. At no moment is it known how much of a stream a file holds, only two bounds of
it: what it must hold at *least*, which had been acknowledged before the file was read, and what it can hold at *most*,
which the kernel had taken by the time after. A line that the file has more rarely than the least is lost, one that it
has more often than the most is doubled. What surrounds a line (a time, a pid, a colour, an object of JSON) is taken
off first. The order of lines is not looked at.

Where bytes of a stream were given back before they could be read, as many bytes of unknown lines may stand in the file,
no fewer and no more.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: How the lines of a file are dressed.
PLAIN, PREFIXED, JSON = "plain", "prefixed", "json"

#: Longer lines are cut into pieces by circusd where several streams meet; they are not compared (`streams.lines`).
MAX_LINE = 64 * 1024

_PREFIX = re.compile(rb".*? \[(\d+)\] \| ")
_COLOR, _NO_COLOR = re.compile(rb"\033\[0;3[1-7];40m"), b"\033[0m"
_MARK = re.compile(
    rb"\[papa: (?:(\d+) bytes of output were dropped here|this file changed while circus was away; .*)\]"
)


class Unclear(Exception):
    """The file cannot be compared; the text says why."""


class Tally(NamedTuple):
    """Bytes, with their newlines. ``unseen``: nobody read along, so they were counted and not compared; ``said``: they
    are missing, as marks in the file say."""

    compared: int = 0
    lost: int = 0
    doubled: int = 0
    unseen: int = 0
    said: int = 0


class Written(NamedTuple):
    """What one stream of the process ``pid`` gave: its ``pieces``, by the offset at which each begins, ascending.

    Between two of them there are bytes that nobody read. From the first piece on all can stand in the file; what lies
    between the offsets ``sure_from`` and ``sure_to`` must.
    """

    pieces: Sequence[tuple[int, bytes]]
    sure_from: int
    sure_to: int
    pid: int


def compare(look: str, found: Iterable[bytes], streams: Iterable[Written]) -> Tally:
    """``found``: the whole lines that were added to the file, without their newlines.

    Raises: Unclear.
    """
    most: Counter[bytes] = Counter()
    least: Counter[bytes] = Counter()
    unseen = surely_unseen = 0
    for each in streams:
        owner = b"" if look == PLAIN else b"%d " % each.pid
        behind = None
        for start, data, begins_line in _runs(each.pieces):
            if behind is not None:
                unseen += start - behind
                if begins_line and each.sure_from <= behind and start <= each.sure_to:
                    surely_unseen += start - behind
            behind = start + len(data)
            _count(most, owner, data)
            _count(least, owner, _sure(each, start, data))
    there: Counter[bytes] = Counter()
    said, before, is_behind = 0, b"", False
    for line in found:
        key, dropped = _bare(look, line)
        said += dropped
        # What is missing there may have been cut out of lines, whose ends are the file's own.
        if dropped and before not in most:
            there[before] -= 1
        if key is not None and (key in most or not is_behind):
            there[key] += 1
        before, is_behind = key or b"", bool(dropped)
    beyond = _bytes(there - most, look)  # as `Counter` has it, none is negative
    return Tally(
        compared=_bytes(least, look),
        lost=_bytes(least - there, look) + max(0, surely_unseen - beyond),
        doubled=max(0, beyond - unseen),
        unseen=unseen,
        said=said,
    )


def _runs(pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bool]]:
    """The pieces, but for lines that are cut by what nobody read; and whether what lies before ends with a newline."""
    last = len(pieces) - 1
    for number, (start, data) in enumerate(pieces):
        first = 0 if number == 0 else data.find(b"\n") + 1
        end = len(data) if number == last else data.rfind(b"\n") + 1
        if number == 0 or 0 < first < end:
            yield start + first, data[first:end], True
        elif number == last:
            yield start + len(data), b"", first > 0


def _sure(written: Written, start: int, data: bytes) -> bytes:
    """The whole lines of a run that must stand in the file."""
    first = max(0, written.sure_from - start)
    is_cut = data[first - 1 : first] != b"\n" if first else start > 0 and start == written.pieces[0][0]
    if is_cut:
        first = data.find(b"\n", first) + 1 or len(data)
    end = data.rfind(b"\n", 0, max(0, written.sure_to - start)) + 1
    return data[first:end]


def _count(counter: Counter[bytes], owner: bytes, data: bytes) -> None:
    """The lines of ``data``; a rest without a newline is one, too."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for line in lines:
        if len(line) > MAX_LINE:
            raise Unclear(f"a line is longer than {MAX_LINE} bytes")
        counter[owner + line] += 1


def _bytes(counter: Counter[bytes], look: str) -> int:
    """Of the lines as they were written."""
    lead = 0 if look == PLAIN else None
    return sum(
        (len(key) - (key.index(b" ") + 1 if lead is None else lead) + 1) * count for key, count in counter.items()
    )


def _bare(look: str, line: bytes) -> tuple[bytes | None, int]:
    """The line as it was written, behind its pid; None for a mark of circusd, with the bytes that it says are gone."""
    if look == JSON:
        return _of_object(line)
    mark = _MARK.fullmatch(line)
    if mark is not None:
        return None, int(mark[1] or 0)
    if look == PLAIN:
        return line, 0
    line = _COLOR.sub(b"", line, count=1).removesuffix(_NO_COLOR)
    prefix = _PREFIX.match(line)
    if prefix is None:
        return b"- " + line, 0  # nobody's
    return prefix[1] + b" " + line[prefix.end() :], 0


def _of_object(line: bytes) -> tuple[bytes | None, int]:
    try:
        fields = json.loads(line)
        if "mark" in fields:
            return None, int(fields.get("dropped_bytes", 0))
        if fields.get("partial"):
            raise Unclear("a line stands there in parts")
        raw = base64.b64decode(fields["raw"]) if "raw" in fields else fields["line"].encode()
        return b"%d " % fields["pid"] + raw, 0
    except (ValueError, KeyError, TypeError, AttributeError):
        return b"- " + line, 0  # nobody's
