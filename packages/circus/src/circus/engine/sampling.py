"""Looks at what limited watchers use, and lets follow what the rules say (supervise/limits).

The idea: one look at all processes of the machine is enough for all slots that are due, and watchers of the same
interval are due at the same moments. It is taken in a thread. Where nothing is limited there is no timer and no look.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from circus import clock, procfs
from circus.config.model import LimitsPolicy
from circus.supervise import events
from circus.supervise.limits import Limits, Use, Verdict
from circus.supervise.slot import Slot
from circus.supervise.states import SlotKey, SlotState, WatcherView
from circus.supervise.usage import Process, Tree, ticks_between, trees_of

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


#: A loop may wake so much too early; that moment is not due once more.
_EARLY_S = 0.001


class _Life(NamedTuple):
    slot: SlotKey
    incarnation: int


class _Seen(NamedTuple):
    at: float
    tree: Tree


class Sampler:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limits = Limits()
        self._policies: dict[str, LimitsPolicy] = {}
        self._before: dict[_Life, _Seen] = {}
        self._task: asyncio.Task[None] | None = None

    def limit(self, watcher: str, policy: LimitsPolicy | None) -> None:
        """From now on this counts for the watcher; None: nothing is limited, or there is no such watcher."""
        if policy is not None and not policy.is_looked_at:
            policy = None
        if policy == self._policies.get(watcher):
            return
        if policy is None:
            del self._policies[watcher]
        else:
            self._policies[watcher] = policy
        self.close()
        if self._policies:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def tell(self, watchers: Collection[WatcherView]) -> tuple[WatcherView, ...]:
        """With the excesses of those slots about which there is nothing else to say."""
        return tuple(self._tell(each) if each.name in self._policies else each for each in watchers)

    def _tell(self, watcher: WatcherView) -> WatcherView:
        slots = []
        for slot in watcher.slots:
            if slot.state is SlotState.RUNNING and not slot.reason:
                excesses = self._limits.excesses(SlotKey(watcher.name, slot.wid), slot.incarnation)
                slot = replace(slot, reason=", ".join(map(str, excesses)))
            slots.append(slot)
        return replace(watcher, slots=tuple(slots))

    # Looking ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        first = 0.0
        while True:
            now = max(clock.monotonic(), first + _EARLY_S)
            due = {name: _next(policy.interval_s, now) for name, policy in self._policies.items()}
            first = min(due.values())
            await asyncio.sleep(first - clock.monotonic())
            try:
                await self._look([name for name, at in due.items() if at == first])
            except Exception:
                log.exception("what watchers use could not be looked at")

    async def _look(self, names: Collection[str]) -> None:
        lives = self._lives(names)
        if not lives or self._engine.fleet.is_ending:
            return
        at, trees = await asyncio.to_thread(_trees, lives)
        for name in names:
            if name in self._policies:
                self._judge(name, at, {life: tree for life, tree in trees.items() if life.slot.watcher == name})
        kept = self._lives(self._policies)
        self._before = {life: seen for life, seen in self._before.items() if life in kept}
        self._limits.keep({life.slot for life in kept}, self._policies)

    def _lives(self, names: Collection[str]) -> dict[_Life, Process]:
        """Of those that run now."""
        found = {}
        for name in names:
            for wid, slot in self._slots(name).items():
                hosted = self._engine.lives.hosted.in_slot(SlotKey(name, wid), slot.incarnation)
                if slot.state is SlotState.RUNNING and hosted is not None:
                    found[_Life(slot.key, slot.incarnation)] = hosted.pid, hosted.start_ticks
        return found

    def _slots(self, name: str) -> Mapping[int, Slot]:
        """None where a stop is under way: nothing of ours must come in between."""
        watcher = self._engine.fleet.watchers.get(name)
        return watcher.slots if watcher is not None and watcher.wants_up else {}

    def _judge(self, name: str, at: float, trees: Mapping[_Life, Tree]) -> None:
        slots = self._slots(name)
        for life, tree in trees.items():
            slot = slots.get(life.slot.wid)
            if slot is None or slot.incarnation != life.incarnation or slot.state is not SlotState.RUNNING:
                continue
            before = self._before.get(life)
            cpu = None
            if before is not None and at > before.at:
                cpu = ticks_between(before.tree, tree) / procfs.TICKS_S / (at - before.at) * 100
            self._before[life] = _Seen(at, tree)
            use = Use(life.incarnation, at - slot.up_since, tree.memory, cpu)
            for verdict in self._limits.look(life.slot, use, self._policies[name], at):
                self._carry_out(life, verdict)

    def _carry_out(self, life: _Life, verdict: Verdict) -> None:
        engine, excess = self._engine, verdict.excess
        hosted = engine.lives.hosted.in_slot(*life)
        told = {"what": excess.what, "value": round(excess.value), "bound": excess.bound}
        about = {"wid": life.slot.wid, "pid": hosted.pid if hosted is not None else None, **told}
        if not verdict.action:
            engine.publish(life.slot.watcher, "limit_cleared", about)
            return
        more = {"for_s": round(excess.for_s, 1), "action": verdict.action, "reason": str(excess)}
        engine.publish(life.slot.watcher, "limit", about | more)
        if verdict.action == "reload":
            engine.give(lambda op: events.Reload(op, (life.slot.watcher,)))
        elif verdict.action == "restart":
            if hosted is not None:
                hosted.why = str(excess)
            engine.post(events.Exceeded(life.slot, life.incarnation, str(excess)))


def _next(interval_s: float, now: float) -> float:
    """The same moment for all who have this interval."""
    return (math.floor(now / interval_s) + 1) * interval_s


def _trees(lives: Mapping[_Life, Process]) -> tuple[float, dict[_Life, Tree]]:
    """What lives of them, at that moment (monotonic). Blocking: called in a worker thread."""
    at = clock.monotonic()
    found = trees_of(lives.values(), procfs.rows())
    return at, {life: tree for life, tree in zip(lives, found, strict=True) if tree is not None}
