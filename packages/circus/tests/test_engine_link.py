"""What waits for the kernel, and what brings everything back to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from circus.engine import link
from circus.errors import CircusError
from papa.errors import PapaError
from papa.testing import FakePapa


def story(run: Callable[[FakePapa], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        with FakePapa() as papa:
            await asyncio.wait_for(run(papa), 30)

    asyncio.run(bounded())


async def nothing() -> None:
    pass


def test_who_waits_goes_on_when_all_is_attached_again() -> None:
    async def run(papa: FakePapa) -> None:
        attached = asyncio.Event()

        async def attach() -> None:
            await attached.wait()

        one = link.Link(papa, attach)  # type: ignore[arg-type]
        await one.wait()
        papa.lose()
        assert "lost" in one.trouble
        waiting = asyncio.create_task(one.wait())
        papa.come_back()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        attached.set()
        await waiting
        assert one.trouble == ""

    story(run)


def test_one_that_begins_without_a_kernel_waits_for_it() -> None:
    async def run(papa: FakePapa) -> None:
        papa.lose()
        one = link.Link(papa, nothing)  # type: ignore[arg-type]
        waiting = asyncio.create_task(one.wait())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        papa.come_back()
        await waiting

    story(run)


def test_an_attachment_of_an_earlier_return_settles_nothing() -> None:
    async def run(papa: FakePapa) -> None:
        gates = [asyncio.Event(), asyncio.Event()]
        begun = iter(gates)

        async def attach() -> None:
            await next(begun).wait()

        one = link.Link(papa, attach)  # type: ignore[arg-type]
        for _ in gates:
            papa.lose()
            papa.come_back()
            await asyncio.sleep(0.005)
        waiting = asyncio.create_task(one.wait())
        gates[0].set()
        await asyncio.sleep(0.005)
        assert not waiting.done()
        gates[1].set()
        await waiting

    story(run)


@pytest.mark.parametrize(
    "fault",
    [
        PapaError("no answer", code="timeout"),
        CircusError("operation-failed", "no address"),
        KeyError("a fault of ours"),
    ],
)
def test_an_attachment_that_fails_is_tried_again_and_said(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "AGAIN_S", 0.01)
    troubles: list[str] = []

    async def run(papa: FakePapa) -> None:
        async def attach() -> None:
            troubles.append(one.trouble)
            if len(troubles) < 3:
                raise fault

        one = link.Link(papa, attach)  # type: ignore[arg-type]
        papa.lose()
        papa.come_back()
        await one.wait()
        assert len(troubles) == 3
        assert "attach" in troubles[2]
        assert one.trouble == ""

    story(run)


def test_a_loss_during_the_attachment_begins_it_anew() -> None:
    begun: list[int] = []

    async def run(papa: FakePapa) -> None:
        never = asyncio.Event()

        async def attach() -> None:
            begun.append(1)
            if len(begun) == 1:
                await never.wait()
            elif len(begun) == 2:
                raise PapaError("gone", code="lost")

        one = link.Link(papa, attach)  # type: ignore[arg-type]
        for _ in range(3):
            papa.lose()
            papa.come_back()
            await asyncio.sleep(0.01)
        await one.wait()
        assert len(begun) == 3
        await one.close()

    story(run)


def test_a_kernel_that_works_is_told_from_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(papa: FakePapa) -> None:
        one = link.Link(papa, nothing)  # type: ignore[arg-type]
        assert await one.answers()

        async def hangs(_papa: FakePapa, op: str, **_: object) -> None:
            raise PapaError(op, code="timeout")

        with monkeypatch.context() as patch:
            patch.setattr(FakePapa, "request", hangs)
            assert not await one.answers()
        papa.lose()
        assert not await one.answers()

    story(run)


def test_a_kernel_that_comes_back_after_the_end_is_attached_by_nobody() -> None:
    async def run(papa: FakePapa) -> None:
        one = link.Link(papa, nothing)  # type: ignore[arg-type]
        papa.lose()
        await one.close()
        before = asyncio.all_tasks()
        papa.come_back()
        assert asyncio.all_tasks() == before

    story(run)
