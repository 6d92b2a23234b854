from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from circus.control import desk as room
from circus.control.desk import Desk
from circus.errors import CircusError


def story(scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        desk = Desk()
        try:
            await scenario(desk)
        finally:
            desk.close()

    asyncio.run(run())


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.001)


def test_one_place_is_read_by_one_at_a_time_and_others_go_on() -> None:
    gate = threading.Event()
    order: list[int] = []

    async def run(desk: Desk) -> None:
        slow = asyncio.create_task(desk.run("slow", lambda: gate.wait(30)))
        later = [asyncio.create_task(desk.run("slow", lambda n=n: order.append(n))) for n in range(20)]  # type: ignore[misc]
        assert await desk.run("quick", lambda: 7) == 7
        assert (order, desk.threads) == ([], 1)
        gate.set()
        await asyncio.gather(slow, *later)
        assert order == list(range(20))
        with pytest.raises(ZeroDivisionError):
            await desk.run("quick", lambda: 1 // 0)

    story(run)


def test_there_are_few_threads_and_a_bound_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_THREADS", 2)
    monkeypatch.setattr(room, "MAX_WAITING", 3)
    gate = threading.Event()

    async def run(desk: Desk) -> None:
        tasks = [asyncio.create_task(desk.run(str(number), lambda: gate.wait(30))) for number in range(5)]
        await until(lambda: desk.threads == 2)
        with pytest.raises(CircusError, match="wait already"):
            await desk.run("more", lambda: None)
        gate.set()
        assert await asyncio.gather(*tasks) == [True] * 5
        assert desk.threads == 0

    story(run)


def test_who_waits_for_a_disk_that_hangs_is_told_and_a_thread_that_hangs_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_THREADS", 1)
    monkeypatch.setattr(room, "ANSWER_S", 0.05)
    gate = threading.Event()

    async def run(desk: Desk) -> None:
        for _ in range(2):
            with pytest.raises(CircusError, match="no answer within"):
                await desk.run("hangs", lambda: gate.wait(30))
        monkeypatch.setattr(room, "ANSWER_S", 30)
        gate.set()
        assert await desk.run("other", lambda: 7) == 7
        assert await desk.run("hangs", lambda: 8) == 8

    story(run)


def test_one_that_hangs_takes_nobodys_place_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_THREADS", 1)
    monkeypatch.setattr(room, "ANSWER_S", 0.02)
    gate = threading.Event()

    async def run(desk: Desk) -> None:
        with pytest.raises(CircusError):
            await desk.run("hangs", lambda: gate.wait(30))

        async def other() -> bool:
            try:
                return await desk.run("other", lambda: True)
            except CircusError:
                return False

        async with asyncio.timeout(30):
            while not await other():
                pass
        gate.set()

    story(run)


def test_who_goes_away_leaves_nothing_behind() -> None:
    gate = threading.Event()

    async def run(desk: Desk) -> None:
        first = asyncio.create_task(desk.run("a", lambda: gate.wait(30)))
        second = asyncio.create_task(desk.run("a", lambda: 1))
        await until(lambda: desk.threads == 1)
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
        gate.set()
        assert await desk.run("a", lambda: 2) == 2
        desk.close()
        with pytest.raises(CircusError, match="leaves"):
            await desk.run("a", lambda: 3)

    story(run)
