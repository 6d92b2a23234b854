"""The table: what the kernel hosts, under which names, and what is still owed to whom.

Processes and sockets share one space of ids, which are never reused. A name belongs to at most one process (and
at most one socket); it is what people use, the id is what stays:

- A process *takes* its name from a dead one, or with ``supersede`` from a live one; who loses its name keeps its
  id, output and exit.
- Asking for a live process again with an equal specification is no error and starts nothing. With ``finds_dead``
  the same holds for a dead one as long as its exit is not acknowledged: programs written for papa 1.x know
  processes by their names only, so what it left could not be read any more once another one had its name.
- An entry *is over*, and goes, when the process ended and either its exit was acknowledged and all its streams
  are at their end and acknowledged to the head, or it was removed. Until then its exit is owed.
- A *removed* process that lives has no name, keeps no output and cannot be asked for any more; the entry stays
  until it ends, so that somebody drains its pipes.
- At most one connection *owns* a process: its acknowledgements count, it is told of output and exit. An owner
  that called itself the same takes over, another one is refused while the first lives.

A commit is judged as a whole before anything changes (``check_commit``), then written to the journal, then
carried out (``apply_commit``), which cannot fail.

Not here: descriptors, files, time. Whoever calls this performs what it answers.
"""

from __future__ import annotations

from papa import jsontext, model
from papa.core.entries import ROW_BYTES, Process, Socket
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeVar

    from papa.core.commit import Commit

    T = TypeVar("T")

PROCESSES = "processes"
SOCKETS = "sockets"
VALUES = "values"

#: A list's rows fit a frame's head (4 MiB); what does not fit is asked for with ``after``.
LIST_BYTES = 3 * 1024 * 1024
#: Patterns and names in one request.
MAX_PATTERNS = model.MAX_PROCESSES


class Table:
    """All processes and sockets of one kernel."""

    __slots__ = ("_process_names", "_socket_names", "processes", "sockets")

    def __init__(self) -> None:
        self.processes: dict[int, Process] = {}
        self.sockets: dict[int, Socket] = {}
        self._process_names: dict[str, int] = {}
        self._socket_names: dict[str, int] = {}

    # Coming

    def admit_process(
        self, name: str, digest: str, *, supersede: bool = False, finds_dead: bool = False
    ) -> Process | None:
        """The process that a spawn request means already, or None: go and start it.

        Raises PapaError ``exists`` when a process of another specification has the name and lives (with
        ``finds_dead``: or nobody has acknowledged its exit), ``limit``.
        """
        process = self.named(name)
        if process is not None and not supersede and (process.is_running or (finds_dead and not process.is_exit_acked)):
            if process.digest == digest:
                return process
            state = f"pid {process.pid}" if process.is_running else "it has ended, and nobody has read how"
            raise PapaError(
                f"process {name} has already been created with another specification: {state}",
                code="exists",
                hint="remove it, or ask with supersede" if process.is_running else "watch it to its end, or remove it",
                details={"id": process.id, "pid": process.pid},
            )
        if len(self.processes) >= model.MAX_PROCESSES:
            raise PapaError(f"{model.MAX_PROCESSES} processes are hosted already", code="limit")
        return None

    def add_process(self, process: Process) -> Process | None:
        """Put it in; it takes its name. Who loses the name is returned, because its record must say so."""
        loser = None
        if process.name is not None:
            id = self._process_names.get(process.name)
            if id is not None:
                loser = self.processes[id]
                loser.name = None
            self._process_names[process.name] = process.id
        self.processes[process.id] = process
        return loser

    def admit_socket(self, spec: model.SocketSpec) -> Socket | None:
        """The socket that a listen request means already, or None: go and open it. Raises PapaError ``exists``."""
        id = self._socket_names.get(spec.name)
        if id is not None:
            if spec.is_met_by(self.sockets[id].spec) or self._is_met_by_port(spec, self.sockets[id]):
                return self.sockets[id]
            raise PapaError(
                f"socket {spec.name} has already been created with another specification",
                code="exists",
                hint="remove it first",
                details={"id": id},
            )
        for socket in self.sockets.values():
            if spec.path is not None and socket.spec.path == spec.path:
                raise PapaError(
                    f"socket {socket.name} has already been created for {spec.path}",
                    code="exists",
                    details={"id": socket.id},
                )
        if len(self.sockets) >= model.MAX_LISTENERS:
            raise PapaError(f"{model.MAX_LISTENERS} sockets are held already", code="limit")
        return None

    def add_socket(self, socket: Socket) -> None:
        self._socket_names[socket.name] = socket.id
        self.sockets[socket.id] = socket

    # Finding

    def process(self, id: object) -> Process:
        """Raises PapaError ``not-found``, also for a process that was removed but still lives."""
        process = self.processes.get(model.check_id(id))
        if process is None or process.is_removed:
            raise PapaError(f"process {id} not found", code="not-found")
        return process

    def named(self, name: str) -> Process | None:
        """Who has that name, dead or alive."""
        id = self._process_names.get(name)
        return None if id is None else self.processes[id]

    def socket(self, name: str) -> Socket:
        """Raises PapaError ``not-found``."""
        id = self._socket_names.get(name)
        if id is None:
            raise PapaError(f"Socket {name} not found", code="not-found")
        return self.sockets[id]

    def find_processes(self, names: object, ids: object = ()) -> list[Process]:
        """Those that names or patterns, and ids, mean; each once. Raises ``not-found``, ``bad-request``."""
        found = {id: self.processes[id] for id in _find(self._process_names, names)}
        for id in check_list(ids, "ids"):
            found[id] = self.process(id)
        return list(found.values())

    def find_sockets(self, names: object, ids: object = ()) -> list[Socket]:
        found = {id: self.sockets[id] for id in _find(self._socket_names, names)}
        for id in check_list(ids, "ids"):
            if model.check_id(id) not in self.sockets:
                raise PapaError(f"socket {id} not found", code="not-found")
            found[id] = self.sockets[id]
        return list(found.values())

    def rows(
        self,
        what: object,
        patterns: object,
        values: Mapping[str, str],
        *,
        after: object = None,
        budget: int | None = LIST_BYTES,
    ) -> tuple[list[dict[str, Any]], bool]:
        """What ``list`` answers: rows in the order of ids (values: of names), and whether there are more.

        With *after* (an id; for values a name) those behind it. The rows take *budget* bytes at most.
        """
        wanted = Patterns(check_list(patterns, "patterns"))
        if what == VALUES:
            start = "" if after is None else model.check_name(after, "after")
            names = sorted(name for name in values if name > start and wanted.match(name))
            weights = ((ROW_BYTES + len(jsontext.dumps(values[name])), name) for name in names)
            chosen, has_more = _within(weights, budget)
            return [{"name": name, "value": values[name]} for name in chosen], has_more
        behind = 0 if after is None else model.check_id(after, "after")
        entries: Iterable[Process | Socket]
        if what == PROCESSES:
            entries = self.processes.values()
        elif what == SOCKETS:
            entries = self.sockets.values()
        else:
            raise model.bad("what", f"must be {PROCESSES}, {SOCKETS} or {VALUES}, not {what!r}")
        kept = sorted((e for e in entries if e.id > behind and wanted.match(e.name)), key=lambda e: e.id)
        chosen_entries, has_more = _within(((e.weight, e) for e in kept), budget)
        return [entry.row() for entry in chosen_entries], has_more

    # Owners

    def own(self, process: Process, owner: str, connection: object) -> None:
        """From here on *connection*, which calls itself *owner*, is told of output and exit.

        Raises PapaError ``owned`` while a connection that calls itself otherwise holds the process.
        """
        if process.connection not in (None, connection) and process.owner != owner:
            raise PapaError(
                f"process {process.id} belongs to {process.owner}",
                code="owned",
                hint="only one client may acknowledge a process's output",
                details={"id": process.id, "owner": process.owner},
            )
        process.owner = owner
        process.connection = connection
        process.notices.restart()
        process.reader_is(True)

    def set_bounds(self, id: object, by_stream: dict[str, list[Any]], connection: object) -> Process:
        """Its streams' bounds, and what happens when they are reached; only its owner may say. Raises: PapaError."""
        process = self.process(id)
        if process.connection is not connection:
            owner = process.owner or "nobody"
            raise PapaError(f"process {id} belongs to {owner}", code="owned", details={"id": id, "owner": owner})
        if process.output is not None:
            output = process.output
            output.set_bounds(output.bounds.with_streams(by_stream))
        return process

    def disown(self, connection: object) -> list[Process]:
        """The connection is gone: what it owned belongs to nobody. Returns these, whose pipes may go on now."""
        freed = [process for process in self.processes.values() if process.connection is connection]
        for process in freed:
            process.owner = process.connection = None
            process.reader_is(False)
        return freed

    # Committing

    def check_commit(self, commit: Commit, connection: object) -> None:
        """Raise PapaError when a part of it cannot be: ``not-found``, ``owned``, ``overtaken``, ``bad-request``.

        ``overtaken`` names all streams that were, in ``details["streams"]`` as [id, stream, low].
        """
        overtaken: list[list[Any]] = []
        for (id, stream), offset in commit.acks.items():
            process = self._owned(id, connection)
            if process.output is None:
                raise PapaError(f"process {id} has no output that is kept", code="bad-request")
            try:
                process.output.check_ack(stream, offset)
            except PapaError as error:
                if error.code != "overtaken":
                    raise
                process.output.refuse_ack(stream, offset)
                overtaken.append([id, stream, error.details["low"]])
        for id in commit.exits:
            if self._owned(id, connection).is_running:
                raise PapaError(f"process {id} is running: there is no exit to acknowledge", code="bad-request")
        if overtaken:
            id, stream, low = overtaken[0]
            raise PapaError(
                f"output {stream} of process {id} is gone below offset {low}",
                code="overtaken",
                hint="read on from there",
                details={"streams": overtaken},
            )

    def apply_commit(self, commit: Commit) -> list[Process]:
        """Carry out what ``check_commit`` let pass. Returns whom it touched: trim their index, see if they are over."""
        touched: dict[int, Process] = {}
        for (id, stream), offset in commit.acks.items():
            process = touched[id] = self.processes[id]
            assert process.output is not None
            process.output.ack(stream, offset)
        for id in commit.exits:
            process = touched[id] = self.processes[id]
            process.is_exit_acked = True
        return list(touched.values())

    # Going

    def end(self, process: Process, status: int | None, at: float) -> None:
        """It ended, with *status* (negative: the signal; None: nobody knows)."""
        process.exit = (status, at)

    def remove_process(self, process: Process) -> None:
        """Nobody wants it any more: it loses name, owner and output. If it lives, the entry stays until it ends."""
        process.is_removed = True
        process.owner = process.connection = None
        process.output = None
        self._lose_name(process)

    def forget_process(self, process: Process) -> None:
        """Take out an entry that is over."""
        self._lose_name(process)
        del self.processes[process.id]

    def forget_socket(self, socket: Socket) -> None:
        del self._socket_names[socket.name]
        del self.sockets[socket.id]

    def _lose_name(self, process: Process) -> None:
        if process.name is not None:
            del self._process_names[process.name]
            process.name = None

    def _owned(self, id: int, connection: object) -> Process:
        process = self.process(id)
        if process.connection not in (None, connection):
            raise PapaError(
                f"process {id} belongs to {process.owner}",
                code="owned",
                details={"id": id, "owner": process.owner},
            )
        return process

    @staticmethod
    def _is_met_by_port(spec: model.SocketSpec, socket: Socket) -> bool:
        """A socket whose port the system chose may be asked for by that port."""
        if not spec.port or spec.port != socket.port or socket.spec.port:
            return False
        anyport = model.SocketSpec.parse({**spec.to_json(), "port": 0})
        return anyport.is_met_by(socket.spec)


class Patterns:
    """Names and prefixes ending in ``*``. None at all means everything."""

    __slots__ = ("_exact", "_is_empty", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        words = list(patterns)
        self._is_empty = not words
        self._exact = {word for word in words if not word.endswith("*")}
        self._prefixes = tuple(word[:-1] for word in words if word.endswith("*"))

    def match(self, name: str | None) -> bool:
        if self._is_empty:
            return True
        return name is not None and (name in self._exact or name.startswith(self._prefixes))


def find_values(values: Mapping[str, str], names: object) -> list[str]:
    """The names of values that names or patterns mean. Unknown exact ones are left out: they are gone already."""
    wanted = Patterns(check_list(names, "names"))
    return [name for name in values if wanted.match(name)]


def check_list(value: object, what: str) -> list[Any]:
    """A list of names, patterns or ids of bounded length; None counts as empty."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or len(value) > MAX_PATTERNS:
        raise model.bad(what, f"must be a list of at most {MAX_PATTERNS} items")
    if what != "ids" and not all(isinstance(item, str) for item in value):
        raise model.bad(what, "must be a list of strings")
    return list(value)


def _find(known: Mapping[str, int], names: object) -> list[int]:
    words = check_list(names, "names")
    for word in words:
        if not word.endswith("*") and word not in known:
            raise PapaError(f"{word} not found", code="not-found", details={"name": word})
    if not words:
        return []
    wanted = Patterns(words)
    return [id for name, id in known.items() if wanted.match(name)]


def _within(weighted: Iterable[tuple[int, T]], budget: int | None) -> tuple[list[T], bool]:
    """As many as *budget* bytes take, at least one; and whether some were left out."""
    chosen: list[T] = []
    total = 0
    for weight, item in weighted:
        total += weight
        if budget is not None and chosen and total > budget:
            return chosen, True
        chosen.append(item)
    return chosen, False
