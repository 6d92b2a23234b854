from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from circus import clock
from circus.config.model import StreamConfig
from circus.streams import held
from circus.streams.held import Held, held_bytes, lag_s
from circus.streams.store import SourceKey
from circus.streams.tap import Source, Tap
from papa.client.output import StreamFiles
from papa.testing import FakePapa


class Scene:
    """A source on a fake kernel, with the kernel's clock, whose buffer takes 1000 bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.papa = FakePapa()
        self.now = self.papa.kernel.clock
        monkeypatch.setattr(clock, "boot_ns", self.now.boot_ns)
        monkeypatch.setattr(clock, "monotonic", self.now.now)
        self.failure: OSError | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.sources: list[Source] = []
        self.held = Held(
            lambda kind, fields: self.events.append((kind, fields)), lambda: self.sources, lambda source: self.failure
        )

    def source(self, name: str) -> Source:
        spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
        reply = asyncio.run(self.papa.spawn(**spec, owner="test", fds=True))
        config = StreamConfig(class_name="FileStream", filename="f", buffer_bytes=1000)
        key, tap = SourceKey(reply.ok["id"], "out"), Tap(StreamFiles(reply.fds))
        self.sources.append(Source(key, tap, "web", 1, 7, written=0, committed=0, config=config))
        return self.sources[-1]

    def look(self, after_s: float = held.LOOK_S) -> list[str]:
        self.now.advance(after_s)
        self.held.look(self.sources)
        told, self.events[:] = [kind for kind, _ in self.events], []
        return told


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scene = Scene(monkeypatch)
    yield scene
    for source in scene.sources:
        source.tap.retire()
    scene.papa.kernel.close()


def test_what_is_kept_and_for_how_long_is_what_is_not_acknowledged_and_not_written(scene: Scene) -> None:
    source = scene.source("a")
    assert (held_bytes(source), lag_s(source)) == (0, 0.0)
    scene.papa.write("a", "out", b"x" * 10)
    scene.now.advance(5.0)
    assert (held_bytes(source), lag_s(source)) == (10, 5.0)
    source.written = 10
    assert (held_bytes(source), lag_s(source)) == (10, 0.0)
    source.committed = 10
    assert held_bytes(source) == 0


def test_half_a_buffer_that_waits_for_its_sink_is_told_once_and_its_end(scene: Scene) -> None:
    source = scene.source("a")
    scene.papa.write("a", "out", b"x" * 499)
    assert scene.look() == []
    scene.papa.write("a", "out", b"x")
    assert scene.look(0.5) == [], "it was looked at a moment ago"
    scene.held.look([source])
    assert scene.look(0.5) == ["output_held"]
    assert scene.look() == []
    source.written = source.committed = 250
    assert scene.look() == [], "still a quarter"
    source.written = source.committed = 251
    assert scene.look() == ["output_freed"]


def test_a_burst_is_no_news_while_its_sink_keeps_up(scene: Scene) -> None:
    source = scene.source("a")
    scene.papa.write("a", "out", b"x" * 400)
    scene.now.advance(60.0)
    source.written = 400
    scene.papa.write("a", "out", b"x" * 400)
    scene.held.look([source])
    assert scene.events == [], "the oldest came just now"
    scene.failure = OSError("full")
    assert scene.look() == ["output_held"]


def test_streams_of_one_watcher_are_told_of_together(scene: Scene) -> None:
    for name in "ab":
        scene.source(name)
        scene.papa.write(name, "out", b"x" * 600)
    assert scene.look() == ["output_held"]
    one, two = scene.sources
    one.is_gone = True
    scene.held.forget(one)
    assert scene.events == []
    two.is_gone = True
    assert scene.look() == ["output_freed"]


def test_while_a_sink_fails_it_is_looked_at_and_then_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[tuple[float, Callable[[], None]]] = []

    class Loop:
        def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
            later.append((seconds, call))
            return call

    scene.source("a")
    scene.failure = OSError("full")
    scene.papa.write("a", "out", b"x" * 600)
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    scene.held.look_later()
    scene.held.look_later()
    assert [seconds for seconds, _ in later] == [held.LOOK_S]
    later.pop()[1]()
    assert [kind for kind, _ in scene.events] == ["output_held"]
    assert len(later) == 1
    scene.failure = None
    later.pop()[1]()
    assert later == []
