"""What a plan says is what is done: random edits and orders, each change said first and then carried out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import Bench, opened, story

from circus.config.plan import Plan
from circus.engine.engine import Engine
from circus.errors import CircusError
from circus.supervise import events

SEEDS = 10
STEPS = 8

NAMES = ("web", "job", "db")
SOCKETS = ("front", "back")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def some_file(rng: random.Random) -> str:
    text = f"[circus]\nloglevel = {rng.choice(['info', 'warning'])}\n[env]\nPATH = /bin\nA = {rng.choice('xy')}\n"
    sockets = [name for name in SOCKETS if rng.random() < 0.8]
    for name in sockets:
        text += f"[socket:{name}]\nhost = 127.0.0.1\nport = 0\nbacklog = {rng.choice([5, 6])}\n"
    for name in NAMES:
        if rng.random() < 0.2:
            continue
        used = rng.choice([*sockets, ""])
        text += f"[watcher:{name}]\ncmd = /bin/sleep 6{rng.randrange(2)}"
        text += f" $(circus.sockets.{used})\n" if used else "\n"
        text += f"numprocesses = {rng.choice([1, 1, 2])}\ngraceful_timeout = {rng.choice([5, 6])}\n"
        text += rng.choice(["", "", "autostart = no\n"]) + rng.choice(["", "priority = 1\n", "env.B = 1\n"])
    return text


async def order_something(rng: random.Random, engine: Engine) -> None:
    names = sorted(engine.configs)
    if not names:
        return
    name = rng.choice(names)
    match rng.randrange(5):
        case 0:
            await engine.order(lambda op: events.Stop(op, (name,)))
        case 1:
            await engine.order(lambda op: events.Start(op, (name,)))
        case 2:
            await engine.order(lambda op: events.SetCount(op, name, count=rng.randrange(1, 4)))
        case 3:
            await engine.set_options(name, {"priority": str(rng.randrange(4))})
        case _:
            await engine.remove_watcher(name, nostop=rng.random() < 0.3)


async def settled(bench: Bench, engine: Engine) -> None:
    """Every watcher is where it shall be, with as many processes as it shall have."""

    def is_settled() -> bool:
        return all(
            sum(slot.pid is not None for slot in view.slots) == (view.numprocesses if view.wants_up else 0)
            and view.state.value == ("active" if view.wants_up else "stopped")
            for view in engine.fleet.snapshot()
        )

    await bench.until(is_settled)


def processes(engine: Engine) -> dict[str, dict[int, int]]:
    views = engine.fleet.snapshot()
    return {view.name: {slot.wid: slot.pid for slot in view.slots if slot.pid is not None} for view in views}


def was_done(plan: Plan, before: dict[str, dict[int, int]], engine: Engine, bench: Bench) -> None:
    after = processes(engine)
    counts = {view.name: view.numprocesses for view in engine.fleet.snapshot()}
    for item in plan.items:
        if item.kind == "socket":
            assert (item.name in engine.sockets.rows) == (item.verb != "close"), item
        if item.kind != "watcher":
            continue
        old, new = before.get(item.name, {}), after.get(item.name, {})
        match item.verb:
            case "keep":
                assert new == old, item
            case "live":
                assert {wid: pid for wid, pid in old.items() if wid in new}.items() <= new.items(), item
                assert len(new) == (counts[item.name] if old else 0), item
            case "restart":
                assert not {*old.values()} & {*new.values()}, item
                assert len(new) == counts[item.name], item
            case "start":
                assert len(new) >= counts[item.name], item
            case "add":
                assert not old or item.name in before, item
            case "stop" | "remove":
                assert item.name not in after, item
                assert not {*old.values()} & bench.running(), item
                assert bool(old) == (item.verb == "stop"), item


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_a_plan_says_is_what_is_done(seed: int, bench: Bench) -> None:
    rng = random.Random(seed)

    async def run() -> None:
        async with bench.engine(some_file(rng)) as engine:
            wanted = {name for name, config in engine.configs.items() if config.autostart}
            await bench.until(lambda: {view.name for view in engine.fleet.snapshot() if view.wants_up} == wanted)
            for _ in range(STEPS):
                for _ in range(rng.randrange(3)):
                    await order_something(rng, engine)
                (bench.folder / "circus.ini").write_text(some_file(rng))
                await settled(bench, engine)
                plan, before, running = await engine.plan(), processes(engine), bench.running()
                if rng.random() < 0.3:
                    await order_something(rng, engine)
                    again = await engine.plan()
                    if again.id != plan.id:
                        kept = processes(engine), engine.config
                        with pytest.raises(CircusError, match=f"plan {plan.id} does not hold any more: [a-z]"):
                            await engine.reloadconfig(plan.id)
                        assert (processes(engine), engine.config) == kept
                    assert (again.id == plan.id) <= (again.items == plan.items), "one id, one plan"
                    plan, before = again, processes(engine)
                else:
                    assert (processes(engine), bench.running()) == (before, running)
                done = await engine.reloadconfig(plan.id)
                assert (done.items, done.by_hand) == (plan.items, plan.by_hand)
                await settled(bench, engine)
                was_done(plan, before, engine, bench)
                assert (await engine.plan()).changes.is_empty

    story(run)
