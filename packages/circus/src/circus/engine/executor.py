"""Carries out what the cores decide: spawns, signals, timers, hooks; and brings back what became of it as facts.

Nothing is decided here. Each action that takes time is a task of its own, so that one watcher's slow hook or spawn
delays no other; what the kernel reports about a process before its spawn was answered is kept until then.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, assert_never

from circus import clock, stats
from circus.engine.hosted import Hosted, HostedTable
from circus.errors import CircusError
from circus.streams.pump import Attached
from circus.supervise import actions, events
from circus.supervise.states import SlotKey
from papa.client.output import StreamFiles
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: Exits of processes whose spawn was not answered yet; more than a burst of spawns can cause.
MAX_EARLY = 10_000

#: While the kernel is restarting, a spawn waits for it this long before it counts as failed.
KERNEL_RETURN_S = 30.0


class Executor:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hosted = HostedTable()
        self._timers: dict[events.TimerKey, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._early: dict[int, dict[str, Any]] = {}
        self._spawning = 0
        self._tokens = itertools.count(1)
        self._token_base = f"{os.getpid()}-{os.urandom(6).hex()}"

    # Actions ------------------------------------------------------------------------------------------------

    def carry_out(self, action: actions.Action) -> None:
        match action:
            case actions.Spawn():
                self._spawning += 1
                self._begin(self._spawn(action))
            case actions.Signal():
                self._begin(self._signal(action))
            case actions.StartTimer(key, delay_s):
                loop = asyncio.get_running_loop()
                self._timers[key] = loop.call_later(delay_s, self._on_timer, key)
            case actions.CancelTimer(key):
                if handle := self._timers.pop(key, None):
                    handle.cancel()
            case actions.RunHook():
                self._begin(self._run_hook(action))
            case actions.Publish(watcher, event, fields):
                self._engine.publish(watcher, event, fields)
            case actions.Finish():
                self._engine.finish(action)
            case actions.Leave():
                self._engine.may_leave.set()
            case _:
                assert_never(action)

    async def settled(self, timeout_s: float) -> None:
        """What ended is acknowledged, as far as its output is where it belongs; at most ``timeout_s``."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=timeout_s)

    def close(self) -> None:
        """Let go of everything that only this circusd needs; the processes go on."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        for hosted in self.hosted:
            self.hosted.remove(hosted)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _begin_settling(self, hosted: Hosted, *, reap_hooks: bool) -> None:
        task = self._begin(self._settle(hosted, reap_hooks=reap_hooks))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the engine failed", exc_info=error)

    def _on_timer(self, key: events.TimerKey) -> None:
        self._timers.pop(key, None)
        self._engine.post(events.TimerFired(key))

    # Spawn --------------------------------------------------------------------------------------------------

    async def _spawn(self, action: actions.Spawn) -> None:
        try:
            await self._spawn_one(action.slot, action.incarnation)
        finally:
            self._spawning -= 1
            self._deliver_early()

    async def _spawn_one(self, slot: SlotKey, incarnation: int) -> None:
        engine = self._engine
        hooks = engine.hooks_of(slot.watcher)
        if hooks.has("before_spawn") and not await engine.run_hook(slot.watcher, "before_spawn"):
            engine.post(events.HookAnswered(slot.watcher, "before_spawn", False, slot, incarnation))
            return
        token = f"{self._token_base}-{next(self._tokens)}"
        try:
            row, fds = await self._spawn_in_kernel(engine.spawn_spec(slot, token), token)
        except (CircusError, PapaError) as error:
            engine.post(events.SpawnFailed(slot, incarnation, str(error)))
            return
        await self.take_over(slot, incarnation, row, fds)
        engine.post(events.Spawned(slot, incarnation, row["id"], row["pid"], row["started_at"]))
        self._deliver_early()
        if hooks.has("after_spawn"):
            ok = await engine.run_hook(slot.watcher, "after_spawn", pid=row["pid"])
            engine.post(events.HookAnswered(slot.watcher, "after_spawn", ok, slot, incarnation))

    async def _spawn_in_kernel(self, spec: dict[str, Any], token: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Row and descriptors of the new process, also when the connection broke between request and reply."""
        engine = self._engine
        while True:
            try:
                reply = await engine.kernel.spawn(**spec)
            except PapaError as error:
                if error.code != "lost":
                    raise
            else:
                if reply.ok.get("existing"):
                    reply.close_fds()
                    raise CircusError(
                        "conflict",
                        f"a process named {spec['name']} runs in papa already (pid {reply.ok['pid']})",
                        "it belongs to another configuration: see `circusctl status -v`",
                    )
                return reply.ok, reply.fds
            await engine.kernel_is_back(KERNEL_RETURN_S)
            for row in await engine.kernel.list("processes", spec["name"]):
                if row["meta"].get("token") == token:
                    again = await engine.kernel.attach(row["id"], owner=spec["owner"], fds=True)
                    return again.ok, again.fds

    async def take_over(
        self, slot: SlotKey, incarnation: int, row: dict[str, Any], fds: dict[str, int], *, has_exited: bool = False
    ) -> Hosted:
        """Hold what the kernel gave for the process in ``row``, and let its output flow.

        ``has_exited``: it ended while no circusd was there, and no core knows of it.
        """
        hosted = Hosted(
            slot=slot,
            incarnation=incarnation,
            kernel_id=row["id"],
            pid=row["pid"],
            pidfd=fds.pop("pid", None),
            start_ticks=row["start_ticks"],
            started_at=row["started_at"],
            digest=row["meta"].get("digest", ""),
            has_exited=has_exited,
        )
        self.hosted.add(hosted)
        await self._engine.pump.add(attached(slot, row, fds))
        return hosted

    async def resume(self, hosted: Hosted, row: dict[str, Any], fds: dict[str, int]) -> None:
        """The kernel was away and is back: the same process, new descriptors, and perhaps its end."""
        hosted.close()
        hosted.pidfd = fds.pop("pid", None)
        await self._engine.pump.reattach(attached(hosted.slot, row, fds))
        if row["exit"] is not None:
            heads = {name: stream["head"] for name, stream in row["streams"].items()}
            if hosted.has_exited:
                self._engine.pump.on_exit(hosted.kernel_id, heads)
            else:
                self.on_exit(hosted, row["exit"]["status"], heads)

    # Facts from the kernel ----------------------------------------------------------------------------------

    def on_kernel_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "output":
            self._engine.pump.on_output(data["items"])
        elif kind == "eof":
            self._engine.pump.on_eof(data["id"], data["stream"], data["head"])
        elif kind == "exit":
            if (hosted := self.hosted.by_id(data["id"])) is not None:
                self.on_exit(hosted, data["status"], data["heads"])
            elif self._spawning and len(self._early) < MAX_EARLY:
                self._early[data["id"]] = data

    def _deliver_early(self) -> None:
        """Exits of processes whose spawn has been answered since."""
        for kernel_id in [each for each in self._early if self.hosted.by_id(each) is not None]:
            self.on_kernel_event("exit", self._early.pop(kernel_id))
        if not self._spawning:
            self._early.clear()

    def on_exit(self, hosted: Hosted, status: int | None, heads: dict[str, int]) -> None:
        """The process has ended: tell the core at once, and settle with the kernel when its output is safe."""
        if hosted.has_exited:
            return
        hosted.has_exited, hosted.exit_status = True, status
        self._engine.pump.on_exit(hosted.kernel_id, heads)
        self._engine.post(events.Exited(hosted.slot, hosted.incarnation, status))
        self._begin_settling(hosted, reap_hooks=True)

    def settle_ended(self, hosted: Hosted) -> None:
        """As on_exit, for a process that ended without a circusd: no core waits for it."""
        self._begin_settling(hosted, reap_hooks=False)

    async def _settle(self, hosted: Hosted, *, reap_hooks: bool) -> None:
        engine, watcher = self._engine, hosted.slot.watcher
        hooks = engine.hooks_of(watcher) if reap_hooks else None
        at = clock.wall()
        if hooks and hooks.has("before_reap"):
            await engine.run_hook(watcher, "before_reap", process_pid=hosted.pid, time=at)
        await engine.pump.drained(hosted.kernel_id)
        while True:
            try:
                await engine.kernel.commit(exits=[hosted.kernel_id])
            except PapaError as error:
                if error.code == "lost":
                    await engine.kernel_is_back(None)
                    continue
                if error.code != "not-found":
                    log.warning("%s pid=%d: exit not acknowledged: %s", hosted.slot, hosted.pid, error)
            break
        self.hosted.remove(hosted)
        if hooks and hooks.has("after_reap"):
            await engine.run_hook(
                watcher,
                "after_reap",
                process_pid=hosted.pid,
                time=at,
                exit_code=hosted.exit_status,
                process_status=1,
            )

    def on_vanished(self, hosted: Hosted) -> None:
        """The kernel does not know the process any more: it was lost together with an earlier kernel."""
        if not hosted.has_exited:
            hosted.has_exited = True
            self._engine.post(events.Exited(hosted.slot, hosted.incarnation, None))
        self.hosted.remove(hosted)

    # Signals and hooks --------------------------------------------------------------------------------------

    async def _signal(self, action: actions.Signal) -> None:
        hosted = self.hosted.in_slot(action.slot, action.incarnation)
        if hosted is None:
            return
        engine, watcher = self._engine, action.slot.watcher
        hooks = engine.hooks_of(watcher)
        answers = {"pid": hosted.pid, "signum": action.signum}
        asks_hooks = not action.is_plain
        vetoed = (
            asks_hooks
            and not action.is_kill
            and hooks.has("before_signal")
            and not await engine.run_hook(watcher, "before_signal", **answers)
        )
        if not vetoed:
            await send_signal(hosted, action.signum, whole_tree=action.is_kill, children=action.children)
        if asks_hooks and hooks.has("after_signal"):
            await engine.run_hook(watcher, "after_signal", **answers)

    async def _run_hook(self, action: actions.RunHook) -> None:
        kwargs: dict[str, object] = {}
        if action.slot is not None and action.incarnation is not None:
            hosted = self.hosted.in_slot(action.slot, action.incarnation)
            kwargs["pid"] = hosted.pid if hosted is not None else None
        hooks = self._engine.hooks_of(action.watcher)
        ok = not hooks.has(action.hook) or await self._engine.run_hook(action.watcher, action.hook, **kwargs)
        if action.is_awaited:
            self._engine.post(
                events.HookAnswered(action.watcher, action.hook, ok, action.slot, action.incarnation)
            )


async def send_signal(hosted: Hosted, signum: int, *, children: bool = False, whole_tree: bool = False) -> bool:
    """Signal the process, and those below it where asked; they are looked up before it can leave them behind."""
    below = []
    if whole_tree:
        below = await asyncio.to_thread(stats.descendants, hosted.pid)
    elif children:
        below = await asyncio.to_thread(stats.children, hosted.pid)
    sent = hosted.send_signal(signum)
    for process in below:
        stats.signal_process(process, signum)
    return sent


def attached(slot: SlotKey, row: dict[str, Any], fds: dict[str, int]) -> Attached:
    return Attached(
        kernel_id=row["id"],
        watcher=slot.watcher,
        wid=slot.wid,
        pid=row["pid"],
        files=StreamFiles(fds),
        acked={name: stream["acked"] for name, stream in row["streams"].items()},
        ended=frozenset(name for name, stream in row["streams"].items() if not stream["open"]),
    )


def describe_status(status: int | None) -> str:
    """``status=3``, ``signal=KILL``, ``status=unknown``."""
    if status is None:
        return "status=unknown"
    if status >= 0:
        return f"status={status}"
    try:
        return f"signal={signal.Signals(-status).name.removeprefix('SIG')}"
    except ValueError:
        return f"signal={-status}"
