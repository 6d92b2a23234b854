"""The pipe between the daemon and the person who started it; in processes of their own, because it forks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from circus.daemon.detach import MAX_MESSAGE, Readiness

PROGRAM = """
import os, sys, time
from circus.daemon import detach
readiness = detach.detach()
detach.close_terminal()
{then}
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(then=then)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=40)


def test_the_starter_ends_well_when_the_daemon_is_up() -> None:
    done = run("readiness.tell(); time.sleep(0.3)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("readiness.tell('no port\\n  hint: another'); os._exit(0)", "no port\n  hint: another\n"),
        ("os._exit(0)", "circusd ended before it was up; its log says why\n"),
        ("os.kill(os.getpid(), 9)", "circusd ended before it was up; its log says why\n"),
        ("print('lost'); print('lost', file=sys.stderr); readiness.tell('x')", "x\n"),
        ("readiness.tell('x'); readiness.tell(); readiness.tell('y')", "x\n"),
    ],
)
def test_the_starter_says_what_the_daemon_tells_and_ends_with_1(then: str, said: str) -> None:
    done = run(then)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_message_has_a_bound() -> None:
    done = run(f"readiness.tell('x' * {2 * MAX_MESSAGE})")
    assert len(done.stderr) == MAX_MESSAGE + 1


def test_the_daemon_has_a_session_of_its_own_and_cannot_get_a_terminal() -> None:
    done = run("readiness.tell(f'{os.getpid()} {os.getsid(0)}')")
    pid, session = map(int, done.stderr.split())
    assert session not in (pid, os.getsid(0))


def test_in_the_foreground_nothing_is_told() -> None:
    Readiness().tell("x")


def test_a_starter_that_has_gone_does_not_hurt() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    readiness = Readiness(writing)
    readiness.tell("x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
