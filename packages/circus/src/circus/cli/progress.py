"""How far orders are, drawn at a terminal while somebody waits for them. Imported when that takes long: rich is large.

It is drawn on standard error, and is gone when they have ended. What it shows comes from circusd as it happens.
"""

from __future__ import annotations

import json
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from circus.cli import operations
from circus.cli.render import duration, one_line
from circus.control import sse
from circus.control.client import receive, target
from circus.errors import AWAY, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from circus.cli.asking import Answer, Daemon

#: Watchers that are named as waited for; the others are counted.
MAX_NAMED = 5

_CHUNK = 64 * 1024


class Bar:
    """``known``: the latest progress of each operation, by its tag. ``descriptors`` are to be waited for; what is ready
    is given to ``hear``, which draws."""

    def __init__(self, daemon: Daemon, tags: list[str]) -> None:
        self.known: dict[str, Answer] = {}
        self._began = time.monotonic()
        self._streams: dict[int, tuple[str, socket.socket, sse.Parser]] = {}
        self._live = Live(console=Console(file=sys.stderr), transient=True, auto_refresh=False)
        for tag in tags:
            try:
                sock, first = daemon.client.open_stream(target("operations", tag, "events"))
            except CircusError as error:
                if error.code in AWAY:  # it hangs, and would for each of them
                    break
                continue  # who may not see operations waits without a bar
            sock.setblocking(False)
            parser = sse.Parser()
            self._streams[sock.fileno()] = (tag, sock, parser)
            self._take(tag, parser, first)
        self._draw()

    @property
    def descriptors(self) -> list[int]:
        return list(self._streams)

    def hear(self, ready: list[int]) -> None:
        for descriptor in ready:
            if descriptor in self._streams:
                tag, sock, parser = self._streams[descriptor]
                try:
                    data = receive(sock, _CHUNK)
                except OSError:
                    data = b""
                if data:
                    self._take(tag, parser, data)
                elif data is not None:
                    del self._streams[descriptor]
                    sock.close()
        self._draw()

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()
        for _tag, sock, _parser in self._streams.values():
            sock.close()

    def _take(self, tag: str, parser: sse.Parser, data: bytes) -> None:
        for said in parser.feed(data):
            if said.kind == "progress":
                self.known[tag] = json.loads(said.data)

    def _draw(self) -> None:
        """From when something is known on."""
        if self.known:
            self._live.start()
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        done, total, unit = _sum(list(self.known.values()))
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=max(total, 1), completed=done, width=30),
            Text(f"{done} of {total} {unit}, {duration(time.monotonic() - self._began)}"),
        )
        waited = [each for known in self.known.values() for each in known["waits_for"]]
        told = [Text(f"waits behind {name}") for known in self.known.values() for name in known["behind"]]
        told += [Text(one_line(operations.standing(each))) for each in waited[:MAX_NAMED]]
        if len(waited) > MAX_NAMED:
            told.append(Text(f"and for {len(waited) - MAX_NAMED} more watchers"))
        for text in told:
            text.truncate(self._live.console.width, overflow="ellipsis")
            text.stylize("dim")
        return Group(line, *told)


def _sum(progresses: list[Answer]) -> tuple[int, int, str]:
    """Of processes, where any are on their way, else of watchers."""
    for unit in ("processes", "watchers"):
        total = sum(each[unit] for each in progresses)
        if total:
            return sum(each[f"{unit}_done"] for each in progresses), total, unit
    return 0, 0, "watchers"
