"""An arbiter's life: it comes up on a loop, stays until somebody ends it, and goes; other threads find it there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from circus import hooks, serving
from circus.config.model import CircusConfig
from circus.control.claim import Claim
from circus.embedding.outcome import Outcome
from circus.engine import memory
from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.legacy.exc import CallError
from circus.supervise import events

log = logging.getLogger("circus")

T = TypeVar("T")

Callback = Callable[..., object]


class Premises(NamedTuple):
    """What it begins with. ``keeps`` is the directory of its state, ``read`` finds out anew what is configured."""

    config: CircusConfig
    claim: Claim
    keeps: Path
    read: Callable[[], CircusConfig]


class Life:
    """``prepare`` claims a name and finds out what is configured; it is called once, and may block."""

    def __init__(self, prepare: Callable[[], Premises], on_gone: Callable[[], None]) -> None:
        self._prepare = prepare
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._was_begun = self._is_unwanted = False
        self._thread = 0
        self._end: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.circusd: serving.Serving | None = None
        self.path = ""  # of its control socket
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.up = threading.Event()
        self.gone = threading.Event()

    def begin_once(self) -> None:
        """Raises: CircusError usage."""
        with self._lock:
            if self._was_begun:
                raise CircusError("usage", "an arbiter is started once", "make another one by get_arbiter")
            self._was_begun = True

    def stop(self) -> Outcome[None]:
        with self._lock:
            self._is_unwanted = True
            if not self._was_begun:
                self._was_begun = True
                self._let_go()
            is_up = self._end is not None
        if is_up:
            with contextlib.suppress(CallError):  # it has ended by itself meanwhile
                self.outcome(self.engine.quit())
        return Outcome(self._ended, self.loop, self._thread)

    # Up and down --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Raises: CircusError, PapaError."""
        with self._lock:
            self.loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        circusd: serving.Serving | None = None
        claim: Claim | None = None
        try:
            premises = await asyncio.to_thread(self._prepare)
            config, claim = premises.config, premises.claim
            for finding in config.warnings:
                log.warning("%s", finding)
            hooks.check(config.watchers)
            kernel = await serving.connect(config)
            circusd = serving.Serving(config, claim, kernel, memory.Memory(premises.keeps))
            circusd.engine.read = premises.read
            await circusd.start()
        except BaseException:
            await self._give_up(circusd, claim)
            raise
        self.circusd, self.path = circusd, claim.path
        log.info("circus %s runs, watchers=%d control=%s", config.name, len(config.watchers), claim.path)
        with self._lock:
            self._end = asyncio.create_task(self._stay(circusd, claim))
        self.up.set()
        if self._is_unwanted:
            self.outcome(circusd.engine.quit())

    async def _give_up(self, circusd: serving.Serving | None, claim: Claim | None) -> None:
        """What was started by then is ended: nobody is told of it."""
        try:
            if circusd is not None and circusd.engine.is_started:
                await circusd.engine.quit()
        except Exception:
            log.exception("what was started could not be ended")
        await self._close(circusd, claim)

    async def ended(self) -> None:
        assert self._end is not None
        await asyncio.shield(self._end)

    async def started(self, cb: Callback | None) -> None:
        """Wait until what starts by itself has been started, whatever has become of it; then call."""
        engine = self.engine
        names = tuple(
            each.name
            for each in engine.config.watchers
            if each.autostart and not each.on_demand and each.schedule is None
        )
        await engine.order(partial(events.Start, names=names, resumes=True), is_by_hand=False)
        if cb is None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        try:
            answer = cb(future) if _takes_one(cb) else cb()
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            log.exception("the callback of the arbiter's start failed")

    async def _stay(self, circusd: serving.Serving, claim: Claim) -> None:
        """Until it may leave, by whomever that was ordered."""
        try:
            await circusd.engine.may_leave.wait()
        finally:
            await self._close(circusd, claim)

    async def _close(self, circusd: serving.Serving | None, claim: Claim | None) -> None:
        try:
            if circusd is not None:
                await circusd.close()
        finally:
            if claim is not None:
                claim.release()
            self._let_go()

    def _let_go(self) -> None:
        self.gone.set()
        self._on_gone()
        self._ended.set_result(None)

    # From whatever thread -----------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """Raises: CallError, when it does not run."""
        return self.running.engine

    @property
    def running(self) -> serving.Serving:
        """Raises: CallError, when it does not run."""
        if self.circusd is None or self.gone.is_set():
            self.check_not_coming()
            raise CallError("the arbiter does not run")
        return self.circusd

    def check_not_coming(self) -> None:
        """Raises: CallError, when it has read what the program gave, and takes no orders yet."""
        if self._was_begun and not self.up.is_set() and not self.gone.is_set():
            raise CallError("the arbiter is starting, and takes no orders yet: try again when `start` has called back")

    def look(self, at: Callable[[], T]) -> T:
        """What ``at`` returns on the loop."""
        if self.circusd is None or self.gone.is_set() or self.is_here:
            return at()

        async def read() -> T:
            return at()

        return self.outcome(read()).result()

    def outcome(self, work: Coroutine[Any, Any, T]) -> Outcome[T]:
        """Of ``work`` on the loop. Raises: CallError, when there is none."""
        if self.loop is None or self.gone.is_set():
            work.close()
            raise CallError("the arbiter does not run")
        return Outcome.of(work, self.loop, self._thread)

    @property
    def is_here(self) -> bool:
        """This is the thread of its loop."""
        return threading.get_ident() == self._thread


def _takes_one(cb: Callback) -> bool:
    try:
        inspect.signature(cb).bind(None)
    except (TypeError, ValueError):
        return False
    return True
