"""After a crash: how much of an intent stands in the file already.

The idea: what stands behind the committed size must be a prefix of what the intent's segments render to, read again
from the kernel's files. Then the sources go on right behind it, and nothing is lost or doubled. Bytes that the kernel
has dropped in the meantime cannot be compared; in a plain file they still count by their length. If the file says
something else, nothing is cut and nothing is believed: the batch is written anew after a mark.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from circus.logbook.writing import Laid
from circus.streams import changes, render, rotate
from circus.streams.backups import is_taken
from circus.streams.changes import Change
from circus.streams.laid import Stretch
from circus.streams.segments import fixed_bytes, render_data, times_of
from circus.streams.store import DATA, DOUBT, HASHED_BYTES, NOBODY, OPEN, Intent, Place, Segment, SourceKey, hash_head
from circus.streams.tap import View
from papa.client.output import Overtaken

#: What is compared at a time.
CHUNK = 1024 * 1024


@dataclass(slots=True)
class Finding:
    """``done``: how far each source stands in the file. ``doubt``: why nothing could be proven.

    ``rest`` is to be appended to complete what was cut in the middle, ``last`` wrote the end of the file.
    """

    done: dict[SourceKey, int] = field(default_factory=dict)
    doubt: str = ""
    rest: bytes = b""
    last: SourceKey = NOBODY
    found_at: str = ""  # the file in which the batch stands, where that is not the intent's path
    stretches: list[Stretch] = field(default_factory=list)  # of what stands there, with what is to be appended
    laid: Laid | None = None
    end: int | None = None  # of what our circusds wrote, if it can be said
    change: Change | None = None  # what somebody else did meanwhile


class _Doubt(Exception):
    """The file does not say what the intent says."""


def compare(intent: Intent, views: Mapping[SourceKey, View]) -> Finding:
    """Look at the file of ``intent``. May block and read much; changes nothing.

    Raises: OSError when the file cannot be read.
    """
    finding = _compare(intent, views)
    finding.change = _change(intent, finding)
    return finding


def _change(intent: Intent, finding: Finding) -> Change | None:
    """What somebody else did while nobody of us was there."""
    place, change = intent.place, None
    try:
        found = os.stat(intent.path)
    except FileNotFoundError:
        if not intent.begins_anew:
            change = changes.of_name(is_there=False, is_ours_elsewhere=bool(_elsewhere(intent.path, place)))
    else:
        if (found.st_dev, found.st_ino) != (place.dev, place.ino):
            change = None if intent.begins_anew else changes.of_name(is_there=True, is_ours_elsewhere=False)
        elif found.st_size < place.size:
            change = changes.of_size(place.size, found.st_size)
        elif finding.end is not None:
            change = changes.of_size(finding.end, found.st_size)
    return change._replace(was_away=True) if change is not None else None


def _elsewhere(path: str, place: Place) -> list[str]:
    """The names that the file has got in its directory, if somebody moved it."""
    try:
        with os.scandir(os.path.dirname(path)) as entries:
            names = [entry.path for entry in entries if entry.inode() == place.ino]
    except FileNotFoundError:
        return []
    return [name for name in names if _identity(name) == (place.dev, place.ino)]


def _compare(intent: Intent, views: Mapping[SourceKey, View]) -> Finding:
    finding = Finding(last=intent.place.last, end=None if intent.segments else intent.place.size)
    if not any(_is_outstanding(segment, views) for segment in intent.segments):
        return finding
    try:
        found = _find(intent)
        if found is None:
            return finding
        path, base = found
        finding.end = base
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size < base:
                raise _Doubt(f"it was cut from {base} to {size} bytes")
            if size > base:
                finding.found_at = path
                _Walk(intent, views, finding, file.fileno(), base, size).compare()
    except _Doubt as doubt:
        return Finding(doubt=str(doubt))
    return finding


def complete(finding: Finding) -> None:
    """Append what `compare` found missing of a line or a mark. All of it or, with an OSError, nothing."""
    if not finding.rest:
        return
    with open(finding.found_at, "r+b", buffering=0) as file:
        base = file.seek(0, os.SEEK_END)
        rest = memoryview(finding.rest)
        try:
            while rest:
                rest = rest[os.write(file.fileno(), rest) :]
        except OSError:
            file.truncate(base)
            raise


def _is_outstanding(segment: Segment, views: Mapping[SourceKey, View]) -> bool:
    if segment.kind == DOUBT:
        return False  # a mark alone is no output
    view = views.get(segment.source)
    return view is not None and (segment.end == OPEN or view.start < segment.end)


def _find(intent: Intent) -> tuple[str, int] | None:
    """The file that the batch was written to, and where it begins in it; None: certainly nothing was written."""
    place = intent.place
    here = _identity(intent.path)
    known = (place.dev, place.ino)
    if intent.begins_anew:
        if here == known:
            return None  # it was not rotated yet
        backups = [f"{intent.path}.1"]
        if intent.aside:
            backups, _ = rotate.taken_and_free(intent.path, intent.aside, is_taken)
        if known not in map(_identity, backups):
            raise _Doubt("another file has its name, and its backup is not the file that it was")
        return None if here is None else (intent.path, 0)
    path = intent.path
    if here != known:
        names = _elsewhere(path, place)
        if not names:
            raise _Doubt("it is gone" if here is None else "another file has its name")
        path = names[0]
    with open(path, "rb", buffering=0) as file:
        if hash_head(os.pread(file.fileno(), min(place.size, HASHED_BYTES), 0)) != place.head_hash:
            raise _Doubt("it begins with other bytes than it did")
    return path, place.size


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _pread(fd: int, offset: int, size: int) -> bytes:
    """Exactly that many bytes; the caller knows that they are there."""
    parts: list[bytes] = []
    while size:
        data = os.pread(fd, size, offset)
        if not data:
            raise _Doubt("it was cut while it was read")
        parts.append(data)
        offset, size = offset + len(data), size - len(data)
    return b"".join(parts)


class _Walk:
    """Goes through the file and the segments side by side."""

    def __init__(
        self, intent: Intent, views: Mapping[SourceKey, View], finding: Finding, fd: int, at: int, size: int
    ) -> None:
        self._intent = intent
        self._views = views
        self._finding = finding
        self._fd = fd
        self._at = at
        self._size = size
        fresh = intent.begins_anew
        self._at_line_start = fresh or intent.place.at_line_start
        self._last = NOBODY if fresh else intent.place.last

    def compare(self) -> None:
        for segment in self._intent.segments:
            if self._at == self._size:
                break
            if segment.kind != DATA:
                self._expect_mark(segment)
            elif segment.look is None:
                self._expect_plain(segment)
            else:
                self._expect_rendered(segment)
        self._finding.last, self._finding.end = self._last, self._at

    def _expect(self, data: bytes) -> None:
        """The file goes on with ``data``, or ends within it: then what is missing is left to be appended."""
        length = min(len(data), self._size - self._at)
        if _pread(self._fd, self._at, length) != data[:length]:
            raise _Doubt("behind its known end stands something else than the output that was being written")
        self._at += length
        self._finding.rest = data[length:]

    def _note(self, segment: Segment, start: int) -> None:
        self._finding.stretches.append(Stretch(segment, start, self._at + len(self._finding.rest)))

    def _expect_mark(self, segment: Segment) -> None:
        start = self._at
        self._expect((b"" if self._at_line_start else render.SEPARATOR) + fixed_bytes(segment, self._intent.at_ns))
        self._note(segment, start)
        self._at_line_start, self._last = True, segment.source
        if segment.source != NOBODY:
            self._finding.done[segment.source] = segment.end

    def _expect_rendered(self, segment: Segment) -> None:
        view = self._views.get(segment.source)
        try:
            if view is None:
                raise _Doubt("the process that was writing is gone")
            data = view.tap.files.pread(segment.source.stream, segment.start, segment.end - segment.start)
        except Overtaken as error:
            raise _Doubt("the output that was being written has been dropped since") from error
        times = [] if segment.look is None else times_of(segment, segment.end, view, self._intent.at_ns)
        start = self._at
        rendered = render_data(segment, data, view, self._at_line_start, self._last, times)
        self._expect(rendered)
        self._note(segment, start)
        self._at_line_start, self._last = rendered.endswith(b"\n"), segment.source
        self._finding.done[segment.source] = segment.end

    def _expect_plain(self, segment: Segment) -> None:
        start = self._at
        if not self._at_line_start and self._last != segment.source:
            self._expect(render.SEPARATOR)
        view = self._views.get(segment.source)
        at = segment.start
        end = segment.end
        if end == OPEN:
            end = at + self._size - self._at
            if view is not None:
                end = min(end, max(at, view.tap.files.head(segment.source.stream)))
        while at < end and self._at < self._size:
            length = min(CHUNK, end - at, self._size - self._at)
            length = self._expect_bytes(view, segment.source.stream, at, length)
            at += length
            self._at += length
            self._last = segment.source
            self._finding.done[segment.source] = at
        if at > segment.start:
            self._note(replace(segment, end=at), start)
            self._at_line_start = _pread(self._fd, self._at - 1, 1) == b"\n"

    def _expect_bytes(self, view: View | None, stream: str, at: int, length: int) -> int:
        """Compare the bytes that the kernel still has; those that it dropped count by their number."""
        if view is None:
            return length
        try:
            data = view.tap.files.pread(stream, at, length)
        except Overtaken as error:
            return min(length, error.new_low - at)
        if data != _pread(self._fd, self._at, len(data)) or not data:
            raise _Doubt("behind its known end stands something else than the output that was being written")
        return len(data)
