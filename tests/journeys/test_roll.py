"""Reloads with bounds, and new options that do not work: the old processes serve on, and people are told why."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.house import House, opened, wait_for

GOOD = "cmd = /bin/sleep {}\n"
BAD = "cmd = /bin/sh -c 'echo cannot open the database; exit 3'\n"
WEB = "[watcher:web]\nnumprocesses = 3\nmax_surge = 1\nuse_papa = true\nupdate = roll\n"
LEAN = "[watcher:lean]\nnumprocesses = 3\nmax_surge = 0\nmax_unavailable = 2\n" + GOOD.format(700)
REFUSED = "web: the file's configuration was refused: web."


def deeds(house: House, watcher: str, *words: str) -> list[str]:
    """What has become of its processes while circusctl did what it was told, as circusd's log has it."""
    before = len(house.log("circusd.out"))
    house.asked(*words)
    return re.findall(rf" {watcher} (spawn|kill|reap) ", house.log("circusd.out")[before:])


def edit(house: House, web: str) -> None:
    house.config.write_text(web + LEAN)


def test_a_batch_waits_until_it_is_ready_and_a_circusd_that_is_killed_meanwhile_is_followed_by_the_old_ones(
    tmp_path: Path,
) -> None:
    ready = f"ready = exec /usr/bin/test -e {tmp_path}/good\nstart_timeout = 3600\n"
    with opened(tmp_path / "house", WEB + GOOD.format(600)) as house:
        house.start()
        before = house.pids("web")
        house.config.write_text(WEB + GOOD.format(700) + ready)
        house.asked("reloadconfig", "--no-wait")
        wait_for(lambda: "is reloaded: 0 of 3 are replaced" in house.asked("status"), "how far it is")
        (new,) = wait_for(lambda: house.pids("web") - before, "one more")
        assert before < house.pids("web")

        house.kill()
        house.start()
        assert "circusd ended while it was rolled out" in house.ctl("status").stderr
        wait_for(lambda: new not in house.pids("web") and len(house.pids("web")) == 3, "what ran before")
        assert {row["argv"][1] for row in house.rows().values() if row["running"]} == {"600"}

        (tmp_path / "good").touch()
        house.asked("reloadconfig")
        assert {row["argv"][1] for row in house.rows().values() if row["running"]} == {"700"}
        assert REFUSED not in house.ctl("status", "-v").stderr


def test_reloads_keep_their_bounds_and_what_does_not_work_is_taken_back(tmp_path: Path) -> None:
    with opened(tmp_path / "house", WEB + GOOD.format(600) + LEAN) as house:
        house.start()
        assert deeds(house, "web", "reload", "web") == ["spawn", "kill", "reap"] * 3
        both = ["kill", "kill", "reap", "reap", "spawn", "spawn", "kill", "reap", "spawn"]
        assert deeds(house, "lean", "reload", "lean") == both
        assert deeds(house, "lean", "reload", "lean", "--sequential") == ["kill", "reap", "spawn"] * 3

        before = house.pids("web")
        edit(house, WEB + BAD + "soak = 60\n")
        done = house.ctl("reloadconfig")
        assert done.returncode != 0
        assert re.search(r"web: rolled back to the options of before: web\.\d: ended with status 3", done.stderr)
        assert re.search(r"last output of web\.\d:\n +cannot open the database", done.stderr)
        assert "web reload_failed wid=" in house.log("circusd.out")
        assert house.pids("web") == before
        assert REFUSED in house.ctl("status").stderr
        assert "sleep 600" in house.asked("options", "web")

        house.kill()
        house.start()
        wait_for(lambda: REFUSED in house.ctl("status").stderr, "it is remembered")
        assert house.pids("web") == before
        assert "sleep 600" in house.asked("options", "web")

        edit(house, WEB + GOOD.format(800) + "soak = 1\n")
        planned = house.asked("reloadconfig", "--plan").splitlines()
        assert planned[0] == "roll  web"
        begun = time.monotonic()
        house.asked("reloadconfig")
        assert time.monotonic() - begun >= 3, "each of three batches has to prove itself"
        assert before.isdisjoint(house.pids("web"))
        assert REFUSED not in house.ctl("status", "-v").stderr
