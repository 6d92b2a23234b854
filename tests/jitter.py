"""A pytest plugin that makes rare schedules common: `make jitter`, or `-p tests.jitter` with PAPA_JITTER=SEED.

Whatever it does, a busy machine does too, once in ten thousand tests: threads come late, their results are handed over
late and in another order, a loop stands still and hears of what is ready in any order or one round later, a stream
arrives in pieces.
It never breaks what is promised: what one thread hands over stays in order, and so does what is called soon.
Chance is drawn anew for each test from the seed and the test's name, so that a test alone meets what it met among all,
as far as threads ask for it in the same order.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import os
import random
import selectors
import socket
import sys
import threading
import time
from asyncio import base_events, selector_events
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from circus.streams import workers
from papa.kernel import loop

#: Longest pause of a thread: more than a turn of the loop takes, less than any bound of a test.
PAUSE_S = 0.03

#: How often who could pause does: in one test seldom, in another one nearly always.
PAUSES = (0.05, 0.3, 0.8)

#: Of a loop's rounds fewer are late: else nothing would ever come together.
ROUNDS = 0.1

#: How often what is ready is only heard of in the next round; how often a read is short.
WITHHELD = 0.15
SHORT = 0.2

#: How long a thread may run before another one may: almost never, as always, and for ever.
SWITCH_S = (0.000_001, 0.000_1, 0.005, 0.05)

#: Least that a transport reads at once.
SHORT_BYTES = (1, 5, 100)

#: Left where the other processes of a test run find it.
SEED = os.environ.setdefault("PAPA_JITTER", str(time.time_ns()))

_chance = random.Random(SEED)
_pauses = 0.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"PAPA_JITTER={SEED}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _pauses
    _chance.seed(f"{SEED} {item.nodeid}")
    _pauses = _chance.choice(PAUSES)
    before = sys.getswitchinterval()
    sys.setswitchinterval(_chance.choice(SWITCH_S))
    try:
        return (yield)
    finally:
        sys.setswitchinterval(before)


def pytest_configure() -> None:
    _jitter_threads()
    _jitter_what_threads_hand_over()
    _jitter_what_is_ready()
    _jitter_streams()


def _pause(seldom: float = 1.0) -> None:
    if _chance.random() < _pauses * seldom:
        time.sleep(_chance.random() * PAUSE_S)


def _late(call: Callable[..., Any]) -> Callable[..., Any]:
    """That call, sometimes a little later; never in a thread that runs a loop, as this would only stop the loop."""

    def late(*args: Any, **named: Any) -> Any:
        if asyncio._get_running_loop() is None:
            _pause()
        return call(*args, **named)

    return late


def _jitter_threads() -> None:
    start, run = threading.Thread.start, workers.Worker.run

    def start_late(thread: threading.Thread) -> None:
        thread.run = _late(thread.run)  # type: ignore[method-assign]
        start(thread)

    def run_late(worker: workers.Worker, call: Callable[[], Any], *after: Any, **named: Any) -> Any:
        return run(worker, _late(call), *after, **named)

    threading.Thread.start = start_late  # type: ignore[method-assign]
    workers.Worker.run = run_late  # type: ignore[method-assign]
    item = concurrent.futures.thread._WorkItem
    item.run = _late(item.run)  # type: ignore[method-assign]


def _jitter_what_threads_hand_over() -> None:
    events = base_events.BaseEventLoop
    events.call_soon_threadsafe = _late(events.call_soon_threadsafe)  # type: ignore[method-assign]


def _jitter_what_is_ready() -> None:
    selector = selectors.EpollSelector
    ask, wait = selector.select, loop.Loop._wait

    def ask_some(self: selectors.EpollSelector, timeout: float | None = None) -> list[Any]:
        """In any order, and for asyncio sometimes without what will be ready in the next round as well."""
        _pause(ROUNDS)
        ready = ask(self, timeout)
        _chance.shuffle(ready)
        if asyncio._get_running_loop() is not None and _chance.random() < WITHHELD:
            return ready[_chance.randint(0, len(ready)) :]
        return ready

    def wait_in_any_order(self: loop.Loop, sleep_s: float | None) -> list[tuple[int, int]]:
        _pause(ROUNDS)
        ready = wait(self, sleep_s)
        _chance.shuffle(ready)
        return ready

    selector.select = ask_some  # type: ignore[method-assign]
    loop.Loop._wait = wait_in_any_order  # type: ignore[method-assign]


def _jitter_streams() -> None:
    """Short reads where asyncio reads streams; elsewhere whoever sends or receives comes a little later."""
    transport = selector_events._SelectorSocketTransport
    whole = transport.max_size

    def max_size(_transport: object) -> int:
        return _chance.choice(SHORT_BYTES) if _chance.random() < SHORT else whole

    transport.max_size = property(max_size)
    for name in ("send", "sendall", "recv", "recv_into", "accept", "connect"):
        setattr(socket.socket, name, _late(getattr(socket.socket, name)))
