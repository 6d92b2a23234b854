"""Carries out what the cores decide: spawns, signals, timers, hooks; and brings back what became of it as facts.

Nothing is decided here. Each action that takes time is a task of its own, so that one watcher's slow hook or spawn
delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, assert_never

from circus.engine import leftovers
from circus.engine.lives import send_signal
from circus.engine.tasks import Tasks
from circus.errors import CircusError
from circus.supervise import actions, events

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


class Executor:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._timers: dict[events.TimerKey, asyncio.TimerHandle] = {}
        self._tasks = Tasks()
        self._is_held = False

    async def hold(self, timeout_s: float) -> None:
        """From now on nothing is started; what has begun is waited for, at most ``timeout_s``."""
        self._is_held = True
        await self._tasks.settled(timeout_s)

    def carry_out(self, action: actions.Action) -> None:
        match action:
            case actions.Spawn():
                if self._is_held:
                    return  # the successor finds that it is missing
                self._tasks.begin(self._spawn(action))
            case actions.Signal():
                self._tasks.begin(self._signal(action))
            case actions.EndRest(slot, incarnation, signum, kill_mode):
                self._engine.trees.end_rest(slot, incarnation, signum, kill_mode)
            case actions.LeaveRest(slot, incarnation):
                self._engine.trees.leave_rest(slot, incarnation)
            case actions.StartTimer(key, delay_s, spread_s):
                loop = asyncio.get_running_loop()
                self._timers[key] = loop.call_later(delay_s + random.uniform(0, spread_s), self._on_timer, key)
            case actions.CancelTimer(key):
                if handle := self._timers.pop(key, None):
                    handle.cancel()
            case actions.AwaitDemand(watcher, is_wanted):
                self._await_demand(watcher, is_wanted=is_wanted)
            case actions.RunOver(watcher, reason):
                self._engine.jobs.on_over(watcher, reason)
            case actions.RunHook():
                self._tasks.begin(self._run_hook(action))
            case actions.Probe(slot, incarnation, what):
                self._engine.probing.begin(slot, incarnation, what)
            case actions.Publish(watcher, event, fields):
                if not self._engine.inherited.is_told(action):
                    self._engine.publish(watcher, event, fields)
            case actions.ReloadFailed():
                self._engine.rolls.on_failed(action)
            case actions.Finish():
                self._engine.finish(action)
            case actions.Joined(_, watcher, verb, why):
                self._engine.publish(watcher, "joined", {"verb": verb, "reason": why})
            case actions.EssentialEnded(watcher, status):
                self._engine.on_essential_ended(watcher, status)
            case actions.Leave():
                self._engine.may_leave.set()
            case _:
                assert_never(action)

    def left_s(self, key: events.TimerKey) -> float | None:
        """Seconds until this timer fires; None: there is none."""
        handle = self._timers.get(key)
        return None if handle is None else max(0.0, handle.when() - asyncio.get_running_loop().time())

    def close(self) -> None:
        """Nothing more is begun or answered."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        self._tasks.cancel()

    def _await_demand(self, watcher: str, *, is_wanted: bool) -> None:
        self._engine.jobs.on_wait(watcher, is_wanted=is_wanted)
        if not is_wanted:
            self._engine.demand.forget(watcher)
        elif watcher not in self._engine.jobs:
            self._engine.demand.watch(watcher)

    def _on_timer(self, key: events.TimerKey) -> None:
        self._timers.pop(key, None)
        self._engine.post(events.TimerFired(key))

    async def _spawn(self, action: actions.Spawn) -> None:
        slot, watcher = action.slot, action.slot.watcher
        lives = self._engine.lives
        await lives.spawn(slot, action.incarnation, awaits_hook=action.awaits_hook, is_former=action.is_former)
        if watcher not in self._engine.fleet.watchers:
            # It was removed meanwhile, and not stopped.
            await leftovers.let_go(self._engine, watcher)

    async def _signal(self, action: actions.Signal) -> None:
        engine, watcher = self._engine, action.slot.watcher
        hosted = engine.lives.hosted.in_slot(action.slot, action.incarnation)
        if hosted is None:
            return
        hosted.is_being_ended = hosted.is_being_ended or not action.is_plain
        answers = {"pid": hosted.pid, "signum": action.signum}
        if not (action.is_plain or action.is_kill) and not await engine.run_hook(watcher, "before_signal", **answers):
            log.info("%s pid=%d: the hook before_signal refused signal %d", action.slot, hosted.pid, action.signum)
        else:
            try:
                if action.is_plain or action.kill_mode == "process":
                    await send_signal(hosted, action.signum, whole_tree=action.is_kill, children=action.children)
                else:
                    await engine.trees.signal(hosted, action)
            except CircusError as error:
                log.warning("%s", error.message)
        if not action.is_plain:
            await engine.run_hook(watcher, "after_signal", **answers)

    async def _run_hook(self, action: actions.RunHook) -> None:
        if action.slot is not None and action.incarnation is not None:
            await self._engine.lives.ask_after_spawn(action.slot, action.incarnation)
            return
        if action.hook == "after_stop":
            await self._engine.lives.reap_hooks_asked(action.watcher)
        ok = await self._engine.run_hook(action.watcher, action.hook)
        if action.is_awaited:
            self._engine.post(events.HookAnswered(action.watcher, action.hook, ok))
