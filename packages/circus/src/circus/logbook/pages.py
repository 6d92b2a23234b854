"""A part of what was written, of bounded size, for who is not at the files himself. Blocking: called in a thread.

The idea: a page ends when it has its lines, or its bytes, or when enough was looked through; the cursor says where to
go on, whether or not anything was found up to there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from circus.logbook import catalogue
from circus.logbook.matching import Literal
from circus.logbook.reading import Line, LogReader, Query

#: What is looked through of each log for one page: a fraction of a second from a quick disk.
MAX_READ_BYTES = 64 << 20

#: Bytes of the lines of one page; one line more may begin before.
MAX_PAGE_BYTES = 1 << 20

#: What is shown of a longer line.
MAX_TEXT = 16 << 10


@dataclass(frozen=True, slots=True)
class Want:
    """``cursor``: places in logs (see cursors), from which on, or back to which, with ``is_backward``. ``ends``: no
    further than these. ``sees``: who does not see all watchers of a log gets no line of which nobody knows whose
    it is."""

    watcher: str
    limit: int
    stream: str | None = None
    wid: int | None = None
    since_ns: int = 0
    until_ns: int = 2**63
    contains: str = ""
    cursor: Mapping[str, int] | None = None
    ends: Mapping[str, int] | None = None
    is_backward: bool = False
    sees: Callable[[str], bool] | None = None


@dataclass(slots=True)
class Page:
    """``lines`` in the order in which they were read. ``begins`` and ``positions``: from where to where it went.

    ``ends``: of the logs, when it was made. ``missing``: path -> bytes that were gone before they could be read.
    """

    lines: list[Line] = field(default_factory=list)
    begins: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    has_more: bool = False


class _Budget:
    """Of one log, so that each gets on with each page."""

    def __init__(self) -> None:
        self.left = MAX_READ_BYTES
        self.is_spent = False

    def may_read(self, byte_count: int) -> bool:
        self.is_spent = self.left <= 0
        self.left -= byte_count
        return not self.is_spent


def read(state_directory: str, want: Want) -> Page:
    """Raises: OSError."""
    logs = os.path.join(state_directory, "logs")
    query = Query(
        frozenset({want.watcher}),
        want.stream,
        want.wid,
        want.since_ns,
        want.until_ns,
        Literal(want.contains) if want.contains else None,
    )
    readers: list[LogReader] = []
    budgets: list[_Budget] = []
    try:
        for entry in catalogue.load(logs).values():
            streams = entry.watchers.get(want.watcher, set())
            if streams and (want.stream is None or want.stream in streams):
                budgets.append(_Budget())
                is_strict = want.sees is not None and not all(map(want.sees, entry.watchers))
                reader = LogReader(entry, logs, replace(query, is_strict=is_strict), may_read=budgets[-1].may_read)
                readers.append(reader)
                reader.open()
        return _read(readers, want, lambda: any(each.is_spent for each in budgets))
    finally:
        for reader in readers:
            reader.close()


def _read(readers: list[LogReader], want: Want, is_enough: Callable[[], bool]) -> Page:
    page = Page()
    parts: dict[str, Iterator[Line]] = {}
    for reader in readers:
        page.ends[reader.id] = reader.settled_end
        begin, parts[reader.id] = _part(reader, want, page.ends[reader.id])
        page.begins[reader.id] = begin
    page.positions = dict(page.begins)
    heads = {name: next(part, None) for name, part in parts.items()}
    count = size = 0
    while not is_enough() and count < want.limit and size < MAX_PAGE_BYTES:
        waiting = [line for line in heads.values() if line is not None]
        if not waiting:
            break
        chosen = max if want.is_backward else min
        line = chosen(waiting, key=lambda each: each.key_ns)
        page.lines.append(shortened(line))
        count, size = count + 1, size + len(page.lines[-1].data)
        page.positions[line.log] = line.start if want.is_backward else line.end
        heads[line.log] = next(parts[line.log], None)
    for reader in readers:
        head = heads[reader.id]
        if head is not None:
            page.positions[reader.id] = head.end if want.is_backward else head.start
        else:
            page.positions[reader.id] = reader.position
        if reader.missing:
            page.missing[reader.entry.path] = reader.missing
    page.has_more = is_enough() or any(head is not None for head in heads.values())
    return page


def _part(reader: LogReader, want: Want, settled: int) -> tuple[int, Iterator[Line]]:
    """Where it begins in this log, and its lines from there."""
    end = min(settled, (want.ends or {}).get(reader.id, settled))
    first = reader.first_since(want.since_ns) if want.since_ns else reader.begin
    if want.is_backward:
        end = min(end, (want.cursor or {}).get(reader.id, end))
        return end, reader.backward(end, first)
    begin = first
    if want.cursor is not None:
        begin = max(0, want.cursor.get(reader.id, 0))
        if begin > settled:
            begin = 0  # it is shorter than it was
        if want.since_ns:
            begin = max(begin, first)
    return max(begin, reader.begin), reader.forward(begin, end)


def shortened(line: Line) -> Line:
    """With one byte more than is shown, if it has so many."""
    return line._replace(data=line.data[: MAX_TEXT + 1]) if len(line.data) > MAX_TEXT else line
