"""The state directory as files: records, journal, output. What they mean is decided elsewhere.

The one idea: each file is either replaced as a whole (records: write-new, rename) or only ever grows and has
its own proof of what is valid (the journal by its check sums, a stream by its size), so that a kernel killed
at any instruction leaves a directory that the next one can read. Everything is opened below a descriptor of
the directory, never through a path that somebody could exchange.

What cannot be read, because it is damaged or a newer papa wrote it, is left aside and never removed but with all
the rest: a papa that can read it takes it over.

Nothing is synced to disk: the promise holds over the death of processes, not over loss of power, and records
of another boot are void anyway.
"""

from __future__ import annotations

import errno
import os
import stat

from papa import jsontext, places
from papa.errors import PapaError
from papa.kernel import swift, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROCESSES = "processes"
SOCKETS = "sockets"
OUTPUT = "output"
JOURNAL = "journal"

#: Ends the name of what could not be read and had to make place; a number follows.
ASIDE = ".aside-"

#: A record holds an argv, which may be as long as a frame's head (4 MiB), and a little more. A longer file is
#: not ours.
MAX_RECORD_BYTES = 8 << 20

#: The journal is compacted at 1 MB; a commit may be one frame (4 MiB), values together are bounded by the
#: ledger. Past this the file is not ours.
MAX_JOURNAL_BYTES = 1 << 30

_MARK = ".started"

_PIECE = 64 * 1024

# No word about the file: to try again may help.
_NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class State:
    """The directory of one instance, which exists, is private and is locked by the caller.

    Raises: OSError from every method where the file system refuses; ENOSPC is the one to expect. PapaError refused
    from the beginning, when something in it is a stranger's.
    """

    __slots__ = ("_journal", "_journal_bytes", "aside", "directory", "fd", "marks")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        #: What could not be read, by its name below the directory, with the reason.
        self.aside: dict[str, str] = {}
        #: Processes that had a mark when the records were read.
        self.marks: set[int] = set()
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        for name in (PROCESSES, SOCKETS, OUTPUT):
            try:
                os.mkdir(name, 0o700, dir_fd=self.fd)
            except FileExistsError:
                self._make_sure_of(name)
        # What a kernel left that was killed while it replaced the journal.
        self._unlink(JOURNAL + ".new")
        self._journal = self._open(JOURNAL, _CREATE)
        self._journal_bytes = os.fstat(self._journal).st_size
        for name in self._names_in("."):
            if ASIDE in name:
                self.aside[name] = "an earlier start could not read it"

    def close(self) -> None:
        os.close(self._journal)
        os.close(self.fd)

    # --- records -------------------------------------------------------------------------------------------

    def write_record(self, kind: str, number: int, record: dict[str, Any]) -> None:
        """Puts ``record`` in the place of the one that was there, if any."""
        os.close(self._replace(f"{kind}/{number}.json", jsontext.dumps(record, separators=(",", ":")).encode("ascii")))

    def remove_record(self, kind: str, number: int) -> None:
        """One that is not there is fine."""
        self._unlink(f"{kind}/{number}.json")

    def sweep_record(self, kind: str, number: int) -> None:
        """The same, with what was half written in its place."""
        self._unlink(f"{kind}/{number}.json.new")
        self.remove_record(kind, number)

    def mark_path(self, number: int) -> str:
        """The file that a process makes before it becomes its program: proof that it was started."""
        return f"{self.directory}/{PROCESSES}/{number}{_MARK}"

    def is_marked(self, number: int) -> bool:
        try:
            return not swift.is_untouched(self.mark_path(number))
        except FileNotFoundError:
            return False

    def marked_pid(self, number: int) -> int:
        """Who has made the mark, if it says so and that very process lives; else 0."""
        try:
            words = self._read(f"{PROCESSES}/{number}{_MARK}", MAX_RECORD_BYTES).split()
            pid, ticks = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pid if system.is_alive(pid, ticks) else 0

    def remove_mark(self, number: int) -> None:
        """Somebody else knows by now whether it was started."""
        self._unlink(f"{PROCESSES}/{number}{_MARK}")

    def read_records(self, kind: str) -> dict[int, dict[str, Any]]:
        """Every record of ``kind`` by its number, ascending. What cannot be read is left aside.

        Raises: OSError when the system cannot read now: it would be left aside for nothing.
        """
        records: dict[int, dict[str, Any]] = {}
        for name in self._names_in(kind):
            number, _, ending = name.partition(".")
            if ending != "json" or not number.isdecimal():
                if ending == "json.new":
                    os.unlink(f"{kind}/{name}", dir_fd=self.fd)
                elif name == f"{number}{_MARK}" and number.isdecimal():
                    self.marks.add(int(number))
                continue
            try:
                record = jsontext.loads(self._read(f"{kind}/{name}", MAX_RECORD_BYTES))
            except (OSError, ValueError, RecursionError) as error:
                if isinstance(error, OSError) and error.errno in _NOT_NOW:
                    raise
                self.leave_aside(f"{kind}/{name}", f"it cannot be read: {error}")
                continue
            if isinstance(record, dict):
                records[int(number)] = record
            else:
                self.leave_aside(f"{kind}/{name}", "it is no record")
        return dict(sorted(records.items()))

    # --- what cannot be read -------------------------------------------------------------------------------

    def leave_aside(self, name: str, reason: str) -> None:
        """Notes that ``name`` stays as it is."""
        self.aside[name] = reason
        system.log(f"{name} is left aside: {reason}")

    def make_place(self, name: str, reason: str) -> None:
        """Leaves a file aside under another name. Its own still is there, to be replaced."""
        number = 1
        while True:
            try:
                os.link(name, f"{name}{ASIDE}{number}", src_dir_fd=self.fd, dst_dir_fd=self.fd)
                break
            except FileExistsError:
                number += 1
        self.leave_aside(f"{name}{ASIDE}{number}", reason)

    def is_aside(self, number: int) -> bool:
        """Whether the record of this number is there and could not be read."""
        return f"{PROCESSES}/{number}.json" in self.aside or f"{SOCKETS}/{number}.json" in self.aside

    def highest_number(self) -> int:
        """The highest that anything here has, read or not; 0 when there is nothing."""
        names = [name.partition(".")[0] for kind in (PROCESSES, SOCKETS, OUTPUT) for name in self._names_in(kind)]
        return max((int(name) for name in names if name.isdecimal()), default=0)

    # --- output --------------------------------------------------------------------------------------------

    def open_output(self, number: int, name: str) -> int:
        """A descriptor for reading and writing of one of a process's files, which is made if need be."""
        path = f"{OUTPUT}/{number}/{name}"
        try:
            return self._open(path, _CREATE)
        except FileNotFoundError:
            self.make_output_dir(number)
            return self._open(path, _CREATE)

    def make_output(self, number: int, name: str) -> int:
        """The same of a file that nobody had before, in a directory that make_output_dir() has made."""
        # Nor can anybody have put a file of another kind there.
        return os.open(f"{OUTPUT}/{number}/{name}", _CREATE | os.O_EXCL, 0o600, dir_fd=self.fd)

    def open_output_anew(self, number: int, name: str) -> int:
        """The same, of an empty file that takes the place of the one that was there."""
        os.unlink(f"{OUTPUT}/{number}/{name}", dir_fd=self.fd)
        return self.open_output(number, name)

    def open_output_for_reading(self, number: int, name: str) -> int:
        """A descriptor that can be handed to a client: it cannot write."""
        return self._open(f"{OUTPUT}/{number}/{name}", _READ)

    def make_output_dir(self, number: int) -> None:
        """For a process's files; one that is there is fine."""
        try:
            os.mkdir(f"{OUTPUT}/{number}", 0o700, dir_fd=self.fd)
        except FileExistsError:
            pass

    def remove_output(self, number: int) -> None:
        """Takes a process's files away; who has them open can go on reading them."""
        directory = f"{OUTPUT}/{number}"
        for name in self._names_in(directory):
            os.unlink(f"{directory}/{name}", dir_fd=self.fd)
        try:
            os.rmdir(directory, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def outputs(self) -> list[int]:
        """The numbers of the processes that have files."""
        return sorted(int(name) for name in self._names_in(OUTPUT) if name.isdecimal())

    # --- journal -------------------------------------------------------------------------------------------

    @property
    def journal_bytes(self) -> int:
        return self._journal_bytes

    def read_journal(self) -> bytes:
        """All of it. Raises: PapaError internal when it is too large to be ours."""
        if self._journal_bytes > MAX_JOURNAL_BYTES:
            raise PapaError(f"its {self._journal_bytes} bytes are too many for a journal", code="internal")
        parts = []
        offset = 0
        while offset < self._journal_bytes:
            part = os.pread(self._journal, min(1 << 20, self._journal_bytes - offset), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def cut_journal(self, valid_bytes: int) -> None:
        """Takes a torn tail away, so that the next record does not stand behind it."""
        if valid_bytes < self._journal_bytes:
            os.ftruncate(self._journal, valid_bytes)
            self._journal_bytes = valid_bytes

    def append_journal(self, record: bytes) -> None:
        """Appends in one write(2). On an error nothing of it remains."""
        try:
            written = os.pwrite(self._journal, record, self._journal_bytes)
            if written < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._journal, self._journal_bytes)
            raise
        self._journal_bytes += written

    def replace_journal(self, content: bytes) -> None:
        """Puts a compacted journal in the place of the old one. On an error the old one is still in use."""
        new = self._replace(JOURNAL, content)
        # The very file that was renamed, not its name once more: an open could fail, and whatever was committed
        # from then on would go into a file that nobody finds again.
        os.dup2(new, self._journal, inheritable=False)
        os.close(new)
        self._journal_bytes = len(content)

    # --- the whole -----------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Removes everything that this room made; for a kernel that leaves for good."""
        for number in self.outputs():
            self.remove_output(number)
        for kind in (PROCESSES, SOCKETS):
            for name in self._names_in(kind):
                os.unlink(f"{kind}/{name}", dir_fd=self.fd)
        for name in (PROCESSES, SOCKETS, OUTPUT):
            os.rmdir(name, dir_fd=self.fd)
        for name in self._names_in("."):
            if name == JOURNAL or name.startswith(JOURNAL + ASIDE):
                os.unlink(name, dir_fd=self.fd)

    # --- files ---------------------------------------------------------------------------------------------

    def _make_sure_of(self, name: str) -> None:
        """That a directory which was there is ours, and all in it. Raises: PapaError refused, OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            places.close_to_others(fd, f"{self.directory}/{name}")
            places.refuse_strangers(fd, f"{self.directory}/{name}")
        finally:
            os.close(fd)

    def _open(self, name: str, flags: int) -> int:
        """A file, and one of ours. Raises: OSError."""
        # Not to wait for whoever might write to a pipe that somebody has put there.
        fd = os.open(name, flags | os.O_NONBLOCK, 0o600, dir_fd=self.fd)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_uid in (os.geteuid(), 0):
            return fd
        os.close(fd)
        raise PermissionError(errno.EPERM, "it is no file of ours", f"{self.directory}/{name}")

    def _names_in(self, directory: str) -> list[str]:
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return []
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def _read(self, name: str, limit: int) -> bytes:
        fd = self._open(name, _READ)
        try:
            # A record is smaller, as a rule: one call for all of it.
            content = piece = os.read(fd, _PIECE)
            while len(piece) == _PIECE:
                if len(content) > limit:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
                piece = os.read(fd, _PIECE)
                content += piece
            return content
        finally:
            os.close(fd)

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def _replace(self, name: str, content: bytes) -> int:
        """Returns a descriptor of the new file, which is the caller's."""
        new = name + ".new"
        fd = os.open(new, _CREATE | os.O_TRUNC, 0o600, dir_fd=self.fd)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            os.close(fd)
            os.unlink(new, dir_fd=self.fd)
            raise
        return fd


def first_data(fd: int) -> int:
    """Where a stream file begins to hold something: its size when it holds nothing."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError:
        return os.fstat(fd).st_size
