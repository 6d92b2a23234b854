"""Lines of logs as they travel, and which of them somebody wants. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from circus.control import sse, views
from circus.control.events import MISSED
from circus.errors import CircusError
from circus.logbook import cursors
from circus.logbook.entries import MARK
from circus.logbook.pages import MAX_TEXT, Want
from circus.logbook.reading import Line

FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a watcher. ``sees``: as of `Want`."""

    stream: str | None = None
    wid: int | None = None
    contains: str = ""
    since_ns: int = 0
    sees: Callable[[str], bool] | None = None

    def is_met(self, line: Line) -> bool:
        """Of a log with one writer nobody says whose a line is, and need not."""
        source = line.source
        if source is not None and self.stream not in (None, source.stream):
            return False
        if self.wid is not None and (source is None or source.wid != self.wid):
            return False
        return self.contains.encode("utf-8", "surrogateescape") in line.data

    def want(
        self,
        watcher: str,
        limit: int,
        *,
        until_ns: int = 2**63,
        cursor: Mapping[str, int] | None = None,
        ends: Mapping[str, int] | None = None,
        is_backward: bool = False,
    ) -> Want:
        return Want(
            watcher,
            limit,
            self.stream,
            self.wid,
            self.since_ns,
            until_ns,
            self.contains,
            cursor,
            ends,
            is_backward=is_backward,
            sees=self.sees,
        )


def answer(line: Line) -> views.LogLine:
    source, data = line.source, line.data[:MAX_TEXT]
    raw = ""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        text = data.decode(errors="replace")
        if len(data) == len(line.data) or error.start < len(data) - 4:  # else it was cut within a character
            raw = base64.b64encode(data).decode()
    return views.LogLine(
        text=text,
        at=line.at_ns / 1e9 if line.at_ns else None,
        stream=source.stream if source is not None else "",
        instance=source.wid or None if source is not None else None,
        pid=source.pid or None if source is not None else None,
        raw=raw,
        cut=len(line.data) > MAX_TEXT,
        mark=source is not None and source.look == MARK,
    )


def said(places: Mapping[str, int], line: Line | None = None) -> bytes:
    """The event of a line; without one only how far a reader is."""
    data = msgspec.json.encode(answer(line)) if line is not None else b""
    return sse.render(cursors.encode(places), data)


def missed(places: Mapping[str, int], **how_much: object) -> bytes:
    return sse.render(cursors.encode(places), msgspec.json.encode(how_much), MISSED)


def failed(error: CircusError | OSError) -> bytes:
    """The last event of a stream that cannot go on. It has no id: who comes back goes on where he was."""
    if isinstance(error, OSError):
        error = CircusError("unavailable", f"{error.filename or 'a log'}: {error.strerror or error}")
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return b"event: %b\ndata: %b\n\n" % (FAILED.encode(), msgspec.json.encode(told))
