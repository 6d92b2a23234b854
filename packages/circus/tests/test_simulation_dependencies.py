"""Watchers that depend on each other, in the world of the simulation: seeded graphs, orders, failures and deaths."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace
from packages.circus.tests.test_simulation import World, play, random_policy

from circus.supervise import actions, events
from circus.supervise.events import Order
from circus.supervise.fleet import Fleet
from circus.supervise.graph import Needs
from circus.supervise.ring import FALLING, STANDING, Phase
from circus.supervise.states import SlotKey, SlotState, WatcherPolicy
from circus.supervise.watcher import Watcher

SEEDS = 600
NAMES = ("app", "cache", "db", "log", "mail", "web")


@dataclass
class Ordered(World):
    """``begun``: watchers that have begun to start since they were down."""

    begun: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)  # all that they have was told to end
    crashed: set[str] = field(default_factory=set)  # they end by themselves
    held_ever: set[str] = field(default_factory=set)
    yielded_ever: set[str] = field(default_factory=set)

    def adopt(self, slot: SlotKey) -> None:
        self.begun.add(slot.watcher)
        super().adopt(slot)

    def tell(self, event: events.Event) -> None:
        self.story.append(f"{self.now:.2f} {event}")
        caused = self.fleet.step(event, self.now)
        self.crashed |= {each.watcher for each in caused if isinstance(each, actions.Publish) and each.event == "fatal"}
        for action in caused:
            self.carry_out(action)

    def carry_out(self, action: actions.Action) -> None:
        match action:
            case actions.Spawn(slot) if slot.watcher not in self.begun:
                self.begun.add(slot.watcher)
                watcher = self.fleet.watchers[slot.watcher]
                for other in watcher.policy.needs.requires:
                    assert self.serves(other), f"{slot} spawned, though {other} is not ready"
            case actions.Signal(slot, is_kill=False) if slot.watcher not in self.ending:
                ending = self.fleet.watchers[slot.watcher]
                if ending.phase is Phase.LOWERING:
                    self.ending.add(slot.watcher)
                    self.check_nobody_needs(ending)
            case actions.Publish(name, "stop"):
                self.begun.discard(name)
                self.ending.discard(name)
                self.crashed.discard(name)
            case _:
                pass
        super().carry_out(action)

    def serves(self, name: str) -> bool:
        watcher = self.fleet.watchers.get(name)
        if watcher is None or not watcher.wants_up or watcher.phase in FALLING:
            return False
        ready = [slot for slot in watcher.slots.values() if slot.state is SlotState.RUNNING and slot.is_ready]
        is_empty = watcher.phase is Phase.UP and (watcher.is_done or not watcher.policy.numprocesses)
        return bool(ready) or is_empty or watcher.phase is Phase.WAITING

    def check_nobody_needs(self, ending: Watcher) -> None:
        """It is told to end, all of it; what has crashed, or goes back to wait, ends as it can."""
        if ending.name in self.crashed or ending.policy.on_demand or ending.policy.scheduled:
            return
        for other in self.fleet.watchers.values():
            if ending.name not in other.policy.needs.names or other.is_overdue:
                continue
            if other.phase not in FALLING:
                is_spared = other.is_frozen or ending.name in self.fleet._removing
                if ending.name not in other.policy.needs.requires or is_spared:
                    continue
            lives = [life for life in (*self.processes, *self.spawns) if life[0].watcher == other.name]
            assert not set(lives) - self.orphans, f"{ending.name} is ended before {other.name}, which needs it"

    def check(self) -> None:
        super().check()
        for watcher in self.fleet.watchers.values():
            if watcher.phase in STANDING:
                self.begun.add(watcher.name)  # one with no processes does not show it
            if watcher.phase is Phase.LOWERING:
                self.ending.add(watcher.name)  # with a spawn that is answered later
            if watcher.phase is Phase.HELD:
                self.held_ever.add(watcher.name)
                assert watcher.waits_for
                assert not any(self.serves(name) and self.fleet.watchers[name].is_serving for name in watcher.waits_for)
            if watcher.phase is Phase.YIELDING:
                self.yielded_ever.add(watcher.name)
                needing = [each for each in self.fleet.watchers.values() if watcher.name in each.policy.needs.names]
                assert any(each.phase in FALLING for each in needing)


def random_needs(rng: random.Random) -> dict[str, Needs]:
    """Without circles: each names some of those before it."""
    names = rng.sample(NAMES, len(NAMES))
    needs = {}
    for rank, name in enumerate(names):
        picked = [other for other in names[:rank] if rng.random() < 0.4]
        kinds: dict[str, list[str]] = {"after": [], "requires": [], "wants": []}
        for other in picked:
            kinds[rng.choice(["after", "requires", "requires", "wants"])].append(other)
        needs[name] = Needs(**{kind: tuple(others) for kind, others in kinds.items()})
    return needs


def policy_for(rng: random.Random, name: str, needs: dict[str, Needs]) -> WatcherPolicy:
    return replace(random_policy(rng, name), needs=needs[name], stop_signal=15)  # a SIGKILL is always the second one


def random_order(rng: random.Random, op: int, needs: dict[str, Needs]) -> Order:
    name = rng.choice(NAMES)
    names = rng.choice([None, (name,), (name,), (name,), tuple(rng.sample(NAMES, 3))])
    match rng.randrange(14):
        case 0 | 1 | 2:
            return events.Start(op, names)
        case 3 | 4 | 5:
            return events.Stop(op, names)
        case 6 | 7:
            return events.Restart(op, names)
        case 8:
            return events.Reload(op, names, graceful=rng.random() < 0.6, sequential=rng.random() < 0.4)
        case 9:
            return events.SetCount(op, name, count=rng.choice([None, 0, 1, 3]), delta=rng.choice([-1, 0, 1]))
        case 10:
            must, gracefully = rng.random() < 0.7, rng.random() < 0.5
            return events.ChangeWatcher(op, policy_for(rng, name, needs), restart=must, graceful=gracefully)
        case 11:
            return events.AddWatcher(op, policy_for(rng, name, needs), start=rng.random() < 0.7)
        case 12:
            return events.RemoveWatcher(op, name, nostop=rng.random() < 0.3)
        case _:
            if rng.random() < 0.7:
                return events.Start(op, names)
            return rng.choice([events.Quit, events.Shutdown])(op)


def tell_story(seed: int) -> Ordered:
    rng = random.Random(seed)
    needs = random_needs(rng)
    policies = [policy_for(rng, name, needs) for name in rng.sample(NAMES, rng.randint(2, len(NAMES)))]
    world = Ordered(Fleet(policies, warmup_delay_s=rng.choice([0.0, 0.0, 2.0])))
    for policy in policies:
        if rng.random() < 0.2:
            for wid in rng.sample(range(1, 4), rng.randint(1, 2)):
                world.adopt(SlotKey(policy.name, wid))
    try:
        world.order(lambda op: events.Start(op, resumes=rng.random() < 0.3))
        play(world, rng, rng.choice([40, 120]), lambda rng, op: random_order(rng, op, needs))
        world.end()
    except AssertionError as error:
        story = "\n".join(world.story[-80:])
        raise AssertionError(f"seed {seed}: {error}\n{needs}\n{story}") from error
    return world


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_in_every_seeded_story_nobody_starts_too_early_or_ends_too_early(first: int) -> None:
    worlds = [tell_story(seed) for seed in range(first, first + 50)]
    assert sum(map(bool, (world.held_ever for world in worlds))) > 10
    assert sum(map(bool, (world.yielded_ever for world in worlds))) > 10
