"""Stream classes of users: called with what was written, and contained."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest
from packages.circus.tests.test_streams_pump import World, run, world
from tests.house import wait_for

from circus.config.model import StreamConfig

__all__ = ["world"]

MODULE = """
import threading

calls, made, gates = [], [], []
trouble = []

class Keeper:
    def __init__(self, **keys):
        made.append(self)
        self.keys, self.is_open, self.is_closed = keys, False, False
        if trouble and trouble[0] == "make":
            raise ValueError("no such mood")
    def open(self):
        self.is_open = True
    def __call__(self, data):
        if gates:
            gates[0].wait(30)
        if trouble:
            raise trouble[0]
        calls.append(data)
    def close(self):
        self.is_closed = True
"""


@pytest.fixture
def module(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "keeping", raising=False)
    (world.directory / "keeping.py").write_text(MODULE)
    sys.path.append(str(world.directory))
    import keeping  # type: ignore[import-not-found]

    yield keeping
    monkeypatch.delitem(sys.modules, "keeping", raising=False)


def stream(world: World, owner: str = "web.stdout_stream", **keys: str) -> StreamConfig:
    return StreamConfig(class_name="keeping.Keeper", options=keys, owner=owner, search_path=str(world.directory))


def test_one_object_is_called_for_all_processes_of_a_watcher(world: World, module: Any) -> None:
    async def story() -> None:
        world.pump.configure("web", {"out": stream(world, mood="good"), "err": None})
        first, second = await world.spawn(), await world.spawn("web.2")
        await world.pump.start()
        for number, kernel_id in enumerate((first, second, first)):
            head = world.papa.write(kernel_id, "out", b"line %d\n" % number)
            await world.until(lambda kernel_id=kernel_id, head=head: world.acked(kernel_id) == head)

    run(world, story())
    assert [call["data"] for call in module.calls] == [b"line 0\n", b"line 1\n", b"line 2\n"]
    assert len({call["pid"] for call in module.calls}) == 2
    assert {call["name"] for call in module.calls} == {"stdout"}
    assert all(isinstance(call["timestamp"], float) for call in module.calls)
    (made,) = module.made
    assert (made.keys, made.is_open) == ({"mood": "good"}, True)
    wait_for(lambda: made.is_closed, "closed")


def test_what_nobody_has_dated_has_the_time_at_which_it_is_brought(
    world: World, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("circus.streams.tap.Tap.stamps", lambda *_: [])
    began = time.time()

    async def story() -> None:
        world.pump.configure("web", {"out": stream(world), "err": None})
        one = await world.spawn()
        await world.pump.start()
        head = world.papa.write(one, "out", b"line\n")
        await world.until(lambda: world.acked(one) == head)

    run(world, story())
    assert [began <= call["timestamp"] <= time.time() for call in module.calls] == [True]


def test_both_outputs_have_objects_of_their_own_and_other_keys_make_another(world: World, module: Any) -> None:
    async def story() -> None:
        err = stream(world, "web.stderr_stream")
        world.pump.configure("web", {"out": stream(world), "err": err})
        one = await world.spawn()
        await world.pump.start()
        world.papa.write(one, "out", b"a\n")
        world.papa.write(one, "err", b"b\n")
        await world.until(lambda: world.acked(one) == world.acked(one, "err") == 2)
        world.pump.configure("web", {"out": stream(world, mood="bad"), "err": err})
        world.papa.write(one, "out", b"c\n")
        await world.until(lambda: world.acked(one) == 4)

    run(world, story())
    assert sorted((call["name"], call["data"]) for call in module.calls) == [
        ("stderr", b"b\n"), ("stdout", b"a\n"), ("stdout", b"c\n"),
    ]  # fmt: skip
    assert [made.keys for made in module.made if made.keys] == [{"mood": "bad"}]
    assert len(module.made) == 3
    wait_for(lambda: all(made.is_closed for made in module.made), "all closed, each by its thread")


@pytest.mark.parametrize("error", [ValueError("not now"), SystemExit(3), KeyboardInterrupt()])
def test_what_it_refuses_stays_with_papa_and_is_brought_again(world: World, module: Any, error: BaseException) -> None:
    async def story() -> None:
        module.trouble.append(error)
        world.pump.configure("web", {"out": stream(world), "err": None})
        one = await world.spawn()
        await world.pump.start()
        head = world.papa.write(one, "out", b"line\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        assert world.acked(one) == 0
        (trouble,) = world.pump.troubles()
        assert f"keeping.Keeper: failed: {type(error).__name__}" in trouble
        module.trouble.clear()
        await world.until(lambda: world.acked(one) == head)
        await world.until(lambda: "sink_recovered" in world.kinds())

    run(world, story())
    assert [call["data"] for call in module.calls] == [b"line\n"]


def test_one_that_cannot_be_made_is_tried_again(world: World, module: Any) -> None:
    async def story() -> None:
        module.trouble.append("make")
        world.pump.configure("web", {"out": stream(world), "err": None})
        one = await world.spawn()
        await world.pump.start()
        head = world.papa.write(one, "out", b"line\n")
        await world.until(lambda: "sink_failed" in world.kinds())
        assert "keeping.Keeper: cannot be made: ValueError: no such mood" in world.pump.troubles()[0]
        module.trouble.clear()
        await world.until(lambda: world.acked(one) == head)

    run(world, story())


def test_one_that_hangs_holds_up_nobody_else(world: World, module: Any) -> None:
    async def story() -> None:
        gate = threading.Event()
        module.gates.append(gate)
        world.pump.configure("web", {"out": stream(world), "err": None})
        world.pump.configure("db", {"out": world.file("db"), "err": None})
        one, other = await world.spawn(), await world.spawn("db.1")
        await world.pump.start()
        head = world.papa.write(one, "out", b"line\n")
        lines = world.papa.write(other, "out", b"line\n")
        await world.until(lambda: world.acked(other) == lines)
        assert world.acked(one) == 0
        gate.set()
        await world.until(lambda: world.acked(one) == head)

    run(world, story())
