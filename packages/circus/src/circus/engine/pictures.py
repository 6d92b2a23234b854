"""All that can be drawn as curves of circusd, its watchers and papa, at one moment.

The idea: papa is asked once, and one look at the machine, in a thread, does for all processes; whoever asks while a
picture is being taken gets that one. Nothing is kept up to date while nobody asks. What is made of a picture is the
doors' business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from circus import clock, procfs
from circus.engine.tallies import Histogram, Reason
from circus.streams import lag
from circus.streams.render import STREAMS
from circus.supervise.states import SlotKey, WatcherView
from circus.supervise.usage import Process, Tree, ticks_between, trees_of
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

#: A papa that does not answer in this time does not answer; whoever collects waits for 10 s as a rule.
PAPA_S = 2.0

#: A look at the machine takes milliseconds.
CLOSE_S = 5.0

CIRCUSD, WARDEN, PAPA, HOLDER = "circusd", "warden", "papa", "papa-holder"


@dataclass(frozen=True, slots=True)
class Use:
    """Of the process in a slot, with all below it; ``descriptors`` of it alone, None where nobody may know."""

    cpu_s: float
    memory_bytes: int
    processes: int
    descriptors: int | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One of our own processes; switches are those of its main thread, which has the loop."""

    cpu_s: float
    memory_bytes: int
    started_at: float
    threads: int
    slept: int  # times that it had nothing to do, and was woken
    preempted: int
    descriptors: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What the machine says."""

    uses: Mapping[SlotKey, Use]
    layers: Mapping[str, Layer]
    lags: Mapping[tuple[str, str], lag.Lag]


@dataclass(frozen=True, slots=True)
class Picture:
    """``idle`` watchers may have less processes than they are configured for: jobs, and who waits for demand."""

    started_at: float  # wall clock, of circusd
    watchers: tuple[WatcherView, ...] = ()
    idle: frozenset[str] = frozenset()
    lives: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    exits: Mapping[str, Mapping[Reason, int]] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    survivors: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    notifiers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    # watcher -> stdout, stderr -> bytes, gaps, dropped, sink_errors
    output: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    lags: Mapping[tuple[str, str], lag.Lag] = field(default_factory=dict)  # by watcher and stdout, stderr
    uses: Mapping[SlotKey, Use] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    papa: Mapping[str, Any] | None = None  # its status; None: it does not answer
    papa_s: float | None = None  # how long it took to answer
    loop_lag_s: float = 0.0  # that something which was ready waited for the loop
    mailbox: int = 0
    waits: Histogram | None = None
    warnings: int = 0
    replaced: int = 0  # circusd, by its warden or by itself
    took_s: float = 0.0


class Pictures:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[Picture] | None = None
        self._looking: asyncio.Task[tuple[Look, float]] | None = None
        # Of each life in a slot: its tree when it was last looked at, and what it has used in all.
        self._seen: dict[Process, tuple[Tree, int]] = {}

    async def take(self) -> Picture:
        """Raises: OSError, as when no descriptor is left."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._take())
            self._task.add_done_callback(self._on_taken)
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        """Nobody is answered any more. The thread has looked to its end: it reads files that are closed then."""
        if self._task is not None:
            self._task.cancel()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=CLOSE_S)

    def _on_taken(self, task: asyncio.Task[Picture]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # whoever asked has it; perhaps nobody waits any more

    async def _take(self) -> Picture:
        engine, began = self._engine, clock.monotonic()
        mailbox, tallies = engine.mailbox_depth, engine.tallies
        papa, papa_s = await self._ask_papa()
        look, lag_s = await self._look(None if papa is None else papa.get("holder"))
        jobs = {name: shown for name in engine.configs if (shown := engine.jobs.shown(name)) is not None}
        waiting = {name for name, config in engine.configs.items() if config.on_demand}
        view = engine.snapshot()
        return Picture(
            started_at=engine.started_at,
            watchers=view.watchers,
            idle=frozenset(waiting | jobs.keys()),
            lives={name: dict(wids) for name, wids in tallies.lives.items()},
            exits={name: dict(reasons) for name, reasons in tallies.exits.items()},
            events={name: dict(names) for name, names in tallies.events.items()},
            survivors={name: len(left) for name, left in view.survivors.items()},
            jobs=jobs,
            notifiers=engine.notifiers(),
            output=engine.pump.tallied(),
            lags={(watcher, STREAMS[stream]): each for (watcher, stream), each in look.lags.items()},
            uses=look.uses,
            layers=look.layers,
            papa=papa,
            papa_s=papa_s,
            loop_lag_s=lag_s,
            mailbox=mailbox,
            waits=tallies.waits.copy(),
            warnings=len(view.warnings),
            replaced=view.warden.replaced,
            took_s=clock.monotonic() - began,
        )

    async def _look(self, holder: int | None) -> tuple[Look, float]:
        """And for how long the loop let the answer wait."""
        engine, rows = self._engine, (await self._engine.figures.look()).rows
        lives = {each.slot: (each.pid, each.start_ticks) for each in engine.lives.hosted if not each.has_exited}
        ours = {CIRCUSD: os.getpid(), PAPA: int(engine.kernel.hello["pid"])}
        if holder is not None:
            ours[HOLDER] = holder
        if engine.warden.pid:
            ours[WARDEN] = engine.warden.pid
        positions = engine.pump.positions()
        self._looking = asyncio.get_running_loop().create_task(
            asyncio.to_thread(self._look_at, rows, lives, ours, positions.of)
        )
        self._looking.add_done_callback(lambda _task: positions.let_go())
        look, done = await asyncio.shield(self._looking)  # nobody takes the files from under the thread
        return look, max(0.0, clock.monotonic() - done)

    def _look_at(
        self,
        rows: Mapping[int, procfs.Row],
        lives: Mapping[SlotKey, Process],
        ours: Mapping[str, int],
        positions: list[lag.Position],
    ) -> tuple[Look, float]:
        """In a thread, one at a time; with the moment at which it was done."""
        booted_at = procfs.boot_time()
        trees = dict(zip(lives, trees_of(lives.values(), rows), strict=True))
        uses = {slot: self._use(lives[slot], tree) for slot, tree in trees.items() if tree is not None}
        living = set(lives.values())
        self._seen = {life: seen for life, seen in self._seen.items() if life in living}
        layers = {name: layer for name, pid in ours.items() if (layer := _layer(rows.get(pid), booted_at)) is not None}
        return Look(uses, layers, lag.measure(positions)), clock.monotonic()

    def _use(self, life: Process, tree: Tree) -> Use:
        before, ticks = self._seen.get(life, (None, 0))
        ticks = sum(map(sum, tree.ticks.values())) if before is None else ticks + ticks_between(before, tree)
        self._seen[life] = tree, ticks
        return Use(ticks / procfs.TICKS_S, tree.memory, len(tree.ticks), procfs.descriptors(life[0]))

    async def _ask_papa(self) -> tuple[Mapping[str, Any] | None, float | None]:
        kernel, began = self._engine.kernel, clock.monotonic()
        try:
            await kernel.request("ping", timeout_s=PAPA_S)
            answered_s = clock.monotonic() - began
            return (await kernel.request("status", timeout_s=PAPA_S)).ok, answered_s
        except PapaError:
            return None, None


def _layer(row: procfs.Row | None, booted_at: float) -> Layer | None:
    if row is None or (status := procfs.status(row.pid)) is None:
        return None
    return Layer(
        cpu_s=row.cpu_ticks / procfs.TICKS_S,
        memory_bytes=row.resident_bytes,
        started_at=booted_at + row.start_ticks / procfs.TICKS_S,
        threads=_number(status, b"Threads"),
        slept=_number(status, b"voluntary_ctxt_switches"),
        preempted=_number(status, b"nonvoluntary_ctxt_switches"),
        descriptors=procfs.descriptors(row.pid),
    )


def _number(status: Mapping[bytes, bytes], key: bytes) -> int:
    return int(status.get(key, b"0"))
