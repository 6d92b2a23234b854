"""Watchers that start on demand, on a fake kernel whose sockets a test knocks at."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, Bench, opened, story

from circus.engine import demand, link
from circus.engine.engine import Engine
from circus.supervise import events
from circus.supervise.states import WatcherState
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakePapa

SOCKET = "[socket:front]\nhost = 127.0.0.1\nport = 0\n"
LAZY = "[watcher:lazy]\ncmd = /bin/sleep $(circus.sockets.front)\non_demand = true\nuse_papa = true\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(demand, "PAUSE_S", 0.001)
    yield from opened(tmp_path, monkeypatch)


async def until_it_waits(bench: Bench, engine: Engine) -> None:
    await bench.until(lambda: engine.demand.is_watching("lazy"))


def state_of(engine: Engine, name: str = "lazy") -> tuple[WatcherState, str]:
    (view,) = [view for view in engine.fleet.snapshot() if view.name == name]
    return view.state, view.reason


def test_the_first_connection_starts_it_and_a_good_end_makes_it_wait_again(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET + LAZY + DB) as engine:
            await until_it_waits(bench, engine)
            assert state_of(engine) == (WatcherState.STOPPED, "waits for a connection")
            for turn in (1, 2):
                bench.papa.knock("circus.front")
                await bench.until(lambda: (row := bench.named("circus.lazy.1")) and row["running"])
                assert not engine.demand.is_watching("lazy")
                bench.papa.answer("circus.front")
                assert len(bench.papa.spawns) == turn + 1
                bench.papa.end("circus.lazy.1", 0)
                await until_it_waits(bench, engine)

    story(run)


def test_a_watcher_stopped_by_hand_is_started_by_nobody(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET + LAZY + DB) as engine:
            await until_it_waits(bench, engine)
            await engine.order(lambda op: events.Stop(op, ("lazy",)))
            assert not engine.demand.is_watching("lazy")
            assert state_of(engine) == (WatcherState.STOPPED, "")
            await engine.order(lambda op: events.Start(op, ("lazy",)))
            bench.papa.knock("circus.front")
            await bench.until(lambda: bench.named("circus.lazy.1"))

    story(run)


def test_it_waits_also_after_the_kernel_was_away_and_under_the_next_circusd(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET + LAZY) as engine:
            await until_it_waits(bench, engine)
            bench.go_away()
            await engine.link.wait()
            await until_it_waits(bench, engine)
            bench.crash()
        async with bench.engine(SOCKET + LAZY) as engine:
            await until_it_waits(bench, engine)
            bench.papa.knock("circus.front")
            await bench.until(lambda: bench.named("circus.lazy.1"))
            bench.crash()
        async with bench.engine(SOCKET + LAZY) as engine:
            await bench.until(lambda: state_of(engine)[0] is WatcherState.ACTIVE)
            assert len(bench.papa.spawns) == 1

    story(run)


def test_a_socket_that_the_configuration_changes_is_waited_at_anew(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET + LAZY) as engine:
            await until_it_waits(bench, engine)
            (bench.folder / "circus.ini").write_text(SOCKET + "backlog = 9\n" + LAZY)
            await engine.reloadconfig()
            await until_it_waits(bench, engine)
            bench.papa.knock("circus.front")
            await bench.until(lambda: bench.named("circus.lazy.1"))

    story(run)


@pytest.mark.parametrize("code", ["not-found", "limit", "timeout"])
def test_a_socket_that_cannot_be_had_is_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    attach, refusals = FakePapa.attach, [PapaError("not now", code=code)] * 3

    async def refuse(papa: FakePapa, kernel_id: int, **options: Any) -> Reply:
        if refusals:
            raise refusals.pop()
        return await attach(papa, kernel_id, **options)

    monkeypatch.setattr(FakePapa, "attach", refuse)
    monkeypatch.setattr(link, "AGAIN_S", 0.001)

    async def run() -> None:
        async with bench.engine(SOCKET + LAZY) as engine:
            await until_it_waits(bench, engine)
            bench.papa.knock("circus.front")
            await bench.until(lambda: bench.named("circus.lazy.1"))
        assert caplog.text.count("lazy does not start on demand yet: not now") == (code != "timeout")

    story(run)


@pytest.mark.parametrize("socket", ["", SOCKET + "so_reuseport = true\n"])
def test_without_a_socket_to_wait_at_it_starts_at_once_and_says_so(
    bench: Bench, socket: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        lazy = LAZY if socket else LAZY.replace("$(circus.sockets.front)", "60")
        with caplog.at_level(logging.WARNING):
            async with bench.engine(socket + lazy):
                await bench.until(lambda: bench.named("circus.lazy.1"))
        assert "lazy: on_demand has no effect" in caplog.text

    story(run)
