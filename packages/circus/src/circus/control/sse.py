"""Server-sent events (html.spec.whatwg.org, 9.2) as bytes: written, and read. Pure.

Only what circusd says is read: `id`, `event` and one line of `data` for each event; all else is passed over.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Said(NamedTuple):
        """``kind`` is empty for an ordinary event; ``last_id`` is where to go on from."""

        last_id: str
        kind: str
        data: str

else:
    from collections import namedtuple

    Said = namedtuple("Said", "last_id kind data")

#: Far above any event of circusd; whoever sends a longer line is none.
MAX_LINE = 1024 * 1024


def render(last_id: str, data: bytes = b"", kind: str = "") -> bytes:
    """One event; without data only the id, which a reader keeps and tells nobody of. ``data`` has no line ends."""
    head = f"id: {last_id}\n" + (f"event: {kind}\n" if kind else "")
    return head.encode("ascii") + (b"data: %b\n\n" % data if data else b"\n")


class Parser:
    """Takes bytes as they come. ``last_id`` is the latest id heard."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._pending = b""
        self._kind = ""
        self._data = ""

    def feed(self, data: bytes) -> list[Said]:
        """The events that are whole now.

        Raises: ValueError when this is no such stream.
        """
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > MAX_LINE:
            raise ValueError(f"a line longer than {MAX_LINE} bytes")
        heard = []
        for line in lines:
            if line:
                self._take(line.decode("utf-8"))
            else:
                if self._data:
                    heard.append(Said(self.last_id, self._kind, self._data))
                self._kind = self._data = ""
        return heard

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            self.last_id = value
        elif field == "event":
            self._kind = value
        elif field == "data":
            self._data = value
