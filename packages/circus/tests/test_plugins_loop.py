from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from circus.plugins.loop import Loop, PeriodicCallback


def run_until(loop: Loop, fact: Callable[[], object]) -> None:
    def look() -> None:
        if fact():
            loop.stop()
        else:
            loop.call_later(0.001, look)

    loop.add_callback(look)
    loop.start()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_callbacks_timers_and_futures_are_called(loop: Loop) -> None:
    heard: list[object] = []

    async def coroutine() -> None:
        heard.append("coroutine")

    loop.add_callback(heard.append, "callback")
    loop.spawn_callback(coroutine)
    loop.call_later(0.001, heard.append, "later")
    loop.call_at(loop.time() + 0.002, heard.append, "at")
    loop.add_timeout(timedelta(seconds=0.003), heard.append, "delta")
    loop.remove_timeout(loop.add_timeout(loop.time(), heard.append, "never"))
    future: asyncio.Future[str] = loop.asyncio_loop.create_future()
    loop.add_future(future, lambda done: heard.append(done.result()))
    future.set_result("future")
    run_until(loop, lambda: len(heard) == 6)
    assert sorted(map(str, heard)) == ["at", "callback", "coroutine", "delta", "future", "later"]


def test_one_that_fails_is_logged_and_the_loop_goes_on(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise RuntimeError("in a task")

    def fails_at_once() -> None:
        raise RuntimeError("at once")

    loop.add_callback(fails)
    loop.add_callback(fails_at_once)
    run_until(loop, lambda: len(caplog.records) == 2)
    told = [str(record.exc_info[1]) for record in caplog.records if record.exc_info and record.name == "circus.plugins"]
    assert sorted(told) == ["at once", "in a task"]


def test_descriptors_are_watched(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    heard: list[object] = []

    def on_ready(fd: socket.socket, events: int) -> None:
        heard.append(events)
        if events == loop.READ:
            heard.append(fd.recv(10))
            loop.remove_handler(fd)
            loop.stop()
        else:
            loop.update_handler(fd, on_ready, loop.READ)

    with ours, theirs:
        os.write(theirs.fileno(), b"x")
        loop.add_handler(ours, on_ready, loop.WRITE)
        loop.start()
    assert heard == [loop.WRITE, loop.READ, b"x"]


def test_a_periodic_callback_comes_again_until_it_is_stopped(loop: Loop) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        if len(calls) == 3:
            periodic.stop()

    periodic = PeriodicCallback(call, 1, loop)
    assert not periodic.is_running()
    periodic.start()
    periodic.start()  # anew, not twice
    assert periodic.is_running()
    run_until(loop, lambda: not periodic.is_running())
    assert (len(calls), periodic.is_running()) == (3, False)


def test_what_still_runs_at_the_end_is_cancelled() -> None:
    loop = Loop()
    ended: list[bool] = []

    async def waits() -> None:
        loop.stop()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    loop.add_callback(waits)
    loop.start()
    loop.close()
    assert ended == [True]
