"""Logs as they are written: who follows a watcher reads its ring, each at his own pace, as with events.

The idea: circusd knows what it writes, so nobody looks for news: each batch that was written is told, and only those of
watchers that somebody follows are read (`logbook.strand`), once for all who follow. Nobody has a queue: a follower is a
number, and one that is too slow finds the ring gone on and is told how much he missed. What was before he came is read
from the files, up to where the ring begins.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from circus.control import loglines
from circus.control.desk import Desk
from circus.control.events import MAX_LISTENERS, PAUSE_OF_EACH_S
from circus.control.loglines import Wanted
from circus.control.rings import Ring
from circus.errors import CircusError
from circus.logbook import catalogue, cursors, pages
from circus.logbook.reading import Line
from circus.logbook.strand import MAX_BEHIND_BYTES, MAX_TURN_BYTES, Strand
from circus.logbook.writing import Laid

log = logging.getLogger("circus.control")

#: As of events: each has a connection.
MAX_FOLLOWERS = MAX_LISTENERS

#: Lines that are handed over in one piece.
BATCH = 128

#: After so many lines of which a follower wanted none he is told how far he is.
TELL_EVERY = 1024

#: What is read again for who comes back with a cursor; more is told as missed, and can be had page by page.
MAX_REPLAY_LINES = 10_000
REPLAY_PAGE = 1000

#: After a turn of reading the next one waits for so long: what comes meanwhile is read together.
BREATH_S = 0.05

#: Batches of one file that wait to be read, because its disk hangs; they are told as missed.
MAX_TOLD = 1000


@dataclass(slots=True, eq=False)
class _Source:
    """A log file that is followed. ``place``: up to where its lines are in the rings."""

    strand: Strand
    begun: asyncio.Task[None] | None = None
    place: int = 0
    told: deque[tuple[Laid, int]] = field(default_factory=deque)  # with how many bytes
    behind: int = 0  # bytes in all of them
    reading: asyncio.Task[None] | None = None
    watchers: set[str] = field(default_factory=set)

    def tell(self, laid: Laid) -> None:
        size = sum(run.length for run in laid.runs)
        self.told.append((laid, size))
        self.behind += size

    def next(self) -> list[Laid]:
        """What to read with the next turn: who is too far behind passes over some of it (see `Strand.take`)."""
        found: list[Laid] = []
        most = self.behind if self.behind > MAX_BEHIND_BYTES else MAX_TURN_BYTES
        while self.told and most > 0 and not (self.strand.is_behind and self.behind <= MAX_BEHIND_BYTES):
            laid, size = self.told.popleft()
            found.append(laid)
            self.behind -= size
            most -= size
        return found

    @property
    def disk(self) -> str:
        return _disk_of(self.strand.path)


class LogFeed:
    """``hear`` is asked to tell us of all that is written, or, with None, of nothing."""

    def __init__(self, state_directory: str, hear: Callable[[Callable[[Laid], None] | None], None], desk: Desk) -> None:
        self._state_directory = state_directory
        self._hear = hear
        self._desk = desk
        self._rings: dict[str, Ring] = {}
        self._sources: dict[str, _Source] = {}
        self._followers = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def followers(self) -> int:
        return self._followers

    def close(self) -> None:
        """Everybody is given what there is, and then let go."""
        self._is_closed = True
        for ring in self._rings.values():
            ring.tell()

    def follow(
        self, watcher: str, wanted: Wanted, *, cursor: Mapping[str, int] | None, last: int
    ) -> AsyncIterator[bytes]:
        """Server-sent events: the lines behind ``cursor``, or else the ``last`` ones, and then those that come.

        Raises: CircusError limit; at once, not when it is iterated.
        """
        if self._followers >= MAX_FOLLOWERS:
            raise CircusError("limit", f"{MAX_FOLLOWERS} follow logs already", "end some of them, or share one")
        return self._follow(watcher, wanted, cursor, last)

    async def _follow(
        self, watcher: str, wanted: Wanted, cursor: Mapping[str, int] | None, last: int
    ) -> AsyncIterator[bytes]:
        if self._followers >= MAX_FOLLOWERS or self._is_closed:
            return
        self._followers += 1
        ring, bell = self._enter(watcher), asyncio.Event()
        try:
            if ring.begun is not None:
                await asyncio.shield(ring.begun)
            position, places = ring.count, dict(ring.places)
            ring.bells.add(bell)
            before = self._last(ring, wanted, last, places) if cursor is None else None
            async for piece in before or self._replay(ring, wanted, cursor or {}, places):
                yield piece
            async for piece in self._read(ring, wanted, position, places, bell):
                yield piece
        except (CircusError, OSError) as error:
            yield loglines.failed(error)
        finally:
            ring.bells.discard(bell)
            self._followers -= 1
            self._leave(ring)

    # What was before ----------------------------------------------------------------------------------------

    async def _last(self, ring: Ring, wanted: Wanted, last: int, places: dict[str, int]) -> AsyncIterator[bytes]:
        if last:
            page = await self._page(ring, wanted.want(ring.watcher, last, ends=places, is_backward=True))
            at = places | page.positions
            for start in range(0, len(page.lines), BATCH):
                batch = page.lines[::-1][start : start + BATCH]
                yield b"".join(_said(at, line) for line in batch)
        yield loglines.said(places)

    async def _replay(
        self, ring: Ring, wanted: Wanted, cursor: Mapping[str, int], places: dict[str, int]
    ) -> AsyncIterator[bytes]:
        at, count = dict(cursor), 0
        while True:
            page = await self._page(ring, wanted.want(ring.watcher, REPLAY_PAGE, cursor=at, ends=places))
            at = {name: place for name, place in at.items() if name in places} | page.begins
            for path, byte_count in page.missing.items():
                yield loglines.missed(at, bytes=byte_count, path=path)
            for start in range(0, len(page.lines), BATCH):
                yield b"".join(_said(at, line) for line in page.lines[start : start + BATCH])
            at.update(page.positions)
            count += len(page.lines)
            if not page.has_more:
                yield loglines.said(places)
                return
            if count >= MAX_REPLAY_LINES:
                left = sum(max(0, place - at.get(name, 0)) for name, place in places.items())
                yield loglines.missed(places, bytes=left, cursor=cursors.encode(at))
                return
            yield loglines.said(at)

    async def _page(self, ring: Ring, want: pages.Want) -> pages.Page:
        return await self._desk.run(f"the logs of {ring.watcher}", lambda: pages.read(self._state_directory, want))

    # What comes ---------------------------------------------------------------------------------------------

    async def _read(
        self, ring: Ring, wanted: Wanted, position: int, places: dict[str, int], bell: asyncio.Event
    ) -> AsyncIterator[bytes]:
        told = position
        while True:
            bell.clear()
            if position < ring.gone:
                missed, position = ring.gone - position, ring.gone
                since, places = places, dict(ring.places_gone)
                yield loglines.missed(places, lines=missed, cursor=cursors.encode(since))
                continue  # the ring may have gone on while that was taken
            if position < ring.count:
                news = list(itertools.islice(ring.items, position - ring.gone, position - ring.gone + BATCH))
                position += len(news)
                places = ring.places_of(news[-1])
                chosen = [ring.sent(item) for item in news if item.line is None or wanted.is_met(item.line)]
                if not chosen and position - told >= TELL_EVERY:
                    chosen = [loglines.said(places)]
                if chosen:
                    told = position
                    yield b"".join(chosen)
            elif self._is_closed:
                return
            else:
                await bell.wait()

    def _enter(self, watcher: str) -> Ring:
        ring = self._rings.get(watcher)
        if ring is None:
            if not self._rings:
                self._hear(self._on_laid)
            ring = self._rings[watcher] = Ring(watcher)
            ring.begun = asyncio.get_running_loop().create_task(self._begin(ring))
        ring.users += 1
        return ring

    def _leave(self, ring: Ring) -> None:
        ring.users -= 1
        if ring.users:
            return
        del self._rings[ring.watcher]
        if ring.begun is not None:
            ring.begun.cancel()
        if not self._rings:
            self._hear(None)
        for source in list(self._sources.values()):
            source.watchers.discard(ring.watcher)
            if not source.watchers:
                self._drop(source)

    def _drop(self, source: _Source) -> None:
        if self._sources.get(source.strand.path) is source:
            del self._sources[source.strand.path]
        for task in (source.begun, source.reading):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

        async def close() -> None:
            """By the thread that may still be reading."""
            try:
                await self._desk.run(source.disk, source.strand.close)
            except CircusError:
                source.strand.close()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _begin(self, ring: Ring) -> None:
        """Know the logs that there are; what is written meanwhile is known as it comes."""
        logs = os.path.join(self._state_directory, "logs")
        found = await self._desk.run(logs, lambda: catalogue.load(logs))
        sources = [self._source(path, ring) for path, entry in found.items() if ring.watcher in entry.watchers]
        for source in sources:
            if source.begun is not None:
                await asyncio.shield(source.begun)
            ring.places.setdefault(source.strand.id, source.place)

    def _source(self, path: str, ring: Ring, first: Laid | None = None) -> _Source:
        source = self._sources.get(path)
        if source is None:
            source = self._sources[path] = _Source(Strand(os.path.join(self._state_directory, "logs"), path))
            source.begun = asyncio.get_running_loop().create_task(self._begin_log(source, first))
        source.watchers.add(ring.watcher)
        return source

    async def _begin_log(self, source: _Source, first: Laid | None) -> None:
        strand = source.strand
        await self._desk.run(source.disk, lambda: strand.begin(first))
        source.place = strand.position

    # What is written ----------------------------------------------------------------------------------------

    def _on_laid(self, laid: Laid) -> None:
        source = self._sources.get(laid.path)
        for watcher in {run.source.watcher for run in laid.runs} & self._rings.keys():
            source = self._source(laid.path, self._rings[watcher], laid)
        if source is None:
            return
        source.tell(laid)
        if len(source.told) > MAX_TOLD:
            self._fail(source, OSError(0, "it is written faster than it can be read", laid.path))
        elif source.reading is None:
            source.reading = asyncio.get_running_loop().create_task(self._read_log(source))

    async def _read_log(self, source: _Source) -> None:
        """As long as there is something to read; then it ends."""
        strand = source.strand
        try:
            if source.begun is not None:
                await asyncio.shield(source.begun)
            while source.told or strand.is_behind:
                told = source.next()
                lines = await self._desk.run(source.disk, lambda told=told: list(strand.take(told)))  # type: ignore[misc]
                self._spread(source, lines)
                await asyncio.sleep(BREATH_S + self._followers * PAUSE_OF_EACH_S)
        except (CircusError, OSError) as error:
            self._fail(source, error)
        finally:
            source.reading = None

    def _spread(self, source: _Source, lines: list[Line]) -> None:
        strand = source.strand
        rings = [self._rings[watcher] for watcher in source.watchers if watcher in self._rings]
        missed, strand.missed, source.place = strand.missed, 0, strand.position
        for ring in rings:
            if missed:
                ring.add(None, missed, len(self._rings))
        for line in lines:
            whose = line.source.watcher if line.source is not None else ""
            for ring in rings:
                if whose in ("", ring.watcher):
                    ring.add(line, 0, len(self._rings))
        for ring in rings:
            ring.tell()

    def _fail(self, source: _Source, error: CircusError | OSError) -> None:
        """It is begun anew with what is written next."""
        log.warning("%s cannot be followed: %s", source.strand.path, error)
        for watcher in source.watchers & self._rings.keys():
            self._rings[watcher].add(None, source.behind, len(self._rings))
            self._rings[watcher].tell()
        self._drop(source)


def _disk_of(path: str) -> str:
    return os.path.dirname(path)


def _said(at: dict[str, int], line: Line) -> bytes:
    at[line.log] = line.end
    return loglines.said(at, line)
