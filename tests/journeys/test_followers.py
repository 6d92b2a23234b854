"""Many follow events and logs while orders are given: nobody loses anything unsaid, and a slow one holds nobody."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.measurements.followers import order, resident
from bench.swarm import Follower, Swarm

from tests.house import House, opened

WATCHERS = 10
FOLLOWERS = 200
ORDERS = 200

#: Far more than what the sockets and the ring hold for one who does not read.
LINES = 8_000
FLOOD = f"""
import signal
for number in range({LINES}):
    print("%0200d" % number)
print("done", flush=True)
signal.pause()
"""

#: What circusd may hold for all of them: their connections, and what each does not read.
MOST_MB = 80


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "house"
    config = "".join(f"[watcher:s{number}]\ncmd = sleep 1000\n" for number in range(WATCHERS))
    config += f"[watcher:flood]\ncmd = {sys.executable} -S flood.py\nautostart = false\ncopy_env = true\n"
    config += "stdout_stream.class = FileStream\nstdout_stream.filename = flood.log\n"
    with opened(folder, config) as house:
        (folder / "flood.py").write_text(FLOOD)
        yield house


@contextlib.contextmanager
def swarm_of(house: House) -> Iterator[Swarm]:
    swarm = Swarm(str(house.folder / "run" / "circus-default.sock"))
    try:
        yield swarm
    finally:
        swarm.close()


def number_of(event_id: str) -> int:
    return int(event_id.rpartition("-")[2])


def is_done(follower: Follower) -> bool:
    return '"text":"done"' in follower.last_data


def test_two_hundred_who_follow_lose_nothing_unsaid_and_hold_no_order(house: House) -> None:
    house.start()
    pid = int(house.asked("--json", "dstats") and json.loads(house.asked("--json", "dstats"))["info"]["pid"])
    with swarm_of(house) as swarm:
        events = [swarm.follow("/v1/events") for _ in range(FOLLOWERS // 2)]
        logs = [swarm.follow("/v1/watchers/flood/logs?follow=true&limit=0") for _ in range(FOLLOWERS // 2 - 1)]
        slow = swarm.follow("/v1/watchers/flood/logs?follow=true&limit=0", is_slow=True)
        swarm.until(lambda: all(each.first_id for each in (*events, *logs)), "all follow")
        before_mb = resident(pid)
        for _ in range(4):
            swarm.orderer()
        swarm.order([("/v1/watchers/flood/start", {}), *map(order, range(ORDERS))])
        assert [status for status, _ in swarm.answers] == [200] * (ORDERS + 1)
        swarm.until(lambda: all(map(is_done, logs)), "all have heard all lines")
        swarm.until(lambda: len({each.last_id for each in events}) == 1, "all have heard all events")
        grown_mb = resident(pid) - before_mb
        assert slow.said == 0
        swarm.wake(slow)
        swarm.until(lambda: is_done(slow), "the slow one is where the others are")
        assert {each.said + each.missed for each in (*logs, slow)} == {LINES + 1}
        assert slow.missed > LINES // 2
        for each in events:
            assert each.said + each.missed == number_of(each.last_id) - number_of(each.first_id)
        assert grown_mb < MOST_MB
    assert house.status().keys() == {"flood", *(f"s{number}" for number in range(WATCHERS))}
    assert {number: len(house.pids(f"s{number}")) for number in range(WATCHERS)} == dict.fromkeys(range(WATCHERS), 1)


def test_who_comes_back_to_another_circusd_goes_on_where_he_was(house: House) -> None:
    house.start()
    with swarm_of(house) as swarm:
        first = swarm.follow("/v1/watchers/flood/logs?follow=true&limit=0")
        swarm.until(lambda: bool(first.first_id), "it follows")
        swarm.orderer()
        swarm.order([("/v1/watchers/flood/start", {})])
        swarm.until(lambda: first.said > 10, "some lines")
    house.kill()
    house.start()
    with swarm_of(house) as swarm:
        again = swarm.follow(f"/v1/watchers/flood/logs?follow=true&cursor={first.last_id}")
        swarm.until(lambda: is_done(again) or "cursor" in again.last_data, "the rest of it, or where it can be had")
        assert again.said > 0
