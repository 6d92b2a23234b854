"""`limits`: what a process and all below it use, and what follows when it is too much."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.house import House, opened, wait_for

#: Has its memory in a child that it forks: HAS megabytes, and LATER as many from when there was a file of that name.
HOLDS = """\
import mmap, os, sys, time
name, has, later = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
parent = os.getpid()
if os.fork():
    while True:
        time.sleep(60)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE >> 20
held = []
def hold(wanted):
    while resident() > wanted and held:
        held.pop().close()
    while resident() < wanted:
        held.append(mmap.mmap(-1, 1 << 20))
        held[-1].write(b"x" * (1 << 20))
while os.getppid() == parent:
    if os.path.exists(name):
        has = later
        os.unlink(name)
    hold(has)
    time.sleep(0.05)
"""

#: Burns in a child.
BURNS = """\
import os, time
parent = os.getpid()
while os.fork():
    time.sleep(1000)
while os.getppid() == parent:
    pass
"""

OFTEN = "stop_children = true\nlimits.interval = 0.1\nlimits.grace = 0\nlimits.start_period = 0\n"
CONFIG = f"""
[watcher:grows]
cmd = {sys.executable} holds.py grows 1 80
limits.memory = 60m
{OFTEN}
[watcher:burns]
cmd = {sys.executable} burns.py
limits.cpu = 1%
limits.action = report
{OFTEN}
[watcher:reloads]
cmd = /bin/sleep 1000
limits.memory = 1k
limits.action = reload
{OFTEN}
[watcher:swings]
cmd = {sys.executable} holds.py swings 120 65
limits.memory = 80m
limits.action = report
limits.clear = 99
{OFTEN}
"""


def reason(house: House, watcher: str) -> str:
    (found,) = [each for each in json.loads(house.asked("status", "--json"))["watchers"] if each["name"] == watcher]
    return "; ".join(slot["reason"] for slot in found["slots"])


def said(house: House, watcher: str, event: str) -> list[str]:
    return [line for line in house.log("circusd.out").splitlines() if f" {watcher} {event} " in f"{line} "]


def test_what_uses_too_much_has_what_its_options_say(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        (house.folder / "holds.py").write_text(HOLDS)
        (house.folder / "burns.py").write_text(BURNS)
        house.start()
        burner = house.pids("burns")

        (house.folder / "grows").touch()
        wait_for(lambda: "of 60M for" in house.asked("exits", "grows"), "the end of who has grown")
        assert ", as ordered: memory " in house.asked("exits", "grows")
        assert "what=memory" in said(house, "grows", "limit")[0]

        wait_for(lambda: "cpu " in reason(house, "burns") and "of 1% for" in reason(house, "burns"), "a burner")
        assert "what=cpu" in said(house, "burns", "limit")[0]
        assert house.pids("burns") == burner, "which is only reported"

        wait_for(lambda: said(house, "reloads", "reload"), "a reload")

        wait_for(lambda: said(house, "swings", "limit"), "who is above the bound")
        (house.folder / "swings").touch()
        wait_for(lambda: said(house, "swings", "limit_cleared"), "who is below it again")
        assert reason(house, "swings") == ""

        wait_for(lambda: house.status().get("grows") == "active" and not reason(house, "grows"), "one that is small")
