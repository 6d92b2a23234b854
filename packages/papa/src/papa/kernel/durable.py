"""What the host writes down: journal and records, and what happens when there is no room for them.

The one idea: accounts come before output. When the file system is full, old output is dropped to make room for
a commit or a record; only then is it an error.

What a record says is in papa.kernel.records, how files are replaced in papa.kernel.state.
"""

from __future__ import annotations

import errno

from papa.core import journal
from papa.errors import PapaError
from papa.kernel import records, system
from papa.kernel.state import JOURNAL, PROCESSES, SOCKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from papa.core.entries import Process, Socket
    from papa.kernel.arrears import Arrears
    from papa.kernel.state import State


class Durable:
    """The ledger and the records of one kernel. ``make_room(error)`` drops output; False when that does not help.

    ``inodes_of`` are those of a process's pipes.
    """

    __slots__ = ("_arrears", "_boot_id", "_inodes_of", "_make_room", "_state", "ledger", "problem")

    def __init__(
        self,
        state: State,
        boot_id: str,
        make_room: Callable[[OSError], bool],
        arrears: Arrears,
        inodes_of: Callable[[int], Sequence[int]],
    ) -> None:
        self._state = state
        self._boot_id = boot_id
        self._make_room = make_room
        self._arrears = arrears
        self._inodes_of = inodes_of
        self.ledger = journal.Ledger()
        #: Why the journal could not be written the last time; empty when it was.
        self.problem = ""

    # --- the journal ---------------------------------------------------------------------------------------

    def recover(self, highest: int = 0) -> None:
        """Takes in the journal of an earlier incarnation; ``highest`` is a number that is surely taken.

        What of it cannot be read is left aside. Raises: OSError.
        """
        try:
            data = self._state.read_journal()
            contents, valid = journal.decode(data)
            journal.check(contents)
            self.ledger = journal.Ledger(contents)
        except PapaError as error:
            self._state.make_place(JOURNAL, str(error))
            contents, valid, data = [], 0, b""
        boots = [record["boot"] for record in contents if "boot" in record]
        is_ours = bool(boots) and boots[-1] == self._boot_id
        if is_ours and journal.is_torn(data[valid:]):
            self._state.cut_journal(valid)
            return
        if not journal.is_torn(data[valid:]):
            self._state.make_place(JOURNAL, f"it is damaged from byte {valid} on")
        # Another boot's acknowledgements and values went with its processes; only the numbers go on.
        kept = contents if is_ours else [{"secret": system.random_hex()}]
        limit = max(self.ledger.limit, highest + 1, self._state.highest_number() + 1)
        self.ledger = journal.Ledger([*kept, {"next": limit}])
        self._state.replace_journal(self._snapshot())

    def commit(self, record: Mapping[str, object]) -> None:
        """Makes a record durable, and true. Raises: PapaError limit when the file system has no room."""
        data = journal.encode(record)
        try:
            self._with_room(lambda: self._state.append_journal(data))
        except OSError as error:
            self._told(error)
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise PapaError(
                f"{self._state.directory}: the journal cannot be written: {error.strerror}",
                code="limit",
                hint="make room on that file system" if is_full else "look after that file system; then try again",
            ) from error
        self.ledger.apply(record)
        if self.ledger.needs_compaction(self._state.journal_bytes):
            try:
                self.compact()
            except OSError as error:
                self._told(error)
        else:
            self.problem = ""

    def new_number(self) -> int:
        """A number that no process or socket of this instance ever had."""
        reservation = self.ledger.reservation()
        if reservation is not None:
            self.commit(reservation)
        return self.ledger.take_id()

    def compact(self) -> None:
        """Replaces the journal by what it says. Raises: OSError; then it stays as it is."""
        self._state.replace_journal(self._snapshot())
        self.problem = ""

    def _told(self, error: OSError) -> None:
        """Said once, however many commits meet it, until it was written."""
        if not self.problem:
            system.log(f"the journal cannot be written: {error.strerror}")
        self.problem = error.strerror or str(error)
        self._arrears.owe(JOURNAL, 0, error)

    def _snapshot(self) -> bytes:
        return journal.encode({"boot": self._boot_id, **self.ledger.snapshot()})

    # --- records -------------------------------------------------------------------------------------------

    def write_new_process(self, process: Process) -> None:
        """The first record, before there is a pid. Raises: OSError."""
        record = records.of_process(process, self._boot_id, inodes=self._inodes_of(process.id))
        self._with_room(lambda: self._state.write_record(PROCESSES, process.id, record))

    def write_process(self, process: Process) -> bool:
        """Puts its record in the place of the old one; False when that cannot be now: then it is owed."""
        try:
            self.write_new_process(process)
        except OSError as error:
            self._arrears.owe(PROCESSES, process.id, error)
            return False
        return True

    def forget_process(self, number: int) -> None:
        """Takes away its record, then what was acknowledged of it; that stays with a record that stays."""
        try:
            self._state.remove_record(PROCESSES, number)
        except OSError as error:
            self._arrears.owe(PROCESSES, number, error)
        else:
            self.ledger.forget(number)

    def forget_socket(self, number: int) -> None:
        """Takes its record away, or owes it."""
        try:
            self._state.remove_record(SOCKETS, number)
        except OSError as error:
            self._arrears.owe(SOCKETS, number, error)

    def forget_mark(self, number: int) -> None:
        """Somebody else knows by now whether it was started. A mark that stays goes with the record."""
        try:
            self._state.remove_mark(number)
        except OSError as error:
            self._arrears.owe(PROCESSES, number, error)

    def write_socket(self, socket: Socket, file: tuple[int, int] | None) -> None:
        """Raises: OSError."""
        record = records.of_socket(socket, self._boot_id, file)
        self._with_room(lambda: self._state.write_record(SOCKETS, socket.id, record))

    def _with_room(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self._make_room(error):
                raise
            write()
