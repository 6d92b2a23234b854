"""News: who is told of output, ends and exits.

The one idea: an event is sent where it happens, a notice of output at the end of the turn: one message for each
owner, however many of its processes have written, and none for a process whose last notice it has not answered.
"""

from __future__ import annotations

from papa.kernel.gallery import Gallery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from papa.core.entries import Process
    from papa.core.table import Table
    from papa.kernel.loop import Loop
    from papa.kernel.server import Connection
    from papa.kernel.watch import Watch


class News:
    """Tells owners, and wakes those who watch."""

    __slots__ = ("_loop", "_noticed", "_table", "gallery", "watches")

    def __init__(self, loop: Loop, table: Table) -> None:
        self._loop = loop
        self._table = table
        #: Processes with output that their owner may not have been told of.
        self._noticed: set[int] = set()
        #: People who watch; told of everything that their processes do.
        self.watches: set[Watch] = set()
        self.gallery = Gallery(loop)

    def output(self, number: int) -> None:
        """There is more output, or somebody wants to hear of it."""
        if not self._noticed:
            self._loop.after_turn(self._tell_of_output)
        self._noticed.add(number)
        self.watched(number)

    def eof(self, process: Process, stream: str, head: int) -> None:
        self._tell(process, "eof", {"id": process.id, "stream": stream, "head": head})
        self.watched(process.id)

    def exit(self, process: Process) -> None:
        """It ended; told again to each new owner until it is acknowledged."""
        if process.exit is None or process.is_exit_acked:
            return
        heads = {} if process.output is None else process.output.heads
        self._tell(process, "exit", {"id": process.id, **process.end_row(), "heads": heads})
        self.watched(process.id)

    def watched(self, number: int) -> None:
        """Something happened to a process that people may watch."""
        for watch in self.watches:
            watch.on_news(number)

    def _tell_of_output(self) -> None:
        items: dict[Connection, list[list[int | None]]] = {}
        numbers, self._noticed = self._noticed, set()
        for number in sorted(numbers):
            process = self._table.processes.get(number)
            if process is None or process.output is None or process.connection is None:
                continue
            heads = process.output.heads
            if process.notices.is_due(heads):
                items.setdefault(_owner(process), []).append([number, *process.notices.take(heads)])
        for connection, rows in items.items():
            connection.tell("output", {"items": rows})

    def _tell(self, process: Process, event: str, fields: Mapping[str, object]) -> None:
        if process.connection is not None:
            _owner(process).tell(event, fields)


def _owner(process: Process) -> Connection:
    """The table compares connections and knows nothing else of them."""
    connection: Connection = process.connection  # type: ignore[assignment]
    return connection
