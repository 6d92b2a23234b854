from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import wait_for

from circus import procfs
from circus.streams.earlier import Earlier

#: Its first thread ends, so that it is a zombie; the other one goes on until its input ends.
CODE = """
import ctypes, sys, threading
def work():
    open(f"/proc/self/task/{threading.get_native_id()}/comm", "w").write(sys.argv[1])
    print(1, flush=True)
    sys.stdin.read()
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def half_dead() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is over but for a thread that touches file system 77."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE, "dev:77"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_for(lambda: procfs.has_ended(process.pid), "the end of its first thread")
        yield process
        process.kill()


def test_a_thread_that_outlived_its_circusd_keeps_others_off_its_file_system(
    half_dead: subprocess.Popen[bytes],
) -> None:
    earlier = Earlier()
    with pytest.raises(OSError, match=f"since circusd {half_dead.pid}, which is dead, began to write to it"):
        earlier.check("dev:77")
    earlier.check("dev:78")
    assert half_dead.stdin is not None
    half_dead.stdin.close()
    wait_for(lambda: not Path(f"/proc/{half_dead.pid}/task").exists() or half_dead.poll() is not None, "its end")
    earlier.check("dev:77")


def test_whoever_was_just_killed_and_hangs_in_nothing_is_waited_for(half_dead: subprocess.Popen[bytes]) -> None:
    earlier = Earlier()
    assert half_dead.stdin is not None
    ending = threading.Timer(0.05, half_dead.stdin.close)
    ending.start()
    try:
        earlier.check("dev:77")
    finally:
        ending.join()


def test_threads_of_the_living_keep_nobody_off() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE.replace("ctypes.CDLL(None).pthread_exit(None)", ""), "dev:77"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        Earlier().check("dev:77")
        process.kill()
