"""Signals by hand, and whom they reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import WEB, Bench, opened, story

from circus import procfs
from circus.errors import CircusError


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.fixture
def below(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The children 7 and 8 of every process, and 9 below 8; who got which signal."""

    class Child:
        def __init__(self, pid: int) -> None:
            self.pid = pid

    got: list[tuple[int, int]] = []
    monkeypatch.setattr(procfs, "children", lambda _pid: [Child(7), Child(8)])
    monkeypatch.setattr(procfs, "descendants", lambda _pid: [Child(7), Child(8), Child(9)])
    monkeypatch.setattr(procfs, "send_signal", lambda process, signum: got.append((process.pid, signum)))
    return got


def test_a_signal_goes_to_processes_or_their_children_or_to_all(bench: Bench, below: list[tuple[int, int]]) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            (pid,) = bench.running()
            bench.obeys = False
            assert await engine.signal("web", 1) == 1
            assert (bench.signals, below) == ([(pid, 1)], [])
            bench.signals.clear()
            assert await engine.signal("web", 1, children=True) == 2
            assert (bench.signals, below) == ([], [(7, 1), (8, 1)])
            below.clear()
            assert await engine.signal("web", 1, children=True, recursive=True) == 3
            assert (bench.signals, below) == ([], [(7, 1), (8, 1), (9, 1)])
            below.clear()
            await engine.signal("web", 1, recursive=True)
            assert (bench.signals, below) == ([(pid, 1)], [(7, 1), (8, 1), (9, 1)])

    story(run)


def test_a_signal_to_one_child_reaches_it_alone_and_none_if_it_is_not_there(
    bench: Bench, below: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            assert await engine.signal("web", 1, childpid=9) == 1
            assert (bench.signals, below) == ([], [(9, 1)])
            with pytest.raises(CircusError, match="web: no process 10 descends from it"):
                await engine.signal("web", 1, childpid=10)
            with pytest.raises(CircusError, match="has no process 4"):
                await engine.signal("web", 1, pid=4, childpid=9)

    story(run)
