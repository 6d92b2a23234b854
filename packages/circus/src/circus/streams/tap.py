"""The reading end of a process's output: the kernel's files, and how far each stream was taken.

The idea: everything here belongs to the event loop. A thread that writes gets a `View`, the state of a source as it
was when the thread was sent off, and the files are kept open until the last thread that reads them has come back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from circus.config.model import StreamConfig
from circus.streams import render
from circus.streams.pressure import Bounds
from circus.streams.render import Look
from circus.streams.store import SourceKey
from papa.client.output import StreamFiles

#: Release everything: the stream has ended.
ENDED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Attached:
    """A process whose output is to be taken.

    ``acked`` has an offset for each captured stream; ``ended`` names the streams whose last writer is gone already.
    """

    kernel_id: int
    watcher: str
    wid: int
    pid: int
    files: StreamFiles
    acked: Mapping[str, int]
    ended: frozenset[str] = frozenset()
    lost: Mapping[str, int] = field(default_factory=dict)  # bytes that were dropped, and are marked in the log
    bounds: Bounds | None = None  # those of each stream, if it has some


class Tap:
    """The files of one process, counted by the threads that read them."""

    def __init__(self, files: StreamFiles) -> None:
        self.files = files
        self._users = 0
        self._is_retired = False
        # The stamps of both streams lie in one index, and two threads may write the two streams.
        self._stamps_lock = threading.Lock()

    def acquire(self) -> None:
        self._users += 1

    def release(self) -> None:
        self._users -= 1
        self._close_if_unused()

    def retire(self) -> None:
        """Close the files as soon as nobody reads them."""
        self._is_retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and self._users == 0:
            self.files.close()

    def stamps(self, stream: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """(offset, wall ns, boot ns), ascending; may be called from any thread."""
        with self._stamps_lock:
            return self.files.stamps(stream, start, end)


@dataclass(frozen=True, slots=True)
class View:
    """A source as a thread sees it; ``start`` is the first offset not written yet."""

    key: SourceKey
    tap: Tap
    pid: int
    start: int
    scanned: int = 0
    release_to: int = 0
    limit: int | None = None
    look: Look | None = None
    watcher: str = ""
    wid: int = 0


@dataclass(slots=True, eq=False)
class Source:
    """One stream of one process on its way into a sink.

    ``written`` bytes stand in the sink, ``committed`` ones are acknowledged, but where the kernel had dropped more by
    then (``is_overtaken``). ``scanned``: no newline between ``written`` and there. ``release_to``: below this offset a
    tail is written without its newline. ``limit``: from this offset on the bytes belong to another sink. ``noticed``:
    the greatest head that we know of.
    """

    key: SourceKey
    tap: Tap
    watcher: str
    wid: int
    pid: int
    written: int
    committed: int
    config: StreamConfig | None = None
    scanned: int = 0
    release_to: int = 0
    limit: int | None = None
    noticed: int = 0
    end: int | None = None  # the head at the end of the stream, once it ended
    look_at: float = 0.0  # when it is due that somebody looks how far behind its sink is
    doubt_bytes: int = 0  # of it, that may stand in the file that it has left, too
    is_parting: bool = False  # it belongs to nobody here as soon as it has reached ``limit``
    is_overtaken: bool = False  # until the next acknowledgement the kernel knows less than is written
    is_gone: bool = False  # forgotten: the kernel does not know it any more, or somebody else takes it

    @property
    def look(self) -> Look | None:
        """How its lines stand in the sink."""
        config = self.config
        if config is None:
            return None
        if config.format == render.JSON:
            return Look(render.JSON, watcher=self.watcher, wid=self.wid)
        if config.time_format is None and config.color is None:
            return None
        return Look(time_format=config.time_format or "", color=config.color or "")

    @property
    def is_finished(self) -> bool:
        return self.is_gone or (self.end is not None and self.committed >= self.end)

    def view(self) -> View:
        return View(
            self.key,
            self.tap,
            self.pid,
            self.written,
            self.scanned,
            self.release_to,
            self.limit,
            self.look,
            self.watcher,
            self.wid,
        )


@dataclass(slots=True, eq=False)
class Process:
    """A process that was added; ``exit_heads`` once it has exited."""

    kernel_id: int
    watcher: str
    tap: Tap
    sources: dict[str, Source] = field(default_factory=dict)
    exit_heads: dict[str, int] | None = None
    bounds: Bounds | None = None

    @property
    def is_finished(self) -> bool:
        return all(source.is_finished for source in self.sources.values())
