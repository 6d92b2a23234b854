"""Jobs with real processes: what runs at its time runs once, whatever becomes of circusd."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.house import House, opened, wait_for

#: SIGKILLs of circusd while a job runs each second.
KILLS = 3
#: A circusd that a busy machine starts answers by then, and a job has run.
BOUND_S = 100.0


def launch(house: House) -> None:
    house.launch()
    wait_for(lambda: house.ctl("status").returncode == 0, "an answer" + house.said(), BOUND_S)


def answer(house: House, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.asked(*words, "--json"))
    return found


def runs(house: House, name: str) -> list[dict[str, Any]]:
    return list(answer(house, "runs", name, "-n", "10000")["runs"])


def states(house: House, name: str) -> list[str]:
    return [run["state"] for run in runs(house, name)]


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def test_each_second_has_its_run_or_a_reason_over_sigkills_of_circusd(tmp_path: Path) -> None:
    truth = tmp_path / "ran"
    config = f"[watcher:each]\ncmd = /bin/sh -c 'echo $$ >> {truth}'\nschedule = * * * * * *\njob.history = 1000\n"
    with opened(tmp_path / "house", config) as house:
        for _ in range(KILLS):
            launch(house)
            ran = len(lines(truth))
            # Killed between the beginning of a run and whatever circusd does about its end.
            wait_for(lambda ran=ran: len(lines(truth)) > ran + 1, "two more runs", BOUND_S)
            house.kill()
        launch(house)
        house.asked("stop", "each")
        found = runs(house, "each")
        *before, last = [run for run in found if run["pid"] is not None]
        assert {run["state"] for run in before} == {"done"}, "only the last one may have been stopped"
        ran = [str(run["pid"]) for run in before]
        assert lines(truth) in (ran, [*ran, str(last["pid"])])
        assert {run["state"] for run in found if run["pid"] is None} <= {"skipped"}
        dues = [run["due"] for run in found]
        for before, after in pairwise(found):
            assert after["due"] - before["due"] == (after["count"] if after["state"] == "skipped" else 1), dues


def test_a_oneshot_runs_once_until_its_options_change_or_somebody_starts_it(tmp_path: Path) -> None:
    truth = tmp_path / "ran"
    config = f"[watcher:once]\ntype = oneshot\ncmd = /bin/sh -c 'echo $$ >> {truth}'\n"
    config += "[watcher:bad]\ntype = oneshot\ncmd = /bin/sh -c 'exit 3'\n"
    with opened(tmp_path / "house", config) as house:
        launch(house)
        wait_for(lambda: house.status().get("once") == "active", "its end", BOUND_S)
        wait_for(lambda: "ended with status 3" in house.asked("status"), "the other one's", BOUND_S)
        assert len(lines(truth)) == 1
        for end in (house.kill, house.quit):
            end()
            launch(house)
            assert house.status() == {"once": "active", "bad": "stopped"}
        refused = house.ctl("start", "bad")
        assert refused.returncode != 0 and "bad.1: ended with status 3" in refused.stderr
        assert len(lines(truth)) == 1 and len(runs(house, "bad")) == 2
        house.asked("start", "once")
        assert len(lines(truth)) == 2
        house.config.write_text(config.replace("echo", "echo  "))
        house.asked("reloadconfig")
        assert len(lines(truth)) == 3


def test_a_run_by_hand_needs_no_schedule_and_ends_with_the_status_of_the_job(tmp_path: Path) -> None:
    config = "[watcher:nightly]\ncmd = /bin/sh -c 'exit 4'\nschedule = 0 0 29 2 *\nautostart = false\n"
    config += "[watcher:long]\ncmd = sleep 1000\nschedule = 0 0 29 2 *\n"
    with opened(tmp_path / "house", config) as house:
        launch(house)
        assert "the schedule is stopped" in house.asked("status", "-v")
        done = house.ctl("run", "--wait", "nightly")
        assert (done.returncode, states(house, "nightly")) == (4, ["failed"])
        assert house.status() == {"nightly": "stopped", "long": "stopped"}
        house.asked("start", "nightly")
        assert "next run" in house.asked("status")

        begun = answer(house, "run", "long")["run"]
        assert begun["state"] == "running"
        refused = house.ctl("run", "long")
        assert refused.returncode != 0 and f"runs already: pid {begun['pid']}" in refused.stderr
        house.kill()
        launch(house)
        assert [run["pid"] for run in runs(house, "long")] == [begun["pid"]], "it goes on"
        house.asked("stop", "long")
        assert states(house, "long") == ["failed"]
        assert house.ctl("run", "none").returncode != 0


def test_a_job_is_as_its_options_say(tmp_path: Path) -> None:
    # Half an hour ago, and in half an hour.
    hourly = f"{(time.gmtime().tm_min + 30) % 60} * * * *"
    config = f"""
[watcher:noon]
cmd = /bin/true
schedule = 0 12 * * *
job.timezone = Pacific/Kiritimati
[watcher:late]
cmd = /bin/true
schedule = {hourly}
job.timezone = UTC
job.missed = once
[watcher:replaced]
cmd = sleep 1000
schedule = * * * * * *
job.overlap = replace
[watcher:limited]
cmd = sleep 1000
schedule = 0 0 29 2 *
job.time_limit = 0.2
[watcher:short]
cmd = /bin/true
schedule = 0 0 29 2 *
job.history = 2
"""
    with opened(tmp_path / "house", config) as house:
        state = house.folder / "run/state/circus/default"
        state.mkdir(parents=True)
        mark = {"job": "late", "mark": time.time() - 86400, "active": True, "schedule": f"{hourly} UTC"}
        (state / "runs.jsonl").write_text(f'{{"format": 1}}\n{json.dumps(mark)}\n')
        launch(house)
        wait_for(lambda: states(house, "late") == ["skipped", "done"], "what was missed", BOUND_S)
        assert runs(house, "late")[0]["count"] > 20
        # 14 hours before UTC, in summer and in winter.
        assert answer(house, "status", "noon")["job"]["next_run"] % 86400 == 22 * 3600
        assert house.ctl("run", "--wait", "limited").returncode == 128 + 15
        assert "took longer than 0.2 s" in house.asked("runs", "limited")
        for _ in range(3):
            house.asked("run", "--wait", "short")
        assert states(house, "short") == ["done", "done"]
        wait_for(lambda: "ended for the next run" in house.asked("runs", "replaced"), "the one that follows", BOUND_S)
