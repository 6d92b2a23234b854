"""Orders that take long, with real processes: waited for, left, followed; and who does not wait for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from circus.control.client import Client, target
from tests.house import ANSWER_S, BIN, House, opened, ticker, wait_for

#: Ignores TERM, and says when it does.
STUBBORN = """
[watcher:stubborn]
shell = true
cmd = trap '' TERM; : > stubborn.$$; exec /bin/sleep 1000
graceful_timeout = 600
"""

OTHERS = ticker("web", count=2) + ticker("old")
CONFIG = STUBBORN + OTHERS


def stubborn(house: House) -> int:
    """Its pid, when it ignores TERM."""

    def found() -> int | None:
        pids = house.pids("stubborn")
        return next((pid for pid in pids if (house.folder / f"stubborn.{pid}").exists()), None)

    return int(wait_for(found, "the trap"))


def operation(house: House, id: str) -> dict[str, Any]:
    return dict(json.loads(house.asked("--json", "operations", id)))


def follow(house: House, id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "circusctl", "--timeout", "50", "operations", id, "--follow"],
        env=house.environ,
        cwd=house.folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(house: House) -> None:
    house.asked("kill", "stubborn", "--signum", "KILL")


def test_an_order_that_takes_long_is_left_followed_and_in_nobodys_way(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        stubborn(house)
        told, ok = house.asked("stop", "--no-wait", "stubborn", "web").splitlines()
        id = told.split()[1]
        assert (told.split()[0], ok) == ("operation", "ok")
        try:
            with follow(house, id) as following:
                assert following.stdout is not None
                lines = iter(following.stdout.readline, "")
                line = next(each for each in lines if each.startswith("1 of 2 watchers"))
                assert line == "1 of 2 watchers, 2 of 3 processes\n"
                assert next(lines) == "  stubborn: 0 of 1 ended, waits for its processes to end\n"
                assert house.asked("restart", "old") == "ok", "nobody waits for others"
                assert house.asked("start", "web") == "ok"
                _who_waits_may_go(house)
                assert operation(house, id)["state"] == "running"
                client = Client(f"{house.folder}/run/circus-default.sock", timeout_s=ANSWER_S + 10)
                with ThreadPoolExecutor(1) as pool:
                    waiting = pool.submit(client.get, target("operations", id, query={"wait": str(ANSWER_S)}))
                    kill(house)
                    assert waiting.result()["state"] == "done"
                assert "stop stubborn web: done" in following.stdout.read()
                assert following.wait(50) == 0
        finally:
            kill(house)
        done = operation(house, id)
        assert (done["state"], done["watchers"], done["result"]["operation"]) == ("done", ["stubborn", "web"], id)
        house.kill()
        house.start()
        refused = house.ctl("operations", id)
        assert (refused.returncode, "it was given to an earlier circusd" in refused.stderr) == (3, True)


def _who_waits_may_go(house: House) -> None:
    """A client that is killed while it waits leaves its order behind."""
    waiting = subprocess.Popen([BIN / "circusctl", "stop", "stubborn"], env=house.environ, cwd=house.folder)

    def stops() -> list[dict[str, Any]]:
        known = json.loads(house.asked("--json", "operations"))["operations"]
        return [each for each in known if each["watchers"] == ["stubborn"] and each["what"] == "stop"]

    (left,) = wait_for(stops, "the order")
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.wait(50)
    assert operation(house, left["id"])["state"] == "running"


def test_a_long_reloadconfig_holds_up_no_change_of_another_watcher(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        stubborn(house)
        house.config.write_text(CONFIG.replace("sleep 1000", "sleep 1001"))
        id = house.asked("reloadconfig", "--no-wait").splitlines()[-2].split()[1]
        try:
            wait_for(lambda: operation(house, id)["progress"]["waits_for"], "its order")
            assert house.asked("set", "web", "priority", "3") == "ok"
            assert house.asked("add", "--start", "new", "/bin/sleep", "1000") == "ok"
            assert house.asked("rm", "old") == "ok"
            house.config.write_text(CONFIG.replace("sleep 1000", "sleep 1001") + ticker("more"))
            assert house.asked("reloadconfig").endswith("ok"), "what it changes is held by nobody"
            assert house.asked("incr", "web") == "3"
            house.config.write_text(CONFIG + ticker("more"))
            behind = house.asked("reloadconfig", "--no-wait").splitlines()[-2].split()[1]
            told = operation(house, id)
            assert told["state"] == "running"
            assert [each["watcher"] for each in told["progress"]["waits_for"]] == ["stubborn"]
        finally:
            kill(house)
        done = json.loads(house.asked("--json", "operations", id))
        wait_for(lambda: operation(house, id)["state"] == "done", f"the end of the first: {done}")
        wait_for(lambda: _has_ended(house, behind), "the end of the one behind")
        assert house.status().keys() == {"stubborn", "web", "new", "more"}
        house.asked("stop", "--no-wait", "stubborn")
        kill(house)


def _has_ended(house: House, id: str) -> bool:
    """Who waits for the stubborn one to end is helped."""
    told = operation(house, id)
    waits = told["progress"]["waits_for"] if told["state"] == "running" else []
    if any("end" in each["why"].split()[-1] for each in waits):
        kill(house)
    return bool(told["state"] == "done")
