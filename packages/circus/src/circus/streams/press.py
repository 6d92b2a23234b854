"""Backups of log files are compressed: X.1 becomes X.1.gz, one at a time, by a thread that nobody waits for.

The idea: the compressed form is made under a name of its own, complete and on the disk before it gets its place by a
rename; then the plain form goes. So at any instant each backup is there in at least one whole form, and what a killed
circusd leaves is a half-made file, which is removed, or both forms of one backup, of which the plain one is dropped if
the other provably holds the same. While a file is rotated under an intent of which the kernel does not know the end,
its backup is held: `compare` may have to look into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import struct
import threading
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from circus.streams import backups
from circus.streams.backups import Backups, Identity
from circus.streams.rotate import PACKED
from circus.streams.store import Intent
from circus.streams.workers import Workers

#: What is read at a time: the interpreter is free for others while it is compressed.
CHUNK = 256 * 1024

#: A backup that cannot be compressed is tried again after this, doubling to the last.
RETRY_FIRST_S = 60.0
RETRY_LAST_S = 3600.0

#: The end of circusd does not wait longer for a disk.
CLOSE_LIMIT_S = 1.0

#: What is wrong with the disk, and so with each of them; other troubles are those of one backup.
_OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

#: `zlib.compressobj`: with the head and the trailer of gzip (RFC 1952).
_GZIP = 31
_GZIP_MAGIC = b"\x1f\x8b"

#: nice(2); the thread's own on Linux.
_LOWEST = 19

#: (path of the log, identity of the plain form, that of the other): before it gets its name, in the thread.
OnPressed = Callable[[str, Identity, Identity], None]

Begin = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Stopped(Exception):
    """circusd ends."""


@dataclass(slots=True)
class Job:
    """One file's turn. ``held``: the file that is not to be touched, read anew before each step."""

    shelf: Backups
    held: Callable[[], Identity | None]
    on_pressed: OnPressed | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Compress what is there, the oldest first. Raises: OSError, Stopped."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        failures: list[OSError] = []
        with backups.at_work(self.shelf.path, self.shelf.worker_key):
            for name, forms in self.shelf.forms().items():
                try:
                    if "" in forms and PACKED not in forms:
                        self._press(name)
                    elif "" in forms and not self._is_done(name):
                        raise OSError(f"{name} and {name}{PACKED} are both there and differ; remove one of them")
                except OSError as error:
                    if error.errno in _OF_ALL:
                        raise
                    failures.append(error)
        if failures:
            raise failures[0]

    def _press(self, name: str) -> None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # it has moved on, and has another turn
        try:
            before = os.fstat(fd)
            identity = before.st_dev, before.st_ino
            if stat.S_ISREG(before.st_mode) and identity != self.held():
                self._replace(name, fd, before, identity)
        finally:
            os.close(fd)

    def _replace(self, name: str, fd: int, before: os.stat_result, identity: Identity) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        half_made = backups.half_made(self.shelf.path)
        out = os.open(half_made, flags, 0o600)
        try:
            with contextlib.suppress(PermissionError):  # of a file that somebody else owns
                os.fchown(out, before.st_uid, before.st_gid)
            os.fchmod(out, stat.S_IMODE(before.st_mode))
            self._pack(fd, out)
            os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(out)
            made = os.fstat(out)
            if self.on_pressed is not None:
                self.on_pressed(self.shelf.path, identity, (made.st_dev, made.st_ino))
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise OSError(f"{name} was written to while it was compressed")
            with backups.lock_of(self.shelf.worker_key):
                now = self.shelf.find(name, identity)
                if now is not None:
                    os.rename(half_made, now + PACKED)
            if now is None:
                os.unlink(half_made)  # it was the oldest, and is gone
            else:
                self._settle_names()
                self._drop(now, identity)
        finally:
            os.close(out)

    def _pack(self, fd: int, out: int) -> None:
        packer = zlib.compressobj(wbits=_GZIP)
        while data := os.read(fd, CHUNK):
            if self.stop.is_set():
                raise Stopped
            _write(out, packer.compress(data))
        _write(out, packer.flush())

    def _settle_names(self) -> None:
        folder = os.open(os.path.dirname(self.shelf.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _drop(self, name: str, identity: Identity) -> None:
        """Remove the plain form, wherever it is now; the other one has moved with it."""
        with backups.lock_of(self.shelf.worker_key):
            now = self.shelf.find(name, identity)
            if now is not None and os.path.lexists(now + PACKED):
                os.unlink(now)

    def _is_done(self, name: str) -> bool:
        """Both forms are there: if the packed one holds the same, the plain one goes."""
        try:
            with open(name, "rb", buffering=0) as plain, open(name + PACKED, "rb") as packed:
                found = os.fstat(plain.fileno())
                identity = found.st_dev, found.st_ino
                if identity == self.held():
                    return True  # its turn comes later
                crc = 0
                while data := plain.read(CHUNK):
                    if self.stop.is_set():
                        raise Stopped
                    crc = zlib.crc32(data, crc)
                is_packed = packed.read(2) == _GZIP_MAGIC
                packed.seek(max(0, os.fstat(packed.fileno()).st_size - 8))
                if not is_packed or packed.read() != struct.pack("<II", crc, found.st_size & 0xFFFFFFFF):
                    return False
        except FileNotFoundError:
            return True  # it has moved on
        self._drop(name, identity)
        return True


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class Presses:
    """Which files are to be compressed, each by one job at a time; belongs to the event loop.

    ``on_trouble`` gets (kind, fields): compress_failed, once until it works again, and compress_recovered.
    """

    def __init__(self, workers: Workers, begin: Begin, on_trouble: Callable[[str, dict[str, Any]], None]) -> None:
        self.on_pressed: OnPressed | None = None
        self._workers = workers
        self._begin = begin
        self._on_trouble = on_trouble
        self._held: dict[str, Identity] = {}
        self._known: set[str] = set()
        self._wanted: dict[str, Backups] = {}
        self._jobs: dict[str, Job] = {}
        self._failures: dict[str, OSError] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pokes: dict[str, asyncio.Event] = {}  # of those that wait to be tried again

    def on_intent(self, path: str, intent: Intent | None, shelf: Backups | None) -> None:
        """The kernel knows this intent of the file now. ``shelf``: its backups, if they are to be compressed."""
        if intent is not None and intent.begins_anew:
            self._held[path] = intent.place.dev, intent.place.ino
            return
        was_held = self._held.pop(path, None) is not None
        if (was_held or path not in self._known) and shelf is not None:
            self._wanted[path] = shelf
            if path in self._pokes:
                self._pokes[path].set()
            elif path not in self._jobs:
                self._jobs[path] = Job(shelf, lambda: self._held.get(path), self.on_pressed)
                task = self._begin(self._work(path))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._known.add(path)

    def on_closed(self, path: str) -> None:
        """Nobody writes the file any more; what was begun is finished."""
        self._known.discard(path)
        self._held.pop(path, None)

    def troubles(self) -> list[str]:
        return [f"{path}: backups cannot be compressed: {_reason(error)}" for path, error in self._failures.items()]

    async def close(self) -> None:
        """circusd ends: what is half made is removed, by the next one if the disk hangs."""
        for job in self._jobs.values():
            job.stop.set()
        for poke in self._pokes.values():
            poke.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S)

    async def _work(self, path: str) -> None:
        pause_s = RETRY_FIRST_S
        try:
            job = self._jobs[path]
            while not job.stop.is_set() and (shelf := self._wanted.pop(path, None)) is not None:
                job.shelf = shelf
                key = f"press:{shelf.worker_key}"
                worker = self._workers.take(key)
                try:
                    await worker.run(job.run)
                except Stopped:
                    return
                except OSError as error:
                    if path not in self._failures:
                        fields = {"path": path, "reason": _reason(error), "retry_in_s": pause_s}
                        self._on_trouble("compress_failed", fields)
                    self._failures[path] = error
                    await self._pause(path, pause_s)
                    self._wanted.setdefault(path, shelf)
                    pause_s = min(pause_s * 2, RETRY_LAST_S)
                else:
                    if self._failures.pop(path, None) is not None:
                        self._on_trouble("compress_recovered", {"path": path})
                        pause_s = RETRY_FIRST_S
                finally:
                    self._workers.give_back(key)
        finally:
            self._jobs.pop(path, None)
            self._failures.pop(path, None)

    async def _pause(self, path: str, seconds: float) -> None:
        """Or until there is a new backup, which may have no trouble."""
        if path in self._wanted or self._jobs[path].stop.is_set():
            return
        poke = self._pokes[path] = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await poke.wait()
        except TimeoutError:
            pass
        finally:
            del self._pokes[path]


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
