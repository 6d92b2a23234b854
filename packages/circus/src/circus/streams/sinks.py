"""Where batches are written: log files, and the standard output of circusd.

The idea: a sink is used by one thread and knows nothing of processes; it says where it stands (`look`), writes a
batch that was decided elsewhere, and reports how far each source got, also when the disk is full. A failure leaves
the file as a batch that ended earlier: what was begun of a mark or of a rendered batch is cut off again.

`open_sink` is the seam: it may block, and runs in a thread of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from circus.config.model import StreamConfig
from circus.errors import CircusError
from circus.logbook.writing import Laid
from circus.streams import backups, changes, render
from circus.streams.changes import Change
from circus.streams.filling import Batch
from circus.streams.laid import Stretch, laid_of
from circus.streams.segments import fixed_bytes
from circus.streams.store import DATA, GAP, HASHED_BYTES, NOBODY, Place, Segment, SourceKey, hash_head
from circus.streams.tap import View
from papa.client.output import Overtaken

#: A pipe that is writable takes this much without blocking (PIPE_BUF, pipe(7)).
PIPE_STEP = 4096

#: So long a blocked standard output may hold back the output of processes before it is dropped; a thread that does
#: not come back for 5 s counts as hung, which this one is not.
STDOUT_PATIENCE_S = 4.0

#: So long a write to a pipe may take before it counts as failed and is tried again later.
DEVICE_PATIENCE_S = 1.0

STDOUT_PATH = "<stdout>"


@dataclass(slots=True)
class Written:
    """How far each source stands in the sink now; ``place``: where the file stands then, if it could be said."""

    done: dict[SourceKey, int] = field(default_factory=dict)
    place: Place | None = None
    error: OSError | None = None
    dropped_bytes: int = 0
    stretches: list[Stretch] = field(default_factory=list)  # where in a file it stands


class Sink(Protocol):
    """``path`` tells sinks apart, ``worker_key`` says which thread may be held up by it."""

    path: str
    worker_key: str
    keeps_intents: bool

    def look(self) -> Place:
        """Open it if need be; where the next byte goes. Raises: OSError."""

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written: ...

    def close(self) -> None: ...


def open_sink(config: StreamConfig | None) -> Sink:
    """The sink of a stream; None is circusd's own standard output. Follows links, so it may block.

    Raises: CircusError when the class is not known here.
    """
    if config is None or config.class_name == "StdoutStream":
        return StdoutSink()
    from circus.streams import called, journal, logged, sent, syslog  # which are built on this

    if config.class_name in logged.LEVELS:
        return logged.LogSink(config.filename or "", logged.LEVELS[config.class_name])
    if config.class_name == "SyslogStream":
        return sent.SentSink(config, syslog.SyslogSender(config))
    if config.class_name == "JournalStream":
        return sent.SentSink(config, journal.JournalSender(config))
    if config.owner:
        return called.CalledSink(config)
    if config.class_name != "FileStream" or not config.filename:
        raise CircusError(
            "config-invalid",
            f"stream class {config.class_name} cannot be used",
            "use FileStream with a filename, StdoutStream, or the path of a class",
        )
    path = os.path.realpath(config.filename)
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        is_regular = True  # it is to be made
    return open_file(path) if is_regular else DeviceSink(path)


def open_file(path: str) -> FileSink:
    """The sink of a regular file by its real path; may block."""
    return FileSink(path, f"dev:{_device_above(path)}")


def path_of(config: StreamConfig | None) -> str:
    """The path by which a stream's sink is known; may block."""
    if config is None or config.filename is None or config.owner:
        return STDOUT_PATH  # or another one that is no file
    return os.path.realpath(config.filename)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _device_above(path: str) -> int:
    """The device of the file, or of the nearest directory that is there."""
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            if path in ("/", ""):
                return 0
            path = os.path.dirname(path)


class FileSink:
    """A regular file that only we write to."""

    keeps_intents = True

    def __init__(self, path: str, worker_key: str) -> None:
        self.path = path
        self.worker_key = worker_key
        self.last = NOBODY
        self.dated_s = 0
        #: Raises OSError while the file must be left alone.
        self.guard: Callable[[], None] = _nobody_else
        self._is_tidied = False
        self._changes: list[Change] = []
        self._size = -1  # as we left it, if that is known
        self._fd = -1
        self._head: tuple[int, int, str] = (0, 0, "")  # inode, bytes hashed, hash

    def look(self) -> Place:
        """Open the file again when its name leads to another one (somebody moved it away)."""
        self.guard()
        if self._fd >= 0:
            try:
                ours = os.fstat(self._fd)
            except OSError:
                self.close()  # what a server of files has forgotten (ESTALE) stays so, however often it is tried
                raise
            named = _identity(self.path)
            if named != (ours.st_dev, ours.st_ino):
                self._note(changes.of_name(is_there=named is not None, is_ours_elsewhere=ours.st_nlink > 0))
                self.close()
            else:
                self._note(changes.of_size(self._size, ours.st_size) if self._size >= 0 else None)
        if self._fd < 0:
            self._open()
        return self._place()

    def _note(self, change: Change | None) -> None:
        if change is not None and len(self._changes) < changes.MAX_TOLD:
            self._changes.append(change)

    def take_changes(self) -> list[Change]:
        """What somebody else did to the file since the last call."""
        taken, self._changes = self._changes, []
        return taken

    def _open(self) -> None:
        # Not O_APPEND: where each byte goes was decided before. O_NONBLOCK: a FIFO in its place must not hang us.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o666)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is not a regular file any more", self.path)
        self._fd = fd
        if not self._is_tidied:
            with contextlib.suppress(OSError):  # in a place where nothing can be made there is nothing half made
                backups.tidy(self.path, self.worker_key)
            self._is_tidied = True
        self.last = NOBODY
        self.dated_s = int(found.st_mtime)

    def laid(self, written: Written, views: Mapping[SourceKey, View], at_ns: int) -> Laid | None:
        """What the index is to be told of it."""
        return laid_of(self.path, self._fd, written.stretches, views, at_ns) if written.stretches else None

    def _place(self) -> Place:
        found = os.fstat(self._fd)
        self._size = found.st_size
        ino, hashed, digest = self._head
        if ino != found.st_ino or hashed < HASHED_BYTES or found.st_size < HASHED_BYTES:
            data = os.pread(self._fd, HASHED_BYTES, 0)
            digest = hash_head(data)
            self._head = (found.st_ino, len(data), digest)
        if found.st_size == 0:
            self.dated_s = 0
        at_line_start = self._is_at_line_start(found.st_size)
        return Place(found.st_dev, found.st_ino, found.st_size, digest, at_line_start, self.last, self.dated_s)

    def _is_at_line_start(self, size: int) -> bool:
        return size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        written = Written()
        self._size = -1
        try:
            if batch.aside:
                backups.set_aside(self.path, self.worker_key, batch.aside, batch.rotate)
            elif batch.rotate:
                backups.shift(self.path, self.worker_key, batch.rotate)
            if batch.aside or batch.rotate:
                self.close()
                self._open()
            self.dated_s = batch.dated_s
            at = os.lseek(self._fd, 0, os.SEEK_END)
            if batch.payload is not None:
                self._put(batch.payload)
                written.done.update(batch.ends)
                for segment, length in zip(batch.segments, batch.lengths, strict=False):
                    written.stretches.append(Stretch(segment, at, at + length))
                    at += length
                self.last = batch.segments[-1].source
            else:
                for segment in batch.segments:
                    try:
                        self._write_segment(segment, views, written)
                    finally:
                        at = self._note_stretch(segment, at, written)
        except Overtaken:
            pass  # the next look at the source finds the gap
        except OSError as error:
            written.error = error
        try:
            written.place = self._place()
        except OSError as error:
            written.error = written.error or error
        return written

    def _note_stretch(self, segment: Segment, start: int, written: Written) -> int:
        """Also of one that was cut short."""
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        if segment.kind != DATA and end > start:
            written.stretches.append(Stretch(segment, start, end))
        elif (done := written.done.get(segment.source, 0)) > segment.start:
            written.stretches.append(Stretch(replace(segment, end=done), start, end))
        return end

    def _write_segment(self, segment: Segment, views: Mapping[SourceKey, View], written: Written) -> None:
        at_line_start = self._is_at_line_start(os.lseek(self._fd, 0, os.SEEK_CUR))
        if segment.kind != DATA:
            self._put((b"" if at_line_start else render.SEPARATOR) + fixed_bytes(segment, 0))  # it is text
        else:
            if not at_line_start and self.last != segment.source:
                self._put(render.SEPARATOR)
            self._copy(segment, views[segment.source], written)
        self.last = segment.source
        if segment.source != NOBODY:
            written.done[segment.source] = segment.end

    def _copy(self, segment: Segment, view: View, written: Written) -> None:
        files, at = view.tap.files, segment.start
        while at < segment.end:
            count = files.copy_to(segment.source.stream, at, segment.end, self._fd)
            if count == 0:
                raise OSError(errno.EIO, "the kernel's file is shorter than it was", self.path)
            at += count
            self.last = segment.source
            written.done[segment.source] = at

    def _put(self, data: bytes) -> None:
        """Write all of it, or nothing."""
        base = os.lseek(self._fd, 0, os.SEEK_CUR)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._cut(base)
            raise

    def _cut(self, size: int) -> None:
        """Take back what we have just written ourselves."""
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1  # closed, whatever close(2) says
            os.close(fd)


def _nobody_else() -> None:
    pass


class DeviceSink:
    """What is no regular file: a pipe, a terminal, /dev/null. It cannot be compared, so it keeps no intents.

    What a pipe does not take in time is kept here and comes first the next time; only the death of circusd loses it.
    """

    keeps_intents = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.worker_key = f"device:{path}"
        self._fd = -1
        self._rest = b""
        self._at_line_start = True
        self._last = NOBODY

    def look(self) -> Place:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            self._rest = write_patiently(self._fd, self._rest, DEVICE_PATIENCE_S)
        except OSError:
            self.close()  # a terminal that was hung up is open again under its name only
            raise
        if self._rest:
            raise BlockingIOError(errno.EAGAIN, "nobody reads from it", self.path)
        return Place(0, 0, 0, "", self._at_line_start, self._last)

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        del views  # everything is in the payload
        data = batch.payload or b""
        try:
            self._rest = write_patiently(self._fd, data, DEVICE_PATIENCE_S)
        except OSError as error:
            self.close()
            return Written(error=error)
        self._at_line_start = data.endswith(b"\n")
        self._last = batch.segments[-1].source
        return Written(batch.ends)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1  # closed, whatever close(2) says
            os.close(fd)


class StdoutSink:
    """circusd's own standard output. Blocked or closed, it drops and counts; services never wait for a terminal."""

    keeps_intents = False
    path = STDOUT_PATH
    worker_key = "stdout"

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._is_gone = False
        self._is_blocked = False
        self._untold = 0  # bytes dropped since the last mark
        self._at_line_start = True
        self._last = NOBODY

    def look(self) -> Place:
        return Place(0, 0, 0, "", self._at_line_start, self._last)

    def write(self, batch: Batch, views: Mapping[SourceKey, View]) -> Written:
        del views
        data = batch.payload or b""
        # The line that stands there was cut in the middle when bytes were dropped.
        mark = b""
        if self._untold:
            look = batch.segments[-1].look
            gap = Segment(NOBODY, 0, self._untold, GAP, look.of_marks if look is not None else None)
            mark = render.SEPARATOR + fixed_bytes(gap, time.time_ns())
        rest = len(data)
        if not self._is_gone:
            try:
                left = write_patiently(self._fd, mark + data, 0.0 if self._is_blocked else STDOUT_PATIENCE_S)
            except OSError:
                self._is_gone = True
            else:
                self._is_blocked = bool(left)
                rest = min(len(left), len(data))
                self._untold = self._untold + rest if len(left) > len(data) else rest
        self._at_line_start = rest > 0 or data.endswith(b"\n")
        self._last = batch.segments[-1].source
        return Written(batch.ends, dropped_bytes=rest)

    def close(self) -> None:
        """The descriptor is circusd's own."""


def write_patiently(fd: int, data: bytes, patience_s: float) -> bytes:
    """Write to something that may block, without blocking; what could not be written within ``patience_s``.

    The patience starts anew with each byte that is taken. The descriptor may be shared with others (a shell), so it
    is not made non-blocking.
    """
    never_blocks = stat.S_ISREG(os.fstat(fd).st_mode)
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    rest = memoryview(data)
    deadline = time.monotonic() + patience_s
    while rest:
        if not never_blocks and not poller.poll(max(0.0, (deadline - time.monotonic()) * 1000)):
            break
        try:
            count = os.write(fd, rest if never_blocks else rest[:PIPE_STEP])
        except BlockingIOError:
            count = 0
        if count:
            rest = rest[count:]
            deadline = time.monotonic() + patience_s
        elif time.monotonic() >= deadline:
            break
    return bytes(rest)
