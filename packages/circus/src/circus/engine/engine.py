"""The manager: one mailbox in which facts and orders meet, the cores that answer, the executor that acts.

Everything that happens is posted; one event at a time goes through the fleet, and its actions are carried out in
order. Output bytes never come this way. Orders get a number and are awaited by it. What people ordered by hand is
remembered here, where the order ended well.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from circus import clock, stats
from circus.bus import Bus, Event
from circus.config import load
from circus.config.diff import ConfigPlan, diff
from circus.config.model import CircusConfig, WatcherConfig
from circus.engine import faces, reconfigure, spawning, startup
from circus.engine.executor import Executor, send_signal
from circus.engine.memory import Memory
from circus.engine.names import Names
from circus.engine.sockets import SocketSet
from circus.engine.view import EngineView
from circus.errors import CircusError
from circus.hooks import HookSet
from circus.streams.pump import Pump
from circus.supervise import actions, events
from circus.supervise.fleet import Fleet
from circus.supervise.states import SlotKey, WatcherState
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

log = logging.getLogger("circus.engine")

#: At the end circusd waits this long for log files to take what was written; the kernel keeps the rest.
FLUSH_S = 10.0

NO_HOOKS = HookSet("", {})


class Engine:
    """What the control plane sees of circusd, and the house of all that it holds."""

    def __init__(self, config: CircusConfig, kernel: AsyncPapa, memory: Memory, *, environ: Mapping[str, str]) -> None:
        self.config = config
        self.kernel = kernel
        self.memory = memory
        self.bus = Bus()
        self.names = Names(config.name)
        self.name = config.name
        self.started_at = clock.wall()
        self.may_leave = asyncio.Event()
        self.fleet = Fleet([], warmup_delay_s=config.warmup_delay_s)
        self.pump = Pump(kernel, prefix=self.names.prefix, on_event=self._on_stream_event)
        self.sockets = SocketSet(kernel, self.names)
        self.executor = Executor(self)
        self.foreign: list[dict[str, Any]] = []
        self.troubles: dict[str, str] = {}  # what -> sentence, for status
        self._environ = dict(environ)
        self._working_dir = os.environ.get("PWD") or os.getcwd()
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._configs: dict[str, WatcherConfig] = {}
        self._hooks: dict[str, HookSet] = {}
        self._mailbox: deque[events.Event] = deque()
        self._drain_is_scheduled = False
        self._operations = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[actions.Finish]] = {}
        self._back = asyncio.Event()
        self._back.set()
        self._reloading = asyncio.Lock()
        self._reattaching: asyncio.Task[None] | None = None
        kernel.on_event = self.executor.on_kernel_event
        kernel.on_lost = self._on_kernel_lost
        kernel.on_back = self._on_kernel_back

    # Start and end ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the sockets, take over what runs, start what is missing. Returns when the first orders are given."""
        await startup.start(self)

    async def quit(self) -> None:
        """Leave what outlives circusd running, stop the rest, in reverse order of start."""
        await self.order(events.Quit)

    async def shutdown(self) -> None:
        """Stop everything, in reverse order of start."""
        await self.order(events.Shutdown)

    async def close(self) -> None:
        """Write and commit what was taken, give back what nobody needs, let go of the rest."""
        await self.pump.flush(FLUSH_S)
        await self.executor.settled(FLUSH_S)
        try:
            await startup.tidy(self)
        except PapaError as error:
            log.warning("the kernel could not be tidied up: %s", error)
        self.executor.close()
        await self.pump.close()
        await self.kernel.close()

    # The mailbox --------------------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        self._mailbox.append(event)
        if not self._drain_is_scheduled:
            self._drain_is_scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._drain_is_scheduled = False
        while self._mailbox:
            event = self._mailbox.popleft()
            try:
                for action in self.fleet.step(event, clock.monotonic()):
                    self.executor.carry_out(action)
            except Exception:
                log.exception("an event could not be dealt with event=%r", event)
                if (op := getattr(event, "op", None)) is not None:
                    self.finish(actions.Finish(op, ok=False, error="internal error; circusd's log has it"))

    async def order(self, make: Callable[[int], events.Order]) -> actions.Finish:
        """Give the order that ``make`` builds with its operation's number; wait for its end."""
        op = next(self._operations)
        order = make(op)
        future: asyncio.Future[actions.Finish] = asyncio.get_running_loop().create_future()
        self._waiting[op] = future
        self.post(order)
        try:
            finish = await asyncio.shield(future)
        finally:
            self._waiting.pop(op, None)
        if finish.ok:
            self._remember(order)
        return finish

    def give(self, make: Callable[[int], events.Order]) -> None:
        """As ``order``, without waiting."""
        self.post(make(next(self._operations)))

    def finish(self, finish: actions.Finish) -> None:
        future = self._waiting.get(finish.op)
        if future is not None and not future.done():
            future.set_result(finish)

    def _remember(self, order: events.Order) -> None:
        match order:
            case events.SetCount(_, name):
                watcher = self.fleet.watchers.get(self.find(name) or "")
                if watcher is not None:
                    in_file = self._configs[watcher.policy.name].numprocesses
                    self.memory.remember_count(watcher.policy.name, watcher.policy.numprocesses, in_file)
            case events.Stop(_, names):
                self.memory.remember_stopped(self._named(names), stopped=True)
            case events.Start(_, names) | events.Restart(_, names):
                self.memory.remember_stopped(self._named(names), stopped=False)

    def _named(self, names: tuple[str, ...] | None) -> set[str]:
        return set(self._configs if names is None else names) & set(self._configs)

    # What the rooms below ask -------------------------------------------------------------------------------

    def add_config(self, config: WatcherConfig) -> None:
        """Know a watcher: its hooks, its sinks. The fleet learns of it by an event of its own."""
        self._hooks[config.name] = HookSet(config.name, config.hooks)
        self._configs[config.name] = config
        self.pump.configure(config.name, {"out": config.stdout_stream, "err": config.stderr_stream})

    def forget_config(self, name: str) -> None:
        self._configs.pop(name, None)
        self._hooks.pop(name, None)

    def find(self, name: str) -> str | None:
        """The watcher's name as written, whatever the case of ``name``."""
        if name in self._configs:
            return name
        folded = name.lower()
        return next((known for known in self._configs if known.lower() == folded), None)

    def config_of(self, name: str) -> WatcherConfig:
        found = self.find(name)
        if found is None:
            raise CircusError("not-found", f"watcher {name!r} not found")
        return self._configs[found]

    def hooks_of(self, watcher: str) -> HookSet:
        return self._hooks.get(watcher, NO_HOOKS)

    def spawn_spec(self, slot: SlotKey, token: str) -> dict[str, Any]:
        return spawning.build_spec(
            self.config_of(slot.watcher),
            wid=slot.wid,
            token=token,
            config_path=self.config.path,
            names=self.names,
            sockets=self.sockets.kernel_names(),
            environ=self._environ,
            working_dir=self._working_dir,
            umask=self._umask if self.config.umask is None else self.config.umask,
        )

    async def run_hook(self, watcher: str, hook: str, **kwargs: object) -> bool:
        """Run it and say what became of it; its answer as a truth value."""
        ok, error = await self.hooks_of(watcher).call(
            hook, self._face(watcher), faces.ArbiterFace(self.name, self._face), **kwargs
        )
        if error is None:
            self.publish(watcher, "hook_success", {"name": hook})
        else:
            self.publish(watcher, "hook_failure", {"name": hook, "error": str(error)})
        return ok

    def _face(self, watcher: str) -> faces.WatcherFace:
        config = self.config_of(watcher)
        return faces.watcher_face(
            config,
            count=self.fleet.watchers[config.name].policy.numprocesses,
            hosted=self.executor.hosted.of_watcher(config.name),
            sockets=self.sockets.rows,
            arbiter=faces.ArbiterFace(self.name, self._face),
        )

    def publish(self, watcher: str, name: str, fields: Mapping[str, object]) -> None:
        self.bus.publish(Event(clock.wall(), watcher, name, dict(fields)))
        shown = " ".join(f"{key}={value}" for key, value in fields.items() if key != "time")
        level = logging.WARNING if name in ("fatal", "flapping", "hook_failure") else logging.INFO
        log.log(level, "%s %s%s", watcher, name, f" {shown}" if shown else "")

    def _on_stream_event(self, name: str, fields: dict[str, Any]) -> None:
        self.publish(str(fields.pop("watcher", "")), name, fields)

    # The kernel's connection --------------------------------------------------------------------------------

    async def kernel_is_back(self, timeout_s: float | None) -> None:
        """Wait until the kernel answers again and all processes are attached.

        Raises:
            CircusError: unavailable, after ``timeout_s``.
        """
        try:
            await asyncio.wait_for(self._back.wait(), timeout_s)
        except TimeoutError:
            raise CircusError("unavailable", f"papa has not answered for {timeout_s:g} s") from None

    def _on_kernel_lost(self) -> None:
        self._back.clear()
        self.troubles["kernel"] = "the connection to papa is lost; trying again"
        log.warning("connection to papa lost")

    def _on_kernel_back(self) -> None:
        if self._reattaching is not None:
            self._reattaching.cancel()
        self._reattaching = asyncio.get_running_loop().create_task(self._reattach())

    async def _reattach(self) -> None:
        try:
            await startup.reattach(self)
        except PapaError as error:
            log.warning("not all processes are attached again: %s", error)
            return
        self.troubles.pop("kernel", None)
        self._back.set()
        log.info("connection to papa is back pid=%s", self.kernel.hello.get("pid"))

    # What the control plane asks ----------------------------------------------------------------------------

    def snapshot(self) -> EngineView:
        warnings = [str(finding) for finding in self.config.warnings]
        if self.memory.trouble:
            warnings.append(self.memory.trouble)
        return EngineView(
            name=self.name,
            pid=os.getpid(),
            started_at=self.started_at,
            config=self.config.path,
            watchers=self.fleet.snapshot(),
            sockets=tuple(self.sockets.rows.values()),
            kernel=dict(self.kernel.hello),
            foreign=tuple(self.foreign),
            drift=self._drift(),
            warnings=(*warnings, *self.troubles.values()),
        )

    def _drift(self) -> dict[str, str]:
        old: dict[str, list[int]] = {}
        for process in self.executor.hosted:
            config = self._configs.get(process.slot.watcher)
            if config is not None and not process.has_exited and process.digest != config.digest:
                old.setdefault(config.name, []).append(process.pid)
        return {
            name: f"runs with options from before a change: pid {', '.join(map(str, pids))}"
            for name, pids in old.items()
        }

    def options(self, name: str) -> dict[str, object]:
        """The watcher's options under the names of the configuration; the count is the present one."""
        config = self.config_of(name)
        shown: dict[str, object] = dict(config.written)
        shown["numprocesses"] = self.fleet.watchers[config.name].policy.numprocesses
        return shown

    async def signal(
        self,
        name: str,
        signum: int,
        *,
        pid: int | None = None,
        children: bool = False,
        recursive: bool = False,
    ) -> int:
        """Send ``signum`` to the watcher's processes (or to the one with ``pid``); how many got it."""
        hosted = self.executor.hosted.of_watcher(self.config_of(name).name)
        if pid is not None:
            hosted = [process for process in hosted if process.pid == pid]
            if not hosted:
                raise CircusError("not-found", f"watcher {name!r} has no process {pid}")
        sent = 0
        for process in hosted:
            sent += await send_signal(process, signum, children=children, whole_tree=recursive)
        return sent

    async def stats(
        self, name: str | None = None, pid: int | None = None, extended: bool = False
    ) -> dict[str, dict[str, object]]:
        """watcher -> pid -> facts, for one watcher or all of them."""
        chosen = list(self._configs) if name is None else [self.config_of(name).name]
        found: dict[str, dict[str, object]] = {}
        for watcher in chosen:
            infos: dict[str, object] = {}
            for process in self.executor.hosted.of_watcher(watcher):
                if pid is not None and process.pid != pid:
                    continue
                info = await asyncio.to_thread(stats.read, process.pid)
                if isinstance(info, dict):
                    info.update(started=process.started_at, wid=process.slot.wid)
                    if extended and self.hooks_of(watcher).has("extended_stats"):
                        await self.run_hook(watcher, "extended_stats", pid=process.pid, stats=info)
                infos[str(process.pid)] = info
            found[watcher] = infos
        if pid is not None and not any(found.values()):
            raise CircusError("not-found", f"no watcher has a process {pid}")
        return found

    async def reloadconfig(self) -> ConfigPlan:
        """Read the file again and do what its changes need; a wrong file changes nothing.

        Raises:
            ConfigInvalid: with every problem of the file.
        """
        async with self._reloading:
            new = await asyncio.to_thread(load.load, self.config.path, self._environ)
            plan = diff(self.config, new)
            await reconfigure.apply(self, new, plan)
            return plan

    async def reload_all(self) -> None:
        """What SIGHUP means: every active watcher reloads its processes."""
        active = tuple(view.name for view in self.fleet.snapshot() if view.state is WatcherState.ACTIVE)
        await self.order(lambda op: events.Reload(op, active))
