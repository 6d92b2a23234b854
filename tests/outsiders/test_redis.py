"""redis-server: what it has acknowledged is there, whatever happens to circusd and papa, and after its own stop."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.house import House, free_port, wait_for
from tests.outsiders.sites import UID, as_user, is_ready, services, site
from tests.outsiders.traffic import ANSWER_S, Ask, Traffic, survives_all

pytestmark = pytest.mark.needs("redis-server", "redis-cli", "redis-check-aof")

CLIENTS = 2


@contextlib.contextmanager
def counting(port: int, key: str) -> Iterator[Ask]:
    """Counts by one over one connection, and knows what it must come to."""
    numbers = itertools.count(1)
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
        answers = connection.makefile("rb")

        def ask() -> None:
            connection.sendall(f"INCR {key}\r\n".encode())
            said, expected = answers.readline(), b":%d\r\n" % next(numbers)
            assert said == expected, (said, expected)

        yield ask


def cli(port: int, *words: str) -> str:
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=ANSWER_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def redis() -> Iterator[tuple[House, int]]:
    port = free_port()
    with site("redis", ("--port 6379", f"--port {port}"), *as_user("redis"), uid=UID) as house:
        house.start()
        yield house, port


def test_what_was_counted_is_there_over_all_that_happens_and_after_a_stop() -> None:
    with redis() as (house, port):
        # No client is refused from here on: it has said that it accepts connections.
        assert cli(port, "PING") == "PONG"
        (pid,) = house.pids("redis")
        if os.geteuid() == 0:
            assert os.stat(f"/proc/{pid}").st_uid == UID
        keys = [f"count:{number}" for number in range(CLIENTS)]
        with Traffic(*(counting(port, key) for key in keys)) as traffic:
            survives_all(house, "redis", traffic)
        counted = [cli(port, "GET", key) for key in keys]
        assert sum(map(int, counted)) == traffic.answers

        house.asked("stop", "redis")
        done = subprocess.run(
            ["redis-check-aof", *(services(house) / "appendonlydir").glob("*.incr.aof")], capture_output=True, text=True
        )
        assert "is valid" in done.stdout, done.stdout + done.stderr
        assert (services(house) / "dump.rdb").exists()  # saved by TERM
        house.asked("start", "redis")
        assert [cli(port, "GET", key) for key in keys] == counted
        house.asked("shutdown")
        house.gone()
        log = house.log("services/redis.log")
        assert log.count("Ready to accept connections") == 2
        assert log.count("Redis is now ready to exit, bye bye...") == 2


def test_one_that_is_killed_comes_back_with_what_it_had_written() -> None:
    with redis() as (house, port):
        assert cli(port, "SET", "word", "kept") == "OK"
        (pid,) = house.pids("redis")
        os.kill(pid, 9)
        wait_for(lambda: is_ready(house, "redis", unlike=pid), "another one", ANSWER_S)
        assert cli(port, "GET", "word") == "kept"
