"""Starts and ends of watchers that are bound to others: who is taken along by an order, who has to wait, for whom.

**Bound** is who names others (``after``, ``requires``, ``wants``) and who is named. An order reaches all of its bound
watchers at once; each holds by itself at two places of its ring, and is released here.

**Held** before it starts: until those that it requires serve, and those that it only wants or comes after serve or are
not on their way. One that requires what is not on its way is *blocked*: whoever waits for it is told why, its wish
stays, and it starts when that comes up after all. Once it has begun to start, what becomes of the others is no concern
of its: a crash stops nobody but who crashed.

**Yielding** before it ends: until those that name it and are ending, too, have gone, or do not go in spite of SIGKILL.

**Taken along.** By a start: what is required or wanted, unless it serves or is on its way. By a stop: who requires it,
unless it is down already. By a restart: who requires it and is up; they end before it and start after it.

Does not belong here: the graph (graph), the ring's own steps (ring), operations (fleet).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from circus.supervise.graph import Graph
from circus.supervise.ring import FALLING, STANDING, Phase
from circus.supervise.states import WatcherPolicy
from circus.supervise.watcher import NOT_RUNNING, Watcher

NOT_KNOWN = "is not known"
_REQUIRES = "requires "


class Dependencies:
    """``watchers`` is the fleet's own mapping."""

    def __init__(self, watchers: Mapping[str, Watcher]) -> None:
        self.paused: set[str] = set()  # held or yielding, or they were
        self._watchers = watchers
        self._graph = Graph({})

    def bind(self, policies: Iterable[WatcherPolicy] = ()) -> None:
        """Watchers have come, have gone, or have or are about to get one of ``policies``."""
        given = {policy.name: policy.needs for policy in policies}
        if not any(given.values()) and not self._graph:
            return
        needs = {name: watcher.policy.needs for name, watcher in self._watchers.items() if watcher.policy.needs} | given
        self._graph = Graph(needs)
        for name, watcher in self._watchers.items():
            watcher.is_bound = name in self._graph

    # Who is taken along -------------------------------------------------------------------------------------

    def upwards(self, names: Iterable[str]) -> list[Watcher]:
        """Those that are bound, who is named first."""
        return [self._watchers[name] for name in self._graph.upwards(names) if name in self._watchers]

    def started_with(self, names: Iterable[str]) -> list[Watcher]:
        needed = self.upwards(self._graph.needed_by(names))
        return [watcher for watcher in needed if not watcher.wants_up or watcher.hopeless]

    def stopped_with(self, names: Iterable[str]) -> list[Watcher]:
        requirers = self.upwards(self._graph.requirers_of(names))
        return [watcher for watcher in requirers if watcher.wants_up or watcher.phase is not Phase.DOWN]

    def restarted_with(self, names: Iterable[str]) -> list[Watcher]:
        requirers = self.upwards(self._graph.requirers_of(names))
        return [watcher for watcher in requirers if watcher.wants_up and watcher.phase in STANDING]

    def why_down(self, name: str, others: Iterable[str]) -> str:
        """Why ``name`` ends together with ``others``."""
        meant = {*others, *self._graph.requirers_of(others)}
        return f"requires {', '.join(each for each in self._graph.needs(name).requires if each in meant)}"

    def why_up(self, name: str, others: Iterable[str]) -> str:
        meant = {*others, *self._graph.needed_by(others)}
        return f"needed by {', '.join(sorted(each for each in self._graph.dependents(name) if each in meant))}"

    # Who waits ----------------------------------------------------------------------------------------------

    def turn(self, now: float) -> bool:
        """Release who need not wait any longer; whether anything moved."""
        if not self.paused:
            return False
        has_moved = False
        paused = [self._watchers[name] for name in self._in_order(self.paused)]
        for watcher in reversed(paused):
            if watcher.phase is Phase.YIELDING and not self._has_to_yield(watcher.name):
                watcher.release(now)
                has_moved = True
        for watcher in paused:
            if watcher.phase is Phase.HELD:
                waits_for, blocked = self._waits(watcher.name)
                if waits_for:
                    has_moved |= watcher.hold(waits_for, blocked)
                else:
                    watcher.release(now)
                    has_moved = True
        self.paused.intersection_update(
            watcher.name for watcher in paused if watcher.phase in (Phase.HELD, Phase.YIELDING)
        )
        return has_moved

    def _in_order(self, names: Iterable[str]) -> list[str]:
        known = [name for name in names if name in self._watchers]
        bound = self._graph.upwards(known)
        return [*sorted(set(known).difference(bound)), *bound]

    def _has_to_yield(self, name: str) -> bool:
        dependents = (self._watchers.get(other) for other in self._graph.dependents(name))
        return any(other is not None and other.phase in FALLING and not other.is_overdue for other in dependents)

    def _waits(self, name: str) -> tuple[tuple[str, ...], str]:
        """For whom, and why that is of no use."""
        needs = self._graph.needs(name)
        waits_for, blocked = [], ""
        for other in needs.names:
            watcher = self._watchers.get(other)
            hopeless = NOT_KNOWN if watcher is None else watcher.hopeless
            if other in needs.requires:
                if watcher is None or not watcher.is_serving:
                    waits_for.append(other)
                    blocked = blocked or (hopeless and _tell(other, hopeless))
            elif watcher is not None and not watcher.is_serving and not hopeless:
                waits_for.append(other)
        return tuple(waits_for), blocked


def _tell(name: str, why: str) -> str:
    colon = "" if why in (NOT_RUNNING, NOT_KNOWN) or why.startswith(_REQUIRES) else ":"
    return f"{_REQUIRES}{name}, which{colon} {why}"
