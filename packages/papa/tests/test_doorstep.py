from __future__ import annotations

import os
import signal
import socket
import time

import pytest
from tests.house import wait_for
from tests.kernels import Kernel

from papa import places
from papa.kernel import doorstep
from papa.kernel.doorstep import MOST_LINES, Doorstep
from papa.kernel.loop import Loop


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    kernel.start()
    yield kernel
    kernel.end()


def test_what_is_said_too_often_is_counted_and_told_in_the_end(loop, monkeypatch, capfd):
    monkeypatch.setattr(doorstep, "PERIOD_S", 0.01)
    step = Doorstep(loop)
    for number in range(100):
        step.tell("a stranger was refused", f"its uid is {number}")
    step.tell("a connection was closed", "it is no request")
    loop.call_at(time.monotonic() + 0.02, loop.stop)
    loop.run()
    lines = [line.partition(" ")[2] for line in capfd.readouterr().err.splitlines()]
    assert lines == [
        *(f"a stranger was refused: its uid is {number}" for number in range(MOST_LINES)),
        "a connection was closed: it is no request",
        f"a stranger was refused: {100 - MOST_LINES} times more within 0.01 s",
    ]
    step.tell("a stranger was refused", "its uid is 100")
    assert "its uid is 100" in capfd.readouterr().err


def test_a_flood_of_requests_that_are_none_leaves_the_log_as_it_is(kernel):
    """Whoever sends frames that are none is closed with a line in the log; a thousand of them make a few lines."""
    before = kernel.log()
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            with places.unix_address(kernel.instance.control_path) as address:
                stranger.connect(address)
            stranger.sendall(b"frames 1\n\xff\xff\xff\xff\xff\xff\xff\xff")
            while stranger.recv(1 << 16):
                pass
    assert kernel.status()["pid"]
    more = kernel.log().removeprefix(before).splitlines()
    assert 0 < len(more) <= MOST_LINES
    assert all("a connection was closed: " in line for line in more)


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_log_that_was_moved_or_removed_is_begun_anew_by_this_kernel_and_the_next(kernel, is_moved):
    """Else it would grow where nobody sees it, and without a bound."""
    path = kernel.instance.log_path
    for _ in range(2):
        if is_moved:
            os.rename(path, path + ".1")
        else:
            os.unlink(path)
        os.kill(kernel.status()["pid"], signal.SIGURG)
        wait_for(lambda: os.path.exists(path), "another log")
        os.kill(kernel.status()["pid"], signal.SIGHUP)
        wait_for(lambda: "SIGHUP was ignored" in kernel.log(), "its line")
    kernel.kill()
    wait_for(lambda: kernel.log().count(" serves instance=") == 1, "the line of the next one")
