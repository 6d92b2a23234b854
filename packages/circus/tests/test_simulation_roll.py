"""Reloads with bounds in a world where new processes fail at every point: seeded, one watcher, two configurations.

The world plays the engine's part, too: it spawns by the configuration of before where it is told so, and goes back to
that when the reload has failed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from circus.supervise import actions
from circus.supervise.events import Exited, HookAnswered, Spawned, SpawnFailed, TimerFired, TimerKey
from circus.supervise.ring import Phase
from circus.supervise.rolling import THERE, amount
from circus.supervise.states import Rollout, SlotKey, WatcherPolicy
from circus.supervise.tickets import Ticket
from circus.supervise.watcher import Watcher

SEEDS = 1500
PATIENCE = 3000

Life = tuple[SlotKey, int]


@dataclass
class World:
    rng: random.Random
    policy: WatcherPolicy
    fails: float  # how probably a process of the new configuration does, at each step of its life
    dies: float  # how probably any other process ends by itself
    now: float = 0.0
    current: str = "old"
    former: str = "old"
    spawns: dict[Life, str] = field(default_factory=dict)
    hooks: dict[Life, str] = field(default_factory=dict)
    alive: dict[Life, str] = field(default_factory=dict)
    exits: list[Life] = field(default_factory=list)
    timers: dict[TimerKey, float] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    ticket: Ticket | None = None
    lowest: int = 0
    highest: int = 1000
    failed: int = 0
    watcher: Watcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.policy, self.carry_out)

    def carry_out(self, action: actions.Action) -> None:
        self.story.append(f"{self.now:7.2f} {action}")
        match action:
            case actions.Spawn(slot, incarnation, _, is_former):
                self.spawns[slot, incarnation] = self.former if is_former else self.current
            case actions.Signal(slot, incarnation):
                self.check_signal(slot)
                if self.alive.pop((slot, incarnation), None) is not None:
                    self.exits.append((slot, incarnation))
            case actions.StartTimer(key, delay_s):
                self.timers[key] = self.now + delay_s
            case actions.CancelTimer(key):
                del self.timers[key]
            case actions.ReloadFailed():
                self.failed += 1

    def check_signal(self, victim: SlotKey) -> None:
        """No order takes the number of those who serve below the bound, where none ends by itself."""
        reload = self.watcher._reloads.current
        if self.watcher.phase is not Phase.RELOADING or self.dies or reload is None:
            return
        if not self.watcher.slots[victim.wid].is_ready or victim.wid in reload.trial_wids:
            return
        others = sum(slot.is_ready for slot in self.watcher.slots.values() if slot.key != victim)
        assert others >= self.lowest, f"only {others} are ready without {victim}"

    def tell(self, fact: Spawned | SpawnFailed | Exited | HookAnswered | TimerFired) -> None:
        self.story.append(f"{self.now:7.2f} <- {fact}")
        self.watcher.take(fact, self.now)
        self.check()

    def check(self) -> None:
        there = sum(slot.state in THERE for slot in self.watcher.slots.values())
        assert there <= self.highest, f"{there} are there"
        if self.ticket is not None and self.ticket.is_done and self.ticket.failures and self.current != self.former:
            self.current = self.former

    def is_bad(self, version: str) -> bool:
        is_proven = self.failed or (self.ticket is not None and self.ticket.is_done)
        return version == "new" and not is_proven and self.rng.random() < self.fails

    def moves(self) -> list[str]:
        moves = ["spawn"] * bool(self.spawns) + ["hook"] * bool(self.hooks) + ["exit"] * bool(self.exits)
        return moves + ["timer"] * (bool(self.timers) and not moves)

    def step(self) -> bool:
        self.now += self.rng.choice([0.0, 0.1])
        if self.alive and self.rng.random() < self.dies:
            self.die(self.rng.choice([*self.alive]))
        if not (moves := self.moves()):
            return False
        match self.rng.choice(moves):
            case "spawn":
                self.answer_spawn(self.rng.choice([*self.spawns]))
            case "hook":
                life = self.rng.choice([*self.hooks])
                ok = not self.is_bad(self.hooks.pop(life))
                self.tell(HookAnswered("web", "after_spawn", ok, *life))
            case "exit":
                life = self.rng.choice(self.exits)
                self.exits.remove(life)
                self.tell(Exited(*life, 1))
            case _:
                bad = [life for life, version in self.alive.items() if self.is_bad(version)]
                key = min(self.timers, key=lambda key: self.timers[key])
                if bad and key.purpose == "warmup":
                    self.die(bad[0])  # before it has proved itself
                    return True
                self.now = max(self.now, self.timers.pop(key))
                self.tell(TimerFired(key))
        return True

    def answer_spawn(self, life: Life) -> None:
        version = self.spawns.pop(life)
        if self.is_bad(version):
            self.tell(SpawnFailed(*life, "no such program"))
            return
        pid = 100 * life[0].wid + life[1]
        self.alive[life] = version
        if "after_spawn" in self.watcher.policy.hooks:
            self.hooks[life] = version
        self.tell(Spawned(*life, pid, pid, self.now))

    def die(self, life: Life) -> None:
        del self.alive[life]
        self.exits.append(life)

    def settle(self) -> None:
        for _ in range(PATIENCE):
            if not self.step():
                return
            if self.ticket is not None and self.ticket.is_done:
                self.dies = 0.0
        raise AssertionError("does not come to rest")


def some_rollout(rng: random.Random) -> Rollout:
    return Rollout(
        max_surge=rng.choice([None, 0, 1, 2, "25%", "100%"]),
        max_unavailable=rng.choice([0, 0, 1, 2, "50%"]),
        soak_s=rng.choice([0.0, 0.0, 5.0]),
        is_for_changes=True,
    )


def bounds(rollout: Rollout, count: int) -> tuple[int, int]:
    surge = count if rollout.max_surge is None else amount(rollout.max_surge, count, math.ceil)
    unavailable = amount(rollout.max_unavailable, count, math.floor)
    return surge, unavailable if surge else max(1, unavailable)


def tell_story(seed: int) -> World:
    rng = random.Random(seed)
    rollout = some_rollout(rng)
    old = WatcherPolicy(
        "web",
        numprocesses=rng.choice([1, 2, 4, 7]),
        max_retry=-1,
        hooks=frozenset({"after_spawn"} if rng.random() < 0.5 else ()),
        rollout=rollout,
    )
    new = replace(old, numprocesses=rng.choice([old.numprocesses] * 3 + [1, 5]))
    world = World(rng, old, fails=rng.choice([0.0, 0.1, 0.5, 1.0]), dies=0.0)
    try:
        world.watcher.start(0.0)
        world.settle()
        assert set(world.alive.values()) == {"old"}
        least, most = sorted((old.numprocesses, new.numprocesses))
        surge, _ = bounds(rollout, most)
        world.lowest = least - max(bounds(rollout, least)[1], bounds(rollout, most)[1])
        world.highest = most + surge
        world.dies = rng.choice([0.0, 0.0, 0.1])
        is_same = rng.random() < 0.2
        if is_same:
            world.dies = 0.0  # the successor of an old one would be a bad one, too
            world.current, world.highest, new = "new", old.numprocesses + surge, old
            world.ticket = world.watcher.reload(0.0, is_sequential=rng.random() < 0.3)
        else:
            world.former, world.current = "old", "new"
            world.ticket = world.watcher.change(0.0, new, must_restart=True)
        world.settle()
        ticket = world.ticket
        assert ticket.is_done
        assert ticket.ok == (not world.failed), ticket.error
        assert bool(ticket.failures) == bool(world.failed)
        slots = world.watcher.slots.values()
        assert all(slot.is_ready for slot in slots)
        if not is_same:
            assert set(world.alive.values()) == {"new" if ticket.ok else "old"}
            assert len(slots) == (new if ticket.ok else old).numprocesses
        else:
            assert len(slots) == old.numprocesses
    except AssertionError as error:
        told = "\n".join(world.story[-80:])
        raise AssertionError(f"seed {seed}: {rollout} {error}\n{told}") from error
    return world


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_every_reload_keeps_its_bounds_and_ends_with_all_new_ones_or_with_all_old_ones(first: int) -> None:
    for seed in range(first, first + 100):
        tell_story(seed)


def test_the_stories_go_forwards_back_at_once_and_back_from_half_way() -> None:
    worlds = [tell_story(seed) for seed in range(300)]
    told = [any("rolled back" in world.ticket.error for world in [world] if world.ticket) for world in worlds]
    assert 50 < sum(told) < 250
    half_way = [
        world
        for world, is_back in zip(worlds, told, strict=True)
        if is_back and any("is_former=True" in line for line in world.story)
    ]
    assert len(half_way) > 10
