"""The operations of circusd: the only way in, for every door.

A method per command. It finds out which watchers are meant, refuses what makes no sense, puts the order to
the engine and turns the end of the operation into an answer. Whoever calls it has been let in already; how
requests and answers travel is the doors' business.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, Self

from msgspec import structs

import circus
from circus.config import amend
from circus.config.values import parse_signal
from circus.control import masking, names, plans, schema, scrapes
from circus.control.audit import Trail
from circus.control.auditing import Auditing
from circus.control.caller import OWNER, Caller
from circus.control.events import Feed
from circus.control.face import EngineFace
from circus.control.lookups import Lookups
from circus.control.queries import check_pid
from circus.control.requests import Requests
from circus.control.scrapes import Page
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.actions import Finish

log = logging.getLogger("circus.control")

SIGNAL_FORMS = "use a number (15), a name (TERM, SIGTERM) or a real-time signal (RTMIN+1)"

#: Operations begun with wait false that have not ended; each is a task and a place in the engine's mailbox.
MAX_UNAWAITED = 1_000
#: Whether an order is good is known in milliseconds, unless a reloadconfig is under way, which may take minutes.
DECIDED_S = 2.0


class Ops(Lookups):
    """Orders are here, queries in their own room."""

    def __init__(self, engine: EngineFace, trail: Trail | None = None) -> None:
        super().__init__(engine, OWNER, trail or Trail())
        self.auditing = Auditing(self._trail, engine.started_at)
        self._feed = Feed(engine.bus, engine.started_at)
        self.requests = Requests()
        self._unawaited: set[asyncio.Task[None]] = set()

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
            unawaited=len(self._unawaited),
            audit_written=self._trail.written,
            audit_dropped=self._trail.dropped,
            audit_waiting=self._trail.waiting,
        )
        return await scrapes.scrape(self._engine, self._caller, doors, accept)

    def close(self) -> None:
        """Whoever listens is given what there is and let go; nobody else is waited for here."""
        self._feed.close()
        self._close_lookups()

    async def start(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant = self._meant(request)
        return await self._order(lambda op: events.Start(op, meant), wait=request.wait)

    async def stop(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant = self._meant(request)
        return await self._order(lambda op: events.Stop(op, meant), wait=request.wait)

    async def restart(self, request: schema.OrderRequest) -> schema.DoneAnswer:
        meant = self._meant(request)
        return await self._order(lambda op: events.Restart(op, meant), wait=request.wait)

    async def reload(self, request: schema.ReloadRequest) -> schema.DoneAnswer:
        meant = self._meant(request)
        graceful, sequential = request.graceful, request.sequential
        return await self._order(
            lambda op: events.Reload(op, meant, graceful=graceful, sequential=sequential), wait=request.wait
        )

    async def count(self, name: str, request: schema.CountRequest) -> schema.DoneAnswer:
        watcher = self._find(name)
        count, delta = request.count, request.delta
        if (count is None) == (delta is None):
            raise CircusError("bad-request", "a change of the count needs either `count` or `delta`", "give one")
        if delta is not None and watcher.numprocesses + delta > schema.MAX_COUNT:
            raise CircusError("limit", f"{watcher.name}: a watcher has at most {schema.MAX_COUNT} processes")
        answer = await self._order(
            lambda op: events.SetCount(op, watcher.name, count=count, delta=delta or 0), wait=request.wait
        )
        wished = watcher.numprocesses + (delta or 0) if count is None else count
        if watcher.singleton and wished > 1:
            warning = f"{watcher.name} is a singleton: it has at most one process"
            return structs.replace(answer, warnings=[*answer.warnings, warning])
        return answer

    async def run(self, name: str, request: schema.Request) -> schema.RunAnswer:
        watcher = self._find(name)
        return schema.RunAnswer(watcher.name, await self._engine.run(watcher.name, wait=request.wait))

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
        return await self._order(lambda op: events.Kill(op, watcher.name, pid, signum, grace_s), wait=request.wait)

    async def add(self, name: str, request: schema.AddRequest) -> schema.DoneAnswer:
        if not self._caller.sees(name):
            raise CircusError(
                "forbidden", f"{name}: a watcher of this name may not be added", "use a name that you may steer"
            )
        given = {key: text for key, text in (("cmd", request.cmd), ("args", request.args)) if text}
        texts = amend.texts_of({**request.options, **given})
        masking.check_unmasked(texts)
        amend.check_keys(name, texts)
        add = functools.partial(self._engine.add_watcher, name, texts, start=request.start)
        if not request.wait:
            await self._begin_good("add", add)
            return schema.DoneAnswer(waited=False)
        finish, warnings = await add(on_begun=_unheard)
        answer = schema.DoneAnswer() if finish is None else _done(_good(finish))
        return structs.replace(answer, warnings=[*warnings, *answer.warnings])

    async def remove(self, name: str, request: schema.RemoveRequest) -> schema.DoneAnswer:
        return await self._end(
            "rm", self._engine.remove_watcher(self._find(name).name, nostop=request.nostop), wait=request.wait
        )

    async def set_options(self, name: str, request: schema.SetRequest) -> schema.DoneAnswer:
        watcher = self._find(name)
        texts = amend.texts_of(request.options)
        masking.check_unmasked(texts)
        amend.check_keys(watcher.name, texts)
        set_options = functools.partial(self._engine.set_options, watcher.name, texts)
        if not request.wait:
            await self._begin_good("set", set_options)
            return schema.DoneAnswer(waited=False)
        return schema.DoneAnswer(warnings=await set_options(on_begun=_unheard))

    async def forget(self, request: schema.ForgetRequest) -> schema.ForgetAnswer:
        meant = None
        if request.names is not None:
            known = self._seen(self._engine.known())
            meant = names.match_watchers(known, request.names, is_glob=request.match == "glob")
        elif not self._caller.sees_all:
            meant = tuple(self._seen(self._engine.known()))
        told = await self._engine.forget(meant, is_dry=request.dry_run)
        return schema.ForgetAnswer({name: list(what) for name, what in sorted(told.items())}, request.dry_run)

    async def reloadconfig(self, request: schema.ReloadConfigRequest) -> schema.PlanAnswer:
        base = os.path.dirname(self._engine.config_path)
        if request.plan:
            if request.apply is not None:
                raise CircusError("bad-request", "`plan` and `apply` are two things", "give one of them")
            return plans.answer(await self._engine.plan(), base)
        reload = functools.partial(self._engine.reloadconfig, request.apply)
        if request.wait:
            return plans.answer(await reload(on_begun=_unheard), base, is_applied=True)
        begun = await self._begin_good("reloadconfig", reload)
        return schema.PlanAnswer(waited=False) if begun is None else plans.answer(begun, base, has_begun=True)

    async def quit(self, request: schema.Request) -> schema.DoneAnswer:
        return await self._end("quit", self._engine.quit(), wait=request.wait)

    async def shutdown(self, request: schema.Request) -> schema.DoneAnswer:
        return await self._end("shutdown", self._engine.shutdown(), wait=request.wait)

    # Below the doors --------------------------------------------------------------------------------------

    def _meant(self, request: schema.OrderRequest) -> tuple[str, ...] | None:
        if request.names is None:
            return None if self._caller.sees_all else tuple(self._names())
        with self._telling_removed(request.names):
            return names.match_watchers(self._names(), request.names, is_glob=request.match == "glob")

    async def _order(self, make: Callable[[int], events.Order], *, wait: bool) -> schema.DoneAnswer:
        if not wait:
            self._begin("order", self._finished(make))
            return schema.DoneAnswer(waited=False)
        return _done(await self._finished(make))

    async def _finished(self, make: Callable[[int], events.Order]) -> Finish:
        return _good(await self._engine.order(make))

    async def _end(self, what: str, ending: Coroutine[Any, Any, None], *, wait: bool) -> schema.DoneAnswer:
        if wait:
            await ending
        else:
            self._begin(what, ending)
        return schema.DoneAnswer(waited=wait)

    async def _begin_good(self, what: str, operate: Callable[..., Coroutine[Any, Any, object]]) -> Any:
        """As _begin; but what is refused before it has begun is refused to whoever has ordered it.

        What is told when it has begun; None, if it has not in time.
        """
        decided: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def decide(told: object = None) -> None:
            if not decided.done():
                decided.set_result(told)

        async def work() -> None:
            try:
                await operate(on_begun=decide)
            except CircusError as error:
                if decided.done():
                    raise
                decided.set_exception(error)

        self._begin(what, work())
        await asyncio.wait([decided], timeout=DECIDED_S)
        decide()
        return decided.result()

    def _begin(self, what: str, operation: Coroutine[Any, Any, object]) -> None:
        """Run ``operation`` without anybody waiting; its failure can only be logged."""
        if len(self._unawaited) >= MAX_UNAWAITED:
            operation.close()
            raise CircusError(
                "limit", f"{MAX_UNAWAITED} operations are under way already", "wait until they have ended"
            )

        async def run() -> None:
            try:
                await operation
            except CircusError as error:
                log.warning("%s failed code=%s: %s", what, error.code, error.message)

        task = asyncio.get_running_loop().create_task(run())
        self._unawaited.add(task)
        task.add_done_callback(self._unawaited.discard)


def _unheard(_told: object = None) -> None:
    """Who waits for the end need not hear of the beginning."""


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
        warnings=[str(each) for each in told] if isinstance(told := detail.get("warnings"), list) else [],
        joined=_texts(detail.get("joined")),
    )


def _signal_number(written: int | str) -> int:
    try:
        return parse_signal(str(written))
    except ValueError:
        raise CircusError("bad-request", f"{str(written)[:40]!r} is no signal", SIGNAL_FORMS) from None


def _texts(values: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _ints(values: object) -> list[int]:
    return [value for value in values if isinstance(value, int)] if isinstance(values, Iterable) else []
