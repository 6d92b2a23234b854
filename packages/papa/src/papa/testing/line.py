"""The kernel's end of one connection to a fake kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class Line:
    """The kernel's end of one connection: the events that wait to be told.

    ``on_queued`` is called when there is one more, ``on_end`` when the kernel ends the connection.
    """

    def __init__(self, on_queued: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.events: deque[tuple[str, dict[str, Any]]] = deque()
        self.on_end = on_end
        self._on_queued = on_queued

    def push(self, name: str, fields: dict[str, Any]) -> None:
        """Queue an event; notices that nobody has taken yet become one."""
        if name == "output" and self.events and self.events[-1][0] == "output":
            self.events[-1][1]["items"] += fields["items"]
            return
        self.events.append((name, fields))
        self._on_queued()
