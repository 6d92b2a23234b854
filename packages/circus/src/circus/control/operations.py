"""The register of operations: every order that takes time has an id, and can be waited for, followed or left.

An operation is a task of its own: whoever waits for it may go, and it goes on. What has ended is kept for a while. How
far one is, is found out when somebody asks or follows, from what the cores are; where nobody follows, nothing is done.

An id is ``START-NUMBER``: START names this life of circusd, NUMBER counts its operations from 1.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from circus import clock
from circus.control import schema, sse, told
from circus.control.caller import ADMIN_VERBS, Caller
from circus.control.entries import DONE, FAILED, Entry, packed, size, unpacked
from circus.control.face import EngineFace
from circus.engine.tracking import Track
from circus.errors import CircusError
from circus.supervise.progress import Standing, waiting_first

log = logging.getLogger("circus.control")

#: Each is a task and a place in the engine's mailbox; far more than people and scripts have under way.
MAX_RUNNING = 1_000
#: Those from which on orders of others than admins are refused, so that one who floods circusd can be stopped.
MAX_RUNNING_OF_OTHERS = 900
#: Enough to find what was ordered today; about 1 KB each.
MAX_ENDED = 256
#: Of the answers of those that have ended, together: a reloadconfig of thousands of watchers has megabytes.
MAX_ENDED_BYTES = 1024 * 1024

#: Each has a connection, of which the doors have 256 in all; orders must find one.
MAX_FOLLOWERS = 100
#: Watchers that are named as waited for; the others are counted.
MAX_WAITS_FOR = 20
#: For a follower nobody looks more often: what lies between is part of what comes next.
PACE_S = 0.1

#: By these circusd ends: they are taken however many are under way.
ENDINGS = frozenset(("quit", "shutdown"))

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Operations:
    def __init__(self, engine: EngineFace) -> None:
        self._engine = engine
        self._start = str(int(engine.started_at * 1000))
        self._count = 0
        self._running: dict[str, Entry] = {}
        self._ended: OrderedDict[str, Entry] = OrderedDict()
        self._ended_bytes = 0
        self._closing: set[asyncio.Future[None]] = set()  # of those who wait
        self._followers = 0
        self._unfollow: Callable[[], None] | None = None
        self._is_closed = False

    @property
    def unawaited(self) -> int:
        """So many run that nobody waits for."""
        return sum(not entry.is_awaited for entry in self._running.values())

    # Orders -------------------------------------------------------------------------------------------------

    def begin(
        self,
        what: str,
        watchers: Iterable[str] | None,
        caller: Caller,
        work: Callable[[Entry], Coroutine[Any, Any, msgspec.Struct]],
        tag: str = "",
    ) -> Entry:
        """Raises: CircusError limit."""
        is_admin = caller.sees_all and caller.verbs >= ADMIN_VERBS
        most = MAX_RUNNING if is_admin else min(MAX_RUNNING, MAX_RUNNING_OF_OTHERS)
        if len(self._running) >= most and what not in ENDINGS:
            raise CircusError("limit", f"{most} operations are under way already", "wait until they have ended")
        self._count += 1
        names = None if watchers is None else tuple(watchers)
        entry = Entry(f"{self._start}-{self._count}", what, names, caller, tag)
        self._running[entry.id] = entry
        entry.task = asyncio.get_running_loop().create_task(self._run(entry, work))
        entry.task.add_done_callback(functools.partial(_look_at, entry))
        return entry

    async def answer(self, entry: Entry, kind: type[_Answer]) -> _Answer:
        """Its end, for whom it may be too late to wait: it goes on without him.

        Raises: what it has raised.
        """
        assert entry.task is not None
        entry.is_awaited = True
        answer = await asyncio.shield(entry.task)
        assert isinstance(answer, kind)
        return answer

    async def _run(self, entry: Entry, work: Callable[[Entry], Coroutine[Any, Any, msgspec.Struct]]) -> msgspec.Struct:
        entry.track.use()
        try:
            answer = structs.replace(await work(entry), operation=entry.id)
            entry.state, entry.result = DONE, msgspec.json.encode(answer)
            return answer
        except CircusError as error:
            entry.state, entry.error = FAILED, error
            raise
        except asyncio.CancelledError:
            entry.state, entry.error = FAILED, CircusError("unavailable", "circusd has left before it has ended")
            raise
        except Exception:
            entry.state = FAILED
            entry.error = CircusError("internal", "circusd failed to carry it out", "its log has the traceback")
            raise
        finally:
            self._end(entry)

    def _end(self, entry: Entry) -> None:
        entry.ended_at = clock.wall()
        entry.number += 1
        if not entry.begun.done():
            entry.begun.set_result(None)
        del self._running[entry.id]
        self._ended[entry.id] = entry
        self._ended_bytes += size(entry)
        while len(self._ended) > MAX_ENDED or (self._ended_bytes > MAX_ENDED_BYTES and len(self._ended) > 1):
            self._ended_bytes -= size(self._ended.popitem(last=False)[1])
        for bell in entry.bells:
            bell.set()

    def under_way(self, *, besides: Entry | None = None) -> list[Entry]:
        return [entry for entry in self._running.values() if entry is not besides]

    # Over an upgrade ------------------------------------------------------------------------------------------

    def pack(self) -> dict[str, Any]:
        """All that is known, for the successor; what is still under way is nobody's."""
        rows = [packed(entry) for entry in (*self._ended.values(), *self._running.values())]
        return {"start": self._start, "count": self._count, "rows": rows}

    def take(self, handed: dict[str, Any], awaited: str) -> None:
        """What a predecessor has packed. The operation ``awaited`` goes on, until `settle`; others have ended."""
        entries = [unpacked(row) for row in handed["rows"]]
        if handed["start"] != self._start:
            raise ValueError("of another life")
        self._count = int(handed["count"])
        for entry in entries:
            if entry.id == awaited:
                self._running[entry.id] = entry
                continue
            if entry.ended_at is None:
                entry.state, entry.ended_at = FAILED, clock.wall()
                entry.error = CircusError("unavailable", "circusd was upgraded before it has ended")
            self._ended[entry.id] = entry
            self._ended_bytes += size(entry)

    def settle(self, id: str, outcome: msgspec.Struct | CircusError) -> None:
        """The end of an operation that a predecessor has begun, if it is known here."""
        entry = self._running.get(id)
        if entry is None:
            return
        if isinstance(outcome, CircusError):
            entry.state, entry.error = FAILED, outcome
        else:
            entry.state, entry.result = DONE, msgspec.json.encode(outcome)
        self._end(entry)

    # What is known of them ------------------------------------------------------------------------------------

    def find(self, id: str, caller: Caller) -> Entry:
        """By its id, or by the tag that it was ordered with. Raises: CircusError not-found."""
        entry = self._running.get(id) or self._ended.get(id) or self._tagged(id, caller)
        if entry is not None and entry.is_seen_by(caller):
            return entry
        start, _, number = id.rpartition("-")
        hint = "`circusctl operations` lists them"
        if start.isdecimal() and number.isdecimal():
            if start != self._start:
                hint = (
                    "it was given to an earlier circusd: how it ended is not known; `circusctl status` shows the state"
                )
            elif entry is None and 0 < int(number) <= self._count:
                hint = f"the last {MAX_ENDED} that have ended are kept; it has ended before"
        raise CircusError("not-found", f"operation {id[:60]!r} is not known", hint)

    def _tagged(self, tag: str, caller: Caller) -> Entry | None:
        """The latest one."""
        entries = itertools.chain(reversed(self._running.values()), reversed(self._ended.values()))
        return next((entry for entry in entries if entry.tag == tag != "" and entry.is_seen_by(caller)), None)

    def listed(self, caller: Caller) -> list[told.OperationAnswer]:
        """In the order in which they were given, those that have ended first; without what they have answered."""
        entries = [*self._ended.values(), *self._running.values()]
        return [self.tell(entry, caller, is_brief=True) for entry in entries if entry.is_seen_by(caller)]

    async def wait(self, entry: Entry, seconds: float) -> None:
        """Until it has ended, ``seconds`` have passed, or circusd leaves."""
        if seconds <= 0 or entry.task is None or entry.ended_at is not None or self._is_closed:
            return
        closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing.add(closing)
        try:
            await asyncio.wait([entry.task, closing], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing.discard(closing)

    def tell(self, entry: Entry, caller: Caller, *, is_brief: bool = False) -> told.OperationAnswer:
        progress = None
        if entry.ended_at is None:
            progress = _seen(self._look(entry), caller)
        error = entry.error
        return told.OperationAnswer(
            id=entry.id,
            what=entry.what,
            watchers=None if entry.watchers is None else list(entry.watchers),
            by=entry.by,
            origin=entry.origin,
            state=entry.state,
            begun_at=entry.begun_at,
            ended_at=entry.ended_at,
            error=None if error is None else schema.ErrorBody(error.code, error.message, error.hint),
            result=None if is_brief or not entry.result else msgspec.json.decode(entry.result),
            progress=progress,
        )

    # Who follows ----------------------------------------------------------------------------------------------

    def follow(self, entry: Entry, caller: Caller, last_id: str) -> AsyncIterator[bytes]:
        """Its progress and then its end, as server-sent events; not what was told by ``last_id`` already.

        Raises: CircusError limit, bad-request; at once, not when it is iterated.
        """
        if self._followers >= MAX_FOLLOWERS:
            raise CircusError("limit", f"{MAX_FOLLOWERS} follow operations already", "ask for its state instead")
        heard = 0
        if last_id:
            id, _, number = last_id.rpartition(".")
            if id != entry.id or not (number.isdecimal() and len(number) <= 20):
                raise CircusError("bad-request", f"{last_id[:60]!r} is no id of its events", "give one that was heard")
            heard = int(number)
        return self._follow(entry, caller, heard)

    async def _follow(self, entry: Entry, caller: Caller, heard: int) -> AsyncIterator[bytes]:
        bell, loop = asyncio.Event(), asyncio.get_running_loop()
        if self._followers >= MAX_FOLLOWERS:
            return
        self._take_follower(entry, bell)
        try:
            while not self._is_closed:
                bell.clear()
                if entry.ended_at is not None:
                    if heard != entry.number:
                        end = msgspec.json.encode(self.tell(entry, caller))
                        yield sse.render(f"{entry.id}.{entry.number}", end, "end")
                    return
                progress, due = self._look(entry), loop.time() + PACE_S
                if heard != entry.number:
                    heard = entry.number
                    yield sse.render(f"{entry.id}.{heard}", msgspec.json.encode(_seen(progress, caller)), "progress")
                else:
                    await bell.wait()
                await self.wait(entry, due - loop.time())
        finally:
            self._let_go(entry, bell)

    def close(self) -> None:
        """Who follows is let go, and who has asked for one is answered how it stands."""
        self._is_closed = True
        for each in self._closing:
            each.set_result(None)
        self._closing.clear()
        self._ring()

    async def end(self) -> None:
        """Circusd leaves: nobody hears any more of what has not ended."""
        tasks = [entry.task for entry in self._running.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _take_follower(self, entry: Entry, bell: asyncio.Event) -> None:
        entry.bells.add(bell)
        self._followers += 1
        if self._unfollow is None:
            self._unfollow = self._engine.follow(self._ring)

    def _let_go(self, entry: Entry, bell: asyncio.Event) -> None:
        entry.bells.discard(bell)
        self._followers -= 1
        if not self._followers and self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def _ring(self) -> None:
        for entry in (*self._running.values(), *self._ended.values()) if self._is_closed else self._running.values():
            for bell in entry.bells:
                bell.set()

    def _look(self, entry: Entry) -> told.ProgressAnswer:
        """How far it is; numbered anew when that is another than before."""
        progress = _progress(entry.track, self._engine.standings(entry.track.open.keys()))
        if progress != entry.progress:
            entry.progress = progress
            entry.number += 1
        return progress


def _progress(track: Track, rows: list[Standing]) -> told.ProgressAnswer:
    waited = waiting_first(rows)
    known = {row.watcher for row in rows}
    to_come = [name for name in track.watchers if name not in known and name not in track.arrived]
    track.watchers.update(dict.fromkeys(known))  # an order to all says so only here
    meant = track.watchers.keys() | track.arrived
    waits_for = [
        told.StandingAnswer(row.watcher, row.done, row.of, row.what, row.why) for row in waited[:MAX_WAITS_FOR]
    ]
    return told.ProgressAnswer(
        watchers=len(meant),
        watchers_done=len(meant.difference(to_come, (row.watcher for row in waited))),
        processes=sum(row.of for row in rows),
        processes_done=sum(row.done for row in rows),
        waits_for=waits_for,
        behind=list(track.behind),
    )


def _seen(progress: told.ProgressAnswer, caller: Caller) -> told.ProgressAnswer:
    if caller.sees_all:
        return progress
    seen = [each for each in progress.waits_for if caller.sees(each.watcher)]
    return structs.replace(progress, waits_for=seen)


def _look_at(entry: Entry, task: asyncio.Task[Any]) -> None:
    """What nobody waits for can only be logged."""
    error = None if task.cancelled() else task.exception()
    if error is None or entry.is_awaited:
        return
    if isinstance(error, CircusError):
        log.warning("%s failed operation=%s code=%s: %s", entry.what, entry.id, error.code, error.message)
    else:
        log.error("%s failed operation=%s", entry.what, entry.id, exc_info=error)
