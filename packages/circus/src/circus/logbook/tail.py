"""The last lines of one process, wherever its output goes: into files, or into the store of what goes elsewhere."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

from circus.logbook import catalogue
from circus.logbook.catalogue import Entry
from circus.logbook.reading import Line, LogReader, Query, merged

#: What people read of an error, and what an event may hold.
MAX_LINES = 20
MAX_CHARACTERS = 4000

#: So far back it is looked for in a log that others write to as well.
LOOK_BACK_BYTES = 1 << 20

#: Clocks of what was written and of what was started may differ by so much.
SLACK_NS = 1_000_000_000


def last_lines(state_directory: str, watcher: str, wid: int, pid: int, started_at: float) -> list[str]:
    """At most so many that an event may hold; fewer where there are no more. Raises: OSError."""
    logs = os.path.join(state_directory, "logs")
    query = Query(frozenset({watcher}), wid=wid, since_ns=int(started_at * 1e9) - SLACK_NS)
    entries = [entry for entry in catalogue.load(logs).values() if watcher in entry.watchers]
    found = [_of_log(entry, logs, query, pid) for entry in entries]
    texts = [line.data.decode(errors="replace") for line in merged(found)][-MAX_LINES:]
    kept: deque[str] = deque()
    room = MAX_CHARACTERS
    for text in reversed(texts):
        if room <= 0:
            break
        kept.appendleft(text[-room:])
        room -= len(text)
    return list(kept)


def _of_log(entry: Entry, logs: str, query: Query, pid: int) -> list[Line]:
    reader = LogReader(entry, logs, query)
    try:
        reader.open()
        reader.await_index()
        end = reader.end
        begin = max(reader.first_since(query.since_ns), end - LOOK_BACK_BYTES)
        return list(deque(_wanted(reader.forward(begin, end), pid), MAX_LINES))
    finally:
        reader.close()


def _wanted(lines: Iterator[Line], pid: int) -> Iterator[Line]:
    """Of a log of this process alone nobody knows whose a line is, and need not."""
    return (line for line in lines if line.source is None or line.source.pid in (0, pid))
