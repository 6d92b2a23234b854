"""Changes of the configuration that meet: what they hold is held once, in the order in which they came."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from circus.config.amend import NOTHING
from circus.config.diff import ConfigPlan
from circus.engine import tracking
from circus.engine.changing import Change, Changes, Decided
from circus.errors import CircusError

SEEDS = 60
#: Far more turns of the loop than the longest story needs to come to its end.
PATIENCE = 3000
NAMES = ("a", "b", "c", "d")


class World:
    """Changes that remove what they name, and are carried out when ``finish`` says so."""

    def __init__(self) -> None:
        names = SimpleNamespace(process=lambda watcher, wid: f"{watcher.lower()}.{wid}")
        self.changes = Changes(SimpleNamespace(names=names, configs={}, sockets=None))  # type: ignore[arg-type]
        self.at_work: dict[int, tuple[frozenset[str], asyncio.Event]] = {}
        self.begun: list[int] = []
        self.refused: set[int] = set()
        self._turns: dict[int, Change] = {}

    async def change(self, number: int, meant: frozenset[str], guessed: frozenset[str]) -> None:
        """It learns only when it is decided what it needs."""
        end = asyncio.Event()

        async def decide() -> Decided:
            await asyncio.sleep(0)
            if number in self.refused:
                raise CircusError("config-invalid", "no")
            return Decided(None, ConfigPlan(remove=tuple(meant)), NOTHING)  # type: ignore[arg-type]

        async def carry_out(_engine: Any, _decided: Decided, turn: Change) -> asyncio.Task[None]:
            for other, (names, _) in self.at_work.items():
                assert not names & meant, f"{number} and {other} change the same watcher"
            self.begun.append(number)
            self.at_work[number] = meant, end
            self._turns[number] = turn
            return asyncio.create_task(work())

        async def work() -> None:
            await end.wait()
            self.at_work.pop(number, None)

        task = await self.changes.begin({self.changes.key(name) for name in guessed}, decide, carry_out)
        await task

    def finish(self, number: int) -> None:
        self.at_work[number][1].set()

    def release(self, number: int, name: str) -> None:
        """The order to it is given."""
        names, end = self.at_work[number]
        self.at_work[number] = names - {name}, end
        self.changes.release(self._turns[number], name)


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(0, SEEDS, 10))
def test_seeded_stories_of_changes_that_meet(seed: int) -> None:
    async def story(seed: int) -> None:
        rng, world = random.Random(seed), World()
        needs: dict[int, frozenset[str]] = {}
        tasks: dict[int, asyncio.Task[None]] = {}
        for number in range(30):
            meant = frozenset(rng.sample(NAMES, rng.choice([0, 1, 1, 1, 2, 4])))
            needs[number] = meant
            if rng.random() < 0.1:
                world.refused.add(number)
            guessed = meant if rng.random() < 0.5 else frozenset()
            tasks[number] = asyncio.create_task(world.change(number, meant, guessed))
            for _ in range(rng.choice([0, 1, 5])):
                await asyncio.sleep(0)
            if world.at_work and rng.random() < 0.5:
                working = rng.choice([*world.at_work])
                held = sorted(world.at_work[working][0])
                if held and rng.random() < 0.3:
                    world.release(working, rng.choice(held))
                else:
                    world.finish(working)
            if number % 15 == 14:
                await settled()
                open_ones = [each for each in needs if not tasks[each].done()]
                for late in set(open_ones) - world.at_work.keys():
                    earlier = [each for each in open_ones if each < late and needs[each] & needs[late]]
                    assert earlier, f"seed {seed}: {late} waits, and nobody holds what it needs"
        for _ in range(PATIENCE):
            if all(task.done() for task in tasks.values()):
                break
            for number in [*world.at_work]:
                world.finish(number)
            await asyncio.sleep(0)
        done = await asyncio.wait_for(asyncio.gather(*tasks.values(), return_exceptions=True), 10)
        failed = {at: each for at, each in enumerate(done) if each is not None}
        assert failed.keys() == world.refused, failed
        for late, number in enumerate(world.begun):
            for earlier in world.begun[late + 1 :]:
                if earlier < number and needs[earlier] == needs[number] != frozenset():
                    raise AssertionError(f"seed {seed}: {number} has overtaken {earlier}")
        assert not world.changes._queue and not world.changes._waiting

    for each in range(seed, seed + 10):
        asyncio.run(story(each))


def test_one_that_waits_tells_behind_whom() -> None:
    async def story() -> None:
        world, tracks = World(), [tracking.Track(f"1-{at}", ()) for at in range(2)]

        async def tracked(at: int) -> None:
            tracks[at].use()
            await world.change(at, frozenset("a"), frozenset("a"))

        tasks = [asyncio.create_task(tracked(at)) for at in range(2)]
        await settled()
        assert [track.behind for track in tracks] == [(), ("1-0",)]
        assert list(tracks[0].watchers) == ["a"]
        world.finish(0)
        await settled()
        assert tracks[1].behind == () and world.begun == [0, 1]
        world.finish(1)
        await asyncio.gather(*tasks)

    asyncio.run(story())
