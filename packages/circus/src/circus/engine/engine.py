"""The manager: one mailbox in which facts and orders meet, the cores that answer, the executor that acts.

Everything that happens is posted; one event at a time goes through the fleet, and its actions are carried out in
order. Output bytes never come this way. Orders get a number and are awaited by it. What people ordered by hand counts,
whatever becomes of it: it is on the disk before the answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any

from circus import clock, procfs
from circus.bus import SERIOUS, Bus, Event
from circus.config import expand, load
from circus.config.amend import Edits
from circus.config.model import CircusConfig, WatcherConfig
from circus.config.plan import Plan
from circus.engine import (
    byhand,
    faces,
    figures,
    forgetting,
    leaving,
    planning,
    reconfigure,
    shown,
    signals,
    spawning,
    startup,
    tracking,
    whys,
)
from circus.engine.annals import Annals
from circus.engine.changing import Changes
from circus.engine.demand import Demand
from circus.engine.executor import Executor
from circus.engine.history import History
from circus.engine.jobs import Jobs
from circus.engine.keeper import Keeper
from circus.engine.link import Link
from circus.engine.lives import Lives
from circus.engine.memory import Memory
from circus.engine.names import Names
from circus.engine.notices import Notices
from circus.engine.pictures import Picture, Pictures
from circus.engine.probing import Probing
from circus.engine.proofs import Proofs
from circus.engine.remembering import Remembering
from circus.engine.rolls import Rolls
from circus.engine.runbook import Runbook
from circus.engine.sampling import Sampler
from circus.engine.sockets import SocketSet
from circus.engine.tallies import Tallies
from circus.engine.tasks import Tasks
from circus.engine.telling import Telling
from circus.engine.trees import Trees
from circus.engine.view import EngineView, Warden
from circus.errors import CircusError
from circus.hooks import HookSet
from circus.logbook.writing import Laid
from circus.streams.ledger import LogsPlace
from circus.streams.pump import Pump
from circus.supervise import actions, events
from circus.supervise.fleet import Fleet
from circus.supervise.progress import Standing
from circus.supervise.states import SlotKey, WatcherPolicy, WatcherState, WatcherView
from papa.client.aio import AsyncPapa

log = logging.getLogger("circus.engine")

NO_HOOKS = HookSet("", {})

#: What a hook says of its failure goes into an event, and a ring of those is kept.
MAX_ERROR = 1000


class Engine:
    """What the control plane sees of circusd, and the house of all that it holds."""

    def __init__(self, config: CircusConfig, kernel: AsyncPapa, memory: Memory, *, environ: Mapping[str, str]) -> None:
        self.config = config
        self.read: Callable[[], CircusConfig] = lambda: load.load(
            self.config.path, self.environ
        )  # anew, beside the loop
        self.kernel = kernel
        self.memory = memory
        memory.use(config.path)
        book = Runbook(memory.path.parent)
        self.annals = Annals(memory.path.parent)
        self.keeper = Keeper(memory, History(memory.path.parent), book, self.annals)
        self.jobs = Jobs(self, book)
        self.remembering = Remembering(self)
        self.proofs = Proofs(self)
        self.bus = Bus()
        self.names = Names(config.name)
        self.name = config.name
        self.config_path = config.path
        self.state_directory = str(memory.path.parent)
        self.started_at = clock.wall()
        self.may_leave = asyncio.Event()
        self.fleet = Fleet([], warmup_delay_s=config.warmup_delay_s)
        self.pump = Pump(
            kernel,
            prefix=self.names.prefix,
            on_event=self._on_stream_event,
            place=LogsPlace(self.state_directory, config.store_size, config.store_age_s),
        )
        self.sockets = SocketSet(kernel, self.names, config.path)
        self.troubles: dict[str, str] = {}  # what -> sentence, for status
        self.lives = Lives(self)
        self.trees = Trees(self)
        self.demand = Demand(self)
        self.rolls = Rolls(self)
        self.sampler = Sampler(self)
        self.figures = figures.Figures(self)
        self.executor = Executor(self)
        self.notices = Notices(self)
        self.probing = Probing(self)
        self.telling = Telling(self)
        self.link = Link(kernel, lambda: startup.reattach(self))
        self.inherited = startup.Inherited()  # from a predecessor in this process
        self.is_started = False  # all that runs is held
        self.is_outlived = True  # by the kernel; in a container nothing outlives circusd
        self.warden = Warden()
        self.status: int | None = None  # of the container, when something essential has ended it
        self.configs: dict[str, WatcherConfig] = {}
        self.tallies = Tallies(self.configs)
        self.bus.subscribe(self.tallies.published)
        self.pictures = Pictures(self)
        self.foreign: list[dict[str, Any]] = []
        self.unheeded: dict[str, str] = {}  # watchers about which something was ordered that is not possible now
        self._started_with = config
        self.environ = dict(environ)
        self.working_dir = spawning.working_dir(environ)
        self._umask = procfs.own_umask()
        self._hooks: dict[str, HookSet] = {}
        self._mailbox: deque[events.Event] = deque()
        self._drain_is_scheduled = False
        self._posted = 0.0  # when it was
        self._operations = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[actions.Finish]] = {}
        self._by_hand: dict[int, tracking.Track | None] = {}  # operations that people wait for
        self._tasks = Tasks()
        self.changes = Changes(self)  # of the configuration, on their way
        self.plans = planning.Plans()
        self._followers: list[Callable[[], None]] = []
        self._context = contextvars.copy_context()  # of nobody's order
        kernel.on_event = self.lives.on_kernel_event

    # Start and end ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the sockets, take over what runs, start what is missing. Returns when the first orders are given."""
        await startup.start(self)

    async def quit(self) -> None:
        """Leave what outlives circusd running, stop the rest, in reverse order of start."""
        await leaving.end(self, events.Quit if self.is_outlived else events.Shutdown)

    async def shutdown(self) -> None:
        """Stop everything, in reverse order of start."""
        await leaving.end(self, events.Shutdown)

    async def prepare_to_hand_over(self) -> None:
        await leaving.prepare(self)

    async def hand_over(self) -> startup.Inherited:
        """Let go of everything for a successor, when all is prepared."""
        self._tasks.cancel()
        return await leaving.hand_over(self)

    async def close(self) -> None:
        """Write and commit what was taken, give back what nobody needs, let go of the rest."""
        self._tasks.cancel()
        self.proofs.close()
        await leaving.close(self)

    def on_essential_ended(self, watcher: str, status: int | None) -> None:
        """A container that has lost what it is for ends; elsewhere the others go on."""
        if self.is_outlived or self.status is not None:
            return
        self.status = 1 if status is None else 128 - status if status < 0 else status
        log.error("%s was essential and has ended: so does everything, with status %d", watcher, self.status)
        self.begin(self.quit())

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that nobody waits for."""
        self._tasks.begin(work)

    # The mailbox --------------------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        self._mailbox.append(event)
        if not self._drain_is_scheduled:
            self._drain_is_scheduled, self._posted = True, clock.monotonic()
            asyncio.get_running_loop().call_soon(self.drain, context=self._context)

    def drain(self) -> None:
        """Deal with all that was posted."""
        self._drain_is_scheduled = False
        self.tallies.waits.note(clock.monotonic() - self._posted)
        while self._mailbox:
            event = self._mailbox.popleft()
            try:
                caused = self.fleet.step(event, clock.monotonic())
                for action in caused:
                    self.executor.carry_out(action)
                self.remembering.touch(event, caused)
                if (op := getattr(event, "op", None)) in self._by_hand:
                    self.remembering.note_order(event, caused, self._by_hand[op])
            except Exception:
                log.exception("an event could not be dealt with event=%r", event)
                if (op := getattr(event, "op", None)) is not None:
                    self.finish(actions.Finish(op, ok=False, error="internal error; circusd's log has it"))
        self.remembering.note_standings()
        self.trees.wake()
        for follower in tuple(self._followers):
            follower()

    async def order(self, make: Callable[[int], events.Order], *, is_by_hand: bool = True) -> actions.Finish:
        """Give the order that ``make`` builds with its operation's number; wait for its end.

        What was ordered ``by_hand`` is remembered, unless it is refused.
        """
        op = next(self._operations)
        future: asyncio.Future[actions.Finish] = asyncio.get_running_loop().create_future()
        self._waiting[op] = future
        if is_by_hand:
            self._by_hand[op] = tracking.current()
        order, survivors = make(op), self.trees.mark()
        self.post(order)
        tracking.begin(op, order, future)
        try:
            finish = await self.rolls.told(await asyncio.shield(future))
            if is_by_hand:
                await self.keeper.kept()
            return await self.trees.with_survivors(finish, order, survivors)
        finally:
            self._waiting.pop(op, None)
            self._by_hand.pop(op, None)

    def standings(self, ops: Collection[int]) -> list[Standing]:
        return self.fleet.standings(ops)

    def follow(self, follower: Callable[[], None]) -> Callable[[], None]:
        """Call it whenever the cores may have moved; returns what ends that."""
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def give(self, make: Callable[[int], events.Order]) -> None:
        """As ``order``, without waiting."""
        self.post(make(next(self._operations)))

    def finish(self, finish: actions.Finish) -> None:
        future = self._waiting.get(finish.op)
        if future is not None and not future.done():
            future.set_result(finish)

    # What the rooms below ask -------------------------------------------------------------------------------

    def add_config(self, config: WatcherConfig, hooks: HookSet | None = None) -> None:
        """Know a watcher: its hooks, its sinks. The fleet learns of it by an event of its own.

        Raises:
            CircusError: config-invalid, when a hook cannot be found.
        """
        self._hooks[config.name] = hooks or HookSet.of(config)
        self.configs[config.name] = config
        self.sampler.limit(config.name, config.limits)
        streams = {"out": config.stdout_stream, "err": config.stderr_stream}
        self.pump.configure(config.name, streams, config.numprocesses)
        self.jobs.configure(config)

    def forget_config(self, name: str) -> None:
        self.configs.pop(name, None)
        self.sampler.limit(name, None)
        self._hooks.pop(name, None)
        self.pump.forget_watcher(name)
        self.jobs.forget(name)
        self.tallies.forget(name)

    def find(self, name: str) -> str | None:
        """The watcher's name as written, whatever the case of ``name``."""
        if name in self.configs:
            return name
        folded = name.lower()
        return next((known for known in self.configs if known.lower() == folded), None)

    def config_of(self, name: str) -> WatcherConfig:
        found = self.find(name)
        if found is None:
            raise CircusError("not-found", f"watcher {name!r} not found")
        return self.configs[found]

    def hooks_of(self, watcher: str) -> HookSet:
        return self._hooks.get(watcher, NO_HOOKS)

    def spawn_spec(self, slot: SlotKey, token: str, config: WatcherConfig) -> dict[str, Any]:
        spec = spawning.build_spec(
            config,
            wid=slot.wid,
            token=token,
            run=self.jobs.stamp(config.name),
            config_path=self.config.path,
            names=self.names,
            sockets=self.sockets.configs.values(),
            environ=self.environ,
            working_dir=self.working_dir,
            umask=self.umask,
        )
        return self.probing.tell(config, spec)

    @property
    def umask(self) -> int:
        return self._umask if self.config.umask is None else self.config.umask

    def way_to_stop(self, watcher: str) -> tuple[int, float]:
        """Signal and grace in seconds."""
        known = self.fleet.watchers.get(watcher)
        policy = known.policy if known is not None else WatcherPolicy(watcher)
        return policy.stop_signal, policy.graceful_timeout_s

    async def run_hook(self, watcher: str, hook: str, is_former: bool = False, /, **kwargs: object) -> bool:
        """Run it and say what became of it; its answer as a truth value. One that is not there agrees."""
        hooks = self.rolls.hooks_of(watcher, is_former=is_former)
        if not hooks.has(hook) or watcher not in self.fleet.watchers:
            return True
        arbiter = faces.ArbiterFace(self.name, self.face)
        ok, error = await hooks.call(hook, self.face(watcher), arbiter, **kwargs)
        if error is None:
            self.publish(watcher, "hook_success", {"name": hook})
        else:
            self.publish(watcher, "hook_failure", {"name": hook, "error": str(error)[:MAX_ERROR]})
        return ok

    def face(self, watcher: str) -> faces.WatcherFace:
        config = self.config_of(watcher)
        return faces.watcher_face(
            config,
            env=expand.child_environment(config, self.environ),
            count=self.fleet.watchers[config.name].policy.numprocesses,
            hosted=self.lives.hosted.of_watcher(config.name),
            sockets=self.sockets.rows,
            arbiter=faces.ArbiterFace(self.name, self.face),
        )

    def publish(self, watcher: str, name: str, fields: Mapping[str, object]) -> None:
        self.bus.publish(Event(clock.wall(), watcher, name, dict(fields)))
        told = " ".join(f"{key}={value}" for key, value in fields.items() if key != "time").replace("\n", " ")
        level = logging.WARNING if name in SERIOUS else logging.INFO
        log.log(level, "%s %s%s", watcher, name, f" {told}" if told else "")

    def _on_stream_event(self, name: str, fields: dict[str, Any]) -> None:
        self.publish(str(fields.pop("watcher", "")), name, fields)

    # What the control plane asks ----------------------------------------------------------------------------

    def snapshot(self) -> EngineView:
        return shown.view(self, reconfigure.needing_restart(self._started_with, self.config))

    def watcher_names(self) -> list[str]:
        """Of all watchers that there are."""
        return list(self.fleet.watchers)

    def watcher_view(self, name: str) -> WatcherView:
        """One of them, as in `snapshot`, without a look at all others."""
        return self.sampler.tell((self.fleet.watchers[name].view(),))[0]

    def output(self) -> dict[str, dict[str, dict[str, float]]]:
        """Of each watcher's streams: what was written and lost, and what papa keeps."""
        return self.pump.counters()

    async def picture(self) -> Picture:
        return await self.pictures.take()

    @property
    def mailbox_depth(self) -> int:
        return len(self._mailbox)

    def hear_output(self, hear: Callable[[Laid], None] | None) -> None:
        """From now on it is told what is written to log files; None: nobody is."""
        self.pump.hear(hear)

    @property
    def edits(self) -> Edits:
        """What was ordered by hand about the configuration, and is in force."""
        return self.memory.edits(self.config.path)

    def options(self, name: str) -> dict[str, object]:
        return shown.options_of(self, name)

    def global_options(self) -> dict[str, object]:
        return shown.global_options(self.config)

    async def daemon_stats(self) -> dict[str, dict[str, object] | str]:
        return await figures.of_daemons(os.getpid(), self.kernel.hello["pid"])

    async def signal(
        self,
        name: str,
        signum: int,
        *,
        pid: int | None = None,
        childpid: int | None = None,
        children: bool = False,
        recursive: bool = False,
    ) -> int:
        return await signals.send(
            self, name, signum, pid=pid, childpid=childpid, children=children, recursive=recursive
        )

    async def stats(
        self, name: str | None = None, pid: int | None = None, extended: bool = False
    ) -> dict[str, dict[str, object]]:
        """watcher -> pid -> facts, for one watcher or all of them."""
        chosen = list(self.configs) if name is None else [self.config_of(name).name]
        found = await figures.of_watchers(self, chosen, pid, extended=extended)
        if pid is not None and not any(found.values()):
            raise CircusError("not-found", f"no watcher has a process {pid}")
        return found

    async def set_options(
        self, name: str, texts: Mapping[str, str], *, on_begun: Callable[[], None] = lambda: None
    ) -> list[str]:
        warnings = await byhand.set_options(self, name, texts, on_begun)
        await self.keeper.kept()
        return warnings

    async def add_watcher(
        self, name: str, texts: Mapping[str, str], *, start: bool, on_begun: Callable[[], None] = lambda: None
    ) -> tuple[actions.Finish | None, list[str]]:
        added = await byhand.add_watcher(self, name, texts, on_begun, start=start)
        await self.keeper.kept()
        return added

    async def remove_watcher(self, name: str, *, nostop: bool) -> None:
        await byhand.remove_watcher(self, name, nostop=nostop)
        await self.keeper.kept()

    async def exits(self, name: str) -> list[dict[str, object]]:
        return await shown.exits(self, name)

    async def why(self, name: str) -> dict[str, Any]:
        return await whys.why(self, name)

    async def run(self, name: str, *, wait: bool) -> dict[str, object]:
        return await self.jobs.run(name, wait=wait)

    def runs(self, name: str) -> list[dict[str, object]]:
        return self.jobs.runs(name)

    def notifiers(self) -> Mapping[str, Mapping[str, object]]:
        return self.telling.shown()

    async def test_notifier(self, name: str) -> tuple[str, float]:
        return await self.telling.test(name)

    def known(self) -> list[str]:
        return forgetting.known(self)

    async def forget(self, names: Iterable[str] | None, *, is_dry: bool) -> dict[str, list[str]]:
        told = await forgetting.forget(self, names, is_dry=is_dry)
        await self.keeper.kept()
        return told

    async def plan(self) -> Plan:
        """What `reloadconfig` would do now."""
        return await planning.plan(self)

    async def reloadconfig(
        self, expected: str | None = None, /, *, on_begun: Callable[[Plan], None] = lambda _plan: None
    ) -> Plan:
        return await byhand.reloadconfig(self, expected, on_begun)

    async def reload_all(self) -> None:
        """What SIGHUP means: every active watcher reloads its processes."""
        active = tuple(view.name for view in self.fleet.snapshot() if view.state is WatcherState.ACTIVE)
        await self.order(lambda op: events.Reload(op, active))
