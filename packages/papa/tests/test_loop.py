from __future__ import annotations

import os
import signal
import time

import pytest

from papa.kernel.loop import READ, WRITE, Loop


@pytest.fixture(params=["full", "portable"])
def loop(request):
    loop = Loop(request.param)
    yield loop
    loop.close()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


def test_a_callback_comes_when_its_descriptor_is_ready(loop, pipe):
    seen = []
    loop.watch(pipe[0], READ, lambda ready: seen.append((ready & READ, os.read(pipe[0], 10))))
    os.write(pipe[1], b"x")
    loop.turn()
    assert seen == [(READ, b"x")]


def test_no_events_means_the_hang_up_only(loop, pipe):
    seen = []
    loop.watch(pipe[0], 0, seen.append)
    os.write(pipe[1], b"x")
    loop.call_at(time.monotonic() + 0.01, lambda: None)
    loop.turn()
    assert seen == []
    os.close(pipe[1])
    loop.turn()
    assert len(seen) == 1


def test_events_can_be_changed(loop, pipe):
    seen = []
    loop.watch(pipe[1], 0, seen.append)
    loop.change(pipe[1], WRITE)
    loop.turn()
    assert seen == [WRITE]


def test_a_forgotten_descriptor_is_left_alone_and_forgetting_twice_is_fine(loop, pipe):
    seen = []
    loop.watch(pipe[0], READ, seen.append)
    os.write(pipe[1], b"x")
    loop.forget(pipe[0])
    loop.forget(pipe[0])
    loop.call_at(time.monotonic(), lambda: None)
    loop.turn()
    assert seen == []


def test_a_number_that_was_closed_and_given_anew_gets_no_stale_event(loop):
    first, first_writer = os.pipe()
    second, second_writer = os.pipe()
    seen = []

    def replace(keep: int, other: int):
        def callback(_ready: int) -> None:
            seen.append("first")
            loop.forget(other)
            os.close(other)
            fresh, fresh_writer = os.pipe()
            opened.extend((fresh, fresh_writer))
            number = fresh if fresh == other else fresh_writer
            assert number == other
            loop.watch(number, READ, lambda _ready: seen.append("stale"))
            loop.forget(keep)

        return callback

    opened = [first_writer, second_writer]
    loop.watch(first, READ, replace(first, second))
    loop.watch(second, READ, replace(second, first))
    os.write(first_writer, b"x")
    os.write(second_writer, b"x")
    loop.turn()
    assert seen == ["first"]
    for fd in {first, second, *opened}:
        os.close(fd)


def test_timers_come_in_order_and_a_cancelled_one_does_not(loop):
    seen = []
    now = time.monotonic()
    loop.call_at(now + 0.02, lambda: seen.append("late"))
    loop.call_at(now + 0.01, lambda: seen.append("early"))
    loop.call_at(now + 0.005, lambda: seen.append("never")).cancel()
    while len(seen) < 2:
        loop.turn()
        assert time.monotonic() < now + 30
    assert seen == ["early", "late"]
    assert time.monotonic() >= now + 0.02


def test_what_is_put_off_comes_after_all_callbacks_of_the_turn(loop, pipe):
    seen = []

    def on_ready(_ready: int) -> None:
        os.read(pipe[0], 10)
        loop.after_turn(lambda: seen.append("after"))
        seen.append("callback")

    loop.watch(pipe[0], READ, on_ready)
    loop.call_at(time.monotonic(), lambda: seen.append("timer"))
    os.write(pipe[1], b"x")
    loop.turn()
    assert seen == ["callback", "timer", "after"]


def test_a_fault_is_contained_counted_and_logged(loop, pipe, capfd):
    def fail(_ready: int) -> None:
        os.read(pipe[0], 1)
        raise ZeroDivisionError("on purpose")

    loop.watch(pipe[0], READ, fail)
    os.write(pipe[1], b"xy")
    loop.turn()
    loop.turn()
    assert loop.faults == 2
    err = capfd.readouterr().err
    assert "the kernel goes on" in err
    assert "ZeroDivisionError: on purpose" in err


def test_a_signal_becomes_a_callback(loop):
    seen = []
    loop.on_signal(signal.SIGUSR1, lambda: seen.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.turn()
    assert seen == ["usr1"]


def test_run_ends_with_the_status_of_stop(loop):
    loop.call_at(time.monotonic(), lambda: loop.stop(3))
    assert loop.run() == 3


def test_an_idle_loop_does_not_wake_up(loop, pipe, monkeypatch):
    wait, sleeps = Loop._wait, []

    def count(self, sleep_s):
        sleeps.append(sleep_s)
        return wait(self, sleep_s)

    monkeypatch.setattr(Loop, "_wait", count)
    loop.watch(pipe[0], READ, lambda _ready: None)
    loop.call_at(time.monotonic() + 0.2, loop.stop)
    loop.run()
    assert len(sleeps) <= 3


def test_closing_gives_the_signals_back():
    loop = Loop()
    loop.on_signal(signal.SIGUSR2, lambda: None)
    loop.close()
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
