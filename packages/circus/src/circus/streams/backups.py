"""The backups of a log file on the disk: they move up by one, are set aside by time, are found again, and go.

The idea: a backup has two forms, as it was and compressed (`press`), and goes by one number or interval in both. Who
moves names and who replaces one form by the other hold the same lock, for as long as some renames take; between two of
them a backup is found again by its inode. Which names move is decided in `rotate`.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from circus.streams import rotate
from circus.streams.rotate import FORMS, PACKED

#: One for each file system, whose threads are named after it.
_locks: dict[str, threading.Lock] = {}

#: Logs of which a backup is being compressed.
_busy: set[str] = set()

Identity = tuple[int, int]


def lock_of(worker_key: str) -> threading.Lock:
    return _locks.setdefault(worker_key, threading.Lock())


@dataclass(frozen=True, slots=True)
class Backups:
    """Those of one log file. ``digits``: of the names of their intervals; 0: they are numbered up to ``count``."""

    path: str
    worker_key: str
    count: int
    digits: int = 0

    def forms(self) -> dict[str, set[str]]:
        """Path without its form -> the forms that are there; the oldest first."""
        folder, base = os.path.split(self.path)
        found: dict[str, set[str]] = {}
        for name in rotate.backups_by_time(os.listdir(folder), base, self.digits) if self.digits else self._numbered():
            form = PACKED if name.endswith(PACKED) else ""
            found.setdefault(os.path.join(folder, name.removesuffix(PACKED)), set()).add(form)
        return found

    def _numbered(self) -> list[str]:
        folder, base = os.path.split(self.path)
        pattern = re.compile(re.escape(base) + r"\.([1-9]\d*)(?:\.gz)?")
        found = [(int(match[1]), name) for name in os.listdir(folder) if (match := pattern.fullmatch(name))]
        return [name for number, name in sorted(found, reverse=True) if number <= self.count]

    def find(self, name: str, identity: Identity) -> str | None:
        """Where the backup that had this name is now; to be asked with the lock held."""
        return next((each for each in self._later_names(name) if identity_of(each) == identity), None)

    def _later_names(self, name: str) -> Iterator[str]:
        yield name
        if not self.digits:
            for number in range(int(name.rpartition(".")[2]) + 1, self.count + 1):
                yield f"{self.path}.{number}"


def identity_of(path: str) -> Identity | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_taken(name: str) -> bool:
    return any(os.path.lexists(name + form) for form in FORMS)


def shift(path: str, worker_key: str, count: int) -> None:
    """The file becomes number 1, each number the next one, the oldest goes."""
    with lock_of(worker_key):
        for source, target in rotate.plan_shift(_Numbers(path), count):
            _move(f"{path}.{source}" if source else path, f"{path}.{target}", FORMS if source else ("",))


def _move(source: str, target: str, forms: tuple[str, ...]) -> None:
    """What stays of the target, in a form that the source does not have, would pass for the source."""
    there = [form for form in forms if os.path.lexists(source + form)]
    if not there:
        return  # somebody took it away
    for form in FORMS:
        if form not in there:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target + form)
    for form in there:
        with contextlib.suppress(FileNotFoundError):
            os.replace(source + form, target + form)


def set_aside(path: str, worker_key: str, interval: str, count: int) -> None:
    """The file gets the name of its interval; of more than ``count`` backups the oldest go, 0 keeps all."""
    with lock_of(worker_key):
        _, backup = rotate.taken_and_free(path, interval, is_taken)
        with contextlib.suppress(FileNotFoundError):  # somebody took it away
            os.rename(path, backup)
        if not count:
            return
        # The newest by its making, not by its name: `compare` may have to find it.
        others = [name for name in Backups(path, worker_key, 0, len(interval)).forms() if name != backup]
        for name in others[: max(0, len(others) + 1 - count)]:
            for form in FORMS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name + form)


def half_made(path: str) -> str:
    """What a backup of this log is called while it is being compressed: there is one at a time."""
    return f"{path}{PACKED}.tmp"


@contextlib.contextmanager
def at_work(path: str, worker_key: str) -> Iterator[None]:
    """Backups of this log are being compressed."""
    with lock_of(worker_key):
        _busy.add(path)
    try:
        _remove_half_made(path)
        yield
    finally:
        _remove_half_made(path)
        _busy.discard(path)


def tidy(path: str, worker_key: str) -> None:
    """Remove what a killed circusd left half made, unless it is at work here."""
    with lock_of(worker_key):
        if path not in _busy:
            _remove_half_made(path)


def _remove_half_made(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half_made(path))


class _Numbers:
    """The numbers of the backups that are there, looked up one by one: only those up to the first hole matter."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __contains__(self, number: object) -> bool:
        return is_taken(f"{self._path}.{number}")
