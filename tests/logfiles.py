"""Log files with their index, as circusd writes them, without a circusd."""

from __future__ import annotations

import os
from pathlib import Path

from circus.logbook import catalogue, writing
from circus.logbook.catalogue import Entry
from circus.logbook.entries import Run, Source
from circus.logbook.writing import Book, Laid

SECOND = 1_000_000_000


class LogFiles:
    """Log files of one watcher below ``folder``, as circusd writes and indexes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = str(folder / "logs")
        self._books: dict[str, Book] = {}
        self._entries: dict[str, Entry] = {}

    def write(self, stream: str, *lines: tuple[int, str], wid: int = 1, watcher: str = "web", end: str = "\n") -> Laid:
        path = os.path.realpath(self.folder / f"{stream}.log")
        if catalogue.note(self._entries, path, catalogue.FILE, watcher, stream):
            catalogue.save(self.logs, self._entries)
        book = self._books.setdefault(path, Book(writing.directory_of(self.logs, path), path))
        source = Source(watcher, wid, 100 + wid, stream)
        with open(path, "ab") as file:
            base = file.tell()
            runs = []
            for at_s, text in lines:
                data = text.encode() + end.encode()
                file.write(data)
                runs.append(Run(source, len(data), at_s * SECOND))
            file.flush()
            found = os.fstat(file.fileno())
        head = Path(path).read_bytes()[:256]
        laid = Laid(path, found.st_dev, found.st_ino, base, head, tuple(runs))
        book.lay(laid)
        book.rest()  # nobody closes it
        return laid

    def rotate(self, stream: str) -> None:
        path = self.folder / f"{stream}.log"
        path.rename(f"{path}.1")
