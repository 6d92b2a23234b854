"""All watchers together: the order in which they start and stop, operations over several, and the end of it all.

This is the only door of the cores: one event goes in, the actions that it causes come out, in order.

**Operations.** Each order becomes an operation with its stages; a stage gives its order to some watchers at once
and is left when all of them have passed. Start and reload have one stage for each watcher, priority high to low,
then by name; a start waits for the watcher's own sequence with its warm-ups, and for the fleet's warm-up delay if
anything was started. Neighbours of one priority that have nothing to wait for, neither a warm-up nor a hook nor a
check, are asked for together, and so in that order. Stop has one stage for all watchers of a priority, in reverse
order; a watcher whose processes survive SIGKILL holds up nobody. Restart of several is a stop of all, then a start
of all. An operation is finished, once, when its last stage is left and every watcher has come to the end of what it
was told.

**Bound watchers**, those that depend on others or are depended on, are in no stage: an order reaches all of them at
once, with those that it takes along, and they wait for each other by themselves (dependencies).

**Overlap.** An order acts at once on every watcher that its stage has reached, whatever other operations do.
What an earlier operation has still before it is overruled where it contradicts: a later stop takes the
watcher out of the stages of starts, a later start out of the stages of stops. Of a watcher that is being removed a
stop or another removal is the same end, and a kill hastens it; one that is to be added under its name waits until it is
gone, with the orders behind it; all else is refused for it, and begins at once for the others that are named.

**No names.** Start and Restart without names mean the watchers with autostart and those that are wanted up;
Reload those that are wanted up; Stop all.

**The end.** Quit and Shutdown freeze every watcher (nothing new begins) and stop them; but Quit leaves alone
those that outlive it, except that it waits for spawns and stops under way. When nothing has to end any more,
their operations are finished, and the manager may leave. Other orders that come after them are told so.

Does not belong here: how operations begin (leading), what a single watcher does with its order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import assert_never

from msgspec.structs import replace

from circus.supervise.actions import Action, CancelTimer, Finish, Leave, Publish
from circus.supervise.events import (
    AddWatcher,
    ChangeWatcher,
    Demanded,
    Event,
    Fact,
    HookAnswered,
    Kill,
    Order,
    Quit,
    Recalled,
    Reload,
    RemoveWatcher,
    Restart,
    RunDue,
    SetCount,
    Shutdown,
    Start,
    Stop,
    TimerFired,
)
from circus.supervise.leading import Leading, names_of
from circus.supervise.operation import Operation, Stage
from circus.supervise.progress import Standing, standings
from circus.supervise.ring import LEAVING
from circus.supervise.states import SlotView, WatcherPolicy, WatcherView
from circus.supervise.tickets import Verb
from circus.supervise.watcher import REMOVED, Watcher

BEING_REMOVED = "is being removed by an earlier order"

__all__ = ["Fleet", "SlotView", "Watcher", "WatcherView"]


class Fleet(Leading):
    """``warmup_delay_s`` is the pause after each watcher that starts."""

    def __init__(self, policies: Sequence[WatcherPolicy], *, warmup_delay_s: float = 0.0) -> None:
        super().__init__(warmup_delay_s)
        self._late_hooks: set[tuple[str, str]] = set()  # that forgotten watchers have left running
        self._base = 0
        self._is_ending = False
        self._has_left = False
        for policy in policies:
            self._add(policy)
        self._dependencies.bind(policies)

    @property
    def is_ending(self) -> bool:
        return self._is_ending

    @property
    def is_settled(self) -> bool:
        """Every order has come to its end."""
        return not self._operations

    @property
    def watchers(self) -> Mapping[str, Watcher]:
        return self._watchers

    def snapshot(self) -> tuple[WatcherView, ...]:
        """In order of start."""
        return tuple(watcher.view() for watcher in self._in_order(self._watchers.values()))

    def standings(self, ops: Collection[int]) -> list[Standing]:
        """How far those of these operations are that have not been finished."""
        return [row for each in self._operations if each.op in ops for row in standings(each, self._watchers)]

    def step(self, event: Event, now: float) -> list[Action]:
        """What ``event`` causes. ``now`` is monotonic."""
        if isinstance(event, Fact):
            self._take_fact(event, now)
        else:
            self._take_order(event, now)
        self._advance(now)
        actions = self._actions[:]
        self._actions.clear()  # in place: the watchers hold its append
        return actions

    # Facts --------------------------------------------------------------------------------------------------

    def _take_fact(self, fact: Fact, now: float) -> None:
        match fact:
            case TimerFired(key) if not key.watcher:
                for operation in self._operations:
                    if operation.warmup == key:
                        operation.warmup = None
                return
            case TimerFired(key):
                name = key.watcher
            case HookAnswered() | Demanded() | RunDue() | Recalled():
                name = fact.watcher
            case _:
                name = fact.slot.watcher
        if (watcher := self._watchers.get(name)) is not None:
            watcher.take(fact, now)
        elif isinstance(fact, HookAnswered):
            self._late_hooks.discard((name, fact.hook))

    # Orders -------------------------------------------------------------------------------------------------

    def _take_order(self, order: Order, now: float) -> None:
        if self._has_left or (self._is_ending and not isinstance(order, Quit | Shutdown)):
            self._refuse(order, LEAVING)
            return
        if isinstance(order, Quit | Shutdown):
            self._end(order, now)
            return
        names = names_in(order)
        if self._removing and not isinstance(order, Kill) and self._meets_removal(order, names or (), now):
            return
        if isinstance(order, AddWatcher):
            self._take_add(order, now)
            return
        for name in names or ():
            if name not in self._watchers:
                self._refuse(order, f"watcher {name!r} not found")
                return
        match order:
            case Start(op, resumes=resumes, among=among):
                chosen = [each for each in self._chosen(names, among) if names is not None or not each.is_done]
                self._begin_start(op, chosen, now, resumes=resumes)
            case Stop(op, alone=alone):
                stopping = self._watchers if names is None else names
                chosen = [self._watchers[name] for name in dict.fromkeys(stopping)]
                self._begin_stop(op, chosen, now, alone=alone)
            case Restart(op, alone=alone, among=among):
                self._begin_restart(op, self._chosen(names, among), now, alone=alone)
            case Reload(op, graceful=graceful, sequential=sequential, among=among):
                chosen = self._chosen(names, among, is_reload=True)
                if graceful:
                    stages = [Stage(Verb.RELOAD, [watcher.name], sequential) for watcher in chosen]
                    self._begin(op, Verb.RELOAD, stages)
                else:
                    self._begin_restart(op, chosen, now)
            case SetCount(op, name, count, delta):
                self._hold(op, name, self._watchers[name].set_count(now, count=count, delta=delta))
            case Kill(op, name, pid, signum, grace_s):
                self._hold(op, name, self._watchers[name].kill(now, pid=pid, signum=signum, grace_s=grace_s))
            case RemoveWatcher():
                self._take_remove(order)
            case ChangeWatcher(op, policy, restart, graceful, keys):
                self._take_change(op, policy, now, must_restart=restart, is_graceful=graceful, keys=keys)
            case _:
                assert_never(order)

    def _meets_removal(self, order: Order, names: tuple[str, ...], now: float) -> bool:
        """Whether it is dealt with: an order that names who is being removed."""
        leaving = [name for name in names if name in self._removing]
        if not leaving:
            return False
        if names == (leaving[0],) and (isinstance(order, AddWatcher) or any(map(_is_add, self._removing[leaving[0]]))):
            self._removing[leaving[0]].append(order)
            return True
        if isinstance(order, RemoveWatcher) and not order.nostop:
            self._hold(order.op, order.name, self._watchers[order.name].stop(now))
            return True
        if not isinstance(order, Start | Stop | Restart | Reload):
            self._refuse(order, f"{leaving[0]}: {BEING_REMOVED}")
            return True
        self._take_order(replace(order, names=tuple(name for name in names if name not in leaving)), now)
        if (operation := next((each for each in self._operations if each.op == order.op), None)) is not None:
            for name in leaving:
                if isinstance(order, Stop):
                    operation.tickets.append((name, self._watchers[name].stop(now)))
                else:
                    operation.errors.append(f"{name}: {BEING_REMOVED}")
        return True

    def _refuse(self, order: Order, error: str) -> None:
        self._actions.append(Finish(order.op, ok=False, error=error))

    def _chosen(
        self, names: tuple[str, ...] | None, among: frozenset[str] | None, *, is_reload: bool = False
    ) -> list[Watcher]:
        if names is not None:
            return self._in_order(self._watchers[name] for name in dict.fromkeys(names))
        return self._in_order(
            watcher
            for watcher in self._watchers.values()
            if (watcher.is_to_be_up or (watcher.policy.autostart and not is_reload))
            and watcher.name not in self._removing
            and (among is None or watcher.name in among)
        )

    def _take_add(self, order: AddWatcher, now: float) -> None:
        name = order.policy.name
        if name in self._watchers:
            self._refuse(order, f"watcher {name!r} exists already")
            return
        watcher = self._add(order.policy)
        self._dependencies.bind([order.policy])
        self._actions.append(Publish(name, "add"))
        self._begin_start(order.op, [watcher] if order.start else [], now, resumes=True)

    def _add(self, policy: WatcherPolicy) -> Watcher:
        late = {hook for name, hook in self._late_hooks if name == policy.name}
        self._late_hooks -= {(policy.name, hook) for hook in late}
        paused = self._dependencies.paused
        watcher = Watcher(policy, self._actions.append, base=self._base, running_hooks=late, paused=paused)
        self._watchers[policy.name] = watcher
        return watcher

    def _take_change(
        self,
        op: int,
        policy: WatcherPolicy,
        now: float,
        *,
        must_restart: bool,
        is_graceful: bool,
        keys: tuple[str, ...],
    ) -> None:
        watcher = self._watchers[policy.name]
        falls = watcher.must_fall_for(policy, must_restart=must_restart, is_graceful=is_graceful)
        along = self._staying(self._dependencies.restarted_with([policy.name])) if falls else []
        operation = Operation(op, Verb.COUNT)
        self._join(operation, Verb.RESTART, [policy.name], along)
        self._give_bound(operation, Verb.RESTART, names_of(along), now)
        self._dependencies.bind([policy])
        ticket = watcher.change(now, policy, must_restart=must_restart, is_graceful=is_graceful, keys=keys)
        operation.tickets.insert(0, (policy.name, ticket))
        operation.verb = ticket.verb
        self._operations.append(operation)

    def _take_remove(self, order: RemoveWatcher) -> None:
        watcher = self._watchers[order.name]
        self._removing[order.name] = []
        if order.nostop:
            watcher.abandon()
        for earlier in self._operations:
            earlier.overrule([order.name], REMOVED)
        operation = self._begin(order.op, Verb.STOP, [] if order.nostop else [Stage(Verb.STOP, [order.name])])
        operation.removes = order.name

    def _forget(self, name: str) -> list[Order]:
        watcher = self._watchers.pop(name)
        self._dependencies.bind()
        self._base = max(self._base, watcher.high_water)
        self._late_hooks |= {(name, hook) for hook in watcher.running_hooks}
        self._actions.append(Publish(name, "remove"))
        return self._removing.pop(name)

    # The end ------------------------------------------------------------------------------------------------

    def _end(self, order: Quit | Shutdown, now: float) -> None:
        self._is_ending = True
        for waiting in self._removing.values():
            for each in waiting:
                self._refuse(each, LEAVING)
            waiting.clear()
        for earlier in self._operations:
            if earlier.verb is not Verb.STOP:
                earlier.overrule(self._watchers, LEAVING)
            if earlier.warmup is not None:
                self._actions.append(CancelTimer(earlier.warmup))
                earlier.warmup = None
        for watcher in self._watchers.values():
            watcher.freeze(now)
        leaving = [
            watcher
            for watcher in self._watchers.values()
            if isinstance(order, Shutdown) or not watcher.policy.outlives_quit
        ]
        operation = Operation(order.op, Verb.STOP, deque(self._stages_down(leaving)), is_end=True)
        self._operations.append(operation)
        self._give_bound(operation, Verb.STOP, names_of(leaving), now)

    def _leave_if_over(self) -> None:
        """All operations of the end are finished together, when no other is left and nothing is about to end."""
        if not self._operations or not all(each.is_end and each.has_arrived for each in self._operations):
            return
        if any(watcher.is_busy for watcher in self._watchers.values()):
            return
        self._actions += [operation.finish() for operation in self._operations]
        self._operations.clear()
        self._has_left = True
        self._actions.append(Leave())

    # Operations ---------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        has_moved = True
        while has_moved:
            has_moved = False
            for operation in self._operations[:]:
                has_moved |= self._turn(operation, now)
            has_moved |= self._dependencies.turn(now)
        self._leave_if_over()

    def _turn(self, operation: Operation, now: float) -> bool:
        """One step of an operation; False when it has to wait."""
        if operation.warmup is not None or not all(self._has_passed(*held) for held in operation.current):
            return False
        if operation.stages:
            stage = operation.stages[0]
            if stage.names and not operation.has_warmed_up and self._must_warm_up(operation):
                self._warm_up(operation)
                return True
            operation.stages.popleft()
            if stage.names:
                known = [name for name in stage.names if name in self._watchers]
                operation.hold([(name, self._give(stage, name, now)) for name in known])
            return True
        if operation.is_end or not operation.has_arrived:
            return False
        self._finish(operation, now)
        return True

    def _finish(self, operation: Operation, now: float) -> None:
        self._operations.remove(operation)
        waiting = self._forget(operation.removes) if operation.removes is not None else []
        self._actions.append(operation.finish())
        if operation.verb is Verb.RELOAD:  # options may have gone back
            held = (self._watchers.get(name) for name, _ in operation.tickets)
            self._dependencies.bind(watcher.policy for watcher in held if watcher is not None)
        for order in waiting:
            self._take_order(order, now)


def _is_add(order: Order) -> bool:
    return isinstance(order, AddWatcher)


def names_in(order: Order) -> tuple[str, ...] | None:
    match order:
        case Start(_, names) | Stop(_, names) | Restart(_, names) | Reload(_, names):
            return names
        case SetCount(_, name) | Kill(_, name) | RemoveWatcher(_, name):
            return (name,)
        case AddWatcher(_, policy) | ChangeWatcher(_, policy):
            return (policy.name,)
        case Quit() | Shutdown():
            return None
        case _:
            assert_never(order)
