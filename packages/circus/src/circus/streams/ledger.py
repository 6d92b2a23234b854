"""The index of all log files, as the streams see it: told what was written, waited for with patience.

The idea: the state directory is another disk than that of the logs, perhaps, and is written to by a thread of its own.
Before a batch is acknowledged its place is in the index, so that after a kill of circusd nothing is in a file that is
not indexed: what was not acknowledged is compared, and noted then. But output goes before: while the directory hangs
or is full the index is given up, status says so, and it goes on when it can.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable

from circus import clock
from circus.logbook import catalogue, writing
from circus.logbook.catalogue import Entry
from circus.logbook.writing import Book, Laid
from circus.streams.workers import Worker

#: So long a batch waits for its place in the index.
PATIENCE_S = 1.0

#: After a failure it is tried again with the first batch that comes behind this.
RETRY_S = 5.0

#: Index files that are open at once; of the others the last one is opened again when it is needed.
MAX_OPEN = 256

#: The directory below the state directory.
LOGS = "logs"


class Ledger:
    """``state_directory`` None: nothing is indexed."""

    def __init__(self, state_directory: str | None) -> None:
        self._logs = None if state_directory is None else os.path.join(state_directory, LOGS)
        self._worker: Worker | None = None
        self._hanging = 0
        self._retry_at = 0.0
        self._trouble = ""
        self._unnoted: list[tuple[str, str, str, str]] = []
        self._is_noting = False
        # Of the thread:
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._entries: dict[str, Entry] | None = None

    @property
    def trouble(self) -> str:
        """A sentence for status."""
        return f"`circusctl logs` does not know who wrote what is written now: {self._trouble}" if self._trouble else ""

    def attached(self, path: str, kind: str, watcher: str, stream: str) -> None:
        """Output of this stream goes to this log from now on."""
        if self._logs is None:
            return
        self._unnoted.append((path, kind, watcher, stream))
        if not self._is_noting and not self._hanging:
            self._is_noting = True
            asyncio.get_running_loop().call_soon(self._begin_noting)

    async def lay(self, laid: Laid | None) -> None:
        """It is in the index, or it will not be: after PATIENCE_S nobody waits."""
        if laid is None or self._logs is None or self._hanging or clock.monotonic() < self._retry_at:
            return
        directory = writing.directory_of(self._logs, laid.path)
        future = self._run(lambda: self._book(directory, laid.path).lay(laid))
        timer = asyncio.get_running_loop().call_later(PATIENCE_S, _give_up, future)
        try:
            await future
        except OSError as error:
            self._failed(error)
        else:
            self._trouble = ""
            self._begin_noting()
        finally:
            timer.cancel()

    def close(self) -> None:
        """Its thread ends when it can."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    # The thread ---------------------------------------------------------------------------------------------

    def _run(self, call: Callable[[], None]) -> asyncio.Future[None]:
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

    def _book(self, directory: str, path: str) -> Book:
        book = self._books.pop(path, None) or Book(directory, path)
        self._books[path] = book
        while len(self._books) > MAX_OPEN:
            self._books.popitem(last=False)[1].close()
        return book

    # The catalogue ------------------------------------------------------------------------------------------

    def _begin_noting(self) -> None:
        self._is_noting = False
        if not self._unnoted or self._hanging or clock.monotonic() < self._retry_at:
            return
        notes, self._unnoted = self._unnoted, []
        self._is_noting = True

        def is_done(future: asyncio.Future[None]) -> None:
            self._is_noting = False
            if not future.cancelled() and isinstance(error := future.exception(), OSError):
                self._unnoted = notes + self._unnoted
                self._failed(error)

        self._run(lambda: self._note(notes)).add_done_callback(is_done)

    def _note(self, notes: list[tuple[str, str, str, str]]) -> None:
        assert self._logs is not None
        if self._entries is None:
            self._entries = catalogue.load(self._logs)
        is_news = False
        for path, kind, watcher, stream in notes:
            is_news = catalogue.note(self._entries, path, kind, watcher, stream) or is_news
        if is_news:
            catalogue.save(self._logs, self._entries)
            writing.forget_oldest(self._logs, [entry.id for entry in self._entries.values()])


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
