"""Operations on their way: whom an order means, in what stages, who is taken along, and what each of them is told.

Does not belong here: when the next stage is entered, and what becomes of an operation at its end (fleet).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import assert_never

from circus.supervise.actions import Action, Joined, StartTimer
from circus.supervise.dependencies import Dependencies
from circus.supervise.events import Order, TimerKey
from circus.supervise.operation import Operation, Stage
from circus.supervise.ring import OVERRULED
from circus.supervise.states import WatcherPolicy
from circus.supervise.tickets import Ticket, Verb
from circus.supervise.watcher import Watcher

#: Watchers that are started without a wait for the one before: the kernel starts in the order in which it is asked, and
#: is asked for so many at once. More would keep others who ask it waiting.
MAX_CROWD = 32


class Leading:
    """What a fleet has, and how its operations begin."""

    def __init__(self, warmup_delay_s: float) -> None:
        self._warmup_delay_s = warmup_delay_s
        self._actions: list[Action] = []
        self._watchers: dict[str, Watcher] = {}
        self._dependencies = Dependencies(self._watchers)
        self._operations: list[Operation] = []
        self._removing: dict[str, list[Order]] = {}  # with the orders that wait until it is gone
        self._generation = 0

    # How they begin -----------------------------------------------------------------------------------------

    def _begin_start(self, op: int, chosen: list[Watcher], now: float, *, resumes: bool = False) -> None:
        names = names_of(chosen)
        along = [] if resumes else self._staying(self._dependencies.started_with(names))
        for watcher in () if resumes else (*chosen, *along):
            watcher.forgive()
        operation = self._begin(op, Verb.START, self._stages_up(chosen), [*names, *names_of(along)])
        self._join(operation, Verb.START, names, along)
        self._give_bound(operation, Verb.START, [*names, *names_of(along)], now)

    def _begin_stop(self, op: int, chosen: list[Watcher], now: float, *, alone: bool = False) -> None:
        names = names_of(chosen)
        along = [] if alone else self._dependencies.stopped_with(names)
        operation = self._begin(op, Verb.STOP, self._stages_down(chosen), [*names, *names_of(along)])
        self._join(operation, Verb.STOP, names, along)
        self._give_bound(operation, Verb.STOP, [*names, *names_of(along)], now)

    def _begin_restart(self, op: int, chosen: list[Watcher], now: float, *, alone: bool = False) -> None:
        names = names_of(chosen)
        downwards = [] if alone else self._staying(self._dependencies.restarted_with(names))
        restarted = [*names, *names_of(downwards)]
        needed = [] if alone else self._staying(self._dependencies.started_with(restarted))
        free = [watcher for watcher in chosen if not watcher.is_bound]
        stages = [*self._stages_down(free), *self._stages_up(free)]
        if len(free) == 1:
            stages = [Stage(Verb.RESTART, [free[0].name])]
        operation = self._begin(op, Verb.RESTART, stages, [*restarted, *names_of(needed)])
        self._join(operation, Verb.RESTART, names, downwards)
        self._join(operation, Verb.START, restarted, needed)
        self._give_bound(operation, Verb.RESTART, restarted, now)
        self._give_bound(operation, Verb.START, names_of(needed), now)

    def _staying(self, watchers: Iterable[Watcher]) -> list[Watcher]:
        return [watcher for watcher in watchers if watcher.name not in self._removing]

    def _join(self, operation: Operation, verb: Verb, names: list[str], along: list[Watcher]) -> None:
        """Say who is taken along."""
        why = self._dependencies.why_up if verb is Verb.START else self._dependencies.why_down
        for watcher in along:
            operation.joined[watcher.name] = verb.value
            self._actions.append(Joined(operation.op, watcher.name, verb.value, why(watcher.name, names)))

    def _give_bound(self, operation: Operation, verb: Verb, names: list[str], now: float) -> None:
        """At once; who has to wait is found when all are told."""
        for watcher in self._dependencies.upwards(names):
            operation.tickets.append((watcher.name, self._give(Stage(verb, [watcher.name]), watcher.name, now)))

    def _begin(self, op: int, verb: Verb, stages: Iterable[Stage], meant: Iterable[str] = ()) -> Operation:
        """``meant`` are those that the order concerns besides those in its stages."""
        operation = Operation(op, verb, deque(stages))
        names = {*meant, *(name for stage in operation.stages for name in stage.names)}
        for earlier in self._operations:
            if verb is Verb.STOP and earlier.verb is not Verb.STOP:
                earlier.overrule(names, OVERRULED)
            elif verb is not Verb.STOP and earlier.verb is Verb.STOP:
                earlier.overrule(names, "started by a later order")
        self._operations.append(operation)
        return operation

    def _hold(self, op: int, name: str, ticket: Ticket) -> None:
        operation = Operation(op, ticket.verb)
        operation.hold([(name, ticket)])
        self._operations.append(operation)

    # Stages, and what is told -------------------------------------------------------------------------------

    def _in_order(self, watchers: Iterable[Watcher]) -> list[Watcher]:
        """The order of start."""
        return sorted(watchers, key=lambda watcher: (-watcher.policy.priority, watcher.name))

    def _stages_up(self, watchers: Iterable[Watcher]) -> list[Stage]:
        """Of those that are not bound, here and below. Who has nothing to wait for goes with his neighbours."""
        stages: list[Stage] = []
        room, priority = 0, 0
        for watcher in watchers:
            if watcher.is_bound:
                continue
            policy = watcher.policy
            is_plain = self._warmup_delay_s == 0 and _starts_at_once(policy)
            if is_plain and room and policy.priority == priority:
                stages[-1].names.append(watcher.name)
                room -= 1
            else:
                stages.append(Stage(Verb.START, [watcher.name]))
                room, priority = (MAX_CROWD - 1 if is_plain else 0), policy.priority
        return stages

    def _stages_down(self, watchers: Iterable[Watcher]) -> list[Stage]:
        backwards = reversed(self._in_order(watcher for watcher in watchers if not watcher.is_bound))
        groups = groupby(backwards, key=lambda watcher: watcher.policy.priority)
        return [Stage(Verb.STOP, [watcher.name for watcher in group]) for _, group in groups]

    def _give(self, stage: Stage, name: str, now: float) -> Ticket:
        watcher = self._watchers[name]
        match stage.verb:
            case Verb.START:
                return watcher.start(now)
            case Verb.STOP:
                return watcher.stop(now)
            case Verb.RESTART:
                return watcher.restart(now)
            case Verb.RELOAD:
                return watcher.reload(now, is_sequential=stage.is_sequential)
            case Verb.COUNT | Verb.KILL:
                raise AssertionError(f"{stage.verb} has no stages")
            case _:
                assert_never(stage.verb)

    def _has_passed(self, name: str, ticket: Ticket) -> bool:
        return ticket.has_passed or self._watchers[name].is_overdue

    def _must_warm_up(self, operation: Operation) -> bool:
        return self._warmup_delay_s > 0 and any(
            ticket.verb is Verb.START and ticket.has_started_any(self._watchers[name].slots.values())
            for name, ticket in operation.current
            if name in self._watchers
        )

    def _warm_up(self, operation: Operation) -> None:
        self._generation += 1
        operation.has_warmed_up = True
        operation.warmup = TimerKey("", 0, "warmup", self._generation)
        self._actions.append(StartTimer(operation.warmup, self._warmup_delay_s))


def _starts_at_once(policy: WatcherPolicy) -> bool:
    """It has come up with the one process that is asked for, and nothing has to happen before or after."""
    waits = policy.hooks or policy.awaits_ready or policy.health or policy.on_demand or policy.is_job
    return policy.numprocesses == 1 and policy.warmup_delay_s == 0 and not waits


def names_of(watchers: Iterable[Watcher]) -> list[str]:
    return [watcher.name for watcher in watchers]
