"""The index of all log files, as the streams see it: told what was written, waited for with patience.

The idea: the state directory is another disk than that of the logs, perhaps, and is written to by a thread of its own.
Before a batch is acknowledged its place is in the index, so that after a kill of circusd nothing is in a file that is
not indexed: what was not acknowledged is compared, and noted then. But output goes before: while the directory hangs
or is full the index is given up, status says so, and it goes on when it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from circus import clock
from circus.logbook import catalogue, copies, writing
from circus.logbook.catalogue import Entry
from circus.logbook.copies import Copy, Kept
from circus.logbook.writing import Book, Laid
from circus.streams.workers import Worker

#: So long a batch waits for its place in the index.
PATIENCE_S = 1.0

#: After a failure it is tried again with the first batch that comes behind this.
RETRY_S = 5.0

#: The catalogue is written whole, so it grows dearer with each log: it is not written again before it has rested for so
#: many times what that took, or at a start with hundreds of logs its thread would do nothing else.
REST = 10.0

#: Logs whose files are open at once; those of another one are opened again when it is needed.
MAX_OPEN = 64

#: Logs that are known at once; of another one the index is looked through before it is written to.
MAX_KNOWN = 1024

#: The directory below the state directory.
LOGS = "logs"


T = TypeVar("T", Book, Copy)
R = TypeVar("R")

#: The path of a file, or None for the store; the watcher; the stream.
_Note = tuple[str | None, str, str]


@dataclass(frozen=True, slots=True)
class LogsPlace:
    """Where the index and the store are, and the bounds of the store; ``store_bytes`` 0: there is none."""

    state_directory: str
    store_bytes: int = 0
    store_age_s: float = 0.0


class Ledger:
    """Without a place nothing is indexed."""

    def __init__(self, place: LogsPlace | None) -> None:
        self.hear: Callable[[Laid], None] | None = None  # of all that is written, when its place is known
        self._place = place
        self._logs = "" if place is None else os.path.join(place.state_directory, LOGS)
        self._worker: Worker | None = None
        self._hanging = 0
        self._retry_at = 0.0
        self._trouble = ""
        self._unnoted: dict[_Note, None] = {}
        self._is_noting = False
        # Of the thread:
        self._books: OrderedDict[str, Book | Copy] = OrderedDict()
        self._entries: dict[str, Entry] | None = None

    @property
    def trouble(self) -> str:
        """A sentence for status."""
        what = "`circusctl logs` will not know who wrote what is written now, and when"
        return f"{what}: {self._trouble}" if self._trouble else ""

    @property
    def keeps_copies(self) -> bool:
        return self._place is not None and self._place.store_bytes > 0

    def attached(self, path: str | None, watcher: str, stream: str) -> None:
        """Output of this stream goes to this file from now on; None: the store has it."""
        if not self._logs:
            return
        self._unnoted[(path, watcher, stream)] = None
        if not self._is_noting and not self._hanging:
            self._is_noting = True
            asyncio.get_running_loop().call_soon(self._begin_noting)

    async def lay(self, laid: Laid | None, kept: Sequence[Kept] = ()) -> None:
        """It is in the index and in the store, or it will not be: after PATIENCE_S nobody waits."""
        if not (laid or kept) or not self._logs:
            return
        written = [laid] if laid else []
        if self._hanging or clock.monotonic() < self._retry_at:
            self._tell(written)
            return
        future = self._run(lambda: self._write(laid, kept))
        timer = asyncio.get_running_loop().call_later(PATIENCE_S, _give_up, future)
        try:
            written = await future
        except OSError as error:
            self._failed(error)
        else:
            self._trouble = ""
            if not self._is_noting:
                self._begin_noting()
        finally:
            timer.cancel()
        self._tell(written)

    def _tell(self, written: Iterable[Laid]) -> None:
        if self.hear is not None:
            for each in written:
                self.hear(each)

    def on_pressed(self, path: str, old: tuple[int, int], new: tuple[int, int]) -> None:
        """A backup of this log is about to be replaced by its compressed form. In the thread that compresses."""
        if self._logs:
            with contextlib.suppress(OSError):  # then nobody knows who wrote what is in it
                writing.follow(writing.directory_of(self._logs, path), old, new)

    def close(self) -> None:
        """Its thread ends when it can; what is attached by now is in the catalogue then."""
        if self._unnoted and not self._hanging and clock.monotonic() >= self._retry_at:
            notes, self._unnoted = self._unnoted, {}
            self._run(lambda: self._note(notes))
        if self._worker is not None:
            self._run(self._close_all)
            self._worker.stop()
            self._worker = None

    # The thread ---------------------------------------------------------------------------------------------

    def _run(self, call: Callable[[], R]) -> asyncio.Future[R]:
        if self._worker is None:
            self._worker = Worker("circus-index")

        def returned() -> None:
            if future.done() and not future.cancelled() and isinstance(future.exception(), TimeoutError):
                self._hanging -= 1

        future = self._worker.run(call, returned)
        return future

    def _failed(self, error: OSError) -> None:
        if isinstance(error, TimeoutError):
            self._hanging += 1
            self._trouble = f"{self._logs} has not answered for {PATIENCE_S:g} s"
        else:
            self._retry_at = clock.monotonic() + RETRY_S
            self._trouble = f"{self._logs}: {error.strerror or error}"

    def _write(self, laid: Laid | None, kept: Sequence[Kept]) -> list[Laid]:
        written = []
        if laid is not None:
            self._book(laid.path).lay(laid)
            written.append(laid)
        of_path: dict[str, list[Kept]] = {}
        for each in kept:
            of_path.setdefault(copies.path_of(self._logs, each.source.watcher, each.source.stream), []).append(each)
        for path, parts in of_path.items():
            written += self._copy(path).keep(parts)
        return written

    def _book(self, path: str) -> Book:
        found = self._books.get(path)
        return self._used(
            path, found if isinstance(found, Book) else Book(writing.directory_of(self._logs, path), path)
        )

    def _copy(self, path: str) -> Copy:
        assert self._place is not None
        found = self._books.get(path)
        if not isinstance(found, Copy):
            found = Copy(self._logs, path, size_bytes=self._place.store_bytes, age_s=self._place.store_age_s)
        return self._used(path, found)

    def _close_all(self) -> None:
        while self._books:
            self._books.popitem()[1].close()

    def _used(self, path: str, one: T) -> T:
        """The latest of those that are open."""
        self._books[path] = one
        self._books.move_to_end(path)
        while len(self._books) > MAX_KNOWN:
            self._books.popitem(last=False)[1].close()
        if len(self._books) > MAX_OPEN:
            next(itertools.islice(reversed(self._books.values()), MAX_OPEN, None)).rest()
        return one

    # The catalogue ------------------------------------------------------------------------------------------

    def _begin_noting(self) -> None:
        self._is_noting = False
        if not self._unnoted or self._hanging or clock.monotonic() < self._retry_at:
            return
        notes, self._unnoted = self._unnoted, {}
        self._is_noting = True

        def is_done(future: asyncio.Future[float]) -> None:
            if future.cancelled():
                return
            rest_s = 0.0
            if isinstance(error := future.exception(), OSError):
                self._unnoted = notes | self._unnoted
                self._failed(error)
            elif error is None:
                rest_s = future.result() * REST
            asyncio.get_running_loop().call_later(rest_s, self._rested)

        self._run(lambda: self._note(notes)).add_done_callback(is_done)

    def _rested(self) -> None:
        self._is_noting = False
        if self._worker is not None:
            self._begin_noting()

    def _note(self, notes: Iterable[_Note]) -> float:
        """How long it took, in seconds."""
        began = clock.monotonic()
        if self._entries is None:
            self._entries = catalogue.load(self._logs)
        known = self._entries
        is_news = False
        for path, watcher, stream in notes:
            kind = catalogue.STORE if path is None else catalogue.FILE
            path = path or copies.path_of(self._logs, watcher, stream)
            is_news = catalogue.note(known, path, kind, watcher, stream) or is_news
        if is_news:
            catalogue.save(self._logs, known)
            writing.forget_oldest(self._logs, known)
        if self._place is not None:
            stored = [entry.path for entry in known.values() if entry.kind == catalogue.STORE]
            copies.forget(self._logs, stored, self._place.store_age_s)
        return clock.monotonic() - began


def _give_up(future: asyncio.Future[R]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
