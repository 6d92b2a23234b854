"""Entries of the table: one hosted process, one listening socket, and how each is shown."""

from __future__ import annotations

from papa import jsontext
from papa.core.notices import Notices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from papa import model
    from papa.core.output import Output

#: What a row takes besides the strings that a client chose.
ROW_BYTES = 1024


class Process:
    """One hosted process, living or dead."""

    __slots__ = (
        "_output", "_source", "_weight", "argv", "connection", "digest", "exit", "exit_facts", "gid", "id",
        "is_covered", "is_exit_acked", "is_removed", "meta", "name", "notices", "owner", "pid", "start_ticks",
        "started_at", "uid",
    )  # fmt: skip

    def __init__(
        self,
        id: int,
        name: str | None,
        *,
        argv: Sequence[str],
        digest: str,
        pid: int,
        start_ticks: int | None,
        started_at: float,
        meta: dict[str, Any] | None = None,
        uid: int | None = None,
        gid: int | None = None,
        output: Output | None = None,
        is_covered: bool = False,
    ) -> None:
        self.id = id
        self.name = name
        self.argv = tuple(argv)
        self.digest = digest
        self.pid = pid
        self.start_ticks = start_ticks
        self.started_at = started_at
        self.meta = meta or {}
        self.uid = uid
        self.gid = gid
        self._output = output
        self._source: Callable[[], object] | None = None
        self.is_covered = is_covered
        #: (status or None when nobody knows it, wall clock) once it ended.
        self.exit: tuple[int | None, float] | None = None
        #: What its parent has learned besides; nothing where that was another one, or a kernel that has gone.
        self.exit_facts: dict[str, Any] = {}
        self.is_exit_acked = False
        self.is_removed = False
        #: The live owner: what it calls itself, and its connection (any object, compared by identity).
        self.owner: str | None = None
        self.connection: object | None = None
        self.notices = Notices()
        self._weight = 0

    def __repr__(self) -> str:
        return f"<process {self.id} {self.name} pid={self.pid} {'running' if self.is_running else 'ended'}>"

    @property
    def output(self) -> Output | None:
        """None when nothing is captured, or no longer. Raises: what the source of recover_output() raises."""
        if self._source is not None:
            self._source()
        return self._output

    @output.setter
    def output(self, output: Output | None) -> None:
        self._source = None
        self._output = output
        if output is not None:
            output.reader_is(self.connection is not None)

    def recover_output(self, source: Callable[[], object]) -> None:
        """It has an output, which ``source`` sets when somebody asks for it."""
        self._source = source

    def reader_is(self, is_live: bool) -> None:
        """The owner came, or went; an output that nobody has asked for yet is told when somebody does."""
        if self._output is not None:
            self._output.reader_is(is_live)

    @property
    def weight(self) -> int:
        """About how many bytes its row takes; found out when first asked for, which recovery does not."""
        if not self._weight:
            self._weight = ROW_BYTES + len(jsontext.dumps((self.argv, self.meta)))
        return self._weight

    @property
    def is_running(self) -> bool:
        return self.exit is None

    def end_row(self) -> dict[str, Any]:
        """How it ended. It must have."""
        assert self.exit is not None
        return {"status": self.exit[0], "at": self.exit[1], **self.exit_facts}

    @property
    def is_over(self) -> bool:
        """Nothing is owed any more: the entry, its record and its files may go."""
        if self.exit is None:
            return False
        return self.is_removed or (self.is_exit_acked and (self.output is None or self.output.is_settled))

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "pid": self.pid,
            "running": self.is_running,
            "started_at": self.started_at,
            "start_ticks": self.start_ticks,
            "argv": list(self.argv),
            "meta": self.meta,
            "owner": self.owner,
            "exit": None if self.exit is None else self.end_row(),
            "streams": {} if self.output is None else self.output.row(),
            "covered": self.is_covered,
        }
        if self.output is not None and self.output.bounds.by_stream is not None:
            row["bounds"] = self.output.bounds.row()
        if self.uid is not None:
            row["uid"] = self.uid
        if self.gid is not None:
            row["gid"] = self.gid
        return row


class Socket:
    """One listening socket."""

    __slots__ = ("fileno", "id", "is_covered", "name", "port", "spec", "weight")

    def __init__(
        self, id: int, spec: model.SocketSpec, *, port: int | None, fileno: int, is_covered: bool = False
    ) -> None:
        self.id = id
        self.name = spec.name
        self.spec = spec
        #: The real one, when the specification left the choice to the system.
        self.port = port
        #: The number under which processes get it.
        self.fileno = fileno
        self.is_covered = is_covered
        self.weight = ROW_BYTES + len(jsontext.dumps(spec.to_json()))

    def __repr__(self) -> str:
        return f"<socket {self.id} {self.name}>"

    def row(self) -> dict[str, Any]:
        row = self.spec.to_json()
        for key in ("replace", "blocking"):
            del row[key]
        if not self.spec.reuseport:
            del row["reuseport"]
        if self.port is not None:
            row["port"] = self.port
        return {"id": self.id, **row, "fileno": self.fileno, "covered": self.is_covered}
