"""`backoff`: a program that cannot live is tried ever later, and given up; also over a SIGKILL of circusd."""

from __future__ import annotations

import json
from pathlib import Path

from tests.house import House, opened, wait_for

CRASHES = "cmd = /bin/sh -c 'exit 3'\n"
CONFIG = f"""
[watcher:ends]
{CRASHES}
backoff.first = 0.1
backoff.max = 0.1
backoff.attempts = 3
[watcher:waits]
{CRASHES}
backoff.first = 0.1
backoff.factor = 1000
backoff.max = 80
backoff.jitter = 0.5
[watcher:forgiven]
{CRASHES}
backoff.first = 0.1
backoff.stable = 0
backoff.attempts = 2
"""
GAVE_UP = "gave up after 3 attempts in a row, the last: ended with status 3 after"
PAUSED = "the 2nd failure in a row; next attempt after 80 to 120 s"


def reason(house: House, watcher: str) -> str:
    (found,) = [each for each in json.loads(house.asked("status", "--json"))["watchers"] if each["name"] == watcher]
    return "; ".join([found["reason"], *(f"{slot['state']}: {slot['reason']}" for slot in found["slots"])])


def ends(house: House, watcher: str) -> int:
    return house.asked("exits", watcher).count("ended with status 3")


def launch(house: House) -> None:
    house.launch()
    wait_for(lambda: house.ctl("status").returncode == 0, "an answer")


def test_a_crash_loop_is_paused_and_given_up_as_its_options_say(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        launch(house)
        wait_for(lambda: GAVE_UP in reason(house, "ends"), "its end")
        wait_for(lambda: PAUSED in reason(house, "waits"), "its second pause")
        wait_for(lambda: ends(house, "forgiven") > 2, "more ends than it has attempts")
        assert house.log("circusd.out").count(" ends fatal ") == 1

        house.kill()
        launch(house)
        assert GAVE_UP in reason(house, "ends") and PAUSED in reason(house, "waits")
        wait_for(lambda: ends(house, "ends") == 3, "its ends, none of them twice")

        house.ctl("start", "ends")
        wait_for(lambda: ends(house, "ends") == 6 and GAVE_UP in reason(house, "ends"), "three attempts more")
