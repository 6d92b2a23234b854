"""The pipe between the daemon and the person who started it; in processes of their own, because it forks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from circus.daemon import detach
from circus.daemon.detach import MAX_MESSAGE, Readiness

STARTER = "import sys; from circus.daemon import detach; detach.start([sys.executable, '-c', *sys.argv[1:]])"
CIRCUSD = """
import os, sys, time
from circus.daemon import detach
from circus.daemon.ward import Ward
ward = Ward.of(os.environ)
readiness = detach.Readiness(ward.starter)
{then}
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STARTER, CIRCUSD.format(then=then)]
    return subprocess.run(command, capture_output=True, text=True, timeout=40)


def test_the_starter_ends_well_when_the_daemon_is_up() -> None:
    done = run("ward.up(); readiness.tell(); time.sleep(0.3)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("readiness.tell('no port\\n  hint: another'); os._exit(0)", "no port\n  hint: another\n"),
        ("os._exit(3)", "circusd ended before it was up; its log says why\n"),
        ("os.kill(os.getpid(), 9)", "circusd ended before it was up; its log says why\n"),
        ("detach.close_terminal(); print('lost'); print('lost', file=sys.stderr); readiness.tell('x')", "x\n"),
        ("readiness.tell('x'); readiness.tell(); readiness.tell('y')", "x\n"),
    ],
)
def test_the_starter_says_what_the_daemon_tells_and_ends_with_1(then: str, said: str) -> None:
    done = run(then)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize("status", [0, 1, 2])
def test_one_that_has_said_by_itself_what_is_wrong_ends_the_starter_with_its_status(status: int) -> None:
    done = run(f"print('help'); sys.stderr.write('wrong'); sys.exit({status})")
    assert (done.returncode, done.stdout, done.stderr) == (status, "help\n", "wrong")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--daemon", "c.ini"], True),
        (["c.ini", "--daem"], True),
        (["--d", "c.ini"], True),
        (["c.ini"], False),
        (["--", "--daemon"], False),
        (["--daemonx"], False),
    ],
)
def test_the_option_is_seen_as_argparse_sees_it(words: list[str], wanted: bool) -> None:
    assert detach.is_wanted(words) is wanted


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
