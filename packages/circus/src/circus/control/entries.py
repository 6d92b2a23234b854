"""One order in the register: who has given it, how it stands, how it ended; and how it goes over an upgrade."""

from __future__ import annotations

import asyncio
from typing import Any

from circus import clock
from circus.control import told
from circus.control.caller import Caller
from circus.engine.tracking import Track
from circus.errors import CircusError

RUNNING, DONE, FAILED = "running", "done", "failed"


class Entry:
    """``watchers`` None: all, or circusd itself. ``what`` is the right that it needs. ``tag``: of whoever ordered."""

    def __init__(self, id: str, what: str, watchers: tuple[str, ...] | None, caller: Caller, tag: str = "") -> None:
        self.id = id
        self.tag = tag
        self.what = what
        self.watchers = watchers
        self.by, self.origin = caller.name, caller.origin
        self.begun_at = clock.wall()
        self.ended_at: float | None = None
        self.state = RUNNING
        self.error: CircusError | None = None
        self.result = b""
        self.track = Track(id, watchers or (), what, caller.name, caller.origin)
        self.begun: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.is_good = False  # nothing refuses it any more
        self.is_awaited = False
        self.task: asyncio.Task[Any] | None = None
        self.number = 0  # of the latest progress
        self.progress: told.ProgressAnswer | None = None
        self.bells: set[asyncio.Event] = set()

    def begin(self, found: object = None) -> None:
        """It was found good, and goes on."""
        if not self.begun.done():
            self.is_good = True
            self.begun.set_result(found)

    def is_seen_by(self, caller: Caller) -> bool:
        if caller.sees_all or self.watchers is None:
            return caller.sees_all
        return all(map(caller.sees, self.watchers)) if self.watchers else caller.name == self.by


def size(entry: Entry) -> int:
    error = entry.error
    return len(entry.result) + (0 if error is None else len(error.message) + len(error.hint))


def packed(entry: Entry) -> dict[str, Any]:
    error = entry.error
    return {
        "id": entry.id,
        "tag": entry.tag,
        "what": entry.what,
        "watchers": entry.watchers,
        "by": entry.by,
        "origin": entry.origin,
        "begun_at": entry.begun_at,
        "ended_at": entry.ended_at,
        "state": entry.state,
        "error": None if error is None else (error.code, error.message, error.hint),
        "result": entry.result.decode(),
        "number": entry.number,
    }


def unpacked(row: dict[str, Any]) -> Entry:
    names = row["watchers"]
    caller = Caller(str(row["by"]), str(row["origin"]))
    named = None if names is None else tuple(names)
    entry = Entry(str(row["id"]), str(row["what"]), named, caller, str(row["tag"]))
    entry.begun_at, entry.ended_at, entry.state = row["begun_at"], row["ended_at"], str(row["state"])
    entry.error = None if row["error"] is None else CircusError(*row["error"])
    entry.result, entry.number = str(row["result"]).encode(), int(row["number"])
    return entry
