"""The operations of circusd: the only way in, for every door.

A method per command. It finds out which watchers are meant, refuses what makes no sense, puts the order to
the engine and turns the end of the operation into an answer. Whoever calls it has been let in already; how
requests and answers travel is the doors' business.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from msgspec import structs

import circus
from circus import nearest
from circus.config import amend
from circus.config.values import SIGNALS, parse_signal
from circus.control import masking, names, plans, schema, scrapes, told
from circus.control.audit import Trail
from circus.control.auditing import Auditing
from circus.control.caller import OWNER, Caller
from circus.control.entries import Entry
from circus.control.events import Feed
from circus.control.face import EngineFace
from circus.control.grants import Grants
from circus.control.keyring import Keyring
from circus.control.operations import Operations
from circus.control.queries import check_pid
from circus.control.requests import Requests
from circus.control.scrapes import Page
from circus.control.upgrades import Upgrades
from circus.control.whys import Whys
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.actions import Finish

log = logging.getLogger("circus.control")

SIGNAL_FORMS = "use a number (15), a name (TERM, SIGTERM) or a real-time signal (RTMIN+1)"

#: Whether an order is good is known in milliseconds, unless it comes after another one, which may take minutes.
DECIDED_S = 2.0


class Ops(Whys, Grants):
    """Orders are here, queries and tokens in their own rooms."""

    def __init__(self, engine: EngineFace, trail: Trail | None = None) -> None:
        super().__init__(engine, OWNER, trail or Trail())
        self.auditing = Auditing(self._trail, engine.started_at)
        self.keyring = Keyring(Path(engine.state_directory))
        self._feed = Feed(engine.bus, engine.started_at)
        self.requests = Requests()
        self.register = self._operations = Operations(engine)
        self.upgrades = Upgrades(self._operations)

    def of(self, caller: Caller) -> Self:
        """The same, as ``caller`` has them: watchers that he does not see do not exist for him."""
        if caller == self._caller:
            return self
        theirs = copy.copy(self)
        theirs._caller = caller
        return theirs

    @property
    def listeners(self) -> int:
        return self._feed.listeners

    def listen(self, topics: Sequence[str], last_id: str, since: float | None) -> AsyncIterator[bytes]:
        """See control.events."""
        sees = None if self._caller.sees_all else self._caller.sees
        return self._feed.listen(topics, last_id=last_id, since=since, sees=sees)

    async def metrics(self, accept: str) -> Page:
        """As text, in the form that ``accept`` asks for, as in HTTP."""
        doors = scrapes.Doors(
            version=circus.__version__,
            results=dict(self.requests.results),
            durations={operation: each.copy() for operation, each in self.requests.durations.items()},
            listeners=self.listeners,
            followers=self.followers,
            unawaited=self._operations.unawaited,
            audit_written=self._trail.written,
            audit_dropped=self._trail.dropped,
            audit_waiting=self._trail.waiting,
        )
        return await scrapes.scrape(self._engine, self._caller, doors, accept)

    def close(self) -> None:
        """Whoever listens is given what there is and let go; nobody else is waited for here."""
        self._feed.close()
        self._close_lookups()
        self._operations.close()

    async def end(self) -> None:
        """When the doors are closed: what is under way is nobody's any more."""
        await self._operations.end()

    async def start(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant, among = self._meant(request), self._among(request)
        named = None if among is not None else meant
        return await self._order("start", meant, lambda op: events.Start(op, named, among=among), request=request)

    async def stop(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant = self._meant(request)
        return await self._order("stop", meant, lambda op: events.Stop(op, meant), request=request)

    async def restart(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant, among = self._meant(request), self._among(request)
        named = None if among is not None else meant
        return await self._order("restart", meant, lambda op: events.Restart(op, named, among=among), request=request)

    async def reload(self, request: schema.ReloadRequest) -> schema.DoneAnswer:
        meant, among = self._meant(request), self._among(request)
        named = None if among is not None else meant
        graceful, sequential = request.graceful, request.sequential
        return await self._order(
            "reload",
            meant,
            lambda op: events.Reload(op, named, graceful=graceful, sequential=sequential, among=among),
            request=request,
        )

    async def count(self, name: str, request: schema.CountRequest) -> schema.DoneAnswer:
        watcher = self._find(name)
        count, delta = request.count, request.delta
        if (count is None) == (delta is None):
            raise CircusError("bad-request", "a change of the count needs either `count` or `delta`", "give one")
        if delta is not None and watcher.numprocesses + delta > schema.MAX_COUNT:
            raise CircusError("limit", f"{watcher.name}: a watcher has at most {schema.MAX_COUNT} processes")
        answer = await self._order(
            "count",
            (watcher.name,),
            lambda op: events.SetCount(op, watcher.name, count=count, delta=delta or 0),
            request=request,
        )
        wished = watcher.numprocesses + (delta or 0) if count is None else count
        if watcher.singleton and wished > 1:
            warning = f"{watcher.name} is a singleton: it has at most one process"
            return structs.replace(answer, warnings=[*answer.warnings, warning])
        return answer

    async def run(self, name: str, request: schema.Request) -> schema.RunAnswer:
        watcher = self._find(name)

        async def work(_entry: Entry) -> schema.RunAnswer:
            return schema.RunAnswer(watcher.name, await self._engine.run(watcher.name, wait=request.wait))

        entry = self._operations.begin("run", (watcher.name,), self._caller, work, request.tag)
        return await self._operations.answer(entry, schema.RunAnswer)

    async def signal(self, name: str, request: schema.SignalRequest) -> schema.SignalAnswer:
        watcher = self._find(name)
        signum = _signal_number(request.signum)
        if request.pid is not None:
            check_pid(watcher, request.pid)
        signalled = await self._engine.signal(
            watcher.name,
            signum,
            pid=request.pid,
            childpid=request.childpid or request.child_pid,
            children=request.children,
            recursive=request.recursive,
        )
        return schema.SignalAnswer(signum, signalled)

    async def kill(self, name: str, request: schema.KillRequest) -> schema.DoneAnswer:
        watcher = self._find(name)
        signum = None if request.signum is None else _signal_number(request.signum)
        pid, grace_s = request.pid, request.graceful_timeout
        if pid is not None:
            check_pid(watcher, pid)
        return await self._order(
            "kill",
            (watcher.name,),
            lambda op: events.Kill(op, watcher.name, pid, signum, grace_s),
            request=request,
        )

    async def add(self, name: str, request: schema.AddRequest) -> schema.DoneAnswer:
        if not self._caller.sees(name):
            raise CircusError(
                "forbidden", f"{name}: a watcher of this name may not be added", "use a name that you may steer"
            )
        given = {key: text for key, text in (("cmd", request.cmd), ("args", request.args)) if text}
        texts = amend.texts_of({**request.options, **given})
        masking.check_unmasked(texts)
        amend.check_keys(name, texts)

        async def work(entry: Entry) -> schema.DoneAnswer:
            finish, warnings = await self._engine.add_watcher(name, texts, start=request.start, on_begun=entry.begin)
            answer = schema.DoneAnswer() if finish is None else _done(_good(finish))
            return structs.replace(answer, warnings=[*warnings, *answer.warnings])

        return await self._change("add", name, work, request=request)

    async def remove(self, name: str, request: schema.RemoveRequest) -> schema.DoneAnswer:
        watcher = self._find(name)

        async def work() -> None:
            await self._engine.remove_watcher(watcher.name, nostop=request.nostop)

        return await self._done("remove", (watcher.name,), work, request=request)

    async def set_options(self, name: str, request: schema.SetRequest) -> schema.DoneAnswer:
        watcher = self._find(name)
        texts = amend.texts_of(request.options)
        masking.check_unmasked(texts)
        amend.check_keys(watcher.name, texts)

        async def work(entry: Entry) -> schema.DoneAnswer:
            return schema.DoneAnswer(warnings=await self._engine.set_options(watcher.name, texts, on_begun=entry.begin))

        return await self._change("set", watcher.name, work, request=request)

    async def forget(self, request: schema.ForgetRequest) -> schema.ForgetAnswer:
        meant = None
        if request.names is not None:
            known = self._seen(self._engine.known())
            meant = names.match_watchers(known, request.names, is_glob=request.match == "glob")
        elif not self._caller.sees_all:
            meant = tuple(self._seen(self._engine.known()))

        async def work(_entry: Entry | None = None) -> schema.ForgetAnswer:
            found = await self._engine.forget(meant, is_dry=request.dry_run)
            return schema.ForgetAnswer({name: list(what) for name, what in sorted(found.items())}, request.dry_run)

        if request.dry_run:
            return await work()
        entry = self._operations.begin("forget", meant, self._caller, work)
        return await self._operations.answer(entry, schema.ForgetAnswer)

    async def reloadconfig(self, request: schema.ReloadConfigRequest) -> schema.PlanAnswer:
        base = os.path.dirname(self._engine.config_path)
        if request.plan:
            if request.apply is not None:
                raise CircusError("bad-request", "`plan` and `apply` are two things", "give one of them")
            return plans.answer(await self._engine.plan(), base)

        async def work(entry: Entry) -> schema.PlanAnswer:
            done = await self._engine.reloadconfig(request.apply, on_begun=entry.begin)
            return plans.answer(done, base, is_applied=True)

        entry = self._operations.begin("reloadconfig", None, self._caller, work, request.tag)
        if request.wait:
            return await self._operations.answer(entry, schema.PlanAnswer)
        begun = await self._begun(entry)
        answer = schema.PlanAnswer(waited=False) if begun is None else plans.answer(begun, base, has_begun=True)
        return structs.replace(answer, operation=entry.id)

    async def quit(self, request: schema.Request) -> schema.DoneAnswer:
        return await self._done("quit", None, self._engine.quit, request=request)

    async def shutdown(self, request: schema.Request) -> schema.DoneAnswer:
        return await self._done("shutdown", None, self._engine.shutdown, request=request)

    async def upgrade(self, request: schema.UpgradeRequest) -> schema.UpgradeAnswer:
        return await self.upgrades.upgrade(request, self._caller)

    # Operations ---------------------------------------------------------------------------------------------

    async def operations(self) -> told.OperationsAnswer:
        return told.OperationsAnswer(self._operations.listed(self._caller))

    async def operation(self, id: str, wait_s: float) -> told.OperationAnswer:
        entry = self._operations.find(id, self._caller)
        await self._operations.wait(entry, wait_s)
        return self._operations.tell(entry, self._caller)

    def follow(self, id: str, last_id: str) -> AsyncIterator[bytes]:
        return self._operations.follow(self._operations.find(id, self._caller), self._caller, last_id)

    def _under_way(self, watcher: str) -> list[told.OperationAnswer]:
        listed = self._operations.listed(self._caller)
        return [each for each in listed if each.ended_at is None and watcher in (each.watchers or (watcher,))]

    # Below the doors --------------------------------------------------------------------------------------

    def _meant(self, request: schema.OrderRequest) -> tuple[str, ...] | None:
        if request.names is None:
            return None if self._caller.sees_all else tuple(self._names())
        with self._telling_removed(request.names):
            return names.match_watchers(self._names(), request.names, is_glob=request.match == "glob")

    def _among(self, request: schema.OrderRequest) -> frozenset[str] | None:
        """Of whom all are meant; not the same as each by its name, which would start also those that are to be down."""
        return frozenset(self._names()) if request.names is None and not self._caller.sees_all else None

    async def _order(
        self, what: str, meant: tuple[str, ...] | None, make: Callable[[int], events.Order], *, request: schema.Request
    ) -> schema.DoneAnswer:
        async def work(_entry: Entry) -> schema.DoneAnswer:
            return _done(_good(await self._engine.order(make)))

        entry = self._operations.begin(what, meant, self._caller, work, request.tag)
        return await self._told(entry, wait=request.wait)

    async def _done(
        self,
        what: str,
        meant: tuple[str, ...] | None,
        ending: Callable[[], Awaitable[None]],
        *,
        request: schema.Request,
    ) -> schema.DoneAnswer:
        async def work(_entry: Entry) -> schema.DoneAnswer:
            await ending()
            return schema.DoneAnswer()

        entry = self._operations.begin(what, meant, self._caller, work, request.tag)
        return await self._told(entry, wait=request.wait)

    async def _change(
        self,
        what: str,
        name: str,
        work: Callable[[Entry], Coroutine[Any, Any, schema.DoneAnswer]],
        *,
        request: schema.Request,
    ) -> schema.DoneAnswer:
        """What is refused before it has begun is refused also to whoever does not wait."""
        entry = self._operations.begin(what, (name,), self._caller, work, request.tag)
        if not request.wait:
            await self._begun(entry)
        return await self._told(entry, wait=request.wait)

    async def _told(self, entry: Entry, *, wait: bool) -> schema.DoneAnswer:
        if wait:
            return await self._operations.answer(entry, schema.DoneAnswer)
        return schema.DoneAnswer(waited=False, operation=entry.id)

    async def _begun(self, entry: Entry) -> Any:
        """What it was found to be; None, if that is not known in time.

        Raises: CircusError, when it is over already and has failed.
        """
        entry.is_awaited = True
        await asyncio.wait([entry.begun], timeout=DECIDED_S)
        if entry.error is not None and not entry.is_good:
            raise entry.error
        entry.is_awaited = False
        return entry.begun.result() if entry.begun.done() else None


def _good(finish: Finish) -> Finish:
    if not finish.ok:
        raise CircusError(
            "operation-failed",
            finish.error or "the operation failed",
            "`circusctl status -v` shows the state now, the log of circusd how it came to it",
        )
    return finish


def _done(finish: Finish) -> schema.DoneAnswer:
    detail = finish.detail
    return schema.DoneAnswer(
        op=finish.op,
        started=_ints(detail.get("started")),
        stopped=_ints(detail.get("stopped")),
        kept=_ints(detail.get("kept")),
        numprocesses=next(iter(_ints([detail.get("numprocesses")])), None),
        warnings=[str(each) for each in said] if isinstance(said := detail.get("warnings"), list) else [],
        joined=_texts(detail.get("joined")),
    )


def _signal_number(written: int | str) -> int:
    try:
        return parse_signal(str(written))
    except ValueError:
        hint = nearest.hint(str(written).upper().removeprefix("SIG"), SIGNALS, SIGNAL_FORMS)
        raise CircusError("bad-request", f"{str(written)[:40]!r} is no signal", hint) from None


def _texts(values: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _ints(values: object) -> list[int]:
    return [value for value in values if isinstance(value, int)] if isinstance(values, Iterable) else []
