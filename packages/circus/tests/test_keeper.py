"""What is remembered gets to the disk beside the loop, in few writes, and nobody waits for a disk without a bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from circus.engine import files, history, keeper
from circus.engine.history import Exit, History
from circus.engine.keeper import Keeper
from circus.engine.memory import Memory


class Desk:
    """A keeper over ``folder``, and how often the disk was asked to hold something."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.syncs: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error: OSError | None = None
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(f"os.{name}", lambda fd, name=name: self._sync(name))
        self.memory = Memory(folder)
        self.keeper = Keeper(self.memory, History(folder))

    def _sync(self, name: str) -> None:
        self.syncs.append(name)
        self.entered.set()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error

    def exit(self, pid: int, watcher: str = "web") -> None:
        self.keeper.note_exit(Exit(2.0, watcher, 1, pid, 1.0, 0))


def play(desk: Desk, story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await story()
        desk.gate.set()
        await desk.keeper.close()

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path / "state", monkeypatch)


def test_a_wish_is_on_the_disk_when_it_is_kept(desk: Desk) -> None:
    async def story() -> None:
        desk.memory.remember_count("web", 5, 2)
        await desk.keeper.kept()
        assert Memory(desk.folder).count("web", 2) == 5

    play(desk, story)


def test_five_hundred_ends_at_once_are_a_few_writes(desk: Desk) -> None:
    async def story() -> None:
        for pid in range(500):
            desk.exit(pid)
        await asyncio.gather(*(desk.keeper.kept() for _ in range(500)))
        assert len(history.read(desk.folder)) == 500
        assert len(desk.syncs) < 5

    play(desk, story)


def test_nothing_is_written_while_nothing_is_noted(desk: Desk) -> None:
    async def story() -> None:
        desk.memory.remember_count("web", 2, 2)
        await desk.keeper.kept()

    play(desk, story)
    assert not desk.folder.exists() and desk.syncs == []


def test_the_loop_goes_on_while_the_disk_hangs_and_who_waits_is_let_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PATIENCE_S", 0.05)

    async def story() -> None:
        desk.gate.clear()
        desk.memory.remember_count("web", 5, 2)
        await desk.keeper.kept()
        assert "has not answered" in desk.keeper.troubles[0]
        monkeypatch.setattr(keeper, "PATIENCE_S", 1000.0)
        desk.memory.remember_count("web", 6, 2)
        await desk.keeper.kept()  # nobody waits a second time
        desk.gate.set()
        while desk.keeper.troubles:
            await asyncio.sleep(0.001)
        assert Memory(desk.folder).count("web", 2) == 6

    play(desk, story)


def test_a_disk_that_is_full_is_said_and_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RETRY_FIRST_S", 0.01)
    desk.keeper._retry_s = 0.01

    async def story() -> None:
        desk.error = OSError(28, "No space left on device")
        desk.memory.remember_count("web", 5, 2)
        desk.exit(7)
        await desk.keeper.kept()
        assert "No space left" in desk.keeper.troubles[0]
        desk.error = None
        while desk.keeper.troubles:
            await asyncio.sleep(0.001)
        assert Memory(desk.folder).count("web", 2) == 5
        assert [each.pid for each in history.read(desk.folder)] == [7]

    play(desk, story)


def test_a_place_that_cannot_be_made_is_said_and_nothing_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    desk = Desk(tmp_path / "file" / "below", monkeypatch)

    async def story() -> None:
        desk.memory.remember_count("web", 3, 2)
        await desk.keeper.kept()
        assert "cannot remember" in " ".join(desk.keeper.troubles)
        assert desk.memory.count("web", 2) == 3

    play(desk, story)


def test_the_end_of_circusd_waits_for_what_was_noted(desk: Desk) -> None:
    async def story() -> None:
        desk.exit(1)
        desk.memory.remember_stopped({"web"}, stopped=True)

    play(desk, story)
    assert Memory(desk.folder).is_stopped("web")
    assert len(history.read(desk.folder)) == 1


def test_a_call_that_takes_too_long_is_left_behind() -> None:
    gate = threading.Event()
    with pytest.raises(TimeoutError, match="has not answered"):
        files.bounded(gate.wait, 0.01)
    gate.set()
