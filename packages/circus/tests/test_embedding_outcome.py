from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading

import pytest

from circus.embedding import outcome
from circus.embedding.outcome import Outcome
from circus.exc import CallError


async def seven() -> int:
    return 7


async def fails() -> int:
    raise ValueError("no\nseven")


def test_it_is_awaited_on_its_own_loop_and_waited_for_in_other_threads() -> None:
    async def work() -> None:
        loop, here = asyncio.get_running_loop(), threading.get_ident()
        assert await Outcome.of(seven(), loop, here) == 7
        assert await asyncio.to_thread(lambda: Outcome.of(seven(), loop, here).result(30)) == 7
        pending = Outcome.of(seven(), loop, here)
        assert not pending.is_done()
        with pytest.raises(RuntimeError, match="is awaited"):
            pending.result()
        assert await pending == 7
        assert pending.result() == 7
        with pytest.raises(ValueError, match="no"):
            await Outcome.of(fails(), loop, here)
        forever = loop.create_future()

        async def wait() -> None:
            await forever

        waiting = Outcome.of(wait(), loop, here)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(waiting.result, 0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.01)
        assert not waiting.is_done(), "who does not wait any longer ends nothing"
        forever.set_result(None)
        await waiting

    asyncio.run(work())
    assert Outcome.done(7).result() == 7


def test_a_failure_of_which_nobody_wants_to_know_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        told = Outcome.of(fails(), asyncio.get_running_loop(), 0)
        while not told.is_done():
            await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING):
        asyncio.run(work())
    assert [record.getMessage() for record in caplog.records] == ["no seven"]


def test_a_loop_that_has_ended_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "LOOK_S", 0.01)
    loop = asyncio.new_event_loop()
    too_late: Outcome[int] = Outcome(concurrent.futures.Future(), loop)
    loop.close()
    with pytest.raises(CallError, match="has ended"):
        too_late.result()
    with pytest.raises(CallError, match="does not run"):
        Outcome.of(seven(), loop, 0)
